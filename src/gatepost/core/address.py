"""Domains and addresses in the one form in which the product compares them.

A domain is kept as lower-case A-labels without a trailing dot (RFC 5890), so that `Bücher.example`,
`xn--bcher-kva.example.` and `XN--BCHER-KVA.example` are one name in policies, queues and lookups.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

import idna

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_DOMAIN = 255  # octets, RFC 5321 §4.5.3.1.2
MAX_LOCAL_PART = 64  # octets, RFC 5321 §4.5.3.1.1
MAX_PATH = 256  # octets with the angle brackets, RFC 5321 §4.5.3.1.3


def normalise_domain(text: str) -> str:
    """The comparable form of a host or domain name; an address literal `[…]` is only lower-cased.

    Raises ValueError with a sentence for a name that no DNS could hold (empty label, over-long
    label or name, characters that IDNA refuses).
    """
    if text.startswith("["):
        return text.lower()
    name = text.rstrip(".") if text.endswith(".") and not text.endswith("..") else text
    if name.isascii():
        name = name.lower()
    else:
        try:
            name = idna.encode(name, uts46=True).decode("ascii").lower()
        except idna.IDNAError as error:
            raise ValueError(f"not an internationalised domain name: {error}") from None
    if not name or len(name) > MAX_DOMAIN:
        raise ValueError("a domain name has 1 to 255 octets")
    for label in name.split("."):
        if not label:
            raise ValueError("a domain name has no empty labels")
        if len(label) > 63:
            raise ValueError("a label of a domain name has at most 63 octets")
    return name


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox as it stood between the angle brackets, split at its last `@`.

    `text` is exactly what the peer sent (without source route); `local` is the local part as
    written, quotes included; `domain` is normalised. The null reverse-path is the address with empty `text`.
    `postmaster` without a domain has an empty `domain` (RFC 5321 §4.1.1.3).
    """

    text: str
    local: str
    domain: str

    @property
    def null(self) -> bool:
        return not self.text

    @property
    def needs_smtputf8(self) -> bool:
        """True when the address cannot be written without RFC 6531."""
        return not self.text.isascii()


NULL_ADDRESS = Address("", "", "")
