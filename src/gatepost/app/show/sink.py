"""A small SMTP server that stands in for the protected mail server: it takes everything and keeps the last messages.

It is built from the product's own server engine and stream, so it speaks what the gateway itself speaks: STARTTLS
with a certificate made for this run, PIPELINING, SIZE, CHUNKING and the rest. Nothing is written to disk.

Limits: `MAX_SIZE` octets a message, of which `KEPT_OCTETS` are kept; `KEPT` messages; `SECONDS` for a peer that says
nothing. It is for loopback, where the only peer is the gateway.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gatepost.core.reply import Reply
from gatepost.net.errors import StreamError
from gatepost.net.listener import Listener
from gatepost.net.reactor import Reactor
from gatepost.net.socket_address import SocketAddress
from gatepost.net.stream import Stream
from gatepost.net.tls import Identity, ServerContext, TlsSession
from gatepost.pki.keys import KeyKind, generate
from gatepost.pki.profile import Origin, make_profile
from gatepost.pki.selfsigned import SubjectFields, make_self_signed
from gatepost.wire.server_commands import ServerSettings
from gatepost.wire.server_events import (
    Aborted,
    Abuse,
    Body,
    BodyEnd,
    ChunkDone,
    Data,
    Hello,
    Mail,
    Rcpt,
    Reset,
    ServerEvent,
    StartTls,
)
from gatepost.wire.smtp_server import ServerEngine

MAX_SIZE = 100 * 1024 * 1024
KEPT = 20  # messages
KEPT_OCTETS = 1024 * 1024  # of each message
SECONDS = 300.0
CERTIFICATE_DAYS = 30

OK = Reply(250, "2.0.0", ("Ok",))


@dataclass(frozen=True, slots=True)
class Received:
    """One message that arrived. `content` is its beginning, up to `KEPT_OCTETS`; `size` is that of all of it."""

    number: int
    sender: str
    recipients: tuple[str, ...]
    size: int
    content: bytes
    hello: str
    tls: TlsSession | None

    @property
    def header(self) -> list[str]:
        """The lines of the header as they came; undecodable octets as backslash escapes."""
        head = self.content.partition(b"\r\n\r\n")[0]
        return head.decode("utf-8", "backslashreplace").split("\r\n")

    def field(self, name: str) -> str:
        """The first field of that name, unfolded; empty where there is none."""
        found = ""
        for line in self.header:
            if found and not line[:1].isspace():
                break
            if found:
                found += " " + line.strip()
            elif line.lower().startswith(f"{name.lower()}:"):
                found = line
        return found.partition(":")[2].strip()


class Sink:
    """Accepts on `listening` until `close`; sessions are tasks of `group`. `on_message` is told of each message."""

    def __init__(
        self,
        reactor: Reactor,
        group: asyncio.TaskGroup,
        listening: socket.socket,
        hostname: str,
        *,
        on_message: Callable[[Received], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self.hostname = hostname
        self.context = ServerContext.build((_identity(hostname),), scope="sink")
        self.messages: deque[Received] = deque(maxlen=KEPT)
        self._reactor = reactor
        self._group = group
        self._on_message = on_message
        self._count = 0
        self._sessions: set[asyncio.Task[None]] = set()
        self._listener = Listener(reactor.loop, listening, self._accepted, on_problem)
        self._listener.resume()

    @property
    def port(self) -> int:
        return self._listener.address.port

    def keep(self, sender: str, recipients: list[str], size: int, content: bytes, peer: Peer) -> int:
        """Note one message that is whole; returns its number."""
        self._count += 1
        received = Received(self._count, sender, tuple(recipients), size, content, peer.hello, peer.tls)
        self.messages.append(received)
        self._on_message(received)
        return self._count

    def close(self) -> None:
        """Accept nothing more and cut what is open."""
        self._listener.stop()
        for task in self._sessions:
            task.cancel()

    def _accepted(self, sock: socket.socket, peer: SocketAddress) -> None:
        stream = Stream(self._reactor, sock, peer)
        task = self._group.create_task(self._serve(stream), name="sink session")
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def _serve(self, stream: Stream) -> None:
        try:
            await _Session(self, stream).run()
        except StreamError:
            pass  # the peer went away in the middle; what was not acknowledged is not ours
        finally:
            await stream.close()


@dataclass(frozen=True, slots=True)
class Peer:
    """Who delivers: the name it gave, and its TLS session where there is one."""

    hello: str
    tls: TlsSession | None


class _Session:
    """One connection to the sink."""

    def __init__(self, sink: Sink, stream: Stream) -> None:
        self._sink = sink
        self._stream = stream
        self._engine = ServerEngine(ServerSettings(sink.hostname, MAX_SIZE))
        self._engine.starttls_offered = True
        self._forget()

    def _forget(self) -> None:
        self._sender = ""
        self._recipients: list[str] = []
        self._content = bytearray()

    async def run(self) -> None:
        """Greet, answer, and end with QUIT or the peer's end."""
        engine, stream = self._engine, self._stream
        engine.greet(Reply(220, "", (f"{self._sink.hostname} ESMTP sink",)))
        gone = False
        while True:
            event = engine.next_event()
            if isinstance(event, StartTls):
                await self._start_tls()
            elif event is not None:
                self._handle(event)
            else:
                stream.write(engine.take_output())
                if engine.closed or gone:
                    return
                await stream.drain()
                stream.set_deadline(SECONDS)
                data = await stream.read()
                engine.receive(data)
                if not data:
                    gone = True
                    engine.peer_closed()

    async def _start_tls(self) -> None:
        engine, stream = self._engine, self._stream
        engine.answer(Reply(220, "2.0.0", ("Ready to start TLS",)))
        stream.write(engine.take_output())
        if stream.unread:
            engine.receive(await stream.read())  # octets behind STARTTLS: the engine refuses them
            return
        await stream.start_tls(self._sink.context)
        engine.tls_started()

    def _handle(self, event: ServerEvent) -> None:
        engine = self._engine
        match event:
            case Hello():
                engine.answer(Reply(250, "", (self._sink.hostname,)))
            case Mail(sender=sender):
                self._forget()
                self._sender = sender.text
                engine.answer(OK)
            case Rcpt(recipient=recipient):
                self._recipients.append(recipient.address.text)
                engine.answer(OK)
            case Data():
                engine.answer(Reply(354, "", ("End data with <CR><LF>.<CR><LF>",)))
            case Body(data=data):
                self._content += data[: KEPT_OCTETS - len(self._content)]
            case ChunkDone():
                engine.answer(OK)
            case BodyEnd(size=size):
                number = self._keep(size)
                engine.answer(Reply(250, "2.0.0", (f"Ok: kept as message {number} by the sink",)))
            case Reset() | Abuse() | Aborted():
                self._forget()

    def _keep(self, size: int) -> int:
        peer = Peer(self._engine.hello_name, self._stream.tls)
        number = self._sink.keep(self._sender, self._recipients, size, bytes(self._content), peer)
        self._forget()
        return number


def _identity(hostname: str) -> Identity:
    """A certificate for this run; its key never leaves the process."""
    now = time.time()
    subject = SubjectFields(hostname, organization="Gatepost", unit="sink of the show")
    made = make_self_signed(subject, (), CERTIFICATE_DAYS, generate(KeyKind.P256), now)
    profile = make_profile("sink", made.certificate, made.key, origin=Origin.SELF_SIGNED, created=now)
    return Identity(profile.certificate_pem.encode("ascii"), profile.private_key_pem().reveal())
