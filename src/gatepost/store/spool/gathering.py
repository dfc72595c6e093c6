"""When to commit: not for every message, and not later than needed.

Messages of all sessions become durable together, and a commit is much cheaper while the loop is at rest than beside it, since
the two share one interpreter lock. So the loop says when: as long as each of its turns brings something, from
any connection, the writer is left alone and more may join; with the first turn that brings nothing the writer gets all that
waits. A single message thus waits for one empty turn, a busy worker for at most `SpoolSettings.gather` seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Gathered(Protocol):
    """A writer, as seen from here."""

    def ring(self) -> None:
        """Commit what was pushed so far."""
        ...


class Gatherer:
    """Rings the writers of a loop. `activity` is a number that grows with everything the loop does for its connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop, longest: float, activity: Callable[[], int]) -> None:
        self._loop = loop
        self._longest = longest
        self._activity = activity
        self._waiting: set[Gathered] = set()
        self._seen = 0
        self._until = 0.0

    def add(self, writer: Gathered) -> None:
        """Something urgent was pushed to this writer."""
        if not self._waiting:
            self._until = time.monotonic() + self._longest
            self._seen = self._activity()
            self._loop.call_soon(self._turn)
        self._waiting.add(writer)

    def _turn(self) -> None:
        seen = self._activity()
        if seen != self._seen and time.monotonic() < self._until:
            self._seen = seen
            self._loop.call_soon(self._turn)
            return
        waiting, self._waiting = self._waiting, set()
        for writer in waiting:
            writer.ring()
