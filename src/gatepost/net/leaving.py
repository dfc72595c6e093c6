"""Work on behalf of a peer, which ends when the peer has gone: nobody waits for the answer any more (C27).

While the work lasts the stream is watched and not read; what the peer says meanwhile is kept for the next `read`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gatepost.net.errors import StreamLost
from gatepost.net.stream import Stream

T = TypeVar("T")


async def unless_gone(stream: Stream, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Raises StreamLost when the peer goes before: it ends without having said what waits for an answer."""
    return await _unless(stream, work, lambda: stream.gone)


async def unless_reset(stream: Stream, work: Coroutine[Any, Any, T]) -> T:
    """The same where a peer that ended its own side may still wait for answers: StreamLost when the connection is lost."""
    return await _unless(stream, work, lambda: stream.lost)


async def _unless(stream: Stream, work: Coroutine[Any, Any, T], over: Callable[[], bool]) -> T:
    async with asyncio.TaskGroup() as group:
        working, leaving = group.create_task(work), group.create_task(stream.wait_until(over))
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        leaving.cancel()
    if working.cancelled():
        raise StreamLost("the peer has gone")
    return working.result()
