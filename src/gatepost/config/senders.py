"""Entries of a sender group of the HAT: who is meant by a text.

Forms (asyncos 2.3): one IPv4 or IPv6 address, CIDR (`192.0.2.0/24`, `10/8`, `2001:db8::/32`), partial IPv4
(`10.1`, `10.1.`), ranges (`192.0.2.1-9`, `192.0.2-3`, `10-11`, `2001:db8::1-2001:db8::9`), a host name,
`.domain` (everything below it, not itself), `sbrs[low:high]`, `sbrs[none]` and `ALL`. An IPv4-mapped IPv6
address means the IPv4 address (C29). `dnslist[…]` and `SBO:n` are known forms that this gateway cannot
decide by; they are refused rather than ignored, since a block list that never matches lets mail in.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from gatepost.config.values import Fault, WrittenText, parse_host_name

_PARTIAL = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){0,3}\.?", re.ASCII)
_RANGE = re.compile(r"((?:[0-9]{1,3}\.){0,3})([0-9]{1,3})-([0-9]{1,3})\.?", re.ASCII)
_CIDR = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3}){0,3})\.?/([0-9]{1,2})", re.ASCII)
_NUMERIC = re.compile(r"[0-9./-]+", re.ASCII)
_SCORE = re.compile(
    r"sbrs\[(?:(none)|(-?[0-9]{1,2}(?:\.[0-9]+)?):(-?[0-9]{1,2}(?:\.[0-9]+)?))\]", re.ASCII | re.I
)


@dataclass(frozen=True, slots=True)
class Block:
    """All addresses of one family whose first `length` bits are `prefix` (shifted to the right)."""

    version: int
    length: int
    prefix: int


@dataclass(frozen=True, slots=True)
class AddressSender:
    """Addresses, as one or more blocks."""

    text: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class NameSender:
    """A confirmed host name; `within` means everything below `name`, not `name` itself."""

    text: str
    name: str
    within: bool


@dataclass(frozen=True, slots=True)
class ScoreSender:
    """A range of reputation scores, or with `low` None a sender without a score. `text` is normalised."""

    text: str
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class AllSenders:
    """Everybody."""

    text: str = "ALL"


Sender = AddressSender | NameSender | ScoreSender | AllSenders


def parse_sender(text: str) -> Sender:
    """What one entry of a sender group means. Raises Fault."""
    if not text or len(text) > 300:
        raise Fault("is empty or too long", "write an address, a host name, .domain or ALL")
    lowered = text.lower()
    if lowered == "all":
        return AllSenders()
    if lowered.startswith("sbrs"):
        return _score(text)
    if lowered.startswith(("dnslist", "sbo:")):
        raise Fault(
            "cannot be decided by this gateway",
            "remove the entry; DNS lists and network owners are not asked",
        )
    if "%" in text:
        raise Fault("has a zone", "write the address without %")
    if ":" in text:
        return AddressSender(text, _ipv6(text))
    if _NUMERIC.fullmatch(text):
        return AddressSender(text, _ipv4(text))
    return _name(text)


def _score(text: str) -> ScoreSender:
    found = _SCORE.fullmatch(text)
    if found is None:
        raise Fault("is not a score entry", "write sbrs[-10.0:-3.0] or sbrs[none]")
    if found[1]:
        return ScoreSender("sbrs[none]", None, None)
    low, high = float(found[2]), float(found[3])
    if not -10 <= low <= high <= 10:
        raise Fault("is not a range of scores", "scores go from -10.0 to 10.0, the lower one first")
    return ScoreSender(f"sbrs[{low:.1f}:{high:.1f}]", low, high)


def _name(text: str) -> NameSender:
    if text.startswith("*"):
        raise Fault(
            "is not a sender entry", f"write {text.lstrip('*') or '.domain'} for everything below a domain"
        )
    within = text.startswith(".")
    try:
        return NameSender(text, parse_host_name(text[1:] if within else text), within)
    except Fault:
        raise Fault(
            "is neither an address nor a host name",
            "for example 192.0.2.0/24, 10.1., mx.example.net, .example.net",
        ) from None


def _ipv4(text: str) -> tuple[Block, ...]:
    """The blocks of an IPv4 form: single, partial, range or CIDR."""
    if found := _CIDR.fullmatch(text):
        length = int(found[2])
        octets = _octets(found[1])
        if length > 32:
            raise Fault("has a mask longer than 32 bits")
        value = _as_number(octets)
        prefix = value >> (32 - length)
        if prefix << (32 - length) != value:
            proper = f"{ipaddress.IPv4Address(prefix << (32 - length))}/{length}"
            raise Fault("has host bits set", f"write {proper} for the network, or the address alone")
        return (Block(4, length, prefix),)
    if found := _RANGE.fullmatch(text):
        head = _octets(found[1].rstrip(".")) if found[1] else []
        low, high = _octets(found[2])[0], _octets(found[3])[0]
        if low > high:
            raise Fault("is a range that ends before it begins")
        free = 32 - 8 * (len(head) + 1)
        first = _as_number([*head, low])
        last = _as_number([*head, high]) | ((1 << free) - 1)
        return _blocks(ipaddress.IPv4Address(first), ipaddress.IPv4Address(last))
    if _PARTIAL.fullmatch(text):
        if text.count(".") == 4:
            raise Fault("is not an IPv4 address", "a full address has no dot at its end")
        octets = _octets(text.rstrip("."))
        length = 8 * len(octets)
        return (Block(4, length, _as_number(octets) >> (32 - length)),)
    raise Fault(
        "is not an IPv4 address, range or network",
        "for example 192.0.2.1, 192.0.2.1-9, 192.0.2., 192.0.2.0/24",
    )


def _octets(text: str) -> list[int]:
    parts = text.split(".")
    for part in parts:
        if int(part) > 255:
            raise Fault("has an octet over 255")
        if len(part) > 1 and part.startswith("0"):
            raise Fault(
                "has an octet with a leading zero", "some programs read it as octal; leave the zero out"
            )
    return [int(part) for part in parts]


def _as_number(octets: list[int]) -> int:
    value = 0
    for octet in octets:
        value = value << 8 | octet
    return value << 8 * (4 - len(octets))


def _ipv6(text: str) -> tuple[Block, ...]:
    """The blocks of an IPv6 form: single, CIDR or range."""
    first, dash, last = text.partition("-")
    try:
        if dash:
            ends = ipaddress.IPv6Address(first), ipaddress.IPv6Address(last)
        else:
            network = ipaddress.IPv6Network(text)
    except ValueError as error:
        if "host bits" in str(error):
            proper = ipaddress.IPv6Network(text, strict=False)
            raise Fault(
                "has host bits set", f"write {proper} for the network, or the address alone"
            ) from None
        raise Fault(
            "is not an IPv6 address, range or network", "for example 2001:db8::1, 2001:db8::/32"
        ) from None
    return _blocks(*ends) if dash else (_block(network),)


def _blocks(
    first: ipaddress.IPv4Address | ipaddress.IPv6Address, last: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> tuple[Block, ...]:
    if first > last:  # type: ignore[operator]  # both are of one family here
        raise Fault("is a range that ends before it begins")
    networks = ipaddress.summarize_address_range(first, last)
    return tuple(_block(network) for network in networks)


def _block(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Block:
    if isinstance(network, ipaddress.IPv6Network):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            length = network.prefixlen - 96
            return Block(4, length, int(mapped) >> (32 - length))
        return Block(6, network.prefixlen, int(network.network_address) >> (128 - network.prefixlen))
    return Block(4, network.prefixlen, int(network.network_address) >> (32 - network.prefixlen))


def _check(text: str) -> str:
    parse_sender(text)
    return text


SenderText = Annotated[WrittenText, AfterValidator(_check)]
"""One entry of a sender group as written; `parse_sender` gives its meaning."""
