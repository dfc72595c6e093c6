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
from enum import Enum

from gatepost.core.address import IPAddress, normalise_domain

MAX_MX_HOSTS = 20  # tried for one message; a domain may publish hundreds


@dataclass(frozen=True, slots=True)
class MxHost:
    """One mail exchanger: as DNS gave it, or normalised in an `MxOrder`."""

    preference: int
    host: str


class MxOutcome(Enum):
    """What a list of MX records amounts to: the enhanced code and the text of its bounce."""

    FOUND = ("", "")
    NULL = ("5.1.10", "the domain has a null MX: it accepts no mail")  # RFC 7505 §4
    NO_HOST = ("5.4.4", "no MX record of the domain names a host")
    LOOP = ("5.4.6", "mail for the domain loops back to this gateway: the best of its MX are ours")

    @property
    def status(self) -> str:
        return self.value[0]

    @property
    def text(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class MxOrder:
    """The exchangers in the order in which they are tried; none unless `outcome` is FOUND."""

    ranked: tuple[MxHost, ...]
    outcome: MxOutcome

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(host.host for host in self.ranked)

    @property
    def null(self) -> bool:
        return self.outcome is MxOutcome.NULL


def order_hosts(records: Iterable[MxHost], own_names: Collection[str], rng: random.Random) -> MxOrder:
    """The hosts to try, without ourselves by name; `own_names` are normalised, `records` as DNS gave them.

    A name with several preferences keeps its best. A root host beside others is no null MX
    (RFC 7505 §3) and is left out, like names that are addresses or no names at all.
    """
    raw = list(records)
    if raw and all(record.host in (".", "") for record in raw):
        return MxOrder((), MxOutcome.NULL)
    best: dict[str, int] = {}
    for record in raw:
        host = _host_name(record.host)
        if host and record.preference < best.get(host, 65536):
            best[host] = record.preference
    if not best:
        return MxOrder((), MxOutcome.NO_HOST)
    drawn = sorted((preference, rng.random(), host) for host, preference in best.items())
    ranked = tuple(MxHost(preference, host) for preference, _, host in drawn)
    return drop_ourselves(ranked, lambda record: record.host in own_names)


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


def drop_ourselves(ranked: Sequence[MxHost], is_ours: Callable[[MxHost], bool]) -> MxOrder:
    """RFC 5321 §5.1: without ourselves and without every host of equal or worse preference.

    To be asked again when the addresses are known: a foreign name may lead to our own address.
    """
    limit = min((host.preference for host in ranked if is_ours(host)), default=None)
    left = ranked if limit is None else [host for host in ranked if host.preference < limit]
    if not left:
        return MxOrder((), MxOutcome.LOOP)
    return MxOrder(tuple(left[:MAX_MX_HOSTS]), MxOutcome.FOUND)


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
