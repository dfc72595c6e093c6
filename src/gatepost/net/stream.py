"""One connection, in clear or under TLS: the transport between a socket and the engines of `wire`.

How it works. The socket is registered with the loop once, and stays registered while it may be read. When octets
come, the callback reads them (decrypts them), appends them to a buffer of at most 64 KiB and wakes the one
coroutine that may be waiting in `read`. `write` gives octets to the kernel at once and keeps only what it
does not take; `drain` waits while more than 64 KiB is kept, until less than 16 KiB is. There is no task and no
timer of a connection's own: a deadline is a number that the reactor's sweeper looks at once a second.

TLS. `start_tls` drives the handshake from the caller's coroutine; what had been read and not yet taken is input
of the handshake, so octets that were smuggled behind STARTTLS can break it but never become a command
(C1 to C4). From then on the callback decrypts and `write` encrypts. Everything is encrypted and queued
in one go, so a cancelled task leaves no half record behind.

Ends. A clean end is `b""` from `read`: FIN in clear, close_notify under TLS. A TLS connection that just ends
raises StreamLost, since somebody may have cut it. What the peer sent before it ended is always handed
out first. A failed `write` is not raised by `write` but by `drain`, and does not keep `read` from handing out
what the peer still said (a 421, as a rule). Of a connection that is reset behind octets nobody has read yet the
loop tells once and never again, and the session would keep its place until its deadline (C27): so the socket
is asked for its error whenever octets came, and a lost connection is read to its end without the loop.

Limits. See the constants; a reader that does not read stops the peer, a peer that does not read stops the writer.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from copy import copy

from gatepost.net.deadlines import NEVER
from gatepost.net.errors import (
    TIMEOUT_TEXT,
    UNEXPECTED_EOF_TEXT,
    StreamError,
    StreamLost,
    StreamTimeout,
    TlsFailure,
    system_error_text,
)
from gatepost.net.reactor import READ_SIZE, Reactor
from gatepost.net.sender import Sender
from gatepost.net.socket_address import SocketAddress, socket_address
from gatepost.net.tls import ClientContext, ServerContext, TlsSession
from gatepost.net.tls_stream import Handshake, TlsPump, take_output

UNREAD_LIMIT = 64 * 1024  # reading pauses while this much waits for the reader
UNSENT_HIGH = 64 * 1024  # `drain` waits above this …
UNSENT_LOW = 16 * 1024  # … until it is below this
HANDSHAKE_SECONDS = 30.0
EARLY_RECORDS = 4096  # more than fit into what is fed during a handshake
CLOSE_FLUSH_SECONDS = 5.0  # for the last octets of ours, when no deadline is nearer
CLOSE_WAIT_SECONDS = 1.0  # for the peer's close_notify; like every deadline, looked at once a second

NO_CLOSE_NOTIFY = "connection closed without a TLS close_notify"
_CLOSED = "connection closed"
_DEAF = "the peer does not take what TLS has to say"


class Stream:
    """A connected socket as a stream of octets. One task reads, one writes; they may be the same.

    The stream owns `sock` (non-blocking) and closes it. `deadline` is the sweeper's; use `set_deadline`.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_end",
        "_fd",
        "_incoming",
        "_loop",
        "_lost",
        "_pump",
        "_reactor",
        "_read_waiter",
        "_reading",
        "_sender",
        "_sock",
        "deadline",
        "local",
        "peer",
        "tls",
    )

    def __init__(self, reactor: Reactor, sock: socket.socket, peer: SocketAddress | None = None) -> None:
        self._reactor = reactor
        self._loop = reactor.loop
        self._sock = sock
        self._fd = sock.fileno()
        self.local = socket_address(sock.getsockname())
        self.peer = peer or socket_address(sock.getpeername())
        self.tls: TlsSession | None = None
        self.deadline = NEVER
        self._pump: TlsPump | None = None
        self._incoming = b""
        self._read_waiter: asyncio.Future[None] | None = None
        self._end: StreamError | bool = False  # True: a clean end
        self._lost: StreamError | None = None  # how reading will end, once all that came before it is read
        self._sender = Sender(reactor.loop, sock)
        self._closed = False
        self._reading = False
        self._resume()
        reactor.sweeper.add(self)

    @property
    def unread(self) -> bool:
        """True when octets came that nobody has read yet."""
        return bool(self._incoming)

    @property
    def closed(self) -> bool:
        return self._closed

    def set_deadline(self, seconds: float | None) -> None:
        """The time for everything that is awaited from now on until it is set again; None: no limit.

        Coarse: it is looked at once a second. When it passes, what is being awaited raises StreamTimeout.
        """
        self.deadline = NEVER if seconds is None else self._loop.time() + seconds

    def set_deadline_at(self, moment: float) -> None:
        """The same with a moment of the loop's time."""
        self.deadline = moment

    @property
    def unsent(self) -> int:
        """Octets that the kernel has not taken yet."""
        return self._sender.unsent

    async def read(self) -> bytes:
        """What has come, 1 octet to 64 KiB; `b""` at a clean end, again and again.

        Raises StreamLost, StreamTimeout, or TlsFailure when a record broke the session.
        """
        while not (data := self._incoming):
            if self._end is True:
                return b""
            if self._end:
                raise copy(self._end)  # a raised one would hold this frame, and the frame the stream
            if self._read_waiter is not None:
                raise RuntimeError("two tasks read from one stream")
            # As `_wait_readable` does; written out because every read of every session comes here.
            self._read_waiter = waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self._read_waiter = None
        self._incoming = b""
        if not self._reading:
            self._resume()
        return data

    @property
    def gone(self) -> bool:
        """The peer reset the connection, or ended it without having said anything that waits to be read."""
        return isinstance(self._end, StreamError) or (self._end is True and not self._incoming)

    @property
    def lost(self) -> bool:
        """The connection ended otherwise than in order, or TLS did."""
        return isinstance(self._end, StreamError)

    async def wait_until(self, over: Callable[[], bool]) -> None:
        """Until `over`, asked whenever something comes; nobody may `read` meanwhile, and the deadline is not heeded."""
        while not over():
            with suppress(StreamTimeout):
                await self._wait_readable()

    def write(self, data: bytes) -> None:
        """Send `data`: at once what the kernel takes, the rest when it can. Errors are raised by `drain`."""
        pump = self._pump
        if pump is not None and data:
            data = pump.encrypt(data)
            if pump.failure is not None:
                self._sender.fail(pump.failure)
                return
        self._sender.send(data)

    async def drain(self) -> None:
        """Wait while more than 64 KiB is unsent, until 16 KiB or less is. Raises what ended our sending."""
        sender = self._sender
        if sender.unsent > UNSENT_HIGH:
            await sender.wait_sent(UNSENT_LOW)
        if sender.error is not None:
            raise copy(sender.error)

    async def start_tls(self, context: ServerContext | ClientContext, *, sni: str = "") -> TlsSession:
        """Make the handshake; afterwards everything read and written is under TLS.

        At most 30 s, waiting for a place included (100 handshakes at once a worker, see `places`), and 64 KiB of input.
        Raises TlsFailure; the connection is then of no more use. `tls` is what was established.
        """
        if self._pump is not None or self._closed:
            raise RuntimeError("TLS is active already, or the stream is closed")
        saved = self.deadline
        self.deadline = min(saved, self._loop.time() + HANDSHAKE_SECONDS)
        reactor = self._reactor
        places = reactor.handshakes_in if isinstance(context, ServerContext) else reactor.handshakes_out
        handshake: Handshake | None = None
        try:
            # A peer that goes while it waits gives up its turn.
            ending = self.wait_until(lambda: bool(self._end))
            if not await places.take_unless(self, self.deadline, ending):
                raise self._cut_short()
            try:
                handshake = Handshake(context, sni)
                return await self._shake_hands(handshake)
            finally:
                places.leave(self)
        except TimeoutError:
            raise self._fail(TlsFailure(TIMEOUT_TEXT)) from None
        except TlsFailure as failure:
            raise self._fail(failure) from None
        except StreamError as error:
            # A peer that dislikes our certificate may say so by hanging up.
            asked = handshake is not None and handshake.certificate_requested
            raise self._fail(TlsFailure(error.text, certificate_requested=asked)) from None
        finally:
            self.deadline = saved

    async def close(self, last: bytes = b"") -> None:
        """End the connection in order: send what is unsent, close_notify, and await the peer's for a second.

        `last` is sent before that, under TLS in one piece with the close_notify.

        Never raises for what the peer does. Cancelled, it closes at once. No other task may be waiting in `read`
        or `drain`; where one may be, use `abort`.
        """
        if self._closed:
            return
        try:
            await self._close_in_order(last)
        except StreamError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the socket at once. Whoever waits gets StreamLost; what was not sent is lost."""
        if self._closed:
            return
        self._closed = True
        self._pause()
        lost = StreamLost(_CLOSED)
        self._sender.fail(lost)
        self._reactor.sweeper.remove(self)
        self._sock.close()
        self._end = self._end or lost
        self._pump = None
        self._wake()

    def expire(self) -> None:
        """The deadline has passed (called by the sweeper): fail what is being awaited."""
        if self._read_waiter is not None and not self._read_waiter.done():
            self._read_waiter.set_exception(StreamTimeout())
        self._sender.expire()

    # --- reading -----------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        reactor = self._reactor
        reactor.activity += 1
        scratch = reactor.scratch
        try:
            size = self._sock.recv_into(scratch, READ_SIZE - len(self._incoming))
        except (BlockingIOError, InterruptedError):
            if self._lost is not None:
                self._end_reading(self._lost)
            return
        except OSError as error:
            self._end_reading(StreamLost(system_error_text(error)))
            return
        pump = self._pump
        if not size:
            self._end_reading(self._lost or (StreamLost(NO_CLOSE_NOTIFY) if pump is not None else True))
            return
        reset = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if reset or self._sender.error is not None:
            self._read_alone(reset)
        if pump is None:
            self._take(bytes(scratch[:size]))
            return
        self._take(pump.decrypt(scratch[:size]))
        if pump.output or pump.closed or pump.failure is not None:
            self._after_decrypting(pump)

    def _read_alone(self, number: int) -> None:
        """The connection is lost behind what is being read: the loop will not call again, so ask to the end."""
        if self._lost is None:
            self._pause()
            text = system_error_text(OSError(number, os.strerror(number)))
            self._lost = self._sender.error or StreamLost(text)
            self._resume()

    def _read_on(self) -> None:
        """The next piece of a lost connection; a pause and the end stop it."""
        if self._reading:
            self._on_readable()
            if self._reading:
                self._loop.call_soon(self._read_on)

    def _take(self, data: bytes) -> None:
        if data:
            self._incoming = self._incoming + data if self._incoming else data
            self._wake()
            if len(self._incoming) >= UNREAD_LIMIT:
                self._pause()

    def _after_decrypting(self, pump: TlsPump) -> None:
        if pump.output:
            output, pump.output = pump.output, b""
            self._sender.send(output)
            if self._sender.unsent > 4 * UNSENT_HIGH:
                # Key updates without end, and nobody reads the answers (C44).
                pump.failure = pump.failure or TlsFailure(_DEAF)
        if pump.closed:
            self._end_reading(True)
        elif pump.failure is not None:
            self._end_reading(pump.failure)
            self._sender.fail(pump.failure)

    def _end_reading(self, end: StreamError | bool) -> None:
        self._end = self._end or end
        self._pause()
        self._wake()

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            if self._lost is None:
                self._loop.remove_reader(self._fd)

    def _resume(self) -> None:
        if not self._reading and not self._end and not self._closed:
            self._reading = True
            if self._lost is None:
                self._loop.add_reader(self._fd, self._on_readable)
            else:
                self._loop.call_soon(self._read_on)

    def _wake(self) -> None:
        if self._read_waiter is not None and not self._read_waiter.done():
            self._read_waiter.set_result(None)

    async def _wait_readable(self) -> None:
        if self._read_waiter is not None:
            raise RuntimeError("two tasks read from one stream")
        self._read_waiter = self._loop.create_future()
        try:
            await self._read_waiter
        finally:
            self._read_waiter = None

    # --- handshake and end ----------------------------------------------------------------------------

    async def _shake_hands(self, handshake: Handshake) -> TlsSession:
        connection = handshake.connection
        established = False
        if not handshake.server:
            handshake.step()
            self._sender.send(take_output(connection))
        while not established:
            while not (size := handshake.piece(self._incoming)):
                if self._end:
                    raise self._cut_short()
                await self._wait_readable()
            piece = self._incoming[:size]
            self._incoming = self._incoming[size:]
            self._resume()
            handshake.feed(piece)
            try:
                established = handshake.step()
            finally:
                if not (established and handshake.only_tickets_left):
                    self._sender.send(take_output(connection))  # also the alert that says why it failed
        self.tls = handshake.session()
        self._pump = TlsPump(connection)
        self._take_early_records(self._pump, may_hold_more=not handshake.server)
        return self.tls

    def _cut_short(self) -> StreamLost:
        """What a handshake ends with when the connection has ended."""
        return StreamLost(self._end.text if isinstance(self._end, StreamError) else UNEXPECTED_EOF_TEXT)

    def _take_early_records(self, pump: TlsPump, *, may_hold_more: bool) -> None:
        """Records that came right behind the peer's last handshake message."""
        parts: list[bytes] = []
        if may_hold_more:
            pump.read(EARLY_RECORDS, parts)
        raw, self._incoming = self._incoming, b""
        if raw and not pump.closed and pump.failure is None:
            parts.append(pump.decrypt(memoryview(raw)))
        self._take(b"".join(parts))
        # A FIN seen during the handshake ended a TLS connection that nobody had closed.
        if self._end is True and not pump.closed:
            self._end = StreamLost(NO_CLOSE_NOTIFY)
        self._after_decrypting(pump)

    def _fail(self, failure: TlsFailure) -> TlsFailure:
        self._end = self._end if isinstance(self._end, StreamError) else failure
        self._incoming = b""
        self._pause()
        self._sender.fail(failure)
        return failure

    async def _close_in_order(self, last: bytes) -> None:
        self.deadline = min(self.deadline, self._loop.time() + CLOSE_FLUSH_SECONDS)
        pump = self._pump
        if self._sender.error is None:
            if pump is not None:
                last = (pump.encrypt(last) if last else b"") + pump.close_notify()
            self._sender.send(last)
        await self._sender.wait_sent(0)
        if self._sender.error is not None or self._end:
            return
        if pump is None:
            if self._reading:
                self._on_readable()  # what the loop has not seen yet
            if self._end or not self._incoming:
                return
            # Closing with unread input would reset the connection, and our last reply with it.
            self._sock.shutdown(socket.SHUT_WR)
        await self._discard_until_end()

    async def _discard_until_end(self) -> None:
        self.deadline = min(self.deadline, self._loop.time() + CLOSE_WAIT_SECONDS)
        while not self._end:
            self._incoming = b""
            self._resume()
            await self._wait_readable()
