"""The section of our TLS reports: who reports, and what a signature speaks for."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import TODAY, document

from gatepost.config.check import check
from gatepost.config.check_tls_reports import report_sender, submitter


def _found(**section: Any) -> list[str]:
    made = document(tls_reports=section)
    return [p.line() for p in check(made, {"Demo", "gw"}, TODAY) if p.path.startswith("tls_reports")]


@pytest.mark.parametrize(
    ("section", "sender", "domain"),
    [
        ({}, "tls-reports@HOST", "HOST"),
        ({"from": "tls@Sender.example"}, "tls@sender.example", "sender.example"),
        (
            {"from": "tls@mail.sender.example", "dkim_domain": "sender.example."},
            "tls@mail.sender.example",
            "sender.example",
        ),
        ({"from": "tls@bücher.example"}, "tls@xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_who_reports(section: dict[str, Any], sender: str, domain: str) -> None:
    made = document(tls_reports={"send": True, **section})
    host = made.system.hostname
    assert report_sender(made) == sender.replace("HOST", host)
    assert submitter(made) == domain.replace("HOST", host)
    assert _found(send=True, **section) == []


def test_a_signature_of_a_stranger_is_warned_about() -> None:
    (line,) = _found(send=True, **{"from": "tls@sender.example"}, dkim_domain="other.example")
    assert line.startswith("tls_reports.dkim_domain: sender.example is neither other.example nor below it")
    assert _found(**{"from": "tls@sender.example"}, dkim_domain="other.example") == []


def test_a_machine_without_a_domain_needs_a_sender() -> None:
    made = document(system={}, tls_reports={"send": True})
    lines = [p.line() for p in check(made, {"Demo", "gw"}, TODAY) if p.path == "tls_reports.from"]
    assert len(lines) == 1
    assert lines[0].startswith("tls_reports.from: is needed: localhost is no domain that mail comes from")


def test_a_sender_that_no_header_can_hold_is_a_fault() -> None:
    (line,) = _found(send=True, **{"from": "bücher@sender.example"})
    assert line.startswith("tls_reports.from: is not ASCII")
