"""The trace of a message: our `Received:` line, and what we read from the header it came with.

`received_header` writes one field. Everything in it that a peer chose (HELO, PTR name, recipient, cipher
name) goes through `clean` or a check of its own, so it can neither end the line nor the header, open or close a
comment, nor put a dot alone on a line: every line but the first begins with a tab (C17, C25).

`scan_header` reads the few facts that the mail log and loop detection want, with a handful of searches in C, in
at most `limit` octets. It changes nothing and decodes nothing (RFC 2047 words stay as they are).

Sources: RFC 5321 §4.4 (trace), §6.3 (loops); RFC 3848 and RFC 6531 §4.3 (with-keywords); RFC 8314 §4.3 (TLS
facts, as a comment); RFC 5322 §2.2.3 (folding), §3.3 (date).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from gatepost.core.address import Address

MAX_TOKEN = 255  # octets of an outside text in our field
MAX_VALUE = 1024  # octets of a field's value that are kept for the log
HEADER_LIMIT = 262_144

_TOKEN = re.compile(r"[A-Za-z0-9._:\[\]/+=@-]{1,255}\Z")
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9._:\[\]/+=@-]")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(slots=True)
class HeaderFacts:
    """What the header says. Values are unfolded raw text, undecodable octets as backslash escapes.

    `eight_bit` speaks of the header alone (RFC 6532). `ends_at` is the index behind the empty line, or -1
    when there was none within the limit. `tls_optional`: there is one field `TLS-Required`, and it says No (RFC 8689 §3).
    """

    message_id: str
    subject: str
    received_count: int
    eight_bit: bool
    ends_at: int
    tls_optional: bool = False


def clean(text: str) -> str:
    """An outside text as a harmless word for a header: other characters become `?`, at most 255 stay."""
    if _TOKEN.match(text):
        return text
    return _NOT_TOKEN.sub("?", text[:MAX_TOKEN]) or "?"


def with_keyword(*, extended: bool, tls: bool, smtputf8: bool, authenticated: bool = False) -> str:
    """SMTP, ESMTP, ESMTPS, ESMTPSA, UTF8SMTP and so on. There is none for HELO inside TLS: it stays SMTP."""
    if not extended:
        return "SMTP"
    return f"{'UTF8' if smtputf8 else 'E'}SMTP{'S' if tls else ''}{'A' if authenticated else ''}"


def received_header(
    *,
    helo: str,
    host: str,
    verified: bool,
    address: str,
    by: str,
    mid: int,
    tls: tuple[str, str] | None,
    client: str = "",
    extended: bool,
    smtputf8: bool,
    authenticated: bool = False,
    recipient: Address | None,
    at: float,
) -> bytes:
    """The folded `Received:` field with its CRLF.

    `host` is the confirmed PTR name when `verified`, `address` the peer's IP address as text, `by` our own name,
    `tls` protocol and cipher, `client` the name that the client's certificate was verified by or empty, `authenticated` whether it has proven to be a user (which one is not told), `recipient` the only recipient or None (more than one would tell each of the
    others), `at` seconds since the epoch.
    """
    literal = f"IPv6:{address}" if ":" in address else address
    name = clean(host) if verified else "unknown"
    keyword = with_keyword(
        extended=extended, tls=tls is not None, smtputf8=smtputf8, authenticated=authenticated
    )
    secured = f"\r\n\t(version={clean(tls[0])} cipher={clean(tls[1])})" if tls else ""
    if tls and client:
        secured += f"\r\n\t(verified {clean(client)})"
    target = _for(recipient, smtputf8) if recipient is not None else ""
    return (
        f"Received: from {clean(helo)}\r\n\t({name} [{clean(literal)}])\r\n\tby {clean(by)} with {keyword} id {mid}"
        f"{secured}{target};\r\n\t{date_text(at)}\r\n"
    ).encode()


def _for(recipient: Address, smtputf8: bool) -> str:
    """The FOR clause; left out for an address that could not stand there as it is."""
    text = recipient.text
    if not text.isprintable() or len(text) > 320 or not (smtputf8 or text.isascii()):
        return ""
    return f"\r\n\tfor <{text}>" if "@" in text else ""


def date_text(at: float) -> str:
    """Seconds since the epoch as an RFC 5322 date in UTC."""
    t = datetime.fromtimestamp(at, UTC)
    return (
        f"{_DAYS[t.weekday()]}, {t.day:02d} {_MONTHS[t.month - 1]} {t.year:04d} "
        f"{t.hour:02d}:{t.minute:02d}:{t.second:02d} +0000"
    )


def count_received(header: bytes) -> int:
    """How many `Received:` fields a header has: the hops so far (RFC 5321 §6.3)."""
    return (b"\r\n" + header).lower().count(b"\r\nreceived:")


def scan_header(data: bytes, limit: int = HEADER_LIMIT) -> HeaderFacts:
    """The facts in the header at the beginning of a message. Cost is linear in the header, at most in `limit`."""
    if data.startswith(b"\r\n"):
        return HeaderFacts("", "", 0, False, 2)
    end = data.find(b"\r\n\r\n", 0, limit)
    head = b"\r\n" + (data[: end + 2] if end >= 0 else data[:limit])
    lower = head.lower()
    return HeaderFacts(
        _value(head, lower, b"\r\nmessage-id:"),
        _value(head, lower, b"\r\nsubject:"),
        lower.count(b"\r\nreceived:"),
        not head.isascii(),
        end + 4 if end >= 0 else -1,
        b"\r\ntls-required:" in lower and _tls_optional(head, lower),
    )


def _tls_optional(head: bytes, lower: bytes) -> bool:
    """Two fields, or any other value, say nothing: it is as if there were none (RFC 8689 §3)."""
    once = lower.count(b"\r\ntls-required:") == 1
    return once and _value(head, lower, b"\r\ntls-required:").lower() == "no"


def header_field(data: bytes, name: str, limit: int = HEADER_LIMIT) -> str:
    """The unfolded value of the first field of that name in the header at the beginning of `data`; empty without one."""
    if data.startswith(b"\r\n"):
        return ""
    end = data.find(b"\r\n\r\n", 0, limit)
    head = b"\r\n" + (data[: end + 2] if end >= 0 else data[:limit])
    return _value(head, head.lower(), b"\r\n" + name.lower().encode("ascii") + b":")


def _value(head: bytes, lower: bytes, field: bytes) -> str:
    """The unfolded value of the first such field, cut at `MAX_VALUE`."""
    start = lower.find(field)
    if start < 0:
        return ""
    start += len(field)
    end = head.find(b"\r\n", start)
    if head[end + 2 : end + 3] in (b" ", b"\t"):
        value = _unfold(head[start : start + 2 * MAX_VALUE])
    else:
        value = head[start : end if end >= 0 else len(head)]
    return value[:MAX_VALUE].strip(b" \t").decode("utf-8", "backslashreplace")


def _unfold(text: bytes) -> bytes:
    """The lines at the beginning of `text` that belong together, joined."""
    lines = text.split(b"\r\n")
    kept = [lines[0]]
    for line in lines[1:]:
        if line[:1] not in (b" ", b"\t"):
            break
        kept.append(line)
    return b"".join(kept)
