"""The job that tells when MX records, certificates and our own MTA-STS policy disagree (RFC 8461 §4, §8).

It asks the operation `sts.check` after every commit and once a day, hourly while something is wrong, and tells under the key
`mta-sts:DOMAIN`: at once what keeps mail away or will (an MX host that the policy does not name, a certificate that does not hold),
after an hour what a person who has just changed the policy may be about to do (record, file). The same trouble is told again daily.
What could not be looked up is no trouble and clears none. What was told is kept in the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gatepost.certs.own_sts import StsCode
from gatepost.control.ports import Caller, Operations
from gatepost.core.errors import OperatorError
from gatepost.core.ports import Alert, AlertPort, Clock
from gatepost.store.config_store import ConfigStore

META = "own-sts"  # in the store: by domain, what was found, since when, and when it was told
DAY = 86_400.0
HOUR = 3_600.0
AT_ONCE = frozenset(
    {StsCode.MX_NOT_LISTED, StsCode.CERTIFICATE, StsCode.CERTIFICATE_NAME, StsCode.PRIVATE_AUTHORITY}
)
CLOCK_WENT_BACK = 60.0


class OwnStsJob:
    """Implements `app.jobs.Job`."""

    name = "own-sts"

    def __init__(self, store: ConfigStore, operations: Operations, alerts: AlertPort, clock: Clock) -> None:
        self._store = store
        self._operations = operations
        self._alerts = alerts
        self._clock = clock
        self._version = 0
        self._due = 0.0  # by the monotonic clock

    async def run(self) -> float:
        """Look if it is time, or the configuration is another; the seconds to the next look."""
        number, moment = self._store.latest_number(), self._clock.monotonic()
        if number == self._version and moment < self._due:
            return self._due - moment
        kept = _kept(self._store.get_meta(META))
        found: Sequence[Mapping[str, Any]] = ()
        version = self._store.latest()
        if version is not None and version.content.document.get("mta_sts_policies"):
            try:
                found = await self._operations.call("sts.check", {}, Caller.gateway())
            except OperatorError:
                return HOUR
        left = {one["domain"]: mine for one in found if (mine := await self._judge(one, kept)) is not None}
        for domain in kept.keys() - {one["domain"] for one in found}:
            await self._clear(domain, f"The gateway serves no MTA-STS policy of {domain} any more.")
        if left != kept:
            self._store.put_metas({META: orjson.dumps(left) if left else None})
        pause = HOUR if left else DAY
        self._version, self._due = number, moment + pause
        return pause

    async def _judge(
        self, one: Mapping[str, Any], kept: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Tell of one domain what is due; what is to be kept of it, None for nothing."""
        domain, now = one["domain"], self._clock.now()
        before = kept.get(domain)
        wrong = [finding for finding in one["findings"] if finding["severity"] != "info"]
        if not wrong:
            if one["status"] == "unknown":
                return dict(before) if before is not None else None
            if before is not None:
                await self._clear(
                    domain, f"MX records, certificates, record and file of {domain} agree again."
                )
            return None
        since = {f["code"]: now for f in wrong} | {
            code: at for code, at in (before or {}).get("since", {}).items() if at <= now + CLOCK_WENT_BACK
        }
        due = [f for f in wrong if f["code"] in AT_ONCE or now - since[f["code"]] >= HOUR]
        state = {
            "since": {f["code"]: since[f["code"]] for f in wrong},
            "told": dict((before or {}).get("told", {})),
        }
        told = sorted({f["text"] for f in due})
        last = state["told"]
        if due and (
            last.get("texts") != told or not now - DAY < last.get("at", 0.0) <= now + CLOCK_WENT_BACK
        ):
            await self._alerts.tell(_trouble(one, due))
            state["told"] = {"texts": told, "at": now}
        return state

    async def _clear(self, domain: str, text: str) -> None:
        subject = f"MTA-STS policy of {domain}: all agrees"
        await self._alerts.tell(Alert(f"mta-sts:{domain}", "information", subject, text, clears=True))


def _kept(data: bytes | None) -> dict[str, dict[str, Any]]:
    """What was kept; nothing for what cannot be read."""
    try:
        found = orjson.loads(data or b"{}")
        return {
            str(name): {"since": dict(one["since"]), "told": dict(one["told"])} for name, one in found.items()
        }
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        return {}


def _trouble(one: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> Alert:
    domain = one["domain"]
    grave = any(finding["severity"] == "error" for finding in findings)
    lines = [f"What senders see of {domain} and its MTA-STS policy (mode {one['mode']}) disagree:", ""]
    for finding in findings:
        lines += [f"  {finding['text']}.", f"    {finding['repair']}" if finding["repair"] else "", ""]
    lines.append(f"`gatepost sts check {domain}` looks again; `gatepost sts show {domain}` has the records.")
    subject = f"MTA-STS policy of {domain} does not fit"
    return Alert(f"mta-sts:{domain}", "critical" if grave else "warning", subject, "\n".join(lines))
