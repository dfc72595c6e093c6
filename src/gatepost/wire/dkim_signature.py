"""One `DKIM-Signature` field, read (RFC 6376 §3.5), and the octets that it signs (§3.4, §3.7, §5.4.2).

Every tag that says what is signed, how and by whom is held to its grammar. Whatever is unknown is passed over, as the RFC wants it, but
for the version, the algorithm, the canonicalisations and the way to the key: with an unknown one of these nothing can be checked.
`rsa-sha1` is not taken (RFC 8301 §3.1).

Limits. A field of 64 KiB that names 1,000 fields. Domains are A-labels: what RFC 8616 writes in UTF-8 is not read.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gatepost.wire.dkim import Algorithm, relaxed_body, relaxed_field
from gatepost.wire.dkim_message import Parts, RawField
from gatepost.wire.dkim_tags import TagFault, read_tags, without_blanks, words

FIELD = "dkim-signature"
MAX_FIELD = 64 * 1024
MAX_NAMES = 1_000
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+", re.ASCII)
_SELECTOR = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,76}", re.ASCII)
_NAME = re.compile(r"[!-9<-~]+")
_WAYS = ("simple", "relaxed")
_NEEDED = ("v", "a", "b", "bh", "d", "h", "s")


class SignatureFault(ValueError):
    """A field that is no signature which could count; the text says why, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a field says. `identity` is the domain of `i=`; `length` is None where the whole body is meant."""

    domain: str
    selector: str
    identity: str
    algorithm: Algorithm
    relaxed_header: bool
    relaxed_body: bool
    names: tuple[str, ...]
    body_hash: bytes
    signature: bytes
    length: int | None = None
    made: int | None = None  # seconds since the epoch, as `until`
    until: int | None = None


def read_signature(field: RawField) -> Signature:
    """Raises SignatureFault."""
    if len(field.raw) > MAX_FIELD:
        raise SignatureFault(f"it is longer than {MAX_FIELD >> 10} KiB")
    try:
        tags = read_tags(field.value.decode("latin-1"))
    except TagFault as fault:
        raise SignatureFault(str(fault)) from None
    for name in _NEEDED:
        if not tags.get(name):
            raise SignatureFault(f"the tag {name}= is missing")
    if tags["v"] != "1":
        raise SignatureFault("it is of another version (v=)")
    header, body = _canonicalisations(tags.get("c", "simple/simple"))
    if "q" in tags and "dns/txt" not in (word.lower() for word in words(tags["q"])):
        raise SignatureFault("its key is not in the DNS (q=)")
    domain = _matching(_DOMAIN, tags["d"], "d")
    made, until = _time(tags, "t"), _time(tags, "x")
    if made is not None and until is not None and until <= made:
        raise SignatureFault("it ends before it was made (x=)")
    return Signature(
        domain,
        _matching(_SELECTOR, tags["s"], "s"),
        _identity(tags.get("i", ""), domain),
        _algorithm(tags["a"]),
        header,
        body,
        _names(tags["h"]),
        _octets(tags, "bh"),
        _octets(tags, "b"),
        _length(tags.get("l")),
        made,
        until,
    )


def _algorithm(text: str) -> Algorithm:
    try:
        return Algorithm(text)
    except ValueError:
        weak = "not safe enough" if text == "rsa-sha1" else "not known"
        raise SignatureFault(f"its algorithm is {weak} (a={text[:30]})") from None


def _canonicalisations(text: str) -> tuple[bool, bool]:
    """Whether header and body are relaxed; what is not said of the body is simple (RFC 6376 §3.5)."""
    header, slash, body = text.partition("/")
    body = body if slash else "simple"
    if header not in _WAYS or body not in _WAYS:
        raise SignatureFault("its canonicalisation is not known (c=)")
    return header == "relaxed", body == "relaxed"


def _matching(form: re.Pattern[str], text: str, tag: str) -> str:
    if len(text) > 253 or not form.fullmatch(text):
        raise SignatureFault(f"the tag {tag}= is no name")
    return text.lower()


def _identity(text: str, domain: str) -> str:
    """The domain of `i=`: that of `d=` or one below it (RFC 6376 §6.1.1)."""
    if not text:
        return domain
    _, at, found = text.rpartition("@")
    if not at:
        raise SignatureFault("the tag i= is no identity")
    found = _matching(_DOMAIN, found.strip(" \t"), "i")
    if found != domain and not found.endswith("." + domain):
        raise SignatureFault(f"i= is not of the domain {domain}")
    return found


def _names(text: str) -> tuple[str, ...]:
    """The names in `h=`, in lower case."""
    names = words(text)
    if len(names) > MAX_NAMES:
        raise SignatureFault(f"it names more than {MAX_NAMES:,} fields")
    if not all(_NAME.fullmatch(name) for name in names):
        raise SignatureFault("the tag h= is no list of names")
    lower = tuple(name.lower() for name in names)
    if "from" not in lower:
        raise SignatureFault("it does not sign From")
    return lower


def _octets(tags: Mapping[str, str], name: str) -> bytes:
    try:
        found = b64decode(without_blanks(tags[name]), validate=True)
    except ValueError:
        found = b""
    if not found:
        raise SignatureFault(f"the tag {name}= is not base64")
    return found


def _time(tags: Mapping[str, str], name: str) -> int | None:
    if name not in tags:
        return None
    if not _NUMBER.fullmatch(tags[name]):
        raise SignatureFault(f"the tag {name}= is no time")
    return int(tags[name])


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    if not _LENGTH.fullmatch(text):
        raise SignatureFault("the tag l= is no number")
    return int(text)


# --- what is signed -------------------------------------------------------------------------------------


def canonical_body(body: bytes, relaxed: bool) -> bytes:
    """The body in one of its two forms (RFC 6376 §3.4.3, §3.4.4)."""
    return relaxed_body(body) if relaxed else body.rstrip(b"\r\n") + b"\r\n"


def header_digest(parts: Parts, field: RawField, signature: Signature) -> bytes:
    """The SHA-256 of the signed fields and of the signature's own field without its value."""
    digest = hashlib.sha256()
    for one in _signed(parts, field, signature.names):
        digest.update(_canonical(one, signature.relaxed_header))
    own = RawField(field.name, _unsigned(field.raw))
    digest.update(_canonical(own, signature.relaxed_header).removesuffix(b"\r\n"))
    return digest.digest()


def _signed(parts: Parts, field: RawField, names: tuple[str, ...]) -> Iterator[RawField]:
    """RFC 6376 §5.4.2: of several fields of a name the last comes first; a name without one (any more) signs that there is none."""
    left: dict[str, list[RawField]] = {name: [] for name in names}
    for one in parts.fields:
        if one.name in left and one is not field:
            left[one.name].append(one)
    for name in names:
        if left[name]:
            yield left[name].pop()


def _canonical(field: RawField, relaxed: bool) -> bytes:
    return relaxed_field(field.name, field.raw.partition(b":")[2]) if relaxed else field.raw


def _unsigned(raw: bytes) -> bytes:
    """The field with an empty `b=`, its blanks gone too, everything else as it stands (RFC 6376 §3.7)."""
    name, _, value = raw.removesuffix(b"\r\n").partition(b":")
    parts = value.split(b";")
    for index, part in enumerate(parts):
        tag, equals, _ = part.partition(b"=")
        if equals and tag.strip(b" \t\r\n") == b"b":
            parts[index] = tag + equals
    return name + b":" + b";".join(parts) + b"\r\n"
