"""The renewals: every automatic certificate ordered when it is due, put in force, and what became of it remembered (R8).

How it works. `run` asks the authority about renewal windows where it is time to (RFC 9773), decides what is due, and orders one
certificate after the other, whoever was tried longest ago first, so that none that always fails stands in the way of others. What was
issued is kept sealed until it is in force: when the commit fails, or something must be waited for, the certificate is there and is not
ordered again. Somebody else's commit at the same moment is no failure; it is tried again.

A failure changes nothing that is served. It is remembered with the moment of the next try, leaves a line in the log, and is
told to people: at once, then once a day, and again when it becomes grave.

Everything is given to it: the store, the authority, the ports, time. It runs one order at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.ports import Challenges, Pause
from gatepost.certs.acme_vault import AcmeVault, Ready
from gatepost.certs.crls import trusted_pem
from gatepost.certs.inventory import open_profile
from gatepost.certs.ordering import Authority, Ordering
from gatepost.certs.renewal import (
    STANDS_IN,
    Decision,
    SeenWindow,
    Standing,
    Wanted,
    decide,
    fingerprints,
    last_moment,
    place,
)
from gatepost.certs.renewal_alerts import failure_alert, success_alert, tell_again
from gatepost.config.load import load_plain
from gatepost.core.certificate_events import CertificateIssued, CertificateRenewalFailed, CertificateWaits
from gatepost.core.errors import ConfigurationError, Exit, OperatorError
from gatepost.core.ports import AlertPort, Clock, Emit
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Profile
from gatepost.policy.renew import Window, next_try
from gatepost.store.config_store import ConfigStore, Content, StoredProfile
from gatepost.store.secrets import Keeper, SealBroken

NOTHING_TO_DO = 86_400.0
SHORTEST = 1.0  # seconds between two runs
COMMIT_TRIES = 5  # when somebody else commits at the same moment
FIRST_PAUSE = 0.5  # doubles
ASK_AGAIN = 3600.0  # seconds until an authority that could not be asked about windows is asked again
WITHOUT_WINDOW = 86_400.0  # seconds until an authority without a window for a certificate is asked again
READY_SHARE = 0.5  # of its life: an issued certificate that waited longer is ordered anew


@dataclass(frozen=True, slots=True)
class Hold:
    """Why an issued certificate is not served yet, and when to look again (seconds from now)."""

    reason: str
    seconds: float


class Gate(Protocol):
    """What an issued certificate may have to wait for before it is served."""

    async def hold(self, wanted: Wanted, profile: Profile, /) -> Hold | None: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What the renewals work with.

    `connect` opens an authority that is trusted by the PEM given to it; `challenges` makes what proves the names of one order;
    `commit` puts a profile in force and raises OperatorError when it cannot.
    """

    store: ConfigStore
    keeper: Keeper
    vault: AcmeVault
    connect: Callable[[bytes], AbstractAsyncContextManager[Authority]]
    challenges: Callable[[Wanted], AbstractAsyncContextManager[Challenges]]
    commit: Callable[[Profile, str], Awaitable[None]]
    emit: Emit
    alerts: AlertPort
    clock: Clock
    gate: Gate | None = None
    pause: Pause = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Row:
    """One automatic certificate as it stands now. `profile` has no keys."""

    wanted: Wanted
    stored: StoredProfile | None
    profile: Profile | None
    standing: Standing
    decision: Decision


def rows(store: ConfigStore, vault: AcmeVault, content: Content, now: float) -> list[Row]:
    """All automatic certificates of a version; none where it has no authority, or is another release's."""
    try:
        acme = load_plain(content.document).acme
    except ConfigurationError:
        return []
    secrets = vault.secrets_mark()
    found = []
    for certificate in acme.certificates if acme.enabled else ():
        wanted = Wanted(acme, certificate)
        stored = store.profile(content.profiles.get(certificate.name, 0))
        profile = _read(stored)
        standing = vault.standing(certificate.name)
        decision = decide(wanted, profile, standing, now, secrets)
        found.append(Row(wanted, stored, profile, standing, decision))
    return found


def _read(stored: StoredProfile | None) -> Profile | None:
    try:
        return Profile.from_document(stored.record) if stored is not None else None
    except PkiError:
        return None


class Renewals:
    """All of it. `run` is for one caller at a time."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._ask_after = 0.0

    async def run(self) -> float:
        """Do what is due; returns the seconds until there is something to do again."""
        tried: set[str] = set()
        await self._adopt()
        await self._ask_for_windows()
        while True:
            content, found = self._rows()
            now = self._tools.clock.now()
            due = [row for row in found if row.decision.due(now) and row.wanted.name not in tried]
            if content is None or not due:
                break
            first = min(due, key=lambda row: (row.standing.attempted, row.decision.at))
            tried.add(first.wanted.name)
            await self._renew(content, first)
        if tried:
            await self._ask_for_windows()  # about what has come
            found = self._rows()[1]
        return self._pause(found, self._tools.clock.now())

    def _rows(self) -> tuple[Content | None, list[Row]]:
        version = self._tools.store.latest()
        if version is None:
            return None, []
        now = self._tools.clock.now()
        return version.content, rows(self._tools.store, self._tools.vault, version.content, now)

    def _pause(self, found: Sequence[Row], now: float) -> float:
        moments = [row.decision.at for row in found]
        moments += [max(seen.again, self._ask_after) for row in found for seen in row.standing.windows]
        return max(SHORTEST, min((at - now for at in moments), default=NOTHING_TO_DO))

    # --- one certificate ---------------------------------------------------------------------

    async def _renew(self, content: Content, row: Row) -> None:
        tools, wanted = self._tools, row.wanted
        now = tools.clock.now()
        # Written first: what takes the process down with it is not the first to be tried again.
        standing = replace(row.standing, attempted=now, asked=0.0)
        tools.vault.put_standing(wanted.name, standing)
        try:
            ready = await self._ready(content, row, standing)
            hold = await tools.gate.hold(wanted, ready.profile) if tools.gate is not None else None
            if hold is not None:
                self._waits(row, standing, hold)
                return
            await self._commit(ready.profile, f"automatic certificate {wanted.name}: {row.decision.reason}")
        except AcmeFailed as failure:
            await self._failed(row, standing, failure)
        except OperatorError as error:
            text = f"the new certificate could not be put in force: {error.message}"
            await self._failed(row, standing, AcmeFailed(f"{text} ({error.hint})" if error.hint else text))
        else:
            await self._succeeded(row, standing, ready)

    async def _ready(self, content: Content, row: Row, standing: Standing) -> Ready:
        """A certificate that was issued already and is still good, or a new one."""
        tools, wanted = self._tools, row.wanted
        ready = await tools.vault.ready(wanted.name)
        if ready is not None and ready.wish == wanted.wish and self._fresh(ready.profile):
            return ready
        async with (
            tools.connect(trusted_pem(content)) as authority,
            tools.challenges(wanted) as challenges,
        ):
            ordering = Ordering(authority, tools.vault, tools.clock)

            async def opened() -> Profile | None:
                return await self._opened(row.stored)

            ordered = await ordering.order(wanted, standing, challenges, row.profile, opened)
            made = Ready(ordered.profile, wanted.wish, ordered.remarks)
            await tools.vault.put_ready(wanted.name, made)
            await ordering.forget(wanted.name)
        return made

    def _fresh(self, profile: Profile) -> bool:
        now = self._tools.clock.now()
        return all(
            pair.leaf.not_after - now > READY_SHARE * (pair.leaf.not_after - pair.leaf.not_before)
            for pair in profile.pairs
        )

    async def _opened(self, stored: StoredProfile | None) -> Profile | None:
        if stored is None:
            return None
        try:
            return await open_profile(self._tools.keeper, stored)
        except (PkiError, SealBroken, OperatorError):
            return None

    async def _commit(self, profile: Profile, comment: str) -> None:
        """Put it in force; who commits at the same moment is waited for. Raises OperatorError."""
        pause = FIRST_PAUSE
        for _ in range(COMMIT_TRIES - 1):
            try:
                await self._tools.commit(profile, comment)
            except OperatorError as error:
                if error.code is not Exit.TRY_AGAIN:
                    raise
                await self._tools.pause(pause)
                pause *= 2
            else:
                return
        await self._tools.commit(profile, comment)

    async def _adopt(self) -> None:
        """What was put in force just before we were cut off is ours, and was not counted yet."""
        for row in self._rows()[1]:
            if row.profile is None or fingerprints(row.profile) == row.standing.issued:
                continue
            ready = await self._tools.vault.ready(row.wanted.name)
            if ready is not None and fingerprints(ready.profile) == fingerprints(row.profile):
                await self._succeeded(row, row.standing, ready)

    # --- what became of it -------------------------------------------------------------------

    async def _succeeded(self, row: Row, standing: Standing, ready: Ready) -> None:
        tools, name = self._tools, row.wanted.name
        now = tools.clock.now()
        leaves = [pair.leaf for pair in ready.profile.pairs]
        before = fingerprints(row.profile) if row.profile is not None else ()
        stayed = not standing.issued or before in (standing.issued, fingerprints(ready.profile))
        done = Standing(
            ready.wish,
            fingerprints(ready.profile),
            attempted=standing.attempted,
            outcome="issued",
            remarks=ready.remarks,
            lost=0 if stayed else standing.lost + 1,
        )
        tools.vault.put_standing(name, done)
        await tools.vault.put_ready(name, None)
        for leaf in leaves:
            how = ready.profile.origin.value
            tools.emit(CertificateIssued(now, name, how, leaf.subject, leaf.not_after, leaf.fingerprint))
        if standing.failures:
            await tools.alerts.tell(success_alert(name, standing.failures, leaves[0].not_after))

    async def _failed(self, row: Row, standing: Standing, failure: AcmeFailed) -> None:
        tools, wanted = self._tools, row.wanted
        now = tools.clock.now()
        end = last_moment(row.profile, now)
        failures = standing.failures + 1
        again = next_try(
            failures,
            end,
            now,
            failure.retry_after,
            permanent=failure.permanent,
            jitter=place(f"{wanted.name} {failures}"),
        )
        secrets = tools.vault.secrets_mark()
        standing = replace(
            standing,
            outcome=failure.whole,
            failed=True,
            failures=failures,
            again=again,
            settings=wanted.settings(secrets),
            waits="",
        )
        # What was asked for by hand before its time is not tried again before its time.
        again = decide(wanted, row.profile, standing, now, secrets).at
        tools.emit(CertificateRenewalFailed(now, wanted.name, failure.whole, again))
        alert = failure_alert(wanted, row.profile, standing, failure, now, again)
        if tell_again(standing, alert.severity, now):
            standing = replace(standing, told=now, told_severity=alert.severity)
            await tools.alerts.tell(alert)
        tools.vault.put_standing(wanted.name, standing)

    def _waits(self, row: Row, standing: Standing, hold: Hold) -> None:
        """It is issued, and waits; that is no failure."""
        tools, name = self._tools, row.wanted.name
        now = tools.clock.now()
        if hold.reason != standing.waits:
            tools.emit(CertificateWaits(now, name, hold.reason))
        tools.vault.put_standing(
            name,
            replace(
                standing,
                waits=hold.reason,
                failures=0,
                again=now + hold.seconds,
                settings=row.wanted.settings(tools.vault.secrets_mark()),
            ),
        )

    # --- renewal windows ---------------------------------------------------------------------

    async def _ask_for_windows(self) -> None:
        """Ask about every certificate that we ordered and that is to be asked about by now (RFC 9773 §4.3)."""
        content, found = self._rows()
        now = self._tools.clock.now()
        if content is None or now < self._ask_after <= now + ASK_AGAIN:
            return
        asked = [(row, leaf) for row in found for leaf in _to_be_asked(row, now)]
        if not asked:
            return
        async with self._tools.connect(trusted_pem(content)) as authority:
            for row, (fingerprint, der) in asked:
                try:
                    window = await authority.window(row.wanted.acme.directory, der)
                except AcmeFailed:
                    self._ask_after = now + ASK_AGAIN  # what was said before stays good
                    return
                self._learnt(row, fingerprint, window, now)

    def _learnt(self, row: Row, fingerprint: str, window: Window | None, now: float) -> None:
        vault, name = self._tools.vault, row.wanted.name
        seen = SeenWindow(fingerprint, now + WITHOUT_WINDOW)
        if window is not None:
            seen = SeenWindow(
                fingerprint, now + window.retry_after, window.start, window.end, window.explanation
            )
        vault.put_standing(name, vault.standing(name).with_window(seen, row.standing.issued))


def _to_be_asked(row: Row, now: float) -> list[tuple[str, bytes]]:
    """Fingerprint and DER of the certificates in force that the authority is to be asked about."""
    if row.profile is None or row.profile.origin in STANDS_IN:
        return []
    found = []
    for pair in row.profile.pairs:
        fingerprint = pair.leaf.fingerprint
        seen = row.standing.seen(fingerprint)
        clock_was_ahead = seen is not None and seen.again > now + 2 * NOTHING_TO_DO
        if fingerprint in row.standing.issued and (seen is None or clock_was_ahead or seen.again <= now):
            found.append((fingerprint, pair.certificate))
    return found
