"""tlsverify and daneverify: the rule that the worker is asked to try, and who is not asked at all."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench

from gatepost.config.load import load_plain
from gatepost.config.outbound import Dane
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Noted
from gatepost.core.tls import ClientHello, TlsLevel
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.outbound import compile_destinations

ENTRIES = """
  destinations:
    - {domain: hosted.example, tls: required-verify-hosted, insecure_names: allow}
    - {domain: partner.example, tls: none, dane: opportunistic, client_hello: small}
    - {domain: partner.example, tls: required, monitor: true}
    - {domain: .example, tls: required-verify, mta_sts: true}
"""


class Worker:
    """Answers as if no host could be found, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.down = ""

    def answer(self, kind: str, args: Any) -> Any:
        assert kind == "explain"
        self.asked.append(dict(args))
        result = {"result": "bounce", "failure": "NXDomain"}
        delivery = {"hosts": [], "look_ups": [], "result": result}
        return {"domain": args["domain"], "delivery": delivery, "notes": []}


def tried(bench: Bench, op: str, domain: str, **args: Any) -> DestinationRule:
    """The rule that the worker was given."""
    bench.apply(CONTRACT_LIKE.rstrip() + ENTRIES)
    before = bench.versions()
    worker = Worker()
    bench.start().workers[:] = [worker]  # type: ignore[list-item]
    found = bench.call(op, domain=domain, **args)
    assert (found["result"], found["reason"]) == ("failed", "NXDomain")
    (asked,) = worker.asked
    assert asked["live"]
    assert bench.versions() == before
    document = load_plain(asked["payload"]["document"])
    return compile_destinations(document).find(domain, date(2027, 1, 15))


@pytest.mark.parametrize(
    ("domain", "args", "level"),
    [
        ("partner.example", {}, TlsLevel.REQUIRED_VERIFY),
        ("hosted.example", {}, TlsLevel.REQUIRED_VERIFY_HOSTED),
        ("x.test", {"hosted": True}, TlsLevel.REQUIRED_VERIFY_HOSTED),
        ("x.test", {}, TlsLevel.REQUIRED_VERIFY),
    ],
)
def test_tls_at_a_level_that_verifies(
    bench: Bench, domain: str, args: dict[str, Any], level: TlsLevel
) -> None:
    rule = tried(bench, "tlsverify", domain, **args)
    assert (rule.level, rule.monitored) == (level, None)


def test_everything_else_stays_as_it_is_in_force(bench: Bench) -> None:
    rule = tried(bench, "tlsverify", "partner.example")
    assert (rule.dane, rule.client_hello) == (Dane.OPPORTUNISTIC, ClientHello.SMALL)
    assert tried(bench, "tlsverify", "hosted.example").insecure_names
    assert tried(bench, "tlsverify", "a.example").mta_sts


def test_dane_alone(bench: Bench) -> None:
    rule = tried(bench, "daneverify", "a.example")
    assert (rule.level, rule.dane, rule.mta_sts) == (TlsLevel.REQUIRED, Dane.MANDATORY, False)


def test_it_is_audited(bench: Bench) -> None:
    tried(bench, "daneverify", "a.example")
    assert bench.gateway is not None
    notes = [event.text for event in bench.gateway.events if isinstance(event, Noted)]
    assert any(text.startswith("daneverify by ") and text.endswith("a.example: failed") for text in notes)


@pytest.mark.parametrize("op", ["tlsverify", "daneverify"])
def test_refusals(bench: Bench, op: str) -> None:
    with pytest.raises(OperatorError, match="need the running gateway") as caught:
        bench.call(op, domain="a.example")
    assert caught.value.code is Exit.NOT_RUNNING
    with pytest.raises(OperatorError, match="is an address") as caught:
        bench.call(op, domain="[192.0.2.1]")
    assert caught.value.code is Exit.USAGE
