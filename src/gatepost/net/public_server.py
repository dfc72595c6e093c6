"""The server of the public port: HTTPS for the world, one request a connection (architecture 8).

How it works. Each listening socket has a `Listener`, each connection a `Stream` and one task: handshake, header, answer, end. The engine
is `wire.http_server`; what is answered is the `site`'s to say. Context and site may be replaced at any time: connections
that are open go on with what they have, new ones get the new.

What a stranger can do. Everything up to the answer has `SECONDS`, a body that the site wants `BODY_SECONDS`; at most
`MAX_CONNECTIONS` are open at once, `MAX_OF_ADDRESS` of one address (or one IPv6 network of 64 bits), further ones are closed before
a handshake; eight bodies are taken at once, two of one address. So one that says nothing, or one octet now and then, keeps its own places and
nobody else's. Where many together hold every place, who has waited longest goes for the next that comes, after `GRACE` seconds: that is time
enough for a request. For a name that is not served there is no certificate, and no handshake comes about.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from gatepost.net.errors import StreamError
from gatepost.net.listener import Listener
from gatepost.net.reactor import Reactor
from gatepost.net.socket_address import SocketAddress
from gatepost.net.stream import Stream
from gatepost.net.tls import ServerContext
from gatepost.wire.http_server import (
    CONTINUE,
    NOT_FOUND,
    Answer,
    BodyReader,
    HeadReader,
    HttpFault,
    Request,
    answer_bytes,
)

MAX_CONNECTIONS = 200
MAX_OF_ADDRESS = 20
MAX_BODIES, MAX_BODIES_OF_ADDRESS = (
    8,
    2,
)  # that are being taken at once: each may hold as much memory as the site allows
SECONDS = 10.0  # from the first octet of the handshake to the last of the header
BODY_SECONDS = 60.0
GRACE = 2.0
HTTP_PROTOCOLS = (b"http/1.1",)


class Site(Protocol):
    """What is served. A request comes here only when its Host is the name that the handshake asked for."""

    def answer(self, request: Request, /) -> Answer:
        """The answer to a request without a body."""
        ...

    def wants(self, request: Request, peer: str, /) -> int | Answer:
        """How many octets of a body are taken, or the answer that refuses it."""
        ...

    async def take(self, request: Request, body: bytes, peer: str, /) -> Answer:
        """The answer to a request whose body is whole."""
        ...


class PublicServer:
    """Serves on any number of sockets. `now` is the time of day; `on_problem` is told when accepting rests."""

    def __init__(
        self,
        reactor: Reactor,
        now: Callable[[], float],
        on_problem: Callable[[str], None],
        on_bug: Callable[[str, BaseException], str],
        *,
        seconds: float = SECONDS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._on_problem = on_problem
        self._on_bug = on_bug
        self._seconds = seconds
        self._body_seconds = body_seconds
        self._listeners: dict[str, Listener] = {}
        self._open: set[asyncio.Task[None]] = set()
        self._waiting: dict[asyncio.Task[None], float] = {}  # without a whole header yet, the longest first
        self._of_address: Counter[str] = Counter()
        self._bodies: Counter[str] = Counter()
        self._context: ServerContext | None = None
        self._site: Site | None = None

    @property
    def places(self) -> frozenset[str]:
        """The labels of the sockets that are served."""
        return frozenset(self._listeners)

    def show(self, context: ServerContext | None, site: Site | None) -> None:
        """What new connections get from now on."""
        self._context, self._site = context, site

    def listen(self, label: str, sock: socket.socket) -> None:
        """Accept on a socket, which is ours from now on; another one of this label is closed."""
        self.leave(label)
        listener = Listener(self._reactor.loop, sock, self._connected, self._on_problem)
        self._listeners[label] = listener
        listener.resume()

    def leave(self, label: str) -> None:
        """Accept no more on a socket; what it brought goes on."""
        listener = self._listeners.pop(label, None)
        if listener is not None:
            listener.stop()

    async def close(self) -> None:
        """End everything at once."""
        for label in list(self._listeners):
            self.leave(label)
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    # --- one connection ------------------------------------------------------------------------------

    def _connected(self, sock: socket.socket, peer: SocketAddress) -> None:
        owner = owner_of(peer.host)
        context, site = self._context, self._site
        if context is None or site is None or not self._has_place(owner):
            sock.close()
            return
        try:
            stream = Stream(self._reactor, sock, peer)
        except OSError:  # gone before it was looked at
            sock.close()
            return
        self._of_address[owner] += 1
        task = self._reactor.loop.create_task(self._serve(stream, context, site))
        self._open.add(task)
        self._waiting[task] = self._reactor.loop.time()
        task.add_done_callback(lambda done: self._gone(done, stream, owner))

    def _has_place(self, owner: str) -> bool:
        """Whether one more may come; where all places are taken, the one that has waited longest gives its own."""
        if self._of_address[owner] >= MAX_OF_ADDRESS:
            return False
        if len(self._open) < MAX_CONNECTIONS:
            return True
        longest = next(iter(self._waiting), None)
        if longest is None or self._reactor.loop.time() - self._waiting[longest] < GRACE:
            return False
        del self._waiting[longest]
        return longest.cancel()

    def _gone(self, task: asyncio.Task[None], stream: Stream, owner: str) -> None:
        stream.abort()  # also where it was cancelled before its first step
        self._open.discard(task)
        self._waiting.pop(task, None)
        self._of_address[owner] -= 1
        if self._of_address[owner] <= 0:
            del self._of_address[owner]

    async def _serve(self, stream: Stream, context: ServerContext, site: Site) -> None:
        try:
            stream.set_deadline(self._seconds)
            session = await stream.start_tls(context)
            answer, head = await self._exchange(stream, session.sni.lower().rstrip("."), site)
            await stream.close(answer_bytes(answer, self._now(), head=head))
        except StreamError:
            pass  # the peer is gone, slow, or does not speak TLS: there is nobody to tell
        except Exception as error:  # noqa: BLE001 - the boundary of a connection: the others go on
            self._on_bug("public port", error)
        finally:
            stream.abort()

    async def _exchange(self, stream: Stream, asked: str, site: Site) -> tuple[Answer, bool]:
        """The answer, and whether it goes without its body."""
        head = False
        try:
            reader = HeadReader()
            while (request := reader.receive(await _some(stream))) is None:
                continue
            self._has_asked()
            head = request.method == "HEAD"
            if request.host != asked:
                return NOT_FOUND, head
            if not request.has_body:
                return site.answer(request), head
            return await self._with_body(stream, request, reader.rest, site), head
        except HttpFault as fault:
            return Answer(fault.status), head

    def _has_asked(self) -> None:
        """The connection at hand is not among those any more that may have to go."""
        task = asyncio.current_task()
        if task is not None:
            self._waiting.pop(task, None)

    async def _with_body(self, stream: Stream, request: Request, begun: bytes, site: Site) -> Answer:
        peer = stream.peer.host
        limit = site.wants(request, peer)
        if isinstance(limit, Answer):
            return limit
        owner = owner_of(peer)
        if self._bodies.total() >= MAX_BODIES or self._bodies[owner] >= MAX_BODIES_OF_ADDRESS:
            return Answer(503)
        self._bodies[owner] += 1
        try:
            body = BodyReader(request, limit)
            stream.set_deadline(self._body_seconds)
            if request.waits and not begun:
                stream.write(CONTINUE)
            body.receive(begun)
            while not body.done:
                body.receive(await _some(stream))
            return await site.take(request, body.body, peer)
        finally:
            self._bodies[owner] -= 1
            if self._bodies[owner] <= 0:
                del self._bodies[owner]


async def _some(stream: Stream) -> bytes:
    """What has come. Raises StreamError at the end of the stream: a request is not over there."""
    data = await stream.read()
    if not data:
        raise StreamError("the connection ended within a request")
    return data


def owner_of(host: str) -> str:
    """Whom the places of an address are counted for."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((address, 64), strict=False))
    return host
