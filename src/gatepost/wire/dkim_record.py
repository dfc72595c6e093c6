"""The record of a DKIM key: TXT of `SELECTOR._domainkey.DOMAIN` (RFC 6376 §3.6.1), written and read.

A record is for all services, or for TLS reports alone (`s=tlsrpt`). Receivers of reports may insist on a key that says `tlsrpt` (RFC 8460 §3),
and those who check mail in general pass over a key that says only that (RFC 6376 §3.6.1). A list of both would please either by the
RFC, but dkimpy, which many use, cannot read lists. Whoever wants to please everybody has two keys; reports are signed with both.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gatepost.wire.dkim_tags import TagFault, read_tags, without_blanks, words

REPORTS = "tlsrpt"
MAX_STRING = 255  # octets of one string of a TXT record (RFC 1035 §3.3.14)


class KeyRecordFault(ValueError):
    """A text that is no record of a key; the text says why."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What a record says. `public` is empty for a key that was revoked; no `services` means all of them."""

    key_type: str  # `rsa` or `ed25519`
    public: bytes
    services: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def record_name(domain: str, selector: str) -> str:
    """Where the record of a key stands."""
    return f"{selector}._domainkey.{domain}"


def record_text(key_type: str, public: bytes, *, reports_only: bool = False) -> str:
    """The record to publish."""
    service = f"s={REPORTS}; " if reports_only else ""
    return f"v=DKIM1; k={key_type}; {service}p={b64encode(public).decode('ascii')}"


def zone_text(text: str) -> str:
    """A record's text as a zone file has it: strings in quotes, none longer than a string may be."""
    pieces = [text[start : start + MAX_STRING] for start in range(0, len(text), MAX_STRING)]
    return " ".join(f'"{piece}"' for piece in pieces)


def read_key_record(text: str) -> KeyRecord:
    """Raises KeyRecordFault."""
    try:
        tags = read_tags(text)
    except TagFault as fault:
        raise KeyRecordFault(str(fault)) from None
    # RFC 6376 §3.6.1: where v= is there it comes first, and says this.
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        raise KeyRecordFault("it does not begin with v=DKIM1")
    if "p" not in tags:
        raise KeyRecordFault("it holds no key (p=)")
    try:
        public = b64decode(without_blanks(tags["p"]), validate=True)
    except ValueError:
        raise KeyRecordFault("its key (p=) is not base64") from None
    return KeyRecord(tags.get("k", "rsa"), public, _words(tags, "s"), _words(tags, "h"), _words(tags, "t"))


def differences(
    published: KeyRecord, key_type: str, public: bytes, *, reports_only: bool = False
) -> Iterator[str]:
    """Why signatures of our key would not count by what is published, each a sentence's end; nothing when they would."""
    if not published.public:
        yield "it revokes the key: p= is empty"
    elif published.key_type != key_type:
        yield f"it is of the type {published.key_type[:20]}, and the key is {key_type}"
    elif published.public != public:
        yield "it holds another key"
    if published.hashes and "sha256" not in published.hashes:
        yield "it does not allow sha256 (h=)"
    services = set(published.services)
    if services and not {"*", REPORTS} & services:
        shown = ", ".join(published.services)[:40]
        yield f"it is for {shown} only (s=): receivers may ignore reports without {REPORTS}"
    if services and not reports_only and not {"*", "email"} & services:
        yield "it is not for email (s=): filters that check mail pass over it"


def remarks(published: KeyRecord) -> Iterator[str]:
    """What is allowed, and worth a word."""
    if "y" in published.flags:
        yield "it says that the domain tests DKIM (t=y): receivers may treat the mail as not signed"
    if len(published.services) > 1:
        yield "it names several services (s=), which some verifiers cannot read"


def _words(tags: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in words(tags.get(name, "")) if word)
