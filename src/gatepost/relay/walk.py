"""The way of a message, walked without one: where it would go, what was looked up for that, and what the hosts show when they are called.

Every step is the delivery's own: `resolve`, `plan_for`, `Opener`. Only what the steps report to is another: the journal hears nothing, so that
nobody is alerted and no delivery is counted; identifiers are made up; what the walk learns about our certificate is forgotten with it.
The resolver is listened to, so that what is shown is what was asked. MTA-STS policies that are fetched on the way are kept,
as a delivery keeps them.

A call goes as far as EHLO inside TLS, then QUIT: never MAIL. Only the addresses that a delivery would call are called (C43), ten at most,
one after the other as in one attempt: once a handshake broke, no later host is taken in clear (R24). One that takes its time has twenty seconds,
all together a minute. Places under connection limits are not claimed: it is one connection at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from gatepost.core.tls import NO_WISHES, TlsPlan, TlsWishes
from gatepost.net.overheard import LookUp, Overheard, PolicySeen
from gatepost.net.resolver import Resolver
from gatepost.net.trail import Call
from gatepost.policy.hop import Hop, LeftOut
from gatepost.policy.tls_out import DestinationRule
from gatepost.relay.connect import HopFailed, Opener
from gatepost.relay.outcome import Failure, telling
from gatepost.relay.proven_way import resolve_proven
from gatepost.relay.quiet import quiet
from gatepost.relay.resolve import Unresolved, resolve
from gatepost.relay.schedule import Destination
from gatepost.relay.services import Remembered, Runtime, Services
from gatepost.relay.sts import StsAccount, StsPolicies
from gatepost.wire.mta_sts import StsPolicy

LOOK_SECONDS = 40.0  # for all look-ups and the fetch of policies
MAX_CALLS = 10
HOST_SECONDS = 20.0
CALL_SECONDS = 60.0  # for all hosts together


@dataclass(frozen=True, slots=True)
class Found:
    """Where a message would go. `failure` is empty when there are hops; `permanent`: the message would bounce."""

    hops: tuple[Hop, ...]
    look_ups: tuple[LookUp, ...]
    policies: tuple[PolicySeen, ...]
    left_out: tuple[LeftOut, ...]
    failure: str = ""
    status: str = ""
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Calls:
    """What came of the hosts. `failure` and `status` are what a message would be put off with, were all refused."""

    calls: tuple[Call, ...] = ()
    failure: str = ""
    status: str = ""


class _Listened:
    """MTA-STS policies as the delivery asks for them, and what was found."""

    def __init__(self, policies: StsPolicies, resolver: Overheard) -> None:
        self._policies = policies
        self._resolver = resolver
        self.seen: list[PolicySeen] = []

    async def of(self, domain: str) -> StsPolicy | None:
        policy = await self._policies.of(domain)
        record = await self._resolver.txt(f"_mta-sts.{domain}")
        known = self._policies.account(domain)
        if known is None:
            self.seen.append(PolicySeen(domain, record, policy))
        else:
            self.seen.append(
                PolicySeen(
                    domain, record, policy, known.identifier, known.fetched, known.until, known.problem
                )
            )
        return policy

    async def doubt(self, domain: str) -> str:
        return await self._policies.doubt(domain)

    def account(self, domain: str) -> StsAccount | None:
        return self._policies.account(domain)


class _Lent(Remembered[float]):
    """What the worker remembers, to be read; what is learnt is kept here."""

    def __init__(self, remembered: Remembered[float]) -> None:
        super().__init__(MAX_CALLS)
        self._remembered = remembered

    def get(self, key: Hashable) -> float | None:
        own = super().get(key)
        return own if own is not None else self._remembered.get(key)


class Walk:
    """One domain (normalised) under one configuration, for a message with these wishes."""

    def __init__(
        self,
        services: Services,
        runtime: Runtime,
        domain: str,
        rule: DestinationRule,
        wishes: TlsWishes = NO_WISHES,
    ) -> None:
        self._overheard = Overheard(services.resolver)
        self._policies = _Listened(services.sts, self._overheard)
        self._runtime = runtime
        self._domain = domain
        self._rule = rule
        self._wishes = wishes
        self._services = replace(
            quiet(services),
            resolver=cast(Resolver, self._overheard),
            sts=cast(StsPolicies, self._policies),
            unwelcome_certificates=_Lent(services.unwelcome_certificates),
        )

    async def look(self) -> Found:
        """The hops, and all that was looked up for them. Never raises for what DNS does."""
        left_out: list[LeftOut] = []
        hops: list[Hop] = []
        failure: Failure | None = None
        text, status = "", ""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                find = resolve_proven if self._wishes.requiretls else resolve
                hops = await find(self._services, self._runtime, self._domain, self._rule, left_out.append)
        except Unresolved as unresolved:
            failure = unresolved.failure
            text, status = failure.text, f"{failure.status} - {failure.problem}"
        except TimeoutError:
            text = f"the look-ups took longer than {LOOK_SECONDS:g} s; a delivery would wait for them"
        return Found(
            tuple(hops),
            tuple(self._overheard.look_ups),
            tuple(self._policies.seen),
            tuple(left_out),
            text,
            status,
            failure is not None and failure.permanent,
        )

    def plan(self, hop: Hop) -> TlsPlan:
        """The plan of a first attempt."""
        return self._opener(hop).plan(clear_allowed=True, broken_attempts=0)

    async def call(self, hops: Sequence[Hop]) -> Calls:
        """Call the hosts in order, as one attempt of a delivery does; after one that passes the others are called all the same."""
        deadline = asyncio.get_running_loop().time() + CALL_SECONDS
        calls: list[Call] = []
        clear_allowed = True
        told: Failure | None = None
        for hop in hops:
            call, failed = await self._one(hop, len(calls), clear_allowed, deadline)
            calls.append(call)
            if failed is not None:
                clear_allowed = clear_allowed and not failed.handshake_broken
                told = failed.failure if told is None else telling(told, failed.failure)
        if any(call.passes for call in calls) or not calls:
            return Calls(tuple(calls))
        if told is None:
            return Calls(tuple(calls), "no host answered in the time that was given to it")
        return Calls(tuple(calls), told.text, f"{told.status} - {told.problem}")

    async def _one(
        self, hop: Hop, earlier: int, clear_allowed: bool, deadline: float
    ) -> tuple[Call, HopFailed | None]:
        left = deadline - asyncio.get_running_loop().time()
        call = Call(hop.address, hop.port, clear_allowed=clear_allowed)
        if earlier >= MAX_CALLS or left <= 0:
            why = f"only {MAX_CALLS} are" if earlier >= MAX_CALLS else f"{CALL_SECONDS:g} s are over"
            return replace(call, skipped=f"not called: {why}"), None
        opener = self._opener(hop)
        seconds = min(left, HOST_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                connection = await opener.open(clear_allowed=clear_allowed, broken_attempts=0)
        except HopFailed as failed:
            status = f"{failed.failure.status} - {failed.failure.problem}"
            trails = tuple(opener.trails)
            return replace(call, trails=trails, failure=failed.failure.text, status=status), failed
        except TimeoutError:
            text = f"it took longer than {seconds:.0f} s; a delivery would wait on"
            return replace(call, trails=tuple(opener.trails), skipped=text), None
        lacking = connection.lacking(self._wishes)
        await connection.close()
        if lacking is not None:
            status = f"{lacking.status} - {lacking.problem}"
            found = replace(call, trails=tuple(opener.trails), failure=lacking.text, status=status)
            return found, HopFailed(lacking, 0)
        return replace(call, trails=tuple(opener.trails)), None

    def _opener(self, hop: Hop) -> Opener:
        destination = Destination(self._domain)
        return Opener(self._services, self._runtime, destination, self._rule, hop, wishes=self._wishes)
