"""The answers of tlsverify and daneverify from trees: what fails, what cannot be told, and which of several hosts counts."""

from __future__ import annotations

from typing import Any

import pytest

from gatepost.probe.verify import Kind, Result, Verification, verification

GOOD = {"verdict": "verified", "reason": "verified yes: partner.example"}
BAD = {"verdict": "refused", "reason": "verify error: certificate has expired"}


def call(outcome: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    one = {
        "source": "192.0.2.9",
        "hello": "250 mx",
        "starttls": "220 go",
        "session": None,
        "broken": "",
        "outcome": outcome,
    }
    made = {"skipped": "", "failure": "", "connections": [one | changes.pop("connection", {})]}
    return made | changes


SILENT = call(
    None, failure="timeout", connection={"source": "", "hello": "", "starttls": "", "broken": "timeout"}
)


def host(*calls: dict[str, Any] | None, name: str = "mx.example", **changes: Any) -> dict[str, Any]:
    plan = {"forbidden": changes.pop("forbidden", ""), "dane": None}
    addresses = [{"address": f"192.0.2.{n}", "port": 25, "call": one} for n, one in enumerate(calls, 1)]
    return {
        "host": name,
        "source": "mx",
        "mx_signed": True,
        "tlsa": None,
        "plan": plan,
        "addresses": addresses,
        **changes,
    }


def answer(*hosts: dict[str, Any], kind: Kind = Kind.TLS, result: str = "delay") -> Verification:
    outcome = {"result": result, "failure": "DNS said so"}
    look_ups = [
        {
            "kind": "A/AAAA",
            "name": "mx.example",
            "values": ["192.0.2.1"],
            "secure": False,
            "detail": "",
            "status": "found",
        }
    ]
    delivery = {"hosts": list(hosts), "look_ups": look_ups, "result": outcome}
    return verification(
        kind, "required-verify", {"domain": "partner.example", "delivery": delivery, "notes": []}
    )


@pytest.mark.parametrize(
    ("hosts", "result", "reason"),
    [
        ([host(call(GOOD))], Result.VERIFIED, ""),
        ([host(call(GOOD)), host(call(BAD), name="b")], Result.FAILED, f"b: {BAD['reason']}"),
        ([host(call(GOOD)), host(SILENT, name="b")], Result.UNKNOWN, "b: timeout"),
        ([host(SILENT), host(call(BAD), name="b")], Result.FAILED, f"b: {BAD['reason']}"),
        ([host(call(GOOD), SILENT)], Result.VERIFIED, ""),
        ([host(SILENT, call(BAD))], Result.FAILED, f"mx.example: {BAD['reason']}"),
        ([host(SILENT, SILENT)], Result.UNKNOWN, "mx.example: timeout"),
        ([host(call(GOOD, skipped="it took longer"))], Result.UNKNOWN, "mx.example: it took longer"),
        ([host(None)], Result.UNKNOWN, "mx.example: it was not called"),
        ([host(call({"verdict": "encrypted", "reason": ""}))], Result.FAILED, "mx.example: encrypted"),
    ],
)
def test_one_answer_of_many(hosts: list[dict[str, Any]], result: Result, reason: str) -> None:
    made = answer(*hosts)
    assert (made.result, made.reason) == (result, reason)


@pytest.mark.parametrize(
    ("state", "result"),
    [("absent", Result.FAILED), ("failed", Result.UNKNOWN), ("unavailable", Result.UNKNOWN)],
)
def test_a_host_that_may_not_be_called(state: str, result: Result) -> None:
    tlsa = {"state": state, "detail": "why", "records": [], "base": "mx.example"}
    made = answer(host(None, forbidden="it may not", tlsa=tlsa), kind=Kind.DANE)
    assert (made.result, made.reason) == (result, "mx.example: it may not")
    assert [(one.step, one.result) for one in made.hosts[0].steps] == [
        ("mx", "ok"),
        ("address", "failed"),
        ("tlsa", "failed" if state == "absent" else "unknown"),
    ]


@pytest.mark.parametrize(("becomes", "result"), [("bounce", Result.FAILED), ("delay", Result.UNKNOWN)])
def test_a_domain_without_hosts(becomes: str, result: Result) -> None:
    made = answer(result=becomes)
    assert (made.result, made.reason) == (result, "DNS said so")


def test_the_steps_of_a_session() -> None:
    session = {
        "protocol": "TLSv1.3",
        "cipher": "C",
        "group": "",
        "chain": {"trusted": False, "problem": "self-signed certificate"},
        "names": [{"name": "partner.example", "matched": ""}],
    }
    made = answer(host(call(BAD, connection={"session": session})))
    steps = made.hosts[0].addresses[0].steps
    assert [(one.step, one.result) for one in steps] == [
        ("connect", "ok"),
        ("starttls", "ok"),
        ("tls", "ok"),
        ("chain", "failed"),
        ("name", "failed"),
        ("verdict", "failed"),
    ]
    plain = answer(host(call(BAD, connection={"starttls": ""}))).hosts[0].addresses[0].steps
    assert (plain[1].step, plain[1].result, plain[1].text) == ("starttls", "failed", "no STARTTLS: 250 mx")
