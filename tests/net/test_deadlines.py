from __future__ import annotations

import asyncio

from tests.net.kit import run, until

from gatepost.net.deadlines import NEVER, DeadlineSweeper


class Watched:
    def __init__(self, deadline: float, sweeper: DeadlineSweeper) -> None:
        self.deadline = deadline
        self.sweeper = sweeper
        self.expired = asyncio.Event()
        self.times = 0

    def expire(self) -> None:
        self.times += 1
        self.expired.set()
        if self.times == 2:
            self.sweeper.remove(self)


def test_only_the_overdue_expire_and_again_until_they_leave() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sweeper = DeadlineSweeper(loop, 0.002)
        due, patient = Watched(loop.time(), sweeper), Watched(NEVER, sweeper)
        sweeper.add(due)
        sweeper.add(patient)
        await until(lambda: len(sweeper) == 1)
        assert due.times == 2
        assert patient.times == 0
        patient.deadline = loop.time()
        await patient.expired.wait()
        sweeper.close()
        assert len(sweeper) == 0

    run(main)


def test_the_timer_rests_while_there_is_nothing_to_watch() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sweeper = DeadlineSweeper(loop, 0.001)
        first = Watched(NEVER, sweeper)
        sweeper.add(first)
        sweeper.remove(first)
        await until(lambda: sweeper._timer is None)
        second = Watched(loop.time(), sweeper)
        sweeper.add(second)
        await second.expired.wait()
        assert (first.times, second.times) == (0, 1)
        sweeper.close()

    run(main)
