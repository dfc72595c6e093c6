"""The tree from a walk: hosts in order with their calls, several names of one address, and what would become of a message."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from typing import Any

import pytest

from gatepost.config.load import load_plain
from gatepost.core.tls import TlsFacts, TlsLevel, TlsStage
from gatepost.net.dns_answer import DnsAnswer, DnsStatus, Mx
from gatepost.net.overheard import LookUp
from gatepost.net.trail import Call, Trail
from gatepost.policy.hop import Hop
from gatepost.policy.outbound import compile_destinations, compile_routes
from gatepost.policy.tls_out import DestinationRule, HopNames, judge_tls, plan_tls
from gatepost.probe.explain import Walked, delivery_view, explain, recipient_domain
from gatepost.probe.explain_calls import Looked
from gatepost.probe.explain_rules import Tables
from gatepost.wire.smtp_syntax import SyntaxFault

D = "partner.example"
RULE = DestinationRule(TlsLevel.PREFERRED)
DOCUMENT = load_plain({})
TABLES = Tables(
    DOCUMENT, compile_destinations(DOCUMENT), compile_routes(DOCUMENT), datetime.date(2026, 11, 24)
)
MX: DnsAnswer[Any] = DnsAnswer(DnsStatus.FOUND, (Mx(10, "a.example"), Mx(20, "b.example")))


def hop(host: str, address: str) -> Hop:
    return Hop(ipaddress.ip_address(address), 25, HopNames(D, mx_host=host))


HOPS = (hop("a.example", "192.0.2.1"), hop("a.example", "2001:db8::1"), hop("b.example", "192.0.2.1"))


def called(one: Hop, stage: TlsStage, failure: str = "") -> Call:
    plan = plan_tls(RULE, one.names)
    trail = Trail(plan, local="192.0.2.9", outcome=judge_tls(plan, TlsFacts(stage, error=failure)))
    return Call(one.address, one.port, (trail,), failure=failure)


def never(chain: Sequence[bytes]) -> Looked:
    raise AssertionError("no session, no chain")


def view(calls: Sequence[Call] | None, **choices: Any) -> dict[str, Any]:
    planned = [(one, plan_tls(RULE, one.names)) for one in choices.pop("hops", HOPS)]
    walked = Walked(planned, [LookUp("MX", D, MX)], (), (), (), calls=calls, **choices)
    return delivery_view(TABLES, walked, never).document()


def test_addresses_of_a_host_stand_together_and_names_of_an_address_apart() -> None:
    calls = [
        called(HOPS[0], TlsStage.HANDSHAKE_FAILED, "broken"),
        called(HOPS[1], TlsStage.HANDSHAKE_FAILED, "broken too"),
        called(HOPS[2], TlsStage.NOT_OFFERED),
    ]
    found = view(calls)
    assert [(one["host"], one["source"], one["preference"]) for one in found["hosts"]] == [
        ("a.example", "mx", 10),
        ("b.example", "mx", 20),
    ]
    assert [[row["address"] for row in one["addresses"]] for one in found["hosts"]] == [
        ["192.0.2.1", "2001:db8::1"],
        ["192.0.2.1"],
    ]
    first, second = found["hosts"]
    assert [row["call"]["failure"] for row in first["addresses"]] == ["broken", "broken too"]
    assert second["addresses"][0]["call"]["passes"]
    assert found["result"] == {
        "result": "deliverable",
        "host": "b.example",
        "address": "192.0.2.1",
        "verdict": "clear",
        "reason": "remote host does not offer STARTTLS",
        "failure": "",
        "status": "",
    }


def test_when_all_refuse_the_message_waits_with_the_telling_failure() -> None:
    calls = [called(one, TlsStage.HANDSHAKE_FAILED, "broken") for one in HOPS]
    result = view(calls, calls_failure="TLS preferred: broken", calls_status="4.7.5 - x")["result"]
    assert (result["result"], result["failure"], result["status"]) == (
        "delay",
        "TLS preferred: broken",
        "4.7.5 - x",
    )


@pytest.mark.parametrize(("permanent", "result"), [(True, "bounce"), (False, "delay")])
def test_without_a_host_the_walk_says_why(permanent: bool, result: str) -> None:
    found = view(None, hops=(), failure="no such domain", status="5.1.2 - x", permanent=permanent)
    assert (found["hosts"], found["result"]["result"]) == ([], result)
    assert found["result"]["failure"] == "no such domain"


def test_without_calls_nothing_is_claimed() -> None:
    assert view(None)["result"]["result"] == "unknown"


def test_the_whole_tree_has_stable_keys() -> None:
    tree = explain(TABLES, D, version=7, notes=("a note",)).document()
    assert tree | {"rules": None} == {
        "domain": D,
        "version": 7,
        "pending": False,
        "live": False,
        "rules": None,
        "delivery": None,
        "notes": ["a note"],
        "requiretls": False,
    }


def test_a_recipient_is_a_domain_an_address_or_a_literal() -> None:
    assert recipient_domain(" Ann@Partner.Example ") == D
    assert recipient_domain("[192.0.2.1]") == "[192.0.2.1]"
    with pytest.raises(SyntaxFault):
        recipient_domain("a@b@")
