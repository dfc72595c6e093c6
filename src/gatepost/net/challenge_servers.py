"""What answers a CA on the ports 80 and 443 while an order runs (RFC 8555 §8.3, RFC 8737): two small servers, nothing else.

How they work. Each takes one listening socket that somebody else has bound and owns it from then on. `present` adds an
answer, `withdraw` takes it away, `close` ends the listening and every connection. One connection, one answer, at most ten
seconds and a few kilobytes; beyond `MAX_CONNECTIONS` at a time further ones are closed at once.

What the world can learn. `Http01Responder` answers `GET` of a pending token's exact path with its exact host, everything else, whatever
it is, with 404. `TlsAlpn01Responder` has a certificate only for names that are pending, and speaks no protocol but
`acme-tls/1`: everybody else's handshake fails. Neither shows another certificate, a version or a page.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from abc import ABC, abstractmethod

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from gatepost.pki.keys import SecretBytes

MAX_CONNECTIONS = 50
MAX_HEAD = 8 * 1024
MAX_HANDSHAKE = 64 * 1024
SECONDS = 10.0
LINGER_SECONDS = 2.0  # for the peer to close first, so that it has read everything
ALPN = b"acme-tls/1"

_REQUEST = re.compile(rb"GET (/[!-~]*) HTTP/1\.[01]")
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class NotAcme(Exception):
    """A TLS client that did not ask for `acme-tls/1`, or asked for a name that is not pending."""


class _Responder(ABC):
    """One listening socket and its short connections. `asked` counts connections, `answered` those that got a proof."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.asked = 0
        self.answered = 0

    async def start(self) -> None:
        """Accept from now on."""
        self._server = await asyncio.start_server(self._accept, sock=self._sock, limit=MAX_HEAD)

    async def close(self) -> None:
        """End everything at once; returns when nothing is left. May be called twice, and without `start`."""
        if self._server is not None:
            self._server.close()
        self._sock.close()
        for writer in self._open:
            writer.transport.abort()
        await self._idle.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(writer)
        self._idle.clear()
        try:
            async with asyncio.timeout(SECONDS):
                await self._serve(reader, writer)
                await _close_in_order(reader, writer)
        except (OSError, TimeoutError):
            pass  # the peer is gone or slow: there is nobody to tell
        finally:
            writer.transport.abort()
            self._open.discard(writer)
            if not self._open:
                self._idle.set()

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One exchange; may raise OSError."""


async def _close_in_order(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Our side ends first; a reset because of what the peer still sends would take the answer with it."""
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            for _ in range(MAX_HANDSHAKE // MAX_HEAD):
                if not await reader.read(MAX_HEAD):
                    return


class Http01Responder(_Responder):
    """Answers for http-01 on `sock`."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._answers: dict[tuple[str, str], bytes] = {}

    def present(self, name: str, path: str, text: str) -> None:
        """Answer `http://name/path` with `text`. `name` is a host name (A-labels) or an address."""
        self._answers[_host_key(name), path] = text.encode("ascii")

    def withdraw(self, name: str, path: str) -> None:
        self._answers.pop((_host_key(name), path), None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        body = self._answer(head)
        if body is None:
            writer.write(_NOT_FOUND)
            return
        self.answered += 1
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
        )

    def _answer(self, head: bytes) -> bytes | None:
        request, *fields = head[:-4].split(b"\r\n")
        match = _REQUEST.fullmatch(request)
        hosts = [value for name, _, value in (f.partition(b":") for f in fields) if name.lower() == b"host"]
        if match is None or len(hosts) != 1:
            return None
        host = hosts[0].strip().decode("ascii", "replace")
        return self._answers.get((_host_key(_without_port(host)), match[1].decode("ascii")))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _host_key(name: str) -> str:
    """One form for a host, whatever its case; addresses may be written in several ways."""
    try:
        return ipaddress.ip_address(name).compressed
    except ValueError:
        return name.lower().removesuffix(".")


class TlsAlpn01Responder(_Responder):
    """Answers for tls-alpn-01 on `sock`."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._contexts: dict[str, SSL.Context] = {}
        self._default = _context()
        self._default.set_tlsext_servername_callback(self._choose)

    def present(self, server_name: str, certificate: bytes, key: SecretBytes) -> None:
        """Show `certificate` (DER) with its key (PEM) to who asks for `server_name` and `acme-tls/1`."""
        context = _context()
        context.use_certificate(x509.load_der_x509_certificate(certificate))
        context.use_privatekey(load_pem_private_key(key.reveal(), None))  # type: ignore[arg-type]
        self._contexts[server_name.lower()] = context

    def withdraw(self, server_name: str) -> None:
        self._contexts.pop(server_name.lower(), None)

    def _choose(self, connection: SSL.Connection) -> None:
        """For any other name the context without a certificate stays, and with it no handshake comes about."""
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        context = self._contexts.get(name)
        if context is not None:
            connection.set_context(context)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = SSL.Connection(self._default, None)
        connection.set_accept_state()
        taken = 0
        while True:
            try:
                connection.do_handshake()
                break
            except SSL.WantReadError:
                _flush(connection, writer)
            except (SSL.Error, NotAcme):
                _flush(connection, writer)  # the alert
                return
            data = await reader.read(MAX_HEAD)
            taken += len(data)
            if not data or taken > MAX_HANDSHAKE:
                return
            connection.bio_write(data)
        if connection.get_alpn_proto_negotiated() == ALPN:
            self.answered += 1
        with contextlib.suppress(SSL.Error):
            connection.shutdown()  # RFC 8737 §3: after the handshake nothing is said
        _flush(connection, writer)


def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(_select)
    return context


def _select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """RFC 8737 §3: the client offers exactly this one protocol."""
    if offered != [ALPN]:
        raise NotAcme
    return ALPN


def _flush(connection: SSL.Connection, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(SSL.WantReadError):
        while data := connection.bio_read(MAX_HANDSHAKE):
            writer.write(data)
