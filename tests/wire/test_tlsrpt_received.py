"""TLS reports as they come in: mails of several senders' making, files, and what is built to hurt (C38)."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.tlsrpt import MAX_REPORT, TlsReportFault
from gatepost.wire.tlsrpt_received import MAX_MAIL, MAX_PARTS, by_domain, find_report, is_report_mail

REPORT = {
    "organization-name": "Partner Ltd",
    "date-range": {"start-datetime": "2026-11-23T00:00:00Z", "end-datetime": "2026-11-23T23:59:59Z"},
    "contact-info": "tls@partner.example",
    "report-id": "2026-11-23@partner.example",
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-domain": "example.net", "mx-host": ["mx.example.net"]},
            "summary": {"total-successful-session-count": 117, "total-failure-session-count": 3},
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "192.0.2.7",
                    "failed-session-count": 2,
                }
            ],
        },
        {
            "policy": {"policy-type": "tlsa", "policy-domain": "example.net"},
            "summary": {"total-successful-session-count": 5, "total-failure-session-count": 0},
        },
    ],
}
PLAIN = json.dumps(REPORT).encode()
PACKED = gzip.compress(PLAIN)


def mail(
    kind: str = "application/tlsrpt+gzip",
    content: bytes = PACKED,
    *,
    outer: str = 'multipart/report; report-type="tlsrpt"; boundary="b"',
    name: str = "partner.example!example.net!1!2.json.gz",
    more: str = "",
) -> bytes:
    body = base64.encodebytes(content).decode().replace("\n", "\r\n")
    return (
        f"From: <tls@partner.example>\r\nSubject: Report Domain: example.net\r\n{more}MIME-Version: 1.0\r\n"
        f"Content-Type: {outer}\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nA report.\r\n--b\r\n"
        f'Content-Type: {kind}; name="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}\r\n--b--\r\n'
    ).encode()


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PACKED,
        b"\xef\xbb\xbf" + PLAIN,
        b"\r\n " + PLAIN,
        mail(),
        mail("application/tlsrpt+json", PLAIN),
        mail("application/gzip"),
        mail("application/octet-stream"),
        mail("application/json", PLAIN, name="report.json"),
        mail().replace(b"\r\n", b"\n"),
    ],
)
def test_every_form_gives_the_same_report(data: bytes) -> None:
    found = find_report(data).report
    assert (found.organization, found.successful, found.failed) == ("Partner Ltd", 122, 3)


def test_the_submitter_is_what_the_mail_says() -> None:
    assert (
        find_report(mail(more="TLS-Report-Submitter:  Partner.Example \r\n")).submitter == "Partner.Example"
    )
    assert find_report(mail(more="TLS-Report-Submitter: a\x1b[31mb\r\n")).submitter == "a?[31mb"
    assert find_report(PLAIN).submitter == ""


def test_sessions_are_counted_by_domain() -> None:
    (row,) = by_domain(find_report(PLAIN).report)
    assert (row.domain, row.successful, row.failed) == ("example.net", 122, 3)
    assert row.failures == {"certificate-expired": 2}


@pytest.mark.parametrize(
    ("header", "is_report"),
    [
        (mail(), True),
        (mail(outer="multipart/mixed; boundary=b"), False),
        (mail(outer="multipart/mixed; boundary=b", more="TLS-Report-Domain: example.net\r\n"), True),
        (mail(outer="Multipart/Report;\r\n boundary=b;\r\n\treport-type=TLSRPT"), True),
        (mail(outer="multipart/report; report-type=delivery-status; boundary=b"), False),
        (b"Content-Type: application/tlsrpt+gzip\r\n\r\nx", True),
        (b"Subject: hello\r\n\r\nTLS-Report-Domain: example.net\r\n", False),
        (b"\r\nTLS-Report-Domain: example.net\r\n", False),
        (b"", False),
    ],
)
def test_the_header_says_whether_it_is_one(header: bytes, is_report: bool) -> None:
    assert is_report_mail(header) is is_report


def bomb(layers: int = 1) -> bytes:
    data = b"[" + b"0," * (MAX_REPORT // 2 + 10)
    for _ in range(layers):
        data = gzip.compress(data)
    return data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "there is no TLS report"),
        (b"Subject: hello\r\n\r\nhow are you?\r\n", "there is no TLS report"),
        (mail("application/octet-stream", name="virus.exe"), "there is no TLS report"),
        (bomb(), "longer than 20 MiB"),
        (mail(content=bomb()), "longer than 20 MiB"),
        (bomb(2), "not JSON"),
        (PACKED[:-9], "cut off"),
        (b"{" + b'"a":[' * 2_000, "not JSON"),
        (b'{"policies":[' + b"{}," * 600_000 + b"{}]}", "values"),
        (mail(content=b"<xml/>"), "not JSON"),
        (b"From: a\r\n" + b"x" * MAX_MAIL, "longer than 15 MiB"),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * (MAX_PARTS + 5),
            "more than 100 parts",
        ),
    ],
)
def test_what_is_no_report_or_is_built_to_hurt(data: bytes, why: str) -> None:
    with pytest.raises(TlsReportFault, match=why):
        find_report(data)


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_any_octets_are_a_report_or_a_fault(data: bytes) -> None:
    for begin in (b"", b"{", mail()[:200]):
        with pytest.raises(TlsReportFault):
            find_report(begin + data)
        assert is_report_mail(begin + data) in (True, False)
