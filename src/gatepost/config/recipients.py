"""Entries that stand for mailboxes: the RAT's recipients, the addresses of an address list.

Forms (asyncos 2.6): `domain`, `.partial` (everything below it, not itself), `user@domain`, `user@`
(that local part anywhere), `[192.0.2.1]` and `[IPv6:…]` (address literals, RFC 5321 §4.1.3) and `ALL`.
Compared without regard to case, and domains as A-labels; a quoted local part equals its unquoted form.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator

from gatepost.config.values import Fault, WrittenText, check_text, parse_host_name
from gatepost.core.address import MAX_LOCAL_PART


class EntryKind(StrEnum):
    DOMAIN = "domain"
    PARTIAL = "partial"
    MAILBOX = "mailbox"
    LOCAL = "local"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class MailboxEntry:
    """One entry in comparable form: `domain` normalised (or a literal), `local` lower-case and unquoted."""

    text: str
    kind: EntryKind
    local: str = ""
    domain: str = ""


def comparable_local(local: str) -> str:
    """A local part in the form in which it is compared: unquoted (RFC 5321 §4.1.2) and lower-case.

    RFC 5321 §2.4 leaves case to the receiving host; an access table compares without it, so that no case
    slips past a rule.
    """
    if len(local) >= 2 and local[0] == local[-1] == '"':
        inner, out, escaped = local[1:-1], [], False
        for character in inner:
            if character == "\\" and not escaped:
                escaped = True
                continue
            escaped = False
            out.append(character)
        local = "".join(out)
    return local.lower()


def comparable_domain(domain: str) -> str:
    """A normalised domain, or an address literal in one canonical text. Raises Fault."""
    if not domain.startswith("["):
        return parse_host_name(domain)
    literal = canonical_literal(domain)
    if literal is None:
        raise Fault("is not an address literal", "for example [192.0.2.1] or [IPv6:2001:db8::1]")
    return literal


def canonical_literal(domain: str) -> str | None:
    """`[…]` with its address in canonical text; a mapped IPv4 address becomes the IPv4 literal. None if it is none."""
    if not domain.endswith("]"):
        return None
    inner = domain[1:-1].lower()
    tagged = inner.startswith("ipv6:")
    try:
        address = ipaddress.ip_address(inner[5:] if tagged else inner)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return None if tagged else f"[{address}]"
    if address.scope_id is not None:
        return None
    return f"[{address.ipv4_mapped}]" if address.ipv4_mapped else f"[ipv6:{address}]"


def parse_mailbox_entry(text: str) -> MailboxEntry:
    """What one entry means. Raises Fault."""
    check_text(text)
    if not text or len(text) > 320:
        raise Fault("is empty or too long", "write a domain, .domain, user@domain, user@ or ALL")
    if text.lower() == "all":
        return MailboxEntry(text, EntryKind.ALL)
    local, at, domain = text.rpartition("@")
    if not at:
        if text.startswith("."):
            return MailboxEntry(text, EntryKind.PARTIAL, domain=parse_host_name(text[1:]))
        return MailboxEntry(text, EntryKind.DOMAIN, domain=comparable_domain(text))
    if not local:
        raise Fault("has nothing before the @", f"write {domain or 'the domain'} for a whole domain")
    if len(local.encode()) > MAX_LOCAL_PART:
        raise Fault("has a local part of more than 64 octets")
    local = comparable_local(local)
    if not domain:
        return MailboxEntry(text, EntryKind.LOCAL, local=local)
    return MailboxEntry(text, EntryKind.MAILBOX, local=local, domain=comparable_domain(domain))


def _check(text: str) -> str:
    parse_mailbox_entry(text)
    return text


def _check_mailbox(text: str) -> str:
    if parse_mailbox_entry(text).kind is not EntryKind.MAILBOX:
        raise Fault("is not an e-mail address", "for example admin@example.net")
    return text


def _check_domain(text: str) -> str:
    if parse_mailbox_entry(text).kind not in (EntryKind.DOMAIN, EntryKind.PARTIAL):
        raise Fault("is not a domain", "for example example.net, or .example.net for everything below it")
    return text


def _check_domain_or_all(text: str) -> str:
    return text if text == "ALL" else _check_domain(text)


MailboxEntryText = Annotated[WrittenText, AfterValidator(_check)]
"""An entry as written; `parse_mailbox_entry` gives its meaning."""

MailboxText = Annotated[WrittenText, AfterValidator(_check_mailbox)]
"""One whole e-mail address."""

DomainText = Annotated[WrittenText, AfterValidator(_check_domain)]
"""`domain`, `.domain` or an address literal."""

RouteDomainText = Annotated[WrittenText, AfterValidator(_check_domain_or_all)]
"""`domain`, `.domain`, an address literal, or `ALL`."""
