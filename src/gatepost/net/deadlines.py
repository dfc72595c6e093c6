"""One coarse sweep a second enforces the deadlines of all connections of an event loop.

A timer for every read would cost more than the read. So a connection stores the moment at which its
patience ends (a float), and the sweeper looks at all of them once an interval; a deadline is met
with up to one interval of delay. The timer runs only while there is something to watch.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

NEVER = float("inf")
SWEEP_INTERVAL = 1.0  # seconds


class Expirable(Protocol):
    """Something with a deadline in the loop's time; `expire` fails what is being awaited, if anything."""

    deadline: float

    def expire(self) -> None: ...


class DeadlineSweeper:
    """Calls `expire` of every registered object whose deadline has passed, at every sweep until it moves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float = SWEEP_INTERVAL) -> None:
        self._loop = loop
        self._interval = interval
        self._watched: set[Expirable] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, item: Expirable) -> None:
        self._watched.add(item)
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._sweep)

    def remove(self, item: Expirable) -> None:
        """Forget it; unknown ones are no error."""
        self._watched.discard(item)

    def close(self) -> None:
        """Stop sweeping; what is still registered is forgotten."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = self._loop.time()
        # A list first: `expire` may remove its object from the set.
        for item in [item for item in self._watched if item.deadline <= now]:
            item.expire()
        self._timer = self._loop.call_later(self._interval, self._sweep) if self._watched else None
