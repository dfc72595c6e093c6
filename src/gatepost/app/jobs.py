"""What the desk does by itself: each job a task that sleeps until it is due, or until something wakes it.

A job says how long it wants to sleep; a committed configuration wakes all of them, since it may have changed what is due. A bug
in one job is logged and the job tried again after a while; the others do not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from gatepost.relay.tasks import Tasks

AFTER_BUG = 300.0  # seconds
LONGEST_SLEEP = 3600.0  # a clock that jumps is noticed within an hour


class Job(Protocol):
    """Something to be done now and then."""

    name: str

    async def run(self) -> float:
        """Do what is due now; returns the seconds until there is something to do again."""
        ...


class Jobs:
    """Runs jobs until it is closed. `on_bug(where, error)` writes a bug down."""

    def __init__(self, jobs: Iterable[Job], on_bug: Callable[[str, BaseException], str]) -> None:
        self._jobs = tuple(jobs)
        self._on_bug = on_bug
        self._bells = {job.name: asyncio.Event() for job in self._jobs}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {job.name: [] for job in self._jobs}
        self._tasks = Tasks("job", on_bug)

    def start(self) -> None:
        """Run every job once now, and from then on when it is due."""
        for job in self._jobs:
            self._tasks.spawn(self._keep_running(job))

    def wake(self, name: str = "") -> None:
        """Let one job look again at once, or all of them."""
        for known, bell in self._bells.items():
            if name in ("", known):
                bell.set()

    def look(self, name: str) -> asyncio.Future[None]:
        """Let one job look at once; done when it has looked, or will not any more. Raises KeyError for an unknown one."""
        looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name].append(looked)
        self.wake(name)
        return looked

    async def close(self) -> None:
        """End them where they stand; what a job keeps must bear that."""
        await self._tasks.cancel()
        for waiting in self._waiting.values():
            _tell(waiting)

    async def _keep_running(self, job: Job) -> None:
        bell = self._bells[job.name]
        while True:
            bell.clear()
            waiting, self._waiting[job.name] = self._waiting[job.name], []
            try:
                pause = await job.run()
            except Exception as error:  # noqa: BLE001 - the boundary of a job: the others go on
                self._on_bug(f"job {job.name}", error)
                pause = AFTER_BUG
            finally:
                _tell(waiting)
            try:
                async with asyncio.timeout(min(max(pause, 0.0), LONGEST_SLEEP)):
                    await bell.wait()
            except TimeoutError:
                pass


def _tell(waiting: Iterable[asyncio.Future[None]]) -> None:
    for looked in waiting:
        if not looked.done():
            looked.set_result(None)
