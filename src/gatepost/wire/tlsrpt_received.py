"""TLS reports as they come in: out of a mail (RFC 8460 §5.3), out of a file, or as they were posted (§5.4).

`is_report_mail` looks at the header alone, and is cheap: it decides which mail for a report mailbox is taken. `find_report` reads whatever
it is given, compressed or not, as a whole message or bare, and is meant for a short-lived process with limits, since a message
may be built to hurt its reader.

A message counts as a report when its header says so: `multipart/report` with `report-type=tlsrpt`, one of the two media types, or the field
`TLS-Report-Domain`. In it the first part with one of the media types is the report; some senders name another type and give
the file its name (`….json.gz`), which is taken too.

Nothing here says who sent a report: the submitter is what it claims to be. What a mail has to prove it is read by `tlsrpt_signed`.
"""

from __future__ import annotations

import email
import email.policy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message

from gatepost.wire.received import header_field
from gatepost.wire.tlsrpt import GZIP_TYPE, JSON_TYPE, TlsReport, TlsReportFault, read_report, unpacked

MAX_MAIL = 15 << 20  # octets of a message, or of what is posted
MAX_PARTS = 100
_GZIP = b"\x1f\x8b"
_OTHER_TYPES = frozenset(
    {
        "application/gzip",
        "application/x-gzip",
        "application/json",
        "application/octet-stream",
    }
)
_ENDINGS = (".json", ".json.gz")


def is_report_mail(header: bytes) -> bool:
    """Whether a message, of which at least the header is here, says that it is a TLS report."""
    kind = header_field(header, "Content-Type").lower()
    media = kind.partition(";")[0].strip()
    if media in (JSON_TYPE, GZIP_TYPE) or (media == "multipart/report" and "tlsrpt" in kind):
        return True
    return bool(header_field(header, "TLS-Report-Domain"))


@dataclass(frozen=True, slots=True)
class Found:
    """A report and who its mail says has submitted it; both may be lies. `mail` says whether there was a mail around it."""

    report: TlsReport
    submitter: str = ""
    mail: bool = False


def find_report(data: bytes) -> Found:
    """The report in these octets. Raises TlsReportFault."""
    start = data[:64].lstrip()
    if data.startswith(_GZIP) or start[:1] in (b"{", b"\xef"):
        return Found(read_report(unpacked(data)))
    if len(data) > MAX_MAIL:
        raise TlsReportFault(f"the message is longer than {MAX_MAIL >> 20} MiB")
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    submitter = _text(message.get("TLS-Report-Submitter"))
    for part in _candidates(message):
        content = part.get_payload(decode=True)
        if isinstance(content, bytes) and content:
            return Found(read_report(unpacked(content)), submitter, mail=True)
    raise TlsReportFault("there is no TLS report in it")


def _candidates(message: Message) -> Iterator[Message]:
    """The parts that may be the report, the named types first."""
    parts = []
    for number, part in enumerate(message.walk()):
        if number >= MAX_PARTS:
            raise TlsReportFault(f"the message has more than {MAX_PARTS} parts")
        if not part.is_multipart():
            parts.append(part)
    yield from (part for part in parts if part.get_content_type() in (JSON_TYPE, GZIP_TYPE))
    for part in parts:
        name = _text(part.get_filename()).lower()
        if part.get_content_type() in _OTHER_TYPES and name.endswith(_ENDINGS):
            yield part


def _text(raw: object) -> str:
    """A header's value on one line, of printable characters."""
    text = " ".join(str(raw or "").split())[:255]
    return "".join(character if character.isprintable() else "?" for character in text)


# --- what is kept of it ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DomainCount:
    """Sessions of one policy domain of a report, over its policies."""

    domain: str
    successful: int
    failed: int
    failures: dict[str, int] = field(default_factory=dict)


def by_domain(report: TlsReport) -> tuple[DomainCount, ...]:
    """What a report says of each domain. Where only some failures are detailed the rest has no type."""
    rows: dict[str, list[int]] = {}
    types: dict[str, Counter[str]] = {}
    for result in report.policies:
        counts = rows.setdefault(result.policy.domain, [0, 0])
        counts[0] += result.successful
        counts[1] += result.failed
        kinds = types.setdefault(result.policy.domain, Counter())
        for detail in result.details:
            kinds[detail.result] += detail.sessions
    return tuple(
        DomainCount(domain, ok, bad, dict(types[domain].most_common())) for domain, (ok, bad) in rows.items()
    )
