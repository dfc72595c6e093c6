"""The sending half of a connection: what the kernel does not take at once waits here, in order.

`send` gives octets to the socket and keeps the rest; the loop's writability event sends it on. `error` is what
ended the sending, after which everything is dropped silently: the owner learns of it from `wait_sent` or
`error`. There is no limit here; the owner waits when `unsent` is too large.
"""

from __future__ import annotations

import asyncio
import socket

from gatepost.net.errors import StreamError, StreamLost, StreamTimeout, system_error_text


class Sender:
    """Sends on a non-blocking socket that somebody else owns. One task at most waits."""

    __slots__ = ("_limit", "_loop", "_sock", "_waiter", "_waiting", "error")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._waiting: bytearray | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._limit = 0
        self.error: StreamError | None = None

    @property
    def unsent(self) -> int:
        return 0 if self._waiting is None else len(self._waiting)

    def send(self, data: bytes) -> None:
        """Send now what the kernel takes, the rest as soon as it can."""
        if self.error is not None or not data:
            return
        if self._waiting is not None:
            self._waiting += data
            return
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self.fail(StreamLost(system_error_text(error)))
            return
        if sent < len(data):
            self._waiting = bytearray(memoryview(data)[sent:])
            self._loop.add_writer(self._sock.fileno(), self._on_writable)

    async def wait_sent(self, limit: int) -> None:
        """Until at most `limit` octets are unsent, or the sending ended. Raises StreamTimeout."""
        if self._waiter is not None:
            raise RuntimeError("two tasks wait for one stream to drain")
        self._limit = limit
        try:
            while self.unsent > limit:
                self._waiter = self._loop.create_future()
                await self._waiter
        finally:
            self._waiter = None

    def expire(self) -> None:
        """The deadline passed: whoever waits gets StreamTimeout."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(StreamTimeout())

    def fail(self, error: StreamError) -> None:
        """Sending ended: drop what is unsent and wake who waits. The first error stays."""
        if self._waiting is not None:
            self._waiting = None
            self._loop.remove_writer(self._sock.fileno())
        self.error = self.error or error
        self._wake()

    def _on_writable(self) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        try:
            sent = self._sock.send(waiting)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.fail(StreamLost(system_error_text(error)))
            return
        del waiting[:sent]
        if not waiting:
            self._waiting = None
            self._loop.remove_writer(self._sock.fileno())
        if len(waiting) <= self._limit:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
