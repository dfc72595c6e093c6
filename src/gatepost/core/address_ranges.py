"""Which addresses that strangers name are not connected to.

An address learnt from a recipient's DNS, or behind a public URL, must not lead into our own machine or network (C36, C43): such a
name could make the gateway talk to whatever listens there. `refused_address` says why one is not used. What the
operator's own configuration names is exempt; whoever calls knows which it is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from gatepost.core.address import IPAddress

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
    """Why an address that a stranger names is not connected to; empty when it may be.

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
