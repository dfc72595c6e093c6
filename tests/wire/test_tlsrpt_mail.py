"""The mail of a report, read with Python's own parser, and signed."""

from __future__ import annotations

import email.policy
from email.message import EmailMessage
from email.parser import BytesParser

from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.fakes.dkim_verifier import verdicts
from tests.wire.test_tlsrpt import DAY, REPORT

from gatepost.pki.dkim import public_half, signing
from gatepost.wire.dkim import Algorithm, Signer, sign_message
from gatepost.wire.dkim_record import record_text
from gatepost.wire.tlsrpt import read_report, unpacked
from gatepost.wire.tlsrpt_mail import SIGNED_FIELDS, ReportMail, make_report_mail, packed_report
from gatepost.wire.tlsrpt_received import find_report, is_report_mail

MAIL = ReportMail(
    REPORT, "example.org", "mail.sender.example", "tls@sender.example", "r@example.org", "a1b2", DAY + 90_000
)


def _read(message: bytes) -> EmailMessage:
    parsed = BytesParser(policy=email.policy.default).parsebytes(message)
    assert isinstance(parsed, EmailMessage)
    return parsed


def test_the_mail_has_the_form_of_the_rfc() -> None:
    message = _read(make_report_mail(MAIL))
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "tlsrpt"
    assert message["TLS-Report-Domain"] == "example.org"
    assert message["TLS-Report-Submitter"] == "mail.sender.example"
    assert message["TLS-Required"] == "No"
    assert message["Subject"] == (
        "Report Domain: example.org Submitter: mail.sender.example Report-ID: <one.two@sender.example>"
    )
    assert (message["From"], message["To"]) == ("tls@sender.example", "r@example.org")
    text, report = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert "5,629 SMTP sessions" in text.get_content().replace("\n", " ")
    assert report.get_content_type() == "application/tlsrpt+gzip"
    assert report.get_filename() == f"mail.sender.example!example.org!{DAY}!{DAY + 86_399}!a1b2.json.gz"
    assert read_report(unpacked(report.get_content())) == REPORT
    assert not message.defects


def test_the_mail_needs_nothing_of_the_servers_on_its_way() -> None:
    raw = make_report_mail(MAIL)
    assert raw.isascii()
    lines = raw.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 120
    assert not any(line.startswith(b".") for line in lines)


def test_the_same_report_is_packed_to_the_same_octets() -> None:
    assert packed_report(REPORT) == packed_report(REPORT)


def test_every_field_is_signed() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    signer = Signer("sender.example", "s", Algorithm.ED25519_SHA256, signing(key))
    plain = make_report_mail(MAIL)
    signed = sign_message(plain, [signer], SIGNED_FIELDS, MAIL.at)
    published = {"s._domainkey.sender.example": record_text("ed25519", public_half(key))}
    assert verdicts(signed, published) == ["good"]
    for name in _read(plain):
        changed = signed.replace(f"\n{name}: ".encode(), f"\n{name}: x".encode(), 1)
        assert verdicts(changed, published) != ["good"], name


def test_what_we_send_is_what_we_take() -> None:
    raw = make_report_mail(MAIL)
    assert is_report_mail(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    found = find_report(raw)
    assert (found.report, found.submitter) == (REPORT, "mail.sender.example")
