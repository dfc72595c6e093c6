"""Tasks of a worker, owned by a group: none is lost, each failure is reported, all can be ended.

A plain `create_task` loses its exception and may be collected while it runs; here the group keeps the
reference and hands an unexpected exception to `on_bug`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """A group of tasks that live independently of each other."""

    def __init__(self, name: str, on_bug: Callable[[str, BaseException], str]) -> None:
        self.name = name
        self._on_bug = on_bug
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._on_bug(self.name, error)

    async def wait(self, seconds: float) -> bool:
        """Wait until all have ended, at most so long. True when none is left."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)
        return not self._running

    async def cancel(self) -> None:
        """Cancel what still runs and wait until it is gone."""
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running))
