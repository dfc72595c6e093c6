"""Asking a recursive name server: one question, over UDP and, when the answer is cut, over TCP.

How it works. dnspython makes and reads the messages, `dns_exchange` moves them. The configured servers are asked in
order; one that fails, is silent or says SERVFAIL passes the question to the next, twice around at most.

What it trusts. An answer counts when it comes from the asked address with the asked id and question;
anything else on the port is ignored. The AD flag is believed only from a server that was proven
(`trust`), and only where it listens on loopback (architecture 4, DNS).

Limits. 2 s a try, then 4 s; 1,232 octets of UDP (no fragments); the caller bounds the whole.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from gatepost.net.dns_exchange import Exchanged, ExchangeFailed, exchange

TRY_SECONDS = (2.0, 4.0)
UDP_PAYLOAD = 1232
_RESOLV_CONF = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class NameServer:
    """Address and port of a recursive resolver."""

    address: str
    port: int = 53

    @property
    def on_loopback(self) -> bool:
        return ipaddress.ip_address(self.address).is_loopback

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class ServerAddressError(ValueError):
    """A name server is not written as `ADDR`, `ADDR:PORT` or `[V6]:PORT`."""


def parse_name_server(text: str) -> NameServer:
    """`192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`. Raises ServerAddressError."""
    address, port = text, "53"
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        if rest.startswith(":"):
            port = rest[1:]
        elif rest:
            raise ServerAddressError(f"not a name server: {text!r}")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    try:
        number = int(port) if port.isascii() and port.isdigit() else 0
        if not 0 < number < 65536:
            raise ServerAddressError(f"not a port: {port!r}")
        return NameServer(str(ipaddress.ip_address(address)), number)
    except ServerAddressError:
        raise
    except ValueError:
        raise ServerAddressError(f"not an address: {address!r}") from None


def system_name_servers(path: Path = _RESOLV_CONF) -> tuple[NameServer, ...]:
    """The resolvers of the machine; the local host where none is named (resolv.conf(5))."""
    servers = []
    try:
        text = path.read_text("ascii", "replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                servers.append(parse_name_server(words[1].partition("%")[0]))
            except ServerAddressError:
                continue
    return tuple(servers) or (NameServer("127.0.0.1"),)


class NoAnswer(Exception):
    """No server gave an answer; the text says what the last one did."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of rcode NOERROR or NXDOMAIN, whether it is proven, and how many of its records could not be read.

    Only an answer about TLSA may lack records: what they would have said is unusable, not nothing.
    """

    message: dns.message.QueryMessage
    secure: bool
    damaged: int = 0


class DnsClient:
    """Asks the configured servers. It holds no sockets between questions."""

    def __init__(self, servers: Sequence[NameServer], *, try_seconds: Sequence[float] = TRY_SECONDS) -> None:
        self._servers = tuple(servers)
        self._try_seconds = tuple(try_seconds)
        self._trusted: frozenset[NameServer] = frozenset()

    @property
    def servers(self) -> tuple[NameServer, ...]:
        return self._servers

    def trust(self, servers: Sequence[NameServer]) -> None:
        """The servers whose AD flag counts: those that passed the probe. One off loopback is left out."""
        self._trusted = frozenset(
            server for server in servers if server in self._servers and server.on_loopback
        )

    async def ask(
        self,
        name: dns.name.Name,
        kind: dns.rdatatype.RdataType,
        *,
        try_seconds: Sequence[float] | None = None,
    ) -> Response:
        """One question. Raises NoAnswer when no server answers it."""
        problem = "no name servers"
        for seconds in try_seconds or self._try_seconds:
            for server in self._servers:
                try:
                    return await self._ask_one(server, name, kind, seconds)
                except NoAnswer as failure:
                    problem = str(failure)
        raise NoAnswer(problem)

    async def _ask_one(
        self, server: NameServer, name: dns.name.Name, kind: dns.rdatatype.RdataType, seconds: float
    ) -> Response:
        query = dns.message.make_query(name, kind, use_edns=0, payload=UDP_PAYLOAD)
        query.flags |= dns.flags.AD  # RFC 6840 §5.7: tell us whether you validated
        answer = await ask_server(server, query, seconds)
        if answer.message.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
            query.use_edns(-1)  # RFC 6891 §6.2.2: a server that does not know EDNS
            answer = await ask_server(server, query, seconds)
        message, rcode = answer.message, answer.message.rcode()
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) or not isinstance(
            message, dns.message.QueryMessage
        ):
            raise NoAnswer(f"{dns.rcode.to_text(rcode)} from {server}")
        if answer.damaged and kind is not dns.rdatatype.TLSA:
            raise NoAnswer(f"a malformed answer from {server}")
        secure = server in self._trusted and bool(message.flags & dns.flags.AD)
        return Response(message, secure, answer.damaged)


async def ask_server(server: NameServer, query: dns.message.Message, seconds: float) -> Exchanged:
    """One question to one server. Raises NoAnswer."""
    try:
        return await exchange(server.address, server.port, query, seconds)
    except ExchangeFailed as failure:
        raise NoAnswer(f"{failure} asking {server}") from None
