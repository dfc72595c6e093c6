"""Scalars of the configuration: how they are written, what they mean, what is refused.

Sizes are bytes (`B`, `KB`, `MB`, `GB`, powers of 1,024), durations are seconds (`s`, `m`, `h`, `d`), a
limit is a number or the word `unlimited`. Every type reads the written form and is written back in a form
that reads to the same value. A text never holds control characters, so nothing of the configuration can
break a log line, a reply or a header (C17, C25).
"""

from __future__ import annotations

import ipaddress
import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, Strict, StrictInt, StrictStr

from gatepost.core.address import IPAddress, normalise_domain

UNLIMITED: Literal["unlimited"] = "unlimited"

_NUMBER = re.compile(r"([0-9]{1,15})[ ]?([A-Za-z]*)", re.ASCII)
_SIZE_UNITS = (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024), ("B", 1))
_DURATION_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_MAX_SIZE = 1024**4
_MAX_DURATION = 3_650 * 86_400
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_HOST_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_GROUPS = re.compile(r"[A-Za-z0-9_?*:/-]{1,500}", re.ASCII)
_CIPHERS = re.compile(r"[A-Za-z0-9_+!@=:.-]{1,1000}", re.ASCII)


class Fault(ValueError):
    """A value that cannot be taken: one sentence, and what to do about it."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


def _with_unit(text: str, units: tuple[tuple[str, int], ...]) -> int | None:
    """The value of `72h` or `1MB` in the smallest unit; None when it is not written so."""
    found = _NUMBER.fullmatch(text)
    if found is None or not found[2]:
        return None
    for unit, factor in units:
        if found[2].lower() == unit.lower():
            return int(found[1]) * factor
    return None


def _format(value: int, units: tuple[tuple[str, int], ...]) -> str:
    for unit, factor in units:
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return f"0{units[-1][0]}"


def parse_size(value: object) -> int:
    """A size in bytes: `1MB`, or a bare number of bytes. Raises Fault."""
    size = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str):
        size = _with_unit(value, _SIZE_UNITS)
    if size is None:
        raise Fault("is not a size", "write a number and B, KB, MB or GB, for example 10MB")
    if not 1 <= size <= _MAX_SIZE:
        raise Fault("is not a possible size", "from 1B to 1024GB")
    return size


def format_size(value: int) -> str:
    """The written form, in the largest unit that gives a whole number."""
    return _format(value, _SIZE_UNITS)


def parse_duration(value: object) -> int:
    """A duration in seconds: `60s`, `5m`, `1h`, `3d`. A bare number has no unit and is refused. Raises Fault."""
    seconds = _with_unit(value, _DURATION_UNITS) if isinstance(value, str) else None
    if seconds is None:
        raise Fault("is not a duration", "write a number and s, m, h or d, for example 60s")
    if seconds > _MAX_DURATION:
        raise Fault("is too long", "at most 3650d")
    return seconds


def format_duration(value: int) -> str:
    """The written form, in the largest unit that gives a whole number."""
    return _format(value, _DURATION_UNITS)


def _positive_duration(value: object) -> int:
    seconds = parse_duration(value)
    if not seconds:
        raise Fault("must be longer than nothing", "at least 1s")
    return seconds


def _limit(value: object) -> int | str:
    if value == UNLIMITED:
        return UNLIMITED
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 2**31:
        return value
    raise Fault("is not a limit", "write a whole number from 1 on, or unlimited")


def _duration_or_unlimited(value: object) -> int | str:
    return UNLIMITED if value == UNLIMITED else _positive_duration(value)


def _duration_or_never(value: object) -> int | str:
    return "never" if value == "never" else _positive_duration(value)


def _attempts_or_never(value: object) -> int | str:
    if value == "never":
        return "never"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000:
        return value
    raise Fault("is not a number of attempts", "write a whole number from 1 to 1000, or never")


def _format_if_number(value: int | str) -> str:
    return value if isinstance(value, str) else format_duration(value)


def _day(value: object) -> date:
    if isinstance(value, date):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise Fault("is not a day of the calendar") from None
    raise Fault("is not a date", "write YYYY-MM-DD")


def written_text(value: object) -> object:
    """A word that YAML took for a number is refused, not guessed back: `10.10` would have become 10.1."""
    if isinstance(value, (bool, int, float)):
        raise Fault("is a number or a truth value where a text is wanted", "put it in quotes")
    return value


def check_text(value: str) -> str:
    """A text of one line without control characters. Raises Fault."""
    if not value.isprintable():
        raise Fault("has characters that cannot be printed", "line ends and control characters are not taken")
    return value


def _name(value: str) -> str:
    check_text(value)
    if value != value.strip():
        raise Fault("begins or ends with a blank")
    return value


def _ascii(value: str) -> str:
    check_text(value)
    if not value.isascii():
        raise Fault("has characters that SMTP replies cannot carry", "only ASCII is taken")
    return value


def parse_host_name(text: str) -> str:
    """A host or domain name in its comparable form: lower-case A-labels, no trailing dot. Raises Fault."""
    try:
        name = normalise_domain(text)
    except ValueError as error:
        raise Fault(f"is not a domain name: {error}") from None
    labels = name.split(".")
    if not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise Fault("is not a domain name", "letters, digits, hyphens and dots")
    if labels[-1].isdigit():
        raise Fault("is not a domain name", "its last label cannot be a number")
    return name


def _host_name(value: str) -> str:
    parse_host_name(value)
    return value


def parse_ip(text: str) -> IPAddress:
    """One IP address without brackets, zone or mask. Raises Fault."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Fault("is not an IP address", "for example 192.0.2.1 or 2001:db8::1") from None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise Fault("has a zone", "write the address without %")
    return address


def _ip_text(value: str) -> str:
    return str(parse_ip(value))


def _ciphers(value: str) -> str:
    if not _CIPHERS.fullmatch(value):
        raise Fault(
            "is not a cipher list", "write default, or OpenSSL's form, for example ECDHE+AESGCM:!SHA1"
        )
    return value


def _groups(value: str) -> str:
    if not _GROUPS.fullmatch(value):
        raise Fault(
            "is not a list of groups", "write default, or OpenSSL's form, for example X25519MLKEM768:X25519"
        )
    return value


WrittenText = Annotated[StrictStr, BeforeValidator(written_text)]

Name = Annotated[WrittenText, Field(min_length=1, max_length=128), AfterValidator(_name)]
"""The name of an object: one line, not empty, compared as it is written."""

Text = Annotated[WrittenText, Field(max_length=1_000), AfterValidator(check_text)]
"""A remark of one line."""

ReplyText = Annotated[WrittenText, Field(min_length=1, max_length=400), AfterValidator(_ascii)]
"""The text of an SMTP reply: one line of printable ASCII (RFC 5321 §4.2)."""

HostText = Annotated[WrittenText, AfterValidator(_host_name)]
"""A host name as written; `parse_host_name` gives its comparable form."""

AddressText = Annotated[WrittenText, AfterValidator(_ip_text)]
"""An IP address in its canonical text."""

Ciphers = Annotated[WrittenText, AfterValidator(_ciphers)]
Groups = Annotated[WrittenText, AfterValidator(_groups)]
Port = Annotated[StrictInt, Field(ge=1, le=65_535)]
Count = Annotated[StrictInt, Field(ge=1, le=2**31)]
Flag = Annotated[bool, Strict()]
"""`true` or `false`; the words of YAML 1.1 (`yes`, `off`) are texts and are refused."""

Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(format_size, str, when_used="json")]
Duration = Annotated[
    int, BeforeValidator(_positive_duration), PlainSerializer(format_duration, str, when_used="json")
]
DurationOrNever = Annotated[
    int | Literal["never"],
    BeforeValidator(_duration_or_never),
    PlainSerializer(_format_if_number, str, when_used="json"),
]
DurationOrUnlimited = Annotated[
    int | Literal["unlimited"],
    BeforeValidator(_duration_or_unlimited),
    PlainSerializer(_format_if_number, str, when_used="json"),
]
Limit = Annotated[int | Literal["unlimited"], BeforeValidator(_limit)]
Attempts = Annotated[int | Literal["never"], BeforeValidator(_attempts_or_never)]
Day = Annotated[date, BeforeValidator(_day)]


NO_LIMIT = 1 << 30  # what `unlimited` counts to


def limit_number(limit: int | str) -> int:
    """A limit as a number to count to."""
    return limit if isinstance(limit, int) else NO_LIMIT


def limit_value(limit: int | Literal["unlimited"]) -> int | None:
    """The number of a limit, or None for `unlimited`."""
    return None if isinstance(limit, str) else limit
