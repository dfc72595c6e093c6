"""The desk's own jobs: due, woken, broken, ended."""

from __future__ import annotations

import asyncio

import pytest

from gatepost.app.jobs import Jobs

PATIENCE = 10.0


class Counting:
    def __init__(self, name: str, pause: float, error: Exception | None = None) -> None:
        self.name = name
        self.pause = pause
        self.error = error
        self.count = 0
        self.ran = asyncio.Event()

    async def run(self) -> float:
        self.count += 1
        self.ran.set()
        if self.error is not None:
            raise self.error
        return self.pause

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.count < count:
                self.ran.clear()
                await self.ran.wait()


def no_bug(where: str, error: BaseException) -> str:
    raise AssertionError(where) from error


def test_a_job_runs_at_once_and_again_when_it_is_due() -> None:
    async def main() -> None:
        often = Counting("often", 0.0)
        jobs = Jobs([often], no_bug)
        jobs.start()
        await often.until(3)
        await jobs.close()
        ended = often.count
        for _ in range(20):  # turns of the loop: more than a job without a pause needs for the next run
            await asyncio.sleep(0)
        assert ended >= 3
        assert often.count == ended

    asyncio.run(main())


def test_waking_reaches_the_named_job_or_all() -> None:
    async def main() -> None:
        one, two = Counting("one", 1e9), Counting("two", 1e9)
        jobs = Jobs([one, two], no_bug)
        jobs.start()
        await one.until(1)
        await two.until(1)
        jobs.wake("one")
        await one.until(2)
        assert two.count == 1
        jobs.wake()
        await one.until(3)
        await two.until(2)
        await jobs.close()

    asyncio.run(main())


def test_who_asks_a_job_to_look_learns_when_it_has() -> None:
    class Slow(Counting):
        async def run(self) -> float:
            await super().run()
            await self.go.wait()
            return 1e9

    async def main() -> None:
        slow = Slow("slow", 1e9)
        slow.go = asyncio.Event()  # type: ignore[attr-defined]
        jobs = Jobs([slow], no_bug)
        jobs.start()
        await slow.until(1)
        looked = jobs.look("slow")  # while it runs: what it has begun with may be older than the question
        slow.go.set()  # type: ignore[attr-defined]
        async with asyncio.timeout(PATIENCE):
            await looked
        assert slow.count == 2
        slow.go.clear()  # type: ignore[attr-defined]
        left = jobs.look("slow")
        await slow.until(3)
        await jobs.close()
        assert left.done()
        with pytest.raises(KeyError):
            jobs.look("unknown")

    asyncio.run(main())


def test_a_bug_is_told_and_stops_neither_the_job_nor_the_others() -> None:
    async def main() -> None:
        told: list[str] = []
        broken, sound = Counting("broken", 0.0, ValueError("x")), Counting("sound", 1e9)
        jobs = Jobs([broken, sound], lambda where, error: told.append(f"{where}: {error}") or "")
        jobs.start()
        await sound.until(1)
        await broken.until(1)
        jobs.wake()
        await broken.until(2)
        assert told == ["job broken: x"] * 2
        await jobs.close()

    asyncio.run(main())
