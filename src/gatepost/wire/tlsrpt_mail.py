"""The mail that carries a TLS report (RFC 8460 §5.3): a `multipart/report` with a part for people and the compressed report.

It is ASCII and 7-bit, so it needs nothing of the servers on its way, and its lines are as a relay leaves them, so that a signature over it
holds. `TLS-Required: No` (RFC 8689 §5) asks the servers on its way to deliver it whatever the recipient's TLS is like: the report is about
just that. `Auto-Submitted` (RFC 3834 §5) keeps responders quiet.

What it trusts: domains and addresses are normalised ones; the organisation's name stands in the JSON only.
"""

from __future__ import annotations

import gzip
import textwrap
from base64 import b64encode
from dataclasses import dataclass

from gatepost.wire.dsn import mail_date
from gatepost.wire.tlsrpt import GZIP_TYPE, TlsReport, file_name, write_report

SIGNED_FIELDS = (
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "TLS-Report-Domain",
    "TLS-Report-Submitter",
    "TLS-Required",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
)
"""What a signature has to cover; nothing else in the header is of the sender's making."""

_WIDTH = 76


@dataclass(frozen=True, slots=True)
class ReportMail:
    """One report on its way to one mailbox. `submitter` is the domain of whoever reports, `unique` letters and digits."""

    report: TlsReport
    domain: str  # that the report is about
    submitter: str
    sender: str  # mailbox
    recipient: str  # mailbox
    unique: str
    at: float  # seconds since the epoch


def packed_report(report: TlsReport) -> bytes:
    """The report as `application/tlsrpt+gzip`: the same octets for the same report."""
    return gzip.compress(write_report(report), mtime=0)


def make_report_mail(mail: ReportMail) -> bytes:
    """The whole message, lines ending in CR LF, not yet signed."""
    boundary = f"=_tlsrpt.{mail.unique}"
    name = file_name(mail.submitter, mail.domain, mail.report.begin, mail.report.end, mail.unique)
    content = b64encode(packed_report(mail.report)).decode("ascii")
    lines = [
        *_header(mail, boundary),
        "",
        "This is a report of TLS, in parts.",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
        "",
        *_for_people(mail),
        "",
        f"--{boundary}",
        f"Content-Type: {GZIP_TYPE}",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment;\r\n filename="{name}"',
        "",
        *(content[start : start + _WIDTH] for start in range(0, len(content), _WIDTH)),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")


def _header(mail: ReportMail, boundary: str) -> list[str]:
    subject = f"Report Domain: {mail.domain}\r\n Submitter: {mail.submitter}\r\n Report-ID: <{mail.report.report_id}>"
    return [
        f"Date: {mail_date(mail.at)}",
        f"From: <{mail.sender}>",
        f"To: <{mail.recipient}>",
        f"Subject: {subject}",
        f"Message-ID: <{mail.report.report_id}>",
        f"TLS-Report-Domain: {mail.domain}",
        f"TLS-Report-Submitter: {mail.submitter}",
        "TLS-Required: No",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type="tlsrpt";\r\n boundary="{boundary}"',
    ]


def _for_people(mail: ReportMail) -> list[str]:
    report = mail.report
    sessions = report.successful + report.failed
    text = (
        f"{mail.submitter} opened {sessions:,} SMTP session{'s' if sessions != 1 else ''} for mail to {mail.domain} from "
        f"{mail_date(report.begin)} to {mail_date(report.end)}. TLS as it should be failed in {report.failed:,} of them. "
        "The attached file has the details (RFC 8460)."
    )
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
