"""The MTA-STS policy of a domain: announced by a TXT record, fetched over HTTPS, kept until it ends (RFC 8461 §3 and §5).

The record's id says whether the policy that is known is still the right one. What cannot be looked up or fetched never takes a known
policy away before its end, and without a known one it means that there is none: MTA-STS protects from the second message on. A policy is
fetched anew when its id changed, and daily; a fetch that failed is not repeated for a while. Several deliveries that want the same
domain's policy wait for one fetch.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from gatepost.core.cache_counts import CacheCounts, CacheState
from gatepost.core.ports import Clock
from gatepost.core.reasons import Reason
from gatepost.net.dns_answer import DnsAnswer
from gatepost.store.sts_cache import CachedPolicy, StsCache
from gatepost.wire.mta_sts import Mode, StsFault, StsPolicy, read_policy, record_id

FRESH = 86_400.0  # seconds after which a policy is fetched again although its id is the same
RETRY = 300.0  # seconds between fetches of a policy that cannot be had
MAX_KNOWN = 5_000

Fetch = Callable[[str], Awaitable[bytes]]
"""The octets of a domain's policy file. Raises StsFault with the reason when it cannot be had."""


class TxtLookUp(Protocol):
    async def txt(self, name: str) -> DnsAnswer[str]: ...


@dataclass(slots=True)
class _Known:
    """What is remembered of one domain; `policy` None: none was found."""

    identifier: str
    policy: StsPolicy | None
    fetched: float
    tried: float  # the last attempt to fetch
    problem: Reason | None = None  # why the last attempt failed

    def lasts(self, now: float) -> bool:
        return self.policy is not None and self.fetched <= now < self.fetched + self.policy.max_age


@dataclass(frozen=True, slots=True)
class StsAccount:
    """What is remembered of a domain, for people: the record's id, when its policy was fetched and until when it counts, and
    why the last fetch failed."""

    identifier: str
    fetched: float
    until: float
    problem: Reason | None = None


class StsPolicies:
    """The policies that a worker knows. `note(text)` is told of what an administrator may want to know."""

    def __init__(
        self,
        resolver: Callable[[], TxtLookUp],
        fetch: Fetch,
        cache: StsCache,
        clock: Clock,
        note: Callable[[str], None],
    ) -> None:
        self._resolver = resolver
        self._fetch = fetch
        self._cache = cache
        self._clock = clock
        self._note = note
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._counts = CacheCounts()
        self._asking: dict[str, asyncio.Future[StsPolicy | None]] = {}

    async def of(self, domain: str) -> StsPolicy | None:
        """The policy in force for a domain (normalised), or None. Never raises for what DNS and the web do."""
        asking = self._asking.get(domain)
        if asking is None:
            asking = self._asking[domain] = asyncio.ensure_future(self._find(domain))
            asking.add_done_callback(lambda _: self._asking.pop(domain, None))
        return await asyncio.shield(asking)

    async def doubt(self, domain: str) -> str:
        """Why it is not known, after `of` found no policy, that the domain has none; empty where that is known."""
        known = self._known.get(domain)
        if known is not None and known.problem is not None:
            return f"its MTA-STS policy could not be fetched: {known.problem}"
        answer = await self._resolver().txt(f"_mta-sts.{domain}")
        return f"its MTA-STS record could not be looked up: {answer.detail}" if answer.temporary else ""

    def cache_state(self) -> CacheState:
        """A hit is a policy that was known and not fetched; a domain that announces none is neither hit nor miss."""
        return self._counts.state(len(self._known), MAX_KNOWN)

    def account(self, domain: str) -> StsAccount | None:
        """What is remembered of a domain (normalised), after `of`; None where it announces no policy."""
        known = self._known.get(domain)
        if known is None:
            return None
        until = known.fetched + known.policy.max_age if known.policy is not None else 0.0
        return StsAccount(known.identifier, known.fetched, until, known.problem)

    async def _find(self, domain: str) -> StsPolicy | None:
        known = await self._remembered(domain)
        now = self._clock.now()
        lasting = known.policy if known is not None and known.lasts(now) else None
        answer = await self._resolver().txt(f"_mta-sts.{domain}")
        try:
            identifier = record_id(answer.values) if answer.found else None
        except StsFault as fault:
            self._note(f"MTA-STS record of {domain} does not count: {fault}")
            identifier = None
        if identifier is None:
            self._counts.hits += lasting is not None
            return lasting  # absent, unreadable or unreachable: what is known goes on until its end
        if (
            known is not None
            and identifier == known.identifier
            and now - known.tried < self._pause(known, now)
        ):
            self._counts.hits += 1
            return lasting
        self._counts.misses += 1
        return await self._refresh(domain, identifier, known, lasting)

    def _pause(self, known: _Known, now: float) -> float:
        """How long after the last attempt the same id is not fetched again."""
        if not known.lasts(now):
            return RETRY
        assert known.policy is not None
        return max(RETRY, min(FRESH, known.policy.max_age / 2)) if known.tried == known.fetched else RETRY

    async def _refresh(
        self, domain: str, identifier: str, known: _Known | None, lasting: StsPolicy | None
    ) -> StsPolicy | None:
        now = self._clock.now()
        try:
            body = await self._fetch(domain)
            policy = read_policy(body)
        except StsFault as fault:
            self._note(f"MTA-STS policy of {domain} could not be fetched: {fault}")
            if known is not None and lasting is not None:
                # Its id stays, so that the new one is fetched as soon as that is possible.
                known.tried, known.problem = now, fault.reason
            else:
                self._remember(domain, _Known(identifier, None, now, now, fault.reason))
            return lasting
        self._remember(domain, _Known(identifier, policy, now, now))
        if policy.mode is Mode.NONE:
            await asyncio.to_thread(self._cache.forget, domain)
        else:
            await asyncio.to_thread(self._cache.save, domain, CachedPolicy(identifier, now, body))
        return policy if policy.max_age else None

    async def _remembered(self, domain: str) -> _Known | None:
        known = self._known.get(domain) or await asyncio.to_thread(self._from_disk, domain)
        if known is None:
            return None
        if known.policy is not None and not known.lasts(self._clock.now()):
            self._known.pop(domain, None)
            await asyncio.to_thread(self._cache.forget, domain)
            return None
        self._remember(domain, known)
        return known

    def _from_disk(self, domain: str) -> _Known | None:
        cached = self._cache.load(domain)
        if cached is None:
            return None
        try:
            policy = read_policy(cached.body)
        except StsFault:
            return None
        return _Known(cached.identifier, policy, cached.fetched, cached.fetched)

    def _remember(self, domain: str, known: _Known) -> None:
        self._known[domain] = known
        self._known.move_to_end(domain)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
