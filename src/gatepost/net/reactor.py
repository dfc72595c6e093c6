"""What all connections of one event loop share.

One `Reactor` is made per worker and passed to everything that opens connections. It holds the sweeper of
deadlines, the buffer into which every socket is read (the loop is single-threaded, and what was
read is copied out before the callback returns), and the slots that bound simultaneous TLS handshakes.
"""

from __future__ import annotations

import asyncio

from gatepost.net.deadlines import SWEEP_INTERVAL, DeadlineSweeper

READ_SIZE = 64 * 1024
MAX_HANDSHAKES = 100


class Reactor:
    """The loop and its shared parts. `close` stops the sweeper; it does not close connections."""

    __slots__ = ("handshakes", "loop", "scratch", "sweeper")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        sweep_interval: float = SWEEP_INTERVAL,
        max_handshakes: int = MAX_HANDSHAKES,
    ) -> None:
        self.loop = loop
        self.sweeper = DeadlineSweeper(loop, sweep_interval)
        self.scratch = memoryview(bytearray(READ_SIZE))
        self.handshakes = asyncio.Semaphore(max_handshakes)

    def close(self) -> None:
        self.sweeper.close()
