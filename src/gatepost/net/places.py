"""Places for what may go on only so often at once, which a silent peer cannot keep from others (C27).

How it works. `take` gives a place at once while one is free. When none is, the caller waits, and whoever has held a
place longest loses it once it has had `grace` seconds: its `expire` is called, and it leaves. So peers that begin a
handshake and say no more cost the others `grace` seconds and not the whole time of a handshake. Who came last is
served first: those who have waited long have mostly given up, or are part of the flood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

GRACE_SECONDS = 2.0
_AGAIN_SECONDS = 0.1  # when the one that has to go could not be told at this moment


class Holder(Protocol):
    """Who holds a place; `expire` ends what it waits for, if it waits."""

    def expire(self) -> None: ...


class Places:
    """`limit` places; each is held by one object. Not for use from several threads."""

    __slots__ = ("_grace", "_held", "_limit", "_loop", "_timer", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, *, grace: float = GRACE_SECONDS) -> None:
        self._loop = loop
        self._limit = limit
        self._grace = grace
        self._held: dict[Holder, float] = {}  # since when; the longest first
        self._waiting: list[tuple[Holder, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        return len(self._held)

    def take_now(self, holder: Holder) -> bool:
        """A place if one is free. The holder must `leave` it."""
        if len(self._held) >= self._limit:
            return False
        self._held[holder] = self._loop.time()
        return True

    async def take(self, holder: Holder, deadline: float) -> None:
        """A place, by `deadline` in the loop's time. Raises TimeoutError."""
        if self.take_now(holder):
            return
        given: asyncio.Future[None] = self._loop.create_future()
        entry = (holder, given)
        self._waiting.append(entry)
        self._watch()
        try:
            async with asyncio.timeout_at(deadline):
                await given
        except BaseException:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif not given.cancelled():
                self.leave(holder)  # it was given in the same moment
            raise

    async def take_unless(self, holder: Holder, deadline: float, ending: Coroutine[Any, Any, None]) -> bool:
        """The same for a holder that may not need it any more: False, and nothing is held, when `ending` is over before."""
        if self.take_now(holder):
            ending.close()
            return True
        try:
            async with asyncio.TaskGroup() as group:
                taking, leaving = group.create_task(self._taken(holder, deadline)), group.create_task(ending)
                await asyncio.wait((taking, leaving), return_when=asyncio.FIRST_COMPLETED)
                taking.cancel()
                leaving.cancel()
        except BaseException:
            if holder in self._held:
                self.leave(holder)
            raise
        if taking.cancelled():
            return False
        if not taking.result():
            raise TimeoutError
        return True

    async def _taken(self, holder: Holder, deadline: float) -> bool:
        try:
            await self.take(holder, deadline)
        except TimeoutError:
            return False
        return True

    def leave(self, holder: Holder) -> None:
        """Give the place back: to the one that came last, if any waits."""
        del self._held[holder]
        while self._waiting:
            following, given = self._waiting.pop()
            if given.done():
                continue  # it gave up in the same turn of the loop, and does not know it yet
            self._held[following] = self._loop.time()
            given.set_result(None)
            return

    def _watch(self) -> None:
        if self._timer is None and self._held:
            oldest = next(iter(self._held.values()))
            due = max(oldest + self._grace, self._loop.time() + _AGAIN_SECONDS)
            self._timer = self._loop.call_at(due, self._make_room)

    def _make_room(self) -> None:
        """As many of the longest held places as there are waiting, if their time of grace is over."""
        self._timer = None
        if not self._waiting:
            return
        over = self._loop.time() - self._grace
        for holder, since in list(self._held.items())[: len(self._waiting)]:
            if since > over:
                break
            holder.expire()
        self._watch()
