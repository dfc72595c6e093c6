"""Names that a client may ask for in its handshake (SNI, RFC 6066 §3), and which of a listener's it means.

A listener lists host names, and `*.domain` for every name one label below a domain. A name that is listed itself comes
before a wildcard. What a client sends is compared without regard to case and without one trailing dot; anything else
that is not a listed name (nothing, an address, 255 octets of anything) means none of them, and never a fault.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Annotated

from pydantic import AfterValidator

from gatepost.config.values import Fault, WrittenText, parse_host_name, parse_ip

WILDCARD = "*."
SAMPLE_LABEL = "gatepost-proof"  # stands for any name under a wildcard


def parse_sni_name(text: str) -> str:
    """A listed name in its comparable form: lower-case A-labels, no trailing dot. Raises Fault."""
    _refuse_address(text)
    wild = text.startswith(WILDCARD)
    name = parse_host_name(text.removeprefix(WILDCARD))
    if wild and "." not in name:
        raise Fault("is a wildcard for a whole top-level domain", "write *.example.net")
    return WILDCARD + name if wild else name


def _refuse_address(text: str) -> None:
    try:
        parse_ip(text.strip("[]"))
    except Fault:
        return
    raise Fault("is an address, and no client asks for one", "write a host name, or *.example.net")


def meant_name(listed: Container[str], asked: str) -> str | None:
    """The listed name (comparable form) that a client means by `asked`; None for none of them."""
    name = asked.lower().removesuffix(".")
    if WILDCARD[0] in name:
        return None
    if name in listed:
        return name
    first, dot, domain = name.partition(".")
    wildcard = WILDCARD + domain
    return wildcard if first and dot and wildcard in listed else None


def sample_name(listed: str) -> str:
    """A listed name as one client would ask for it: for a wildcard, a name below its domain."""
    return f"{SAMPLE_LABEL}.{listed.removeprefix(WILDCARD)}" if listed.startswith(WILDCARD) else listed


def _check(text: str) -> str:
    parse_sni_name(text)
    return text


SniText = Annotated[WrittenText, AfterValidator(_check)]
"""A name as written; `parse_sni_name` gives its comparable form."""
