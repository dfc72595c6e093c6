"""`gatepost explain` as people read it: within 80 columns, from a stopped gateway and from a worker's tree."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench
from tests.control.shell.running import gatepost

from gatepost.control.shell.explain_screen import say_explanation
from gatepost.core.errors import Exit
from gatepost.store.home import Home

CONTROLS = """
destination_controls:
  default: {tls: preferred, dane: opportunistic}
  destinations:
    - {domain: partner.example, tls: required-verify, reason: the contract of 2026 with a partner who wants it so, until: 2099-12-31}
    - {domain: old.partner.example, tls: none, until: 2020-01-01}
"""


@pytest.fixture
def stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    bench = Bench(home)
    bench.apply(CONTRACT_LIKE.partition("destination_controls")[0] + CONTROLS)
    bench.store.close()
    return home


def test_on_a_stopped_gateway_it_reads_like_this(stopped: Home) -> None:
    said = gatepost("explain", "ann@partner.example")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "partner.example, by version 2 (in force)"
    assert lines[2].startswith("Rule: destination_controls.destinations[0], partner.example (an entry of")
    assert "  exception   the contract of 2026 with a partner who wants it so, until" in lines
    assert "  tls                         required-verify          (this entry)" in lines
    assert "  dane                        opportunistic            (default entry)" in lines
    assert "  mta_sts                     false                    (product's default)" in lines
    assert "Route: no smtp route: the MX records of partner.example decide" in lines
    assert lines[-2].startswith("Note: the gateway is not running")
    assert max(map(len, lines)) <= 80


def test_an_exception_that_ended_is_named(stopped: Home) -> None:
    said = gatepost("explain", "old.partner.example")
    assert "(no entry names it, so the default counts)" in said.out.replace("\n      ", " ")
    assert (
        "  ended       destination_controls.destinations[1], old.partner.example: until\n              2020-01-01"
        in (said.out)
    )


def test_json_has_the_tree_and_live_needs_the_gateway(stopped: Home) -> None:
    found = json.loads(gatepost("explain", "partner.example", "--json").out)
    assert set(found) == {"domain", "version", "pending", "live", "rules", "delivery", "notes", "requiretls"}
    assert found["rules"]["entry"]["match"] == "exact"
    said = gatepost("explain", "partner.example", "--live")
    assert said.code == Exit.NOT_RUNNING
    assert "without --live" in said.err


def test_a_message_that_requires_tls_is_named(stopped: Home) -> None:
    said = gatepost("explain", "partner.example", "--requiretls")
    assert said.out.splitlines()[1] == "For a message that requires TLS on its whole way (REQUIRETLS)"


def test_nothing_pending_is_said(stopped: Home) -> None:
    said = gatepost("explain", "partner.example", "--pending")
    assert said.err.splitlines() == ["You have no pending changes; this is the version in force."]


# --- a worker's tree ---------------------------------------------------------------------------------------

LONG = "host-with-a-name-that-is-rather-long.mail.partner.example"
RULES = {
    "entry": {
        "path": "destination_controls.default",
        "domain": "",
        "match": "default",
        "reason": "",
        "until": None,
        "settings": [],
        "ended": [],
    },
    "route": {
        "kind": "hosts",
        "path": "smtp_routes[0]",
        "domain": "ALL",
        "hosts": ["smart.example"],
        "detail": "",
    },
}


def certificate(*problems: str) -> dict[str, Any]:
    return {
        "subject": "CN=mx.partner.example",
        "issuer": "CN=Some Certification Authority of a Name, O=Some",
        "names": ["DNS:mx.partner.example", f"DNS:{LONG}"],
        "not_after": "2027-01-31T00:00:00Z",
        "sha256": "00" * 32,
        "problems": list(problems),
    }


def connection(**changes: Any) -> dict[str, Any]:
    session = {
        "protocol": "TLSv1.3",
        "cipher": "TLS_AES_256_GCM_SHA384",
        "group": "X25519MLKEM768",
        "sni": "mx.partner.example",
        "certificate_asked": True,
        "certificate_shown": "gw",
        "chain": {
            "trusted": False,
            "problem": "certificate has expired",
            "certificates": [certificate("certificate has expired")],
            "findings": [
                {"code": "expired", "severity": "error", "text": "it expired"},
                {"code": "cross-sign", "severity": "info", "text": "only explained"},
            ],
        },
        "names": [{"name": "partner.example", "source": "operator", "matched": ""}],
        "dane_match": "",
        "dane_problem": "",
    }
    return {
        "source": "203.0.113.1",
        "greeting": "220 mx.partner.example ESMTP \x1b[31mred",
        "hello": "250 mx.partner.example",
        "esmtp": True,
        "starttls_offered": True,
        "starttls": "220 2.0.0 Ready",
        "session": session,
        "hello_inside": "",
        "broken": "",
        "outcome": {
            "verdict": "refused",
            "reason": "verify error: certificate has expired",
            "verified": "",
            "note": "",
            "monitor": None,
        },
        **changes,
    }


def tree(call: dict[str, Any] | None, **result: str) -> dict[str, Any]:
    plan = {
        "level": "required-verify",
        "rule": "destination_controls.default",
        "monitor": None,
        "mandatory": True,
        "forbidden": "",
        "names": [],
        "sni": "mx.partner.example",
        "client_certificate": "gw",
        "alert_on_failure": False,
        "dane": None,
        "mta_sts": {"domain": "partner.example", "host": LONG, "enforced": True, "listed": False},
        "may_pass": [
            "nothing without TLS (level required-verify)",
            "the certificate must be valid for something",
        ],
    }
    tlsa = {
        "state": "found",
        "base": LONG,
        "records": [{"record": f"1 1 1 {'ab' * 32}", "unusable": "usage 1 is not for SMTP"}],
        "detail": "",
    }
    host = {
        "host": LONG,
        "source": "mx",
        "preference": 10,
        "mx_signed": True,
        "mx_secure": True,
        "tlsa": tlsa,
        "plan": plan,
        "addresses": [{"address": "203.0.113.10", "port": 2525, "call": call}],
    }
    look_up = {
        "kind": "MX",
        "name": "smart.example",
        "status": "found",
        "values": [f"10 {LONG}"],
        "secure": True,
        "detail": "",
    }
    policy = {
        "domain": "partner.example",
        "record": ["v=STSv1; id=1;"],
        "mode": "enforce",
        "hosts": ["mx.partner.example"],
        "max_age": 86400,
        "id": "1",
        "fetched": "2026-11-24T00:00:00Z",
        "until": "2026-11-25T00:00:00Z",
        "problem": "",
    }
    delivery = {
        "dnssec": {
            "believed": False,
            "reason": "192.0.2.53:53 is not on this machine, and so on",
            "servers": [],
        },
        "look_ups": [look_up, {**look_up, "status": "temporary", "values": [], "detail": "SERVFAIL"}],
        "policies": [policy],
        "left_out": [{"host": "inside.example", "address": "127.0.0.1", "reason": "loopback address"}],
        "hosts": [host],
        "result": {
            "result": "unknown",
            "host": "",
            "address": "",
            "verdict": "",
            "reason": "",
            "failure": "",
            "status": "",
            **result,
        },
    }
    return {
        "domain": "partner.example",
        "version": 3,
        "pending": True,
        "live": call is not None,
        "rules": RULES,
        "delivery": delivery,
        "notes": [],
    }


def shown(capsys: pytest.CaptureFixture[str], found: dict[str, Any]) -> str:
    say_explanation(found)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert text.replace("\n", "").isprintable()
    return " ".join(text.split())


def test_a_refused_host_is_told_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    call = {
        "passes": False,
        "failure": "TLS required-verify: verify error: certificate has expired",
        "status": "4.7.5 - Cryptographic failure",
        "skipped": "",
        "clear_allowed": False,
        "connections": [connection()],
    }
    text = shown(capsys, tree(call, result="delay", failure=call["failure"], status=call["status"]))
    for part in (
        "Route: goes to smart.example (smtp_routes[0], ALL)",
        "DNSSEC: nobody is believed: 192.0.2.53:53 is not on this machine",
        "smart.example: temporary: SERVFAIL",
        "MTA-STS: partner.example: enforce, for mx.partner.example; id 1, fetched",
        "inside.example [127.0.0.1]: loopback address",
        "(MX 10, port 2525)",
        "1 1 1 abababababababab… - of no use: usage 1 is not for SMTP",
        "enforced; the policy of partner.example does NOT name the host",
        "may pass nothing without TLS (level required-verify) the certificate must be valid for something",
        "connected from 203.0.113.1",
        "\\x1b[31mred",
        "(STARTTLS offered)",
        "TLSv1.3, TLS_AES_256_GCM_SHA384, X25519MLKEM768",
        "it asked for a certificate and got gw",
        "1 certificate; it is not trusted: certificate has expired",
        "error: it expired",
        "partner.example (as configured or addressed): no match",
        "verdict refused: verify error: certificate has expired",
        "in this attempt it had to be TLS, since a handshake broke on an earlier host",
        "a message would be put off: TLS required-verify: verify error: certificate has expired",
        "A message would be put off and tried again: TLS required-verify: verify error: certificate has expired"
        " (4.7.5 - Cryptographic failure).",
    ):
        assert part in text, part
    assert "only explained" not in text


def test_a_host_that_takes_mail(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = {
        "verdict": "verified",
        "reason": "verified yes: mx.partner.example",
        "verified": "",
        "note": "in testing",
        "monitor": None,
    }
    one = connection(outcome=verdict, hello_inside="250 mx.partner.example")
    call = {
        "passes": True,
        "failure": "",
        "status": "",
        "skipped": "",
        "clear_allowed": True,
        "connections": [connection(broken="timeout", outcome=None), one],
    }
    text = shown(
        capsys,
        tree(
            call,
            result="deliverable",
            host=LONG,
            address="203.0.113.10",
            verdict="verified",
            reason="verified yes",
        ),
    )
    assert "again without our certificate, which the host did not stand" in text
    assert "verdict encrypted and verified: verified yes: mx.partner.example in testing" in text
    assert f"A message would go to {LONG} [203.0.113.10], encrypted and verified (verified yes)." in text


def test_without_calls_the_result_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert "The hosts were not called; --live does that." in shown(capsys, tree(None))
