"""Which certificates a server shows: asked by real handshakes, over the wire or in memory.

A question says where, with which name of SNI, and which kinds of key the client can verify; the answer is the chain as it
was sent, or why there was none. Nothing is verified and nothing raises: whatever happens is the answer. Each question
takes at most `ASK_SECONDS`, and a few are asked at a time.

The kinds of key are set by the client's signature algorithms, so that a server with two certificates has to show the one
or the other in every version of TLS. A library without that list is limited to TLS 1.2, where the cipher says it.

Before a socket connects, `announce` is told of its address and port: the gateway's workers know the question by that when
it comes to a listener of their own, and answer it whatever their access rules say of this machine (decision 0028).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from OpenSSL import SSL

from gatepost.net import openssl_private
from gatepost.net.dialer import bound_socket, connect
from gatepost.net.errors import StreamError
from gatepost.net.reactor import Reactor
from gatepost.net.socket_address import SocketAddress, socket_address
from gatepost.net.stream import Stream
from gatepost.net.tls import AlpnRefused, ClientContext, ServerContext, TlsParameters, peer_chain
from gatepost.net.tls_stream import failure_of, take_output
from gatepost.wire.client_events import ClientEvent, Greeting, HelloDone, StartTlsAnswered
from gatepost.wire.smtp_client import ClientEngine

ASK_SECONDS = 5.0
CLOSE_SECONDS = 0.5
AT_ONCE = 8
_FLIGHTS = 8  # more than any handshake has
_ALL_CIPHERS = "ALL:!aNULL:!eNULL:@SECLEVEL=0"
TIMEOUT = "no answer in time"

Announce = Callable[[Sequence[SocketAddress]], Awaitable[None]]


class Accepts(StrEnum):
    """The keys that a client can verify."""

    ANY = "any"
    RSA = "rsa"
    ECDSA = "ecdsa"
    ED25519 = "ed25519"


_SIGNATURES = {
    Accepts.RSA: "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:rsa_pss_pss_sha256:rsa_pss_pss_sha384:"
    "rsa_pss_pss_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512",
    Accepts.ECDSA: "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512",
    Accepts.ED25519: "ed25519",
}
_OLD_CIPHERS = {Accepts.RSA: "aRSA", Accepts.ECDSA: "aECDSA", Accepts.ED25519: "aECDSA"}


@dataclass(frozen=True, slots=True)
class Question:
    """One handshake. `address` is bound on this machine; `implicit` is TLS from the first octet, else STARTTLS."""

    address: str
    port: int
    implicit: bool
    sni: str
    accepts: Accepts


@dataclass(frozen=True, slots=True)
class Served:
    """What was shown: DER as sent, leaf first. Without a chain `error` says why.

    `reached` tells whether the server came as far as TLS, so that a refused handshake and a closed port differ.
    """

    chain: tuple[bytes, ...] = ()
    protocol: str = ""
    error: str = ""
    reached: bool = True


class Clients:
    """The clients that ask, one for each kind of keys. They take what any listener may be set to speak."""

    def __init__(self) -> None:
        self._contexts = {accepts: _client(accepts) for accepts in Accepts}

    def for_(self, accepts: Accepts) -> ClientContext:
        return self._contexts[accepts]


def _client(accepts: Accepts) -> ClientContext:
    if accepts is Accepts.ANY:
        parameters = TlsParameters("TLSv1", _ALL_CIPHERS)
    elif openssl_private.prove_features().signature_algorithms:
        parameters = TlsParameters("TLSv1", _ALL_CIPHERS, signatures=_SIGNATURES[accepts])
    else:
        parameters = TlsParameters("TLSv1", _OLD_CIPHERS[accepts] + ":@SECLEVEL=0", maximum="TLSv1.2")
    return ClientContext.build(parameters)


# --- over the wire -----------------------------------------------------------------------------------


class Wire:
    """Asks listeners on this machine over TCP."""

    def __init__(
        self, reactor: Reactor, clients: Clients, announce: Announce, *, seconds: float = ASK_SECONDS
    ) -> None:
        self._reactor = reactor
        self._clients = clients
        self._announce = announce
        self._seconds = seconds

    async def ask(self, questions: Sequence[Question]) -> list[Served]:
        """The answers, in the order of the questions."""
        answers: list[Served] = []
        for start in range(0, len(questions), AT_ONCE):
            answers += await self._ask_some(questions[start : start + AT_ONCE])
        return answers

    async def _ask_some(self, questions: Sequence[Question]) -> list[Served]:
        sockets = [_socket_for(question) for question in questions]
        try:
            await self._announce(
                [socket_address(it.getsockname()) for it in sockets if isinstance(it, socket.socket)]
            )
            return await asyncio.gather(*map(self._ask_one, questions, sockets))
        finally:
            for it in sockets:
                if isinstance(it, socket.socket):
                    it.close()  # a socket that a stream has closed already is closed once more, which is nothing

    async def _ask_one(self, question: Question, sock: socket.socket | str) -> Served:
        if isinstance(sock, str):
            return Served(error=sock, reached=False)
        stage = _Stage()
        try:
            async with asyncio.timeout(self._seconds):
                return await self._exchange(question, sock, stage)
        except StreamError as error:
            return Served(error=error.text, reached=stage.shaking)
        except TimeoutError:
            return Served(error=TIMEOUT, reached=False)
        finally:
            if stage.stream is not None:
                stage.stream.abort()

    async def _exchange(self, question: Question, sock: socket.socket, stage: _Stage) -> Served:
        address = ipaddress.ip_address(question.address)
        stream = stage.stream = await connect(
            self._reactor, sock, address, question.port, timeout=self._seconds
        )
        refusal = "" if question.implicit else await _starttls(stream)
        if refusal:
            return Served(error=refusal, reached=False)
        stage.shaking = True
        session = await stream.start_tls(self._clients.for_(question.accepts), sni=question.sni)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await stream.close(b"QUIT\r\n")
        return Served(session.peer_chain, session.protocol)


class _Stage:
    """How far one question came."""

    __slots__ = ("shaking", "stream")

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.shaking = False


def _socket_for(question: Question) -> socket.socket | str:
    """A socket bound to the asked address itself, as the kernel would choose; or why there is none."""
    try:
        return bound_socket(ipaddress.ip_address(question.address))
    except StreamError as error:
        return error.text


async def _starttls(stream: Stream) -> str:
    """Speak SMTP up to the 220 of STARTTLS (RFC 3207 §4); returns why that did not come about, or nothing."""
    engine = ClientEngine("localhost")
    event = await _next(stream, engine)
    if not isinstance(event, Greeting) or event.reply.code != 220:
        return _refusal("the greeting", event)
    engine.hello()
    stream.write(engine.take_output())
    event = await _next(stream, engine)
    if not isinstance(event, HelloDone):
        return _refusal("the answer to EHLO", event)
    if engine.capabilities is None or not engine.capabilities.starttls:
        return "STARTTLS is not offered"
    engine.starttls()
    stream.write(engine.take_output())
    event = await _next(stream, engine)
    if not isinstance(event, StartTlsAnswered) or not event.accepted:
        return _refusal("the answer to STARTTLS", event)
    return "octets in clear behind the answer to STARTTLS" if stream.unread else ""


async def _next(stream: Stream, engine: ClientEngine) -> ClientEvent | None:
    """The next event; None when the server just ends."""
    while (event := engine.next_event()) is None:
        data = await stream.read()
        if not data:
            return None
        engine.receive(data)
    return event


def _refusal(what: str, event: object) -> str:
    reply = getattr(event, "reply", None)
    if reply is not None:
        return f"{what} was {reply.code} {reply.text}"
    return f"{what} did not come" if event is None else f"{what} was not understood"


# --- in memory ---------------------------------------------------------------------------------------


def shown_by(context: ServerContext, clients: Clients, sni: str, accepts: Accepts) -> Served:
    """What a context of ours shows to its next client. Blocks for about a millisecond."""
    client, server = clients.for_(accepts).connection(sni), context.connection()
    done = {client: False, server: False}
    try:
        for _ in range(_FLIGHTS):
            for here, there in ((client, server), (server, client)):
                done[here] = done[here] or _step(here)
                if output := take_output(here):
                    there.bio_write(output)
            if all(done.values()):
                return Served(peer_chain(client), client.get_protocol_version_name())
    except SSL.Error as error:
        return Served(error=failure_of(error).text)
    except AlpnRefused:
        return Served(error="the application protocol was refused")
    return Served(error="the handshake does not end")


def _step(connection: SSL.Connection) -> bool:
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        return False
    return True
