"""smtp routes: where the mail of a recipient domain goes, before any DNS.

A route's domain is exact (`example.net`), partial (`.example.net`: everything inside, not the domain
itself) or `ALL`; the exact one wins, then the longest suffix, then `ALL`, then DNS. Its hosts are tried in
the order in which they are written:

- `[host]`, `[192.0.2.1]:2525`, `[2001:db8::1]` – address records only, or the address itself;
- `host`, `host:2525` – the MX records of that name;
- `192.0.2.1`, `192.0.2.1:2525`, `2001:db8::1` – an address without its brackets means itself;
- `usedns` – no route: as if the entry were not there, except that no wider entry applies;
- `reject` – the domain gets no mail.

A recipient written as an address literal (`user@[192.0.2.1]`) is no route: its address is checked as one
learnt from outside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatepost.core.address import IPAddress, normalise_domain

SMTP_PORT = 25


@dataclass(frozen=True, slots=True)
class RouteHost:
    """One host of a route. `name` is empty for an address; `use_mx` asks for the MX records of `name`."""

    name: str = ""
    address: IPAddress | None = None
    port: int = SMTP_PORT
    use_mx: bool = False


@dataclass(frozen=True, slots=True)
class UseDns:
    """No route: the MX records of `name`, the recipient domain."""

    name: str


@dataclass(frozen=True, slots=True)
class UseAddress:
    """No route, and the recipient domain is an address literal."""

    address: IPAddress


@dataclass(frozen=True, slots=True)
class FixedHosts:
    """The operator's own next hops, in order; exempt from the refused address ranges."""

    hosts: tuple[RouteHost, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """Mail for this domain is refused for good; also an address literal that is none (`reason` says why)."""

    reason: str


NextHop = UseDns | UseAddress | FixedHosts | Reject


def parse_route_host(text: str) -> RouteHost:
    """One host as written in `hosts:` (not `usedns` or `reject`). Raises ValueError with a sentence."""
    bracketed, inner, port_text = _split(text.strip())
    port = _port(port_text, text)
    address = _address(inner)
    if address is not None:
        return RouteHost(address=address, port=port)
    if not inner or any(character in inner for character in ":/[] "):
        raise ValueError(f"`{text}` is neither a host name nor an address")
    return RouteHost(name=normalise_domain(inner), port=port, use_mx=not bracketed)


def _split(text: str) -> tuple[bool, str, str]:
    """Brackets or not, what is inside, and the text of the port (empty for none)."""
    if text.startswith("["):
        inner, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")) or rest == ":":
            raise ValueError(f"`{text}` is not of the form [host] or [host]:port")
        return True, inner.strip(), rest[1:]
    if text.count(":") > 1:  # a bare IPv6 address has no room for a port
        return False, text, ""
    host, colon, port = text.partition(":")
    if colon and not port:
        raise ValueError(f"`{text}` ends with a colon")
    return False, host, port


def _port(digits: str, text: str) -> int:
    if not digits:
        return SMTP_PORT
    if not (digits.isascii() and digits.isdigit()) or not 1 <= int(digits[:6]) <= 65535:
        raise ValueError(f"`{text}` has no port from 1 to 65535")
    return int(digits)


def _address(text: str) -> IPAddress | None:
    plain = text[5:] if text.lower().startswith("ipv6:") else text
    try:
        return ipaddress.ip_address(plain)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of `smtp_routes` as written."""

    domain: str
    hosts: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Compiled:
    hosts: tuple[RouteHost, ...]
    reject: bool = False


def _compile(hosts: Sequence[str]) -> _Compiled:
    """`usedns` compiles to no hosts; the two words stand alone."""
    words = {host.strip().lower() for host in hosts} & {"usedns", "reject"}
    if words and len(hosts) > 1:
        raise ValueError(f"`{words.pop()}` stands alone in a route")
    if not hosts:
        raise ValueError("a route needs at least one host")
    if words:
        return _Compiled((), reject="reject" in words)
    return _Compiled(tuple(parse_route_host(host) for host in hosts))


class Routes:
    """The compiled table. Immutable; raises ValueError for an entry that cannot be compiled."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._table: dict[str, _Compiled] = {}
        for route in routes:
            self._table.setdefault(_key(route.domain), _compile(route.hosts))

    def find(self, domain: str) -> NextHop:
        """The next hop for a recipient domain in its normalised form."""
        found = self._table.get(domain)
        start = domain.find(".")
        while found is None and start >= 0:
            found = self._table.get(domain[start:])
            start = domain.find(".", start + 1)
        if found is None:
            found = self._table.get("ALL")
        if found is None or not (found.hosts or found.reject):
            return _without_route(domain)
        if found.reject:
            return Reject("the smtp route of this domain says reject")
        return FixedHosts(found.hosts)


def _key(domain: str) -> str:
    if domain.upper() == "ALL":
        return "ALL"
    return "." + normalise_domain(domain[1:]) if domain.startswith(".") else normalise_domain(domain)


def _without_route(domain: str) -> NextHop:
    if not domain.startswith("["):
        return UseDns(domain)
    address = _address(domain.strip("[]"))
    return Reject(f"{domain} is not an address") if address is None else UseAddress(address)
