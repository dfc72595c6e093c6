"""Work done once for several: shared, ended with the last who waits, kept where somebody wants it kept."""

from __future__ import annotations

import asyncio

import pytest
from tests.net.kit import run

from gatepost.net.shared import SharedWork


class Job:
    """Work that ends when it is let; `begun`, `ended` and `cancelled` count."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = self.ended = self.cancelled = 0

    async def work(self) -> int:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1
        return 7


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_many_wait_for_one() -> None:
    async def main() -> None:
        job, shared = Job(), SharedWork()
        waiting = [asyncio.ensure_future(shared.join("a", job.work)) for _ in range(5)]
        await turns()
        assert len(shared) == 1
        job.go.set()
        assert await asyncio.gather(*waiting) == [7] * 5
        assert (job.begun, len(shared)) == (1, 0)

    run(main)


def test_the_work_ends_with_the_last_who_waits_and_not_before() -> None:
    async def main() -> None:
        job, shared = Job(), SharedWork()
        first, second = (asyncio.ensure_future(shared.join("a", job.work)) for _ in range(2))
        await turns()
        first.cancel()
        await turns()
        assert (job.cancelled, len(shared)) == (0, 1)
        second.cancel()
        await turns()
        assert (job.cancelled, len(shared)) == (1, 0)

    run(main)


def test_who_comes_when_the_work_was_given_up_begins_anew() -> None:
    async def main() -> None:
        job, shared = Job(), SharedWork()
        first = asyncio.ensure_future(shared.join("a", job.work))
        await turns()
        first.cancel()
        await turns(1)  # its task is told to end and has not ended yet
        second = asyncio.ensure_future(shared.join("a", job.work))
        await turns()
        job.go.set()
        assert await second == 7
        assert (job.begun, job.cancelled, job.ended) == (2, 1, 1)

    run(main)


def test_what_is_worth_keeping_goes_on_alone_until_it_is_closed() -> None:
    async def main() -> None:
        job, shared = Job(), SharedWork()
        for keep in (True, False):
            waiting = asyncio.ensure_future(shared.join("a", job.work, keep=keep))
            await turns()
            waiting.cancel()
            await turns()
        assert (job.begun, job.cancelled, len(shared)) == (1, 0, 1)
        await shared.close()
        assert (job.cancelled, len(shared)) == (1, 0)

    run(main)


def test_close_cancels_who_waits_and_a_failure_goes_to_all() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def main() -> None:
        job, shared = Job(), SharedWork()
        waiting = asyncio.ensure_future(shared.join("a", job.work))
        failing = [asyncio.ensure_future(shared.join("b", fails)) for _ in range(2)]
        for one in failing:
            with pytest.raises(ValueError, match="no"):
                await one
        await shared.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(main)
