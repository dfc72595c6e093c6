"""Delivery status notifications as bytes (RFC 3461, RFC 3464; RFC 6533 for addresses in UTF-8).

`make_report` turns a `Report` into a whole message: a `multipart/report` of a part for people (what
happened, what to do), a part for programs, and the original's headers or the original itself. Time
and boundary are arguments. The report goes out with the null sender, so no report is made about it.

All text from outside (addresses, replies, host names, ENVID, ORCPT) passes `_plain`, which leaves no
line end and no control character: a report cannot be given a header, a part or a recipient of
somebody else's making (case C25). ENVID and ORCPT are decoded only where the decoded form is harmless.

What is returned (RFC 3461 §4.3): the whole message only in a failure report, only when RET=FULL asked
for it, and only up to 64 KiB; without RET we choose headers, since a report to a forged sender must not
carry somebody's content. Headers are cut at 64 KiB. A report about a message that requires TLS requires it too, and carries headers
only, whatever RET says (RFC 8689 §5).

The 7-bit form is used wherever it can be: only a report *to* an address in UTF-8 needs SMTPUTF8 on
its way and then uses `message/global-delivery-status`; otherwise such addresses stand in the
`\\x{…}` form of RFC 6533 §3. The original keeps its octets, so the report is 8-bit when those are.
"""

from __future__ import annotations

import binascii
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from gatepost.core.address import NULL_ADDRESS, Address
from gatepost.core.envelope import Envelope, Notify, Recipient, Ret
from gatepost.wire.dsn_text import Kind, RecipientReport, explanation, subject

__all__ = ["Dsn", "Kind", "RecipientReport", "Report", "mail_date", "make_report", "returns_full", "wants"]

MAX_RETURNED = 65_536
MAX_DIAGNOSTIC = 1_000

_BOUNDARY = re.compile(r"[0-9A-Za-z._=-]{8,60}")
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")  # RFC 3461 §4
_UNITEXT = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")  # RFC 6533 §3
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,40}")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DEFAULT_STATUS = {
    Kind.FAILED: "5.0.0",
    Kind.DELAYED: "4.0.0",
    Kind.RELAYED: "2.0.0",
    Kind.DELIVERED: "2.0.0",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What is reported: one kind of news about some recipients of one message.

    `to` is the sender of the original, `original` its octets (as much as the caller has read, from the
    start), `size` its whole length, `requiretls` that it requires TLS. `arrived` and the times in `recipients` are seconds since the epoch.
    """

    kind: Kind
    hostname: str
    to: Address
    recipients: tuple[RecipientReport, ...]
    arrived: float
    original: bytes
    size: int
    ret: Ret = Ret.UNSET
    envelope_id: str = ""
    smtputf8: bool = False
    subject: str = ""
    requiretls: bool = False


@dataclass(frozen=True, slots=True)
class Dsn:
    """A finished report: the message, and the envelope in which it goes."""

    content: bytes
    envelope: Envelope


def wants(recipient: Recipient, kind: Kind) -> bool:
    """Whether the sender asked to be told this about this recipient (RFC 3461 §4.1, §5.2).

    Without NOTIFY: failures and delays, never success. Nobody is told anything when the sender is null.
    """
    notify = recipient.notify
    match kind:
        case Kind.FAILED:
            return not notify or Notify.FAILURE in notify
        case Kind.DELAYED:
            return not notify or Notify.DELAY in notify
        case Kind.RELAYED | Kind.DELIVERED:
            return Notify.SUCCESS in notify


def returns_full(kind: Kind, ret: Ret, size: int, *, requiretls: bool = False) -> bool:
    """Whether the report carries the whole original: the caller then reads all of it, else its headers."""
    return kind is Kind.FAILED and ret is Ret.FULL and size <= MAX_RETURNED and not requiretls


def make_report(report: Report, *, now: float, boundary: str) -> Dsn:
    """The report as a message. `boundary` is unguessable and unique (it is in the Message-ID as well).

    Raises ValueError for a boundary that MIME does not allow, and for a report to the null sender.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError("a boundary has 8 to 60 letters, digits or ._=-")
    if report.to.null:
        raise ValueError("nothing is reported to the null sender")
    utf8 = report.to.needs_smtputf8
    parts = (_human_part(report), _status_part(report, utf8=utf8), _original_part(report))
    delimiter = f"--{boundary}".encode()
    content = b"".join(
        [
            _header(report, now, boundary),
            *(delimiter + b"\r\n" + part + b"\r\n" for part in parts),
            delimiter + b"--\r\n",
        ]
    )
    envelope = Envelope(
        sender=NULL_ADDRESS,
        recipients=(Recipient(report.to, frozenset({Notify.NEVER})),),
        body_8bit=not content.isascii(),
        smtputf8=utf8,
        requiretls=report.requiretls,
    )
    return Dsn(content, envelope)


def mail_date(at: float) -> str:
    """A date of RFC 5322 §3.3 in UTC: `Fri, 24 Nov 2026 07:41:00 +0000`."""
    when = datetime.fromtimestamp(at, UTC)
    return (
        f"{_DAYS[when.weekday()]}, {when.day:02d} {_MONTHS[when.month - 1]} {when.year:04d} "
        f"{when.hour:02d}:{when.minute:02d}:{when.second:02d} +0000"
    )


def _header(report: Report, now: float, boundary: str) -> bytes:
    host = _ascii(report.hostname)
    lines = (
        f"Date: {mail_date(now)}",
        f"From: Mail Delivery System <MAILER-DAEMON@{host}>",
        f"To: <{_plain(report.to.text)}>",
        f"Subject: {subject(report.kind)}",
        f"Message-ID: <{boundary}@{host}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type="
        + ("global-delivery-status" if report.to.needs_smtputf8 else "delivery-status")
        + ";",
        f'\tboundary="{boundary}"',
    )
    return "\r\n".join((*lines, "", "This is a report in MIME form.", "", "")).encode()


def _human_part(report: Report) -> bytes:
    paragraphs = explanation(
        report.kind,
        hostname=_plain(report.hostname),
        original_subject=_plain(report.subject)[:200],
        arrived=mail_date(report.arrived),
        recipients=tuple(_safe_for_people(r) for r in report.recipients),
        date=mail_date,
    )
    text = "\r\n".join(line for paragraph in paragraphs for line in _wrapped(paragraph)) + "\r\n"
    if text.isascii():
        return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + text.encode("ascii")
    encoded = binascii.b2a_qp(text.encode("utf-8", "backslashreplace"), istext=True)
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head + encoded


def _safe_for_people(report: RecipientReport) -> RecipientReport:
    return RecipientReport(
        report.recipient,
        address_text=_plain(report.recipient.address.text),
        status=report.status,
        code=report.code if report.code.isascii() and report.code.isdigit() else "",
        text=_plain(report.text)[:MAX_DIAGNOSTIC],
        remote=_plain(report.remote)[:300],
        by_tls=report.by_tls,
        last_attempt=report.last_attempt,
        retry_until=report.retry_until,
    )


def _wrapped(paragraph: str) -> list[str]:
    """A paragraph in lines of at most 76 characters, its indentation kept."""
    if len(paragraph) <= 76:
        return [paragraph]
    indent = " " * (len(paragraph) - len(paragraph.lstrip(" ")))
    return textwrap.wrap(
        paragraph.strip(), 76, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _status_part(report: Report, *, utf8: bool) -> bytes:
    """RFC 3464 §2.2 (one group for the message), §2.3 (one for each recipient)."""
    fields = [("Reporting-MTA", f"dns; {_ascii(report.hostname)}")]
    if report.envelope_id:
        fields.insert(0, ("Original-Envelope-Id", _decoded_xtext(report.envelope_id)))
    fields.append(("Arrival-Date", mail_date(report.arrived)))
    groups = [_fields(fields)]
    groups += [_fields(_recipient_fields(report.kind, r, utf8=utf8)) for r in report.recipients]
    head = (
        "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        if utf8
        else "Content-Type: message/delivery-status\r\n\r\n"
    )
    return (head + "\r\n".join(groups)).encode("utf-8", "backslashreplace")


def _recipient_fields(kind: Kind, report: RecipientReport, *, utf8: bool) -> list[tuple[str, str]]:
    status = report.status if _STATUS.fullmatch(report.status) else _DEFAULT_STATUS[kind]
    fields = []
    if report.recipient.original:
        fields.append(("Original-Recipient", _original_recipient(report.recipient.original, utf8=utf8)))
    fields += [
        ("Final-Recipient", _typed_address(report.recipient.address.text, utf8=utf8)),
        ("Action", kind.value),
        ("Status", status),
    ]
    if report.remote:
        fields.append(("Remote-MTA", f"dns; {_ascii(report.remote)[:300]}"))
    if report.text:
        smtp = report.code not in ("", "000") and report.code.isascii() and report.code.isdigit()
        said = _ascii(report.text)[:MAX_DIAGNOSTIC]
        fields.append(("Diagnostic-Code", f"smtp; {report.code} {said}" if smtp else f"x-gatepost; {said}"))
    if report.last_attempt:
        fields.append(("Last-Attempt-Date", mail_date(report.last_attempt)))
    if kind is Kind.DELAYED and report.retry_until:
        fields.append(("Will-Retry-Until", mail_date(report.retry_until)))
    return fields


def _fields(fields: Iterable[tuple[str, str]]) -> str:
    """Header fields, folded at blanks (RFC 5322 §2.2.3) so that no line is longer than 998 octets."""
    rows = []
    for name, value in fields:
        if len(value) <= 76:
            rows.append(f"{name}: {value}\r\n")
            continue
        # Character counts bound octets: 240 characters of UTF-8 are at most 960 octets.
        folded = textwrap.wrap(value, 76, break_long_words=False, break_on_hyphens=False)
        pieces = [line[i : i + 240] for line in folded for i in range(0, len(line), 240)]
        rows.append(f"{name}: " + "\r\n ".join(pieces) + "\r\n")
    return "".join(rows)


def _original_part(report: Report) -> bytes:
    content = report.original
    full = returns_full(report.kind, report.ret, report.size, requiretls=report.requiretls)
    if full and len(content) >= report.size:
        media = "message/global" if report.smtputf8 else "message/rfc822"
    else:
        media = "message/global-headers" if report.smtputf8 else "text/rfc822-headers"
        content = _headers_of(content)
    head = f"Content-Type: {media}\r\n"
    if not content.isascii():
        head += "Content-Transfer-Encoding: 8bit\r\n"
    return head.encode() + b"\r\n" + content


def _headers_of(message: bytes) -> bytes:
    """The header section with its last line end, cut at a line end when it is over-long."""
    if message.startswith(b"\r\n"):
        return b""
    end = message.find(b"\r\n\r\n")
    header = message[: end + 2] if end >= 0 else message
    if len(header) <= MAX_RETURNED:
        return header
    return header[: header.rfind(b"\r\n", 0, MAX_RETURNED) + 2]


# --- text from outside ------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """`text` on one line and without control characters; each of them becomes a question mark."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "?"
        if char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029" or "\ud800" <= char <= "\udfff"
        else char
        for char in text
    )


def _ascii(text: str) -> str:
    return _plain(text).encode("ascii", "backslashreplace").decode("ascii")


def _decoded_xtext(value: str) -> str:
    """xtext decoded where that gives printable ASCII, else the xtext itself made harmless."""
    decoded = _XTEXT.sub(lambda found: chr(int(found[1], 16)), value)
    return decoded if decoded.isascii() and decoded.isprintable() else _ascii(value)


def _typed_address(text: str, *, utf8: bool) -> str:
    """`rfc822; a@b`, or for an address in UTF-8 `utf-8; …` (RFC 6533 §3), escaped unless `utf8`."""
    if text.isascii():
        return f"rfc822; {_plain(text)}"
    return f"utf-8; {_plain(text) if utf8 else _escaped_unicode(_plain(text))}"


def _escaped_unicode(text: str) -> str:
    return "".join(c if c < "\x7f" and c not in "\\+=" else f"\\x{{{ord(c):02X}}}" for c in text)


def _original_recipient(value: str, *, utf8: bool) -> str:
    kind, separator, address = value.partition(";")
    if not separator or not _ADDRESS_TYPE.fullmatch(kind):
        return f"rfc822; {_ascii(value)}"
    if kind.lower() != "utf-8":
        return f"{kind}; {_decoded_xtext(address)}"
    if not utf8:
        return f"{kind}; {_ascii(address) if address.isascii() else _escaped_unicode(_plain(address))}"
    return f"{kind}; {_plain(_UNITEXT.sub(_code_point, address))}"


def _code_point(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number <= 0x10FFFF else found[0]
