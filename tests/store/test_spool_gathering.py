"""When the loop lets a writer commit: at rest at once, while it is busy after a while."""

from __future__ import annotations

import asyncio
import time

from gatepost.store.spool.gathering import Gatherer

LONG = 60.0


class Bell:
    def __init__(self) -> None:
        self.rung = asyncio.Event()
        self.count = 0

    def ring(self) -> None:
        self.count += 1
        self.rung.set()


class Traffic:
    """A number that grows by itself in each of the loop's next `turns`."""

    def __init__(self, turns: int) -> None:
        self.count = 0
        self.turns = turns

    def __call__(self) -> int:
        if self.turns:
            self.turns -= 1
            self.count += 1
        return self.count


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def gatherer(longest: float, traffic: Traffic) -> Gatherer:
    return Gatherer(asyncio.get_running_loop(), longest, traffic)


def test_a_loop_at_rest_commits_with_its_next_turn() -> None:
    async def main() -> None:
        bell = Bell()
        gatherer(LONG, Traffic(0)).add(bell)
        assert bell.count == 0
        await turns(1)
        assert bell.count == 1
        await turns(5)
        assert bell.count == 1

    asyncio.run(main())


def test_who_comes_while_the_loop_is_busy_shares_the_commit() -> None:
    async def main() -> None:
        bell, other = Bell(), Bell()
        gathering = gatherer(LONG, Traffic(10))
        gathering.add(bell)
        for _ in range(9):
            await turns(1)
            gathering.add(bell)
        assert bell.count == 0
        gathering.add(other)
        await turns(2)
        assert (bell.count, other.count) == (1, 1)

    asyncio.run(main())


def test_a_loop_that_never_rests_commits_after_the_longest_time() -> None:
    async def main() -> None:
        bell = Bell()
        started = time.monotonic()
        gatherer(0.02, Traffic(10**9)).add(bell)
        await asyncio.wait_for(bell.rung.wait(), 10)
        assert bell.count == 1
        assert time.monotonic() - started >= 0.02

    asyncio.run(main())


def test_each_commit_is_asked_for_anew() -> None:
    async def main() -> None:
        bell = Bell()
        gathering = gatherer(LONG, Traffic(3))
        for expected in (1, 2, 3):
            gathering.add(bell)
            await turns(6)
            assert bell.count == expected

    asyncio.run(main())
