"""From MX records to the hosts to try, and which addresses learnt from DNS are not believed.

Order: by preference, random among equals (RFC 5321 §5.1). A single record whose host is the root is a null MX
(RFC 7505): the domain takes no mail. If we are in the list ourselves, we and everything not better than we
are dropped; when nothing is left the mail would loop (5.4.6).

Addresses from a recipient's DNS must not lead into our own machine or network: `refused_address` says
why one is not used. The operator's own routes are exempt; whoever calls knows which it is.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from gatepost.core.address import IPAddress, normalise_domain

MAX_MX_HOSTS = 20  # tried for one message; a domain may publish hundreds


@dataclass(frozen=True, slots=True)
class MxHost:
    """One mail exchanger, its name normalised."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class NullMx:
    """The domain says that it takes no mail (RFC 7505 §4): bounce with 5.1.10."""

    status: str = "5.1.10"
    text: str = "Domain does not accept mail (null MX)"


@dataclass(frozen=True, slots=True)
class NoUsableMx:
    """MX records exist, but none holds a host name (addresses, over-long labels): bounce with 5.4.4."""

    status: str = "5.4.4"
    text: str = "No MX record of the domain names a host"


@dataclass(frozen=True, slots=True)
class MailLoop:
    """We are the best exchanger of a domain that we do not deliver ourselves: bounce with 5.4.6."""

    status: str = "5.4.6"
    text: str = "Mail for this domain loops back to this gateway"


def order_mx(
    records: Iterable[tuple[int, str]], rng: random.Random
) -> tuple[MxHost, ...] | NullMx | NoUsableMx:
    """The hosts in the order in which they are tried; `records` are (preference, host) and must not be empty.

    A name with several preferences keeps its best. A root host beside others is no null MX
    (RFC 7505 §3) and is left out, like names that are addresses or no names at all.
    """
    raw = list(records)
    if raw and all(host in (".", "") for _, host in raw):
        return NullMx()
    best: dict[str, int] = {}
    for preference, text in raw:
        host = _host_name(text)
        if host and preference < best.get(host, 65536):
            best[host] = preference
    if not best:
        return NoUsableMx()
    ranked = sorted((preference, rng.random(), host) for host, preference in best.items())
    return tuple(MxHost(preference, host) for preference, _, host in ranked[:MAX_MX_HOSTS])


def _host_name(text: str) -> str:
    """The normalised name, or empty for what is none; RFC 5321 §5.1: an MX names a host, not an address."""
    try:
        name = normalise_domain(text)
    except ValueError:
        return ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "" if name.startswith("[") else name
    return ""


def drop_ourselves(
    hosts: Sequence[MxHost], is_ours: Callable[[MxHost], bool]
) -> tuple[MxHost, ...] | MailLoop:
    """RFC 5321 §5.1: without ourselves and without every host of equal or worse preference.

    `is_ours` looks at the name and, where they are known, at the addresses. `hosts` are in `order_mx` order.
    """
    limit = min((host.preference for host in hosts if is_ours(host)), default=None)
    if limit is None:
        return tuple(hosts)
    return tuple(host for host in hosts if host.preference < limit) or MailLoop()


_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10")
)
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_RESERVED = ipaddress.ip_network("240.0.0.0/4")
_EMBEDDING = (  # IPv6 prefixes of 96 bits whose last 32 are an IPv4 address: compatible, and NAT64 (RFC 6052)
    ipaddress.ip_network("::/96"),
    ipaddress.ip_network("64:ff9b::/96"),
)


def refused_address(
    address: IPAddress, allow_private: bool, own_addresses: Collection[IPAddress] = ()
) -> str:
    """Why an address from a recipient domain's DNS is not connected to; empty when it may be.

    An IPv6 address that carries an IPv4 one (mapped, compatible, NAT64, 6to4) is refused for either.
    """
    reason = _refused(address, allow_private, own_addresses)
    if reason or address.version == 4:
        return reason
    inner = _embedded(address)
    return _refused(inner, allow_private, own_addresses) if inner is not None else ""


def _refused(address: IPAddress, allow_private: bool, own_addresses: Collection[IPAddress]) -> str:
    if address in own_addresses:
        return "address of one of our own listeners"
    if address.is_loopback:
        return "loopback address"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "unspecified address"
    if address.is_multicast:
        return "multicast address"
    if address.is_link_local:
        return "link-local address"
    if address in _RESERVED:
        return "reserved address"
    if not allow_private and any(address in network for network in _PRIVATE):
        return "private address"
    return ""


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
