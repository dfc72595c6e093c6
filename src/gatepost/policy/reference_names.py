"""The names that lead to a host, and those of them that its certificate may be valid for (architecture 4, Names).

Reference names carry their source and are tried in the order of trust, so that a match is put down to unsigned DNS only when no
better name matches. An address written as the next hop brings the recipient domain and its own IP, no name from DNS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.core.reasons import AskedBy, Reason, ReasonCode
from gatepost.core.tls import NameSource, ReferenceName, TlsFacts, TlsLevel
from gatepost.policy.destinations import DestinationRule

MAX_NAMES_SHOWN = 10  # of one certificate; a peer may present a thousand


@dataclass(frozen=True, slots=True)
class HopNames:
    """The names that lead to one address, and where each came from.

    `domain` is the recipient's; `route_host` what the operator wrote in the smtp route, empty without one;
    `mx_host` the host of the MX record (or the domain itself where there is none), empty for a `[host]`
    route; `mx_signed` that the look-up of the MX records was signed, `mx_secure` that the host's addresses were too, `mx_judged`
    that somebody was asked about it: else neither says anything; `ptr_host` the confirmed reverse name of the address. `literal` says that the next hop was written as an address, by the operator or in the
    recipient.
    """

    domain: str
    route_host: str = ""
    mx_host: str = ""
    mx_secure: bool = False
    mx_signed: bool = False
    mx_judged: bool = False
    ptr_host: str = ""
    address: str = ""
    literal: bool = False

    @property
    def asked(self) -> tuple[str, str, str]:
        """The names that were looked up on the way to the host, and the host's own."""
        return (self.domain, self.route_host, self.mx_host)


def reference_names(rule: DestinationRule, hop: HopNames) -> tuple[ReferenceName, ...]:
    """The names that the certificate may be valid for, the most trusted first, each once.

    The plain verify levels take unsigned MX names only with `insecure_names: allow`; the hosted level takes
    them by definition. A PTR name is taken only with `insecure_names: allow`, at any level.
    """
    names: dict[tuple[str, bool], ReferenceName] = {}

    def add(name: str, source: NameSource, *, is_address: bool = False) -> None:
        plain = name.rstrip(".").lower()
        if plain:
            names.setdefault((plain, is_address), ReferenceName(plain, source, is_address))

    if hop.domain.startswith("["):
        add(literal_address(hop.domain), NameSource.OPERATOR, is_address=True)
    else:
        add(hop.domain, NameSource.OPERATOR)
    if hop.literal:
        add(hop.address, NameSource.OPERATOR, is_address=True)
        return tuple(names.values())
    add(hop.route_host, NameSource.OPERATOR)
    if hop.mx_secure:
        add(hop.mx_host, NameSource.DNSSEC)
    elif rule.insecure_names or rule.level is TlsLevel.REQUIRED_VERIFY_HOSTED:
        add(hop.mx_host, NameSource.INSECURE_DNS)
    if rule.insecure_names:
        add(hop.ptr_host, NameSource.INSECURE_DNS)
    return tuple(names.values())


def literal_address(literal: str) -> str:
    """`[192.0.2.1]` and `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3) without their dress."""
    inner = literal.strip("[]")
    return inner[5:] if inner.lower().startswith("ipv6:") else inner


def not_judged(asked_by: AskedBy = AskedBy.RULE) -> Reason:
    """The reason of a certificate that nobody looked at."""
    return Reason(ReasonCode.NOT_JUDGED, "the certificate was not judged on this connection", asked_by)


def mismatch(names: Sequence[ReferenceName], facts: TlsFacts, asked_by: AskedBy = AskedBy.RULE) -> Reason:
    """The reason of a certificate that is valid for none of the names."""
    tried = ", ".join(dict.fromkeys(name.name for name in names)) or "no name"
    shown = facts.chain[0].shown_names(MAX_NAMES_SHOWN) if facts.chain else ""
    text = f"host name mismatch: {tried} not in {shown or 'a certificate without names'}"
    return Reason(ReasonCode.NAME_MISMATCH, text, asked_by)
