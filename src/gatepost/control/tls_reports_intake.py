"""Taking in TLS reports about our domains: read by a confined process, kept in the database, told in the log.

All ways lead here: a mail that a worker took, a request at the public port, a file that an administrator imports. A report counts when it is
about a domain of ours; what it says of other domains is left out of the counts. The desk looks at nothing but the short account that the
confined process gives; the report itself stays packed as it came from there.

Whom a report is from is proven by the DKIM signature of its mail (`control.tls_report_proof`). The keys are looked up here, when the mail has
long been taken; the signature has to be good for the time when the mail came.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.config.own_domains import OwnDomains
from gatepost.control.ops.reading import as_text
from gatepost.control.ops.registry import Reader
from gatepost.control.tls_report_keys import KeyLookUps, OpenKeys, open_keys
from gatepost.control.tls_report_proof import first_proof, next_proof
from gatepost.core.errors import OperatorError
from gatepost.core.ports import Clock, Emit
from gatepost.core.received_report_events import TlsReportJudged, TlsReportReceived
from gatepost.policy.tls_report_trust import counts
from gatepost.store.config_store import ConfigStore
from gatepost.store.database import NewerForm
from gatepost.store.home import Home
from gatepost.store.tls_reports_incoming import Came
from gatepost.store.tls_reports_received import (
    MAX_PACKED,
    DomainRow,
    Proof,
    ReceivedReportStore,
    ReportRow,
    ReportsFailed,
    TooMany,
)

DAY = 86_400.0
MAX_AHEAD = 2 * DAY  # of a report's end before now: more is no report of what happened
MAX_DOMAINS = 50
MAX_AGAIN = 50  # reports of one look whose keys are asked for again


class NotKept(Exception):
    """The database cannot take it now; it is to be tried again. The text says why."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one report: it is in the database, `new` unless it was there already and is not better proven now. `counts` says
    whether it raises alerts."""

    row: ReportRow
    new: bool
    counts: bool


class Intake:
    """Reads and keeps reports. `read` reads a hostile file (`reading.read`)."""

    def __init__(
        self,
        home: Home,
        store: ConfigStore,
        read: Reader,
        clock: Clock,
        emit: Emit,
        *,
        keys: OpenKeys = open_keys,
    ) -> None:
        self._folder = home.received_tls_reports
        self._store = store
        self._read = read
        self._clock = clock
        self._emit = emit
        self._open_keys = keys

    @asynccontextmanager
    async def look_ups(self) -> AsyncIterator[KeyLookUps]:
        """How keys are looked up during one look."""
        async with self._open_keys(self._document()) as keys:
            yield keys

    async def take(self, content: bytes, came: Came, keys: KeyLookUps) -> Taken:
        """Read and keep one. Raises OperatorError for what is no report that counts, NotKept when it cannot be kept now."""
        account = await self._read("tls-report", {"file": as_text(content), "at": came.at})
        document = self._document()
        row = self._row(account, came, document)
        row = replace(row, proof=await first_proof(account["signed"], came.way, keys, row.at))
        try:
            taken = await asyncio.to_thread(self._keep, row, document.tls_reports_received.days)
        except TooMany as error:
            raise OperatorError(f"the report is not kept: {error}", "the first of them are kept") from None
        except (ReportsFailed, NewerForm, OSError) as error:
            raise NotKept(f"{type(error).__name__}: {error}") from None
        if taken.new:
            self._tell(taken.row)
        return replace(taken, counts=self._counts(taken.row, document))

    async def waiting(self) -> list[ReportRow]:
        """The reports whose keys are to be asked for again now. Raises NotKept."""
        if not ReceivedReportStore.there(self._folder):
            return []
        try:
            return await asyncio.to_thread(self._waiting, self._clock.now())
        except (ReportsFailed, NewerForm, OSError) as error:
            raise NotKept(f"{type(error).__name__}: {error}") from None

    def _waiting(self, now: float) -> list[ReportRow]:
        with ReceivedReportStore.open(self._folder) as store:
            return store.waiting(now, MAX_AGAIN)

    async def ask_again(self, row: ReportRow, keys: KeyLookUps) -> Taken | None:
        """Ask for the keys of one that waits; the report, if it is proven now. Raises NotKept."""
        now = self._clock.now()
        proof = await next_proof(row, keys, now)
        try:
            proven = await asyncio.to_thread(self._settle, row.number, proof)
        except (ReportsFailed, NewerForm, OSError) as error:
            raise NotKept(f"{type(error).__name__}: {error}") from None
        if not proof.due:
            self._emit(
                TlsReportJudged(now, row.number, row.organization, proof.verified, proof.signer, proof.reason)
            )
        return Taken(proven, True, self._counts(proven, self._document())) if proven is not None else None

    def _settle(self, number: int, proof: Proof) -> ReportRow | None:
        with ReceivedReportStore.open(self._folder) as store:
            return store.settle(number, proof)

    @staticmethod
    def _counts(row: ReportRow, document: Document) -> bool:
        only = document.tls_reports_received.verified_only
        return counts(verified=row.proof.verified, way=row.way, verified_only=only)

    async def prune(self) -> None:
        """Remove what is older than the configuration says. Raises NotKept."""
        if not ReceivedReportStore.there(self._folder):
            return
        before = self._clock.now() - self._document().tls_reports_received.days * DAY
        try:
            await asyncio.to_thread(self._remove, before)
        except (ReportsFailed, NewerForm, OSError) as error:
            raise NotKept(f"{type(error).__name__}: {error}") from None

    def _remove(self, before: float) -> None:
        with ReceivedReportStore.open(self._folder) as store:
            store.prune(before)

    def _document(self) -> Document:
        version = self._store.latest()
        return load_plain(version.content.document) if version is not None else Document()

    def _row(self, account: Mapping[str, Any], came: Came, document: Document) -> ReportRow:
        now = self._clock.now()
        if account["begin"] > now + MAX_AHEAD:
            raise OperatorError("the report is about a time that has not come", "the sender's clock is wrong")
        ours = OwnDomains(document)
        found = [one for one in account["domains"] if ours.has(one["domain"])][:MAX_DOMAINS]
        if not found:
            named = ", ".join(one["domain"] or "no domain" for one in account["domains"][:3])
            raise OperatorError(
                f"the report is about {named}, and about no domain of ours",
                "domains are ours that a public listener accepts mail for",
            )
        content = b64decode(account["content"])
        if len(content) > MAX_PACKED:
            raise OperatorError(
                f"the report has more than {MAX_PACKED >> 20} MB compressed", "so long a report is not kept"
            )
        return ReportRow(
            now,
            came.way,
            came.origin,
            account["organization"],
            account["submitter"],
            account["contact"],
            account["report_id"],
            account["begin"],
            account["end"],
            tuple(
                DomainRow(one["domain"], one["successful"], one["failed"], one["failures"]) for one in found
            ),
            content,
        )

    def _keep(self, row: ReportRow, days: int) -> Taken:
        with ReceivedReportStore.open(self._folder) as store:
            store.prune(row.at - days * DAY)
            number, new = store.keep(row)
        return Taken(replace(row, number=number), new, False)

    def _tell(self, row: ReportRow) -> None:
        failures: Counter[str] = Counter()
        for one in row.domains:
            failures.update(one.failures)
        self._emit(
            TlsReportReceived(
                self._clock.now(),
                row.number,
                row.organization,
                [one.domain for one in row.domains],
                row.begin,
                row.end,
                sum(one.successful for one in row.domains),
                sum(one.failed for one in row.domains),
                dict(failures.most_common(20)),
                row.way,
                row.origin,
                row.proof.verified,
                row.proof.signer,
                row.proof.reason,
            )
        )
