"""What the tests of this room share: certificates of every kind, and connected pairs on loopback."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gatepost.net.reactor import Reactor
from gatepost.net.stream import Stream
from gatepost.net.tls import ClientContext, Identity, ServerContext

T = TypeVar("T")
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)


def run(main: Callable[[], Coroutine[Any, Any, T]], *, seconds: float = 20.0) -> T:
    """Run a test's coroutine on the product's event loop."""

    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await main()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


@dataclass(frozen=True)
class Issued:
    """A certificate, its key, and what is sent with it."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...]

    @property
    def identity(self) -> Identity:
        return Identity(
            b"".join(c.public_bytes(Encoding.PEM) for c in self.chain),
            self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )

    @property
    def ders(self) -> tuple[bytes, ...]:
        return tuple(c.public_bytes(Encoding.DER) for c in self.chain)


@cache
def issued(name: str, kind: str = "ec") -> Issued:
    """A leaf for `name` under an intermediate of its own, so that chains of different leaves differ."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate(f"CA of {name} {kind}", ca_key, None)
    key: Key
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    elif kind == "rsa1024":
        key = rsa.generate_private_key(65537, 1024)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    leaf = _certificate(name, key, (ca, ca_key))
    return Issued(leaf, key, (leaf, ca))


def _certificate(name: str, key: Key, issuer: tuple[x509.Certificate, Key] | None) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(END)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())


def server_context(**keywords: Any) -> ServerContext:
    keywords.setdefault("scope", "test")
    return ServerContext.build(keywords.pop("identities", (issued("mx.example").identity,)), **keywords)


def client_context(**keywords: Any) -> ClientContext:
    return ClientContext.build(**keywords)


def plain_client(**keywords: Any) -> ssl.SSLContext:
    """A client of the standard library (another release of OpenSSL) that verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in keywords.items():
        if name == "ciphers":
            context.set_ciphers(value)
        elif name == "alpn":
            context.set_alpn_protocols(value)
        else:
            setattr(context, name, value)
    return context


def load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """The standard library takes certificates from files only."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(identity.key_pem + identity.chain_pem)
        file.flush()
        context.load_cert_chain(file.name)


def plain_server(who: Issued | None = None, **keywords: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_identity(context, (who or issued("mx.example")).identity)
    for name, value in keywords.items():
        if name == "ciphers":
            context.set_ciphers(value)
        else:
            setattr(context, name, value)
    return context


@asynccontextmanager
async def reactor(**keywords: Any) -> AsyncIterator[Reactor]:
    """A reactor whose sweeper is fast enough for a test."""
    keywords.setdefault("sweep_interval", 0.01)
    made = Reactor(asyncio.get_running_loop(), **keywords)
    try:
        yield made
    finally:
        made.close()


async def connected(**options: int) -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection on loopback, both non-blocking. `buffer` bounds the kernel's buffers."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        here = socket.socket()
        here.setblocking(False)
        if "buffer" in options:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["buffer"])
            here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["buffer"])
            here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options["buffer"])
        await loop.sock_connect(here, listening.getsockname())
        there, _ = await loop.sock_accept(listening)
        there.setblocking(False)
        if "buffer" in options:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options["buffer"])
        for end in (here, there):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return here, there


@dataclass
class Pair:
    """Two streams of the product, connected."""

    reactor: Reactor
    client: Stream
    server: Stream

    async def tls(
        self, client: ClientContext | None = None, server: ServerContext | None = None, sni: str = ""
    ) -> None:
        await asyncio.gather(
            self.server.start_tls(server or server_context()),
            self.client.start_tls(client or client_context(), sni=sni),
        )


@asynccontextmanager
async def pair(*, tls: bool = False, buffer: int = 0, **keywords: Any) -> AsyncIterator[Pair]:
    async with reactor(**keywords) as made:
        here, there = await connected(**({"buffer": buffer} if buffer else {}))
        ends = Pair(made, Stream(made, here), Stream(made, there))
        try:
            if tls:
                await ends.tls()
            yield ends
        finally:
            ends.client.abort()
            ends.server.abort()


@asynccontextmanager
async def raw_pair(**keywords: Any) -> AsyncIterator[tuple[Stream, socket.socket]]:
    """A stream of ours, and the bare socket at its other end."""
    async with reactor(**keywords) as made:
        here, there = await connected()
        stream = Stream(made, there)
        try:
            yield stream, here
        finally:
            stream.abort()
            here.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds."""
    while True:
        if condition():
            return
        await asyncio.sleep(0)


async def read_exactly(stream: Stream, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        data = await stream.read()
        assert data, "the stream ended early"
        parts += data
    return bytes(parts)


async def read_to_end(stream: Stream) -> bytes:
    parts = bytearray()
    while data := await stream.read():
        parts += data
    return bytes(parts)
