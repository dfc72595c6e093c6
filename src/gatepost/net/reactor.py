"""What all connections of one event loop share.

One `Reactor` is made per worker and passed to everything that opens connections. It holds the sweeper of
deadlines, the buffer into which every socket is read (the loop is single-threaded, and what was
read is copied out before the callback returns), and the places that bound simultaneous TLS handshakes: apart for
clients and servers, so that neither can keep a worker from the others. `activity` grows with every octet that came:
who wants to know whether the loop is at rest compares it.
"""

from __future__ import annotations

import asyncio

from gatepost.net.deadlines import SWEEP_INTERVAL, DeadlineSweeper
from gatepost.net.places import Places

READ_SIZE = 64 * 1024
MAX_HANDSHAKES_IN = 70
MAX_HANDSHAKES_OUT = 30


class Reactor:
    """The loop and its shared parts. `close` stops the sweeper; it does not close connections."""

    __slots__ = ("activity", "handshakes_in", "handshakes_out", "loop", "scratch", "sweeper")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        sweep_interval: float = SWEEP_INTERVAL,
        max_handshakes_in: int = MAX_HANDSHAKES_IN,
        max_handshakes_out: int = MAX_HANDSHAKES_OUT,
    ) -> None:
        self.loop = loop
        self.activity = 0
        self.sweeper = DeadlineSweeper(loop, sweep_interval)
        self.scratch = memoryview(bytearray(READ_SIZE))
        self.handshakes_in = Places(loop, max_handshakes_in)
        self.handshakes_out = Places(loop, max_handshakes_out)

    def close(self) -> None:
        self.sweeper.close()
