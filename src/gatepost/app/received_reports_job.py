"""The job that reads TLS reports that came in about our domains, and tells when they speak of failures.

Once a minute, and whenever somebody asks, it reads what waits (`store.tls_reports_incoming`) through `control.tls_reports_intake`, each in a process
of its own. What is no report that counts is put aside with a line in the log; what the database cannot take now waits. A file
that ended the job by a bug of ours is put aside at the next look, so that those behind it are read.

Each look asks the DNS for the keys of the signatures, within limits (`control.tls_report_keys`), and once more for those that were
not to be had before.

A report with failed sessions raises an alert, `tlsrpt:DOMAIN`, at most one a day for a domain: what comes within the day is told with
the next. One that came by mail and whose submitter is not verified raises none, unless the configuration wants that. It is a warning when
more than one session in twenty failed, else information. There is no end to be told: reports speak of the past.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson

from gatepost.control.ops.confined import read_confined
from gatepost.control.ops.registry import Reader
from gatepost.control.ops.tls_reports_received import JOB
from gatepost.control.tls_report_keys import KeyLookUps, OpenKeys, open_keys
from gatepost.control.tls_reports_intake import Intake, NotKept, Taken
from gatepost.core.errors import OperatorError
from gatepost.core.ports import Alert, AlertPort, Clock, Emit
from gatepost.core.received_report_events import TlsReportRefused
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.tls_reports_incoming import IncomingReports
from gatepost.store.tls_reports_received import ReportRow

META = "received-tls-reports"  # in the store: by domain, when it was told last, and what came since
LOOK = 60.0
AGAIN = 300.0  # after a database that could not be used
AT_ONCE = 50  # reports of one look: the next follows without a pause
DAY = 86_400.0
GRAVE = 0.05  # of the sessions
MAX_PENDING = 20  # reports told in one alert
MAX_DOMAINS = 1_000


class ReceivedReportsJob:
    """Implements `app.jobs.Job`. `read` reads hostile files, `keys` replaces how the DNS is asked."""

    name = JOB

    def __init__(
        self,
        home: Home,
        store: ConfigStore,
        alerts: AlertPort,
        emit: Emit,
        clock: Clock,
        *,
        read: Reader = read_confined,
        keys: OpenKeys = open_keys,
    ) -> None:
        self._incoming = IncomingReports(home.received_tls_reports)
        self._intake = Intake(home, store, read, clock, emit, keys=keys)
        self._store = store
        self._alerts = alerts
        self._emit = emit
        self._clock = clock
        self._pruned: float | None = None
        self._begun = ""  # the file that is being read, or that ended the last look

    async def run(self) -> float:
        """Read what waits, and tell what is due; the seconds to the next look."""
        names = await asyncio.to_thread(self._names)
        taken: list[Taken] = []
        pause = LOOK
        try:
            waiting = await self._intake.waiting()
            if names or waiting:
                await self._read_all(names, waiting, taken)
        except NotKept:
            pause = AGAIN
        await self._tell(taken)
        await self._prune()
        return 0.0 if len(names) == AT_ONCE and pause == LOOK else pause

    async def _read_all(self, names: Sequence[str], waiting: Sequence[ReportRow], taken: list[Taken]) -> None:
        """What came in, then what waits for keys; those to be told of go into `taken` one by one. Raises NotKept."""
        async with self._intake.look_ups() as keys:
            for name in names:
                one = await self._one(name, keys)
                if one is not None and one.new:
                    taken.append(one)
            for row in waiting:
                proven = await self._intake.ask_again(row, keys)
                if proven is not None:
                    taken.append(proven)

    def _names(self) -> list[str]:
        self._incoming.sweep(self._clock.now())
        return self._incoming.names(AT_ONCE)

    async def _prune(self) -> None:
        """Once a day what is too old goes, also where nothing comes any more; a database in trouble is met again."""
        now = self._clock.monotonic()
        if self._pruned is not None and now - self._pruned < DAY:
            return
        self._pruned = now
        with suppress(NotKept):
            await self._intake.prune()

    async def _one(self, name: str, keys: KeyLookUps) -> Taken | None:
        if name == self._begun:
            self._begun = ""
            await self._put_aside(name, "?", "?", "reading it ended with an internal error")
            return None
        self._begun = name
        try:
            taken = await self._read_one(name, keys)
        except NotKept:
            self._begun = ""
            raise
        self._begun = ""
        return taken

    async def _read_one(self, name: str, keys: KeyLookUps) -> Taken | None:
        try:
            came, content = await asyncio.to_thread(self._incoming.get, name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            await self._put_aside(name, "?", "?", f"the file cannot be read: {type(error).__name__}")
            return None
        try:
            taken = await self._intake.take(content, came, keys)
        except OperatorError as error:
            await self._put_aside(name, came.way, came.origin, error.message)
            return None
        await asyncio.to_thread(self._incoming.done, name)
        return taken

    async def _put_aside(self, name: str, way: str, origin: str, reason: str) -> None:
        try:
            kept = await asyncio.to_thread(self._incoming.put_aside, name)
        except OSError:
            kept = ""
        self._emit(TlsReportRefused(self._clock.now(), way, origin, reason, kept))

    # --- alerts --------------------------------------------------------------------------------

    async def _tell(self, taken: Sequence[Taken]) -> None:
        kept = _kept(self._store.get_meta(META))
        before = orjson.dumps(kept)
        now = self._clock.now()
        for one in (one for one in taken if one.counts):
            for row in one.row.domains:
                if row.failed:
                    state = kept.setdefault(row.domain, {"told": 0.0, "pending": []})
                    state["pending"] = [*state["pending"], _account(one, row.domain)][-MAX_PENDING:]
        for domain, state in list(kept.items()):
            since = now - state["told"]
            if state["pending"] and not 0 <= since < DAY:
                await self._alerts.tell(_alert(domain, state["pending"]))
                kept[domain] = {"told": now, "pending": []}
            elif not state["pending"] and since >= DAY:
                del kept[domain]
        for domain in list(kept)[: max(0, len(kept) - MAX_DOMAINS)]:
            del kept[domain]
        after = orjson.dumps(kept)
        if after != before:
            self._store.put_metas({META: after if kept else None})


def _account(taken: Taken, domain: str) -> dict[str, Any]:
    """What an alert says of one report."""
    row = next(one for one in taken.row.domains if one.domain == domain)
    return {
        "report": taken.row.number,
        "organization": taken.row.organization[:100],
        "signer": taken.row.proof.signer if taken.row.proof.verified else "",
        "day": f"{datetime.fromtimestamp(taken.row.begin, UTC):%Y-%m-%d}",
        "sessions": row.successful + row.failed,
        "failed": row.failed,
        "failures": dict(list(row.failures.items())[:5]),
    }


def _kept(data: bytes | None) -> dict[str, dict[str, Any]]:
    """What was kept; nothing for what cannot be read."""
    try:
        return {
            str(name): {"told": float(one["told"]), "pending": list(one["pending"])}
            for name, one in orjson.loads(data or b"{}").items()
        }
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        return {}


def _alert(domain: str, reports: Sequence[Mapping[str, Any]]) -> Alert:
    sessions = sum(one["sessions"] for one in reports)
    failed = sum(one["failed"] for one in reports)
    lines = [f"Senders report sessions to {domain} whose TLS failed: {failed:,} of {sessions:,}.", ""]
    for one in reports:
        why = ", ".join(f"{name or 'no type'} {count:,}" for name, count in one["failures"].items())
        who = one["organization"] or "somebody who gives no name"
        proof = f"verified: {one['signer']}" if one.get("signer") else "not verified"
        lines.append(
            f"  report {one['report']}, {one['day']}, {who} ({proof}): {one['failed']:,} of {one['sessions']:,}"
            f" ({why or 'no details'})"
        )
    lines += [
        "",
        "A name is what the report claims; verified is a domain whose signature it bears. `gatepost tlsrpt received show ID` has the",
        "details, and what our own records say of the same senders.",
    ]
    severity = "warning" if failed > sessions * GRAVE else "information"
    return Alert(f"tlsrpt:{domain}", severity, f"TLS reports of failures for {domain}", "\n".join(lines))
