"""Work that several want at the same time, done once: a look-up, as a rule.

How it works. The first to `join` a key begins the work, and the others wait for the same. Work that was begun goes on when a
caller is cancelled, as long as somebody else waits for it; with the last one it ends, unless somebody who joined said
that its result is worth having all the same (`keep`). So nobody can leave work behind by asking and going away (C27).

Limits. As much work at a time as there are keys that somebody waits for; whoever calls bounds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class _Work:
    __slots__ = ("keep", "task", "waiting")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.waiting = 0
        self.keep = False


class SharedWork:
    """One of the kind; its keys are its owner's."""

    def __init__(self) -> None:
        self._running: dict[Hashable, _Work] = {}
        self._tasks: set[asyncio.Task[Any]] = (
            set()
        )  # with those that nobody waits for any more, until they have ended

    def __len__(self) -> int:
        """How much is being worked on."""
        return len(self._running)

    async def join(
        self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, T]], *, keep: bool = False
    ) -> T:
        """The result of the work under `key`, which is begun if nobody has. Raises what it raises."""
        work = self._running.get(key)
        if work is None:
            work = self._running[key] = self._begin(key, begin)
        work.keep = work.keep or keep
        work.waiting += 1
        try:
            result: T = await asyncio.shield(work.task)
            return result
        finally:
            work.waiting -= 1
            if not work.waiting and not work.keep and not work.task.done():
                self._forget(key, work)  # who comes now begins anew
                work.task.cancel()

    async def close(self) -> None:
        """End all of it; who waits is cancelled."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, Any]]) -> _Work:
        task = asyncio.get_running_loop().create_task(begin())
        work = _Work(task)
        self._tasks.add(task)

        def ended(_: object) -> None:
            self._tasks.discard(task)
            self._forget(key, work)

        task.add_done_callback(ended)
        return work

    def _forget(self, key: Hashable, work: _Work) -> None:
        if self._running.get(key) is work:
            del self._running[key]
