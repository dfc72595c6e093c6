"""The log's lines about received TLS reports: on one line whatever a report says."""

from __future__ import annotations

from typing import Any

from gatepost.core.received_report_events import TlsReportJudged, TlsReportReceived, TlsReportRefused
from gatepost.track.mail_log import MailLogFormat

FORM = MailLogFormat(version="", serial="")


def received(**changes: Any) -> str:
    given: dict[str, Any] = {
        "report": 12,
        "organization": "Partner Ltd",
        "domains": ["example.net"],
        "begin": 1_795_392_000,
        "end": 1_795_478_399,
        "successful": 117,
        "failed": 3,
        "results": {"starttls-not-supported": 1, "certificate-expired": 2},
        "way": "mail",
        "origin": "reports@partner.example",
    }
    return FORM.render(TlsReportReceived(0.0, **(given | changes)))


def test_what_a_report_says_stands_on_one_line() -> None:
    assert received().endswith(
        "Info: TLS report 12 from Partner Ltd (not verified) about example.net for 2026-11-23: 120 sessions, 3 failed"
        " (certificate-expired 2, starttls-not-supported 1); by mail from reports@partner.example\n"
    )
    assert received(failed=0, results={}).endswith(
        "117 sessions, 0 failed; by mail from reports@partner.example\n"
    )


def test_whom_it_is_from_is_said_with_the_reason() -> None:
    proof = {"submitter_verified": True, "signer": "partner.example", "reason": "signed by partner.example"}
    assert "from Partner Ltd (verified: signed by partner.example) about" in received(**proof)
    assert "(not verified: there is no signature) about" in received(reason="there is no signature")
    judged = TlsReportJudged(0.0, 12, "Partner Ltd", False, "partner.example", "the body differs")
    line = FORM.render(judged)
    assert line.endswith("Info: TLS report 12 from Partner Ltd is not verified: the body differs\n")


def test_hostile_texts_break_no_line() -> None:
    line = received(organization="a\nb", origin="x\r\ny", results={"c\x1b[31m": 1}, reason="d\r\ne")
    assert line.count("\n") == 1
    assert "\x1b" not in line


def test_what_was_not_taken_is_a_warning() -> None:
    line = FORM.render(TlsReportRefused(0.0, "https", "192.0.2.7", "the report is not JSON", "a/b/c"))
    assert line.endswith(
        "Warning: TLS report by https from 192.0.2.7 not taken: the report is not JSON; kept as a/b/c\n"
    )
