"""HTTP out: one client for what the operator's configuration names, one for what strangers name (architecture 8).

How it works. aiohttp carries the exchange (decision 0025); here is what must not go wrong in it. Both clients make a connection
for each request and close it behind the answer. They follow no redirect (an answer with 3xx comes back as it is, C36), take no
proxy from the environment, keep no cookies, offer no compression and refuse a compressed answer, and stop reading at
`max_body`. One clock runs over the whole: look-up, connection, handshake and the last octet, so a server that drips is cut
off like one that is silent.

What it trusts. HTTPS peers are verified against the roots given to the constructor and against the host name of the URL (RFC 9110 §4.3.4;
a common name does not count). `OperatorHttp` goes wherever its caller says, plain HTTP and inside addresses too: only
URLs of the committed configuration may be given to it. `PublicHttp` is for URLs that strangers wrote: the name is looked up
once, through the product's resolver, addresses of our own machine and network are refused, and the connection goes to the very
addresses that were checked; a second look-up, which could give another answer, does not happen.

Limits. 1 MiB and 30 s unless the constructor says otherwise; 64 KiB of header. Everything a server does wrong ends in
`HttpFailed`, whose text is for the log and the administrator: `certificate has expired`, `connection refused`, `no answer within
30 s`, `answer longer than 1 MiB`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from gatepost.core.address import IPAddress
from gatepost.core.address_ranges import refused_address
from gatepost.net.dns_answer import DnsAnswer
from gatepost.net.errors import plain_error_text
from gatepost.pki.anchors import Anchors
from gatepost.pki.findings import OPENSSL_ERRORS

TIMEOUT_SECONDS = 30.0
MAX_BODY = 1 << 20
MAX_URL = 2_000
_PIECE = 1 << 16
_MAX_LINE = 8_190  # octets of one header line, and of all names and values below
_MAX_HEADER = 1 << 16
_WRONG_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH

LookUp = Callable[[str], Awaitable[Sequence[IPAddress]]]
"""The addresses of a host name, each look-up fresh. Raises HttpFailed when they cannot be told."""


class HttpFailed(Exception):
    """There is no answer. `text` says why, in words without the URL.

    `unproven` says that TLS did not come about: the server spoke none, or its certificate does not prove who it is.
    """

    def __init__(self, text: str, *, unproven: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.unproven = unproven


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer, whatever its status. Names of headers are in lower case, repeated ones joined by `, ` (RFC 9110 §5.3)."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Addresses(Protocol):
    """The part of `Resolver` that is needed here."""

    async def addresses(self, host: str) -> DnsAnswer[IPAddress]: ...


def looked_up_by(resolver: Addresses) -> LookUp:
    """The product's resolver as the port of `PublicHttp`."""

    async def look_up(host: str) -> Sequence[IPAddress]:
        answer = await resolver.addresses(host)
        if answer.temporary:
            raise HttpFailed(f"{host} cannot be looked up: {answer.detail}")
        return answer.values

    return look_up


class OperatorHttp:
    """For URLs of the committed configuration: ACME directories, revocation lists, webhooks. Made and closed on one loop.

    `trust_pem` are the roots that HTTPS peers must lead to; without any, no HTTPS peer is taken. Names are looked up by the
    operating system.
    """

    def __init__(
        self, trust_pem: bytes, *, timeout: float = TIMEOUT_SECONDS, max_body: int = MAX_BODY
    ) -> None:
        self._client = _Client(trust_pem, timeout, None)
        self._max_body = max_body

    async def request(
        self, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """One exchange. Raises HttpFailed."""
        target = checked_url(url)
        return await self._client.exchange(method, target, body, headers or {}, self._max_body)

    async def close(self) -> None:
        """Close what is open; a request on its way fails."""
        await self._client.close()


class PublicHttp:
    """For URLs that strangers wrote: policies of domains, revocation lists named in certificates.

    `allow_inside` is for tests and for laboratories whose "public" hosts are on inside addresses.
    """

    def __init__(
        self,
        look_up: LookUp,
        trust_pem: bytes,
        *,
        timeout: float = TIMEOUT_SECONDS,
        allow_inside: bool = False,
    ) -> None:
        self._allow_inside = allow_inside
        self._client = _Client(trust_pem, timeout, _CheckedResolver(look_up, allow_inside))

    async def get(self, url: str, *, max_body: int = MAX_BODY, allow_http: bool = False) -> HttpAnswer:
        """Fetch a URL; plain HTTP only where the caller says so. Raises HttpFailed."""
        target = self._target(url, allow_http=allow_http)
        return await self._client.exchange("GET", target, b"", {}, max_body)

    async def post(self, url: str, body: bytes, content_type: str, *, max_body: int = MAX_BODY) -> HttpAnswer:
        """Hand something over, by https only. Raises HttpFailed."""
        target = self._target(url, allow_http=False)
        return await self._client.exchange("POST", target, body, {"Content-Type": content_type}, max_body)

    def _target(self, url: str, *, allow_http: bool) -> URL:
        target = checked_url(url)
        if target.scheme != "https" and not allow_http:
            raise HttpFailed("only https is taken")
        literal = _literal(target.host or "")
        if literal is not None:
            # No name, so nothing is looked up and the resolver below is not asked.
            _checked(target.host or "", [literal], self._allow_inside)
        return target

    async def close(self) -> None:
        """Close what is open; a request on its way fails."""
        await self._client.close()


def checked_url(text: str) -> URL:
    """A URL that may be asked for: http or https, a host, no user name, visible ASCII only. Raises HttpFailed."""
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > MAX_URL:
        raise HttpFailed("the URL has characters that no URL has, or too many")
    try:
        parts = urlsplit(text)
        target = URL(text, encoded=True)
        named = (parts.hostname, parts.port, target.host, target.port)
    except ValueError:
        raise HttpFailed("the URL is not well-formed") from None
    if parts.scheme not in ("http", "https"):
        raise HttpFailed("the URL begins neither with https:// nor with http://")
    if not named[0] or not named[2] or named[3] == 0:
        raise HttpFailed("the URL names no host")
    if parts.username is not None or parts.password is not None:
        raise HttpFailed("the URL holds a user name or a pass-phrase")
    return target.with_fragment(None)


def _literal(host: str) -> IPAddress | None:
    """An address that stands in place of a name, in any form that the operating system would take for one."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001, 2130706433
    except (OSError, ValueError):
        return None


def _checked(host: str, addresses: Sequence[IPAddress], allow_inside: bool) -> list[IPAddress]:
    """The addresses that may be connected to. Raises HttpFailed when none is left."""
    if not addresses:
        raise HttpFailed(f"{host} has no address")
    reasons = [(address, "" if allow_inside else refused_address(address, False)) for address in addresses]
    good = [address for address, reason in reasons if not reason]
    if not good:
        address, reason = reasons[0]
        raise HttpFailed(f"{host} leads to {address}: {reason}")
    return good


class _CheckedResolver(AbstractResolver):
    """Gives aiohttp addresses that were checked, and no others. It is asked once for each connection."""

    def __init__(self, look_up: LookUp, allow_inside: bool) -> None:
        self._look_up = look_up
        self._allow_inside = allow_inside

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = list(await self._look_up(host.rstrip(".")))
        return [
            {
                "hostname": host,
                "host": str(address),
                "port": port,
                "family": socket.AF_INET if address.version == 4 else socket.AF_INET6,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for address in _checked(host, found, self._allow_inside)
        ]

    async def close(self) -> None:
        """Nothing of its own is open."""


class _Client:
    """What both have in common: a session of aiohttp with everything switched off that is not wanted."""

    def __init__(self, trust_pem: bytes, timeout: float, resolver: AbstractResolver | None) -> None:
        self._context = _context(trust_pem)
        self._timeout = timeout
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    async def exchange(
        self, method: str, target: URL, body: bytes, headers: Mapping[str, str], max_body: int
    ) -> HttpAnswer:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(method, target, body, headers, max_body)
        except TimeoutError:
            raise HttpFailed(f"no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _failed(error, target.host or "") from None

    async def _exchange(
        self, method: str, target: URL, body: bytes, headers: Mapping[str, str], max_body: int
    ) -> HttpAnswer:
        sent = {"Accept-Encoding": "identity", **headers}
        async with self._opened().request(
            method, target, data=body or None, headers=sent, allow_redirects=False
        ) as response:
            got = _headers(response)
            if got.get("content-encoding", "identity").lower() != "identity":
                raise HttpFailed("the answer is compressed, which was not asked for")
            if (response.content_length or 0) > max_body and method != "HEAD":
                raise HttpFailed(_too_long(max_body))
            content = bytearray()
            while piece := await response.content.read(_PIECE):
                content += piece
                if len(content) > max_body:
                    response.close()
                    raise HttpFailed(_too_long(max_body))
            return HttpAnswer(response.status, got, bytes(content))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._context,
                resolver=self._resolver or aiohttp.ThreadedResolver(),
                use_dns_cache=False,
                force_close=True,
                limit=20,
                socket_factory=self._socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                headers={"User-Agent": "gatepost"},
                trust_env=False,
                auto_decompress=False,
                read_bufsize=_PIECE,
                max_line_size=_MAX_LINE,
                max_field_size=_MAX_LINE,
            )
        return self._session

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        made = socket.socket(*info[:3])
        self._sockets.add(made)
        return made

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        # A peer that never answers the close_notify would keep its connection, and the loop at its end, for half a minute.
        for left in list(self._sockets):
            with suppress(OSError):
                left.shutdown(socket.SHUT_RDWR)


def _context(trust_pem: bytes) -> ssl.SSLContext:
    """A client's context with these roots only; one that cannot be loaded does not stop the others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    # The operator may trust an authority below a root, or one server's own certificate.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for root in Anchors.from_pem(trust_pem).certificates:
        try:
            context.load_verify_locations(cadata=root.der)
        except ssl.SSLError:
            continue
    return context


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The headers by lower-case name. Raises HttpFailed for more than any honest server sends."""
    if sum(len(name) + len(value) for name, value in response.raw_headers) > _MAX_HEADER:
        raise HttpFailed("the header of the answer is too long")
    joined: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _too_long(limit: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if limit >= unit and limit % unit == 0:
            return f"answer longer than {limit // unit} {name}"
    return f"answer longer than {limit} octets"


def _failed(error: Exception, host: str) -> HttpFailed:
    """One clear phrase for what went wrong, without anything that a server could have put into it."""
    cause: Any = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorDNSError):
        return HttpFailed(f"{host} cannot be looked up")
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return HttpFailed(_certificate_text(cause, host), unproven=True)
    if isinstance(cause, ssl.SSLError):
        text = f"TLS failed: {(cause.reason or 'unknown').replace('_', ' ').lower()}"
        return HttpFailed(text, unproven=True)
    return HttpFailed(_text(cause))


def _text(cause: Exception) -> str:
    if isinstance(cause, aiohttp.ClientPayloadError):
        return "the connection was closed in the middle of the answer"
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(cause, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    if isinstance(cause, OSError):
        return plain_error_text(cause)
    return "the exchange failed"


def _certificate_text(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code in _WRONG_NAME:
        return f"certificate is not valid for {host}"
    known = OPENSSL_ERRORS.get(error.verify_code)
    return known[1] if known is not None else "certificate cannot be verified"
