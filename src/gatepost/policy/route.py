"""smtp routes: where the mail of a recipient domain goes, before any DNS.

A route's domain is exact (`example.net`), partial (`.example.net`: everything inside, not the domain
itself) or `ALL`; the exact one wins, then the longest suffix, then `ALL`, then DNS. Its hosts (their
written forms: `config.hosts`) are tried in the order in which they are written. `usedns` is no
route: DNS decides as if no route were there, and no wider entry applies. `reject`: the domain gets no mail.

A recipient written as an address literal (`user@[192.0.2.1]`) is no route: its address is checked as one
learnt from outside. A route for `ALL` takes it too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatepost.config.hosts import RouteHost as WrittenHost
from gatepost.config.hosts import RouteKind
from gatepost.core.address import IPAddress, normalise_domain


@dataclass(frozen=True, slots=True)
class RouteHost:
    """One next hop of a route: a name whose address records are asked for, its MX records first when `mx`,
    or an address (then `host` is its text). `port` is where that host, or each of its exchangers, listens."""

    host: str
    port: int = 25
    mx: bool = False
    address: IPAddress | None = None


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


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of `smtp_routes`; `path` is its place in the configuration."""

    domain: str
    hosts: Sequence[WrittenHost]
    path: str = ""


@dataclass(frozen=True, slots=True)
class RouteChoice:
    """The next hop of a domain, and the entry that says so: its domain as written, and its place; both empty without one."""

    next_hop: NextHop
    domain: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class _Compiled:
    route: Route
    hosts: tuple[RouteHost, ...]
    reject: bool = False


def _compile(route: Route) -> _Compiled:
    """`usedns` compiles to no hosts. Raises ValueError where it or `reject` has company."""
    hosts = route.hosts
    words = {host.kind for host in hosts} & {RouteKind.USE_DNS, RouteKind.REJECT}
    if words and len(hosts) > 1:
        raise ValueError(f"`{words.pop()}` stands alone in a route")
    if not hosts:
        raise ValueError("a route needs at least one host")
    if words:
        return _Compiled(route, (), reject=RouteKind.REJECT in words)
    return _Compiled(route, tuple(_host(host) for host in hosts))


def _host(written: WrittenHost) -> RouteHost:
    address = ipaddress.ip_address(written.host) if written.kind is RouteKind.ADDRESS else None
    return RouteHost(written.host, written.port, written.kind is RouteKind.MX, address)


class Routes:
    """The compiled table. Immutable; raises ValueError for an entry that cannot be compiled."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._table: dict[str, _Compiled] = {}
        for route in routes:
            self._table.setdefault(_key(route.domain), _compile(route))

    def find(self, domain: str) -> NextHop:
        """The next hop for a recipient domain in its normalised form."""
        return _next_hop(self._naming(domain), domain)

    def choose(self, domain: str) -> RouteChoice:
        """What `find` finds, with the entry it comes from."""
        found = self._naming(domain)
        if found is None:
            return RouteChoice(_next_hop(None, domain))
        return RouteChoice(_next_hop(found, domain), found.route.domain, found.route.path)

    def _naming(self, domain: str) -> _Compiled | None:
        """The entry that counts for a domain."""
        found = self._table.get(domain)
        start = domain.find(".")
        while found is None and start >= 0:
            found = self._table.get(domain[start:])
            start = domain.find(".", start + 1)
        return found if found is not None else self._table.get("ALL")


def _next_hop(found: _Compiled | None, domain: str) -> NextHop:
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
    # RFC 5321 §4.1.3: `[192.0.2.1]` and `[IPv6:2001:db8::1]`.
    inner = domain.strip("[]").lower().removeprefix("ipv6:")
    try:
        return UseAddress(ipaddress.ip_address(inner))
    except ValueError:
        return Reject(f"{domain} is not an IP address")
