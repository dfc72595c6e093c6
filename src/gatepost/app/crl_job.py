"""The desk's job that fetches revocation lists: on schedule, before they end, when one is new, when an administrator asks (R11).

How it works. Every run fetches what is due (`policy.refetch`), several at once, and hands what it got to `ca.crl.keep`, which reads it in a
confined child, checks the signature and lets the workers have it. What cannot be had or is refused leaves the last good list in use; the
failure is logged, and told to the administrators when it is the first of a series or the list in use ends by it. A server that still gives
the list that is out of date has failed too.

How each source stands is kept in the store, so a restart neither forgets a failure nor asks all servers at once. Where the desk died between
storing a list and telling the workers, the first run tells them. Sources that the configuration no longer names are forgotten.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode

from gatepost.certs.crl_download import download
from gatepost.certs.crls import trusted_pem, when_due
from gatepost.certs.times import iso_time
from gatepost.config.authorities import CertificateAuthorities, RevocationSource, StaleRule
from gatepost.config.load import load_plain
from gatepost.control.ports import Caller, Gateway, Operations
from gatepost.core.certificate_events import RevocationListFailed
from gatepost.core.errors import OperatorError
from gatepost.core.ports import Alert, AlertPort, Clock
from gatepost.net.http import HttpFailed
from gatepost.pki.revocation import list_der
from gatepost.store.config_store import ConfigStore
from gatepost.store.revocations import (
    FILE,
    Fetching,
    KeptList,
    drop_list,
    fetching,
    kept_list,
    kept_lists,
    known_sources,
    put_fetching,
    untold,
)

AT_ONCE = 5
IDLE = 3600.0
SOON = 30.0


class CrlJob:
    """Implements `app.jobs.Job`."""

    name = "crl"

    def __init__(
        self,
        store: ConfigStore,
        gateway: Gateway,
        operations: Operations,
        alerts: AlertPort,
        clock: Clock,
        *,
        timeout: float = 30.0,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._operations = operations
        self._alerts = alerts
        self._clock = clock
        self._timeout = timeout
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> float:
        """Fetch what is due; returns the seconds to the next fetch."""
        version = self._store.latest()
        if version is None:
            return IDLE
        if untold(self._store):
            try:
                await self._operations.call("ca.crl.activate", {}, Caller.gateway())
            except OperatorError:
                return SOON  # the workers refused, or something else is being made active
        section = load_plain(dict(version.content.document)).certificate_authorities
        self._forget({source.url for source in section.crl})
        trust = trusted_pem(version.content)
        async with asyncio.TaskGroup() as group:
            for source in section.crl:
                if self._due(source) <= self._clock.now():
                    group.create_task(self._fetch(source, section, trust), name=f"crl {source.title}")
        now = self._clock.now()
        return min((self._due(source) - now for source in section.crl), default=IDLE)

    def _due(self, source: RevocationSource) -> float:
        state, kept = fetching(self._store, source.url), kept_lists(self._store).get(source.url)
        return when_due(source, state, kept, self._clock.now()).at

    def _forget(self, urls: set[str]) -> None:
        """What the configuration does not name is not in the workers' hands any more either."""
        for source in known_sources(self._store):
            if source not in urls and not source.startswith(FILE):
                drop_list(self._store, source, told=True)

    async def _fetch(self, source: RevocationSource, section: CertificateAuthorities, trust: bytes) -> None:
        wanted = fetching(self._store, source.url).wanted
        async with self._places:
            tried = self._clock.now()
            reason = await self._take(source, trust)
        now, state = self._clock.now(), fetching(self._store, source.url)
        kept = kept_lists(self._store).get(source.url)
        if not reason and kept is not None and kept.facts.stale(now):
            reason = (
                f"the server gives a list that is out of date since {iso_time(kept.facts.next_update or 0.0)}"
            )
        asked_again = 0.0 if state.wanted == wanted else state.wanted
        if not reason:
            put_fetching(self._store, source.url, Fetching(tried, now, wanted=asked_again))
            return
        failed = Fetching(tried, state.reached, state.failures + 1, reason, asked_again)
        put_fetching(self._store, source.url, failed)
        await self._tell(source, section, failed, kept)

    async def _take(self, source: RevocationSource, trust: bytes) -> str:
        """Fetch a list and put it to use. Returns why that did not succeed, or an empty text."""
        try:
            data = await download(source, trust, timeout=self._timeout)
        except HttpFailed as failed:
            return failed.text
        if self._is_known(source, data):
            return ""
        args = {"source": source.url, "file": b64encode(data).decode("ascii")}
        try:
            await self._operations.call("ca.crl.keep", args, Caller.gateway())
        except OperatorError as error:
            return error.message
        return ""

    def _is_known(self, source: RevocationSource, data: bytes) -> bool:
        """It is the list in use, octet by octet: nothing to read, and no line in the audit."""
        kept = kept_list(self._store, source.url)
        try:
            return kept is not None and kept.der == list_der(data)
        except ValueError:
            return False

    async def _tell(
        self,
        source: RevocationSource,
        section: CertificateAuthorities,
        failed: Fetching,
        kept: KeptList | None,
    ) -> None:
        now = self._clock.now()
        again = when_due(source, failed, kept, now).at
        self._gateway.emit(RevocationListFailed(now, source.url, failed.reason, again))
        stale = kept is not None and kept.facts.stale(now)
        if failed.failures > 1 and not stale:
            return
        refuses = stale and section.crl_stale is StaleRule.REFUSE
        severity = "critical" if refuses else "warning"
        trouble = "is out of date" if stale else "cannot be fetched"
        subject = f"Revocation list {source.title} {trouble}"
        lines = (
            f"{source.url}: {failed.reason}.",
            _standing(kept, stale, refuses),
            f"Next try: {iso_time(again)}.",
        )
        await self._alerts.tell(Alert(f"crl:{source.url}", severity, subject, "\n".join(lines)))


def _standing(kept: KeptList | None, stale: bool, refuses: bool) -> str:
    """What the failure means for mail."""
    if kept is None:
        return "No list of this source is in use: certificates that it would revoke are verified."
    end = kept.facts.next_update
    if not stale:
        until = f" It is good until {iso_time(end)}." if end is not None else ""
        return f"The last good list, by {kept.facts.issuer}, stays in use.{until}"
    since = f"The list in use, by {kept.facts.issuer}, is out of date since {iso_time(end or 0.0)}."
    if refuses:
        return f"{since} No certificate of this authority is verified until a newer one is there (crl_stale: refuse)."
    return f"{since} It still counts; newer revocations are not noticed (crl_stale: warn)."
