"""The score of a sender, asked of DNS lists while the session waits for its greeting (policy.reputation judges).

How it works. All lists are asked at once, beside the look-up of the sender's name; a look-up has two seconds in all. Sessions
of one sender share it, with the last of them it ends, and its result is kept by the answers' times to live. A list is tried at its test points before it
counts for the first time, then daily, and one that did not answer then a minute later; one that lists everything is left out
for as long as it does (RFC 5782 §5).

Limits. 10,000 scores; two seconds; a list that could not be asked adds nothing, and what the others said is kept for a minute.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any

from gatepost.core.address import IPAddress
from gatepost.core.cache_counts import CacheCounts, CacheState
from gatepost.net.resolver import Resolver
from gatepost.net.shared import SharedWork
from gatepost.policy.hat import NoScore, plain_address
from gatepost.policy.reputation import (
    LISTED_POINT,
    SHORTEST,
    UNLISTED_POINT,
    Health,
    ListAnswer,
    Said,
    ScoredList,
    ScoreRules,
    Standing,
    judge_list,
    keep_for,
    question,
    read_answer,
    standing_of,
    unknown_to_lists,
)

SECONDS = 2.0
CHECK_AGAIN = 86_400.0
CHECK_SOON = 60.0
COMPLAIN_AGAIN = 3_600.0
MAX_SCORES = 10_000


class SenderScores:
    """The scores of one worker. `seconds` bounds one look-up."""

    def __init__(self, *, limit: int = MAX_SCORES, seconds: float = SECONDS) -> None:
        self._limit = limit
        self._seconds = seconds
        self._known: OrderedDict[IPAddress, tuple[float, ScoreRules, Standing]] = OrderedDict()
        self._counts = CacheCounts()
        self._shared = SharedWork()
        self._checked: dict[ScoredList, tuple[float, Health]] = {}
        self._complained: dict[str, float] = {}  # zone -> when the log may be told again
        self._checking: dict[ScoredList, asyncio.Task[Health]] = {}

    def known(self, rules: ScoreRules, peer: IPAddress) -> Standing | None:
        """The standing of a sender if nobody has to be asked for it."""
        address = plain_address(peer)
        entry = self._known.get(address)
        if entry is not None:
            until, of, standing = entry
            if (of is rules or of == rules) and until > asyncio.get_running_loop().time():
                self._known.move_to_end(address)
                self._counts.hits += 1
                return standing
            del self._known[address]
        note = unknown_to_lists(address)
        return Standing(NoScore.NONE, note=note) if note else None

    def cache_state(self) -> CacheState:
        return self._counts.state(len(self._known), self._limit)

    async def standing(self, resolver: Resolver, rules: ScoreRules, peer: IPAddress) -> Standing:
        """The same, looked up where it is not known. The look-up ends with the last of its callers."""
        known = self.known(rules, peer)
        if known is not None:
            return known
        self._counts.misses += 1
        address = plain_address(peer)
        return await self._shared.join((address, id(rules)), lambda: self._look_up(resolver, rules, address))

    def complaints(self, standing: Standing) -> list[str]:
        """What the log is to be told of answers that do not count, once an hour for each list."""
        now = asyncio.get_running_loop().time()
        found = []
        for one in standing.answers:
            if one.said is Said.IGNORED and self._complained.get(one.zone, now) <= now:
                self._complained[one.zone] = now + COMPLAIN_AGAIN
                found.append(f"DNS list {one.zone}: an answer does not count: {one.detail}")
        return found

    def check(self, resolver: Resolver, rules: ScoreRules) -> None:
        """Try the lists of a configuration that comes into force, so that the first sender need not wait for that."""
        for one in [one for one in self._checked if one not in rules.lists]:
            del self._checked[one]
            self._complained.pop(one.zone, None)
        if rules.asked:
            for one in rules.lists:
                self._check(resolver, one)

    async def _look_up(self, resolver: Resolver, rules: ScoreRules, address: IPAddress) -> Standing:
        said = await asyncio.gather(*(self._ask(resolver, one, address) for one in rules.lists))
        standing = standing_of([answer for answer, _ in said])
        until = asyncio.get_running_loop().time() + keep_for([ttl for _, ttl in said])
        self._known[address] = (until, rules, standing)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return standing

    async def _ask(self, resolver: Resolver, one: ScoredList, address: IPAddress) -> tuple[ListAnswer, float]:
        """What one list says, and for how long."""
        try:
            async with asyncio.timeout(self._seconds):
                health = self._check(resolver, one)
                if isinstance(health, asyncio.Task):
                    health = await asyncio.shield(health)
                if not health.counts:
                    return ListAnswer(one.zone, Said.LEFT_OUT, detail=f"it {health}"), SHORTEST
                found = await resolver.entries(question(address, one.zone))
        except TimeoutError:
            detail = f"no answer within {self._seconds:g} s"
            return ListAnswer(one.zone, Said.FAILED, detail=detail), SHORTEST
        if found.temporary:
            return ListAnswer(one.zone, Said.FAILED, detail=found.detail), SHORTEST
        return read_answer(one, found.values), found.ttl

    def _check(self, resolver: Resolver, one: ScoredList) -> Health | asyncio.Task[Health]:
        """How the list behaved at its last test; without one, or when it is long ago, the test that is being made."""
        until, health = self._checked.get(one, (0.0, None))
        if health is not None and until > asyncio.get_running_loop().time():
            return health
        task = self._checking.get(one)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._test(resolver, one))
            self._checking[one] = task
            task.add_done_callback(lambda _: self._checking.pop(one, None))
        return task if health is None else health  # what was known goes on until the new test has an answer

    async def _test(self, resolver: Resolver, one: ScoredList) -> Health:
        health = await try_list(resolver, one, self._seconds)
        again = CHECK_SOON if health is Health.UNKNOWN or not health.counts else CHECK_AGAIN
        self._checked[one] = (asyncio.get_running_loop().time() + again, health)
        return health

    async def close(self) -> None:
        """End what is on the way."""
        await self._shared.close()
        tasks = list(self._checking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def try_list(resolver: Resolver, one: ScoredList, seconds: float = SECONDS) -> Health:
    """Ask a list about its two test points."""
    points: list[Coroutine[Any, Any, Any]] = [
        resolver.entries(question(point, one.zone)) for point in (LISTED_POINT, UNLISTED_POINT)
    ]
    try:
        async with asyncio.timeout(seconds):
            listed, unlisted = await asyncio.gather(*points)
    except TimeoutError:
        return Health.UNKNOWN
    if listed.temporary or unlisted.temporary:
        return Health.UNKNOWN
    return judge_list(one, listed.values, unlisted.values)
