"""Where a configuration asks for more TLS than another; what stays, or becomes laxer, is not named."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import pytest

from gatepost.config.load import load_plain
from gatepost.policy.rising import rises
from gatepost.policy.tls_out import LEVELS_BY_STRICTNESS

TODAY = date(2027, 1, 15)


def lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [rise.line() for rise in rises(load_plain(before), load_plain(after), TODAY)]


def outgoing(*entries: dict[str, Any], **default: Any) -> dict[str, Any]:
    return {
        "destination_controls": {"default": {"tls": "preferred", **default}, "destinations": list(entries)}
    }


def incoming(**policy: Any) -> dict[str, Any]:
    return {
        "interfaces": [{"name": "Data 1", "address": "127.0.0.1"}],
        "listeners": [
            {
                "name": "In",
                "interface": "Data 1",
                "port": 2525,
                "host_access": [{"group": "ALL", "policy": "ACCEPTED"}],
            }
        ],
        "mail_flow_policies": [{"name": "ACCEPTED", "action": "accept", **policy}],
        "address_lists": [{"name": "bank", "addresses": ["bank.example"]}],
    }


@pytest.mark.parametrize(("low", "high"), list(itertools.combinations(LEVELS_BY_STRICTNESS, 2)))
def test_levels(low: str, high: str) -> None:
    before, after = outgoing(tls=str(low)), outgoing(tls=str(high))
    assert lines(before, after) == [f"default destination: tls {low} -> {high}"]
    assert lines(after, before) == []
    assert lines(after, after) == []


def test_what_was_published_and_names() -> None:
    after = outgoing(dane="mandatory", mta_sts=True)
    assert lines(outgoing(dane="opportunistic"), after) == [
        "default destination: dane opportunistic -> mandatory",
        "default destination: mta_sts false -> true",
    ]
    # With none nothing is asked for, so going to preferred asks for all of it.
    assert lines(outgoing(tls="none", dane="mandatory"), outgoing(dane="mandatory")) == [
        "default destination: tls none -> preferred",
        "default destination: dane mandatory -> mandatory",
    ]
    allow = outgoing(tls="required-verify", insecure_names="allow")
    assert lines(allow, outgoing(tls="required-verify")) == [
        "default destination: insecure_names allow -> refuse"
    ]


def test_entries_are_compared_with_what_counted_before() -> None:
    entry = {"domain": "partner.example", "tls": "required"}
    assert lines(outgoing(), outgoing(entry)) == ["destination partner.example: tls preferred -> required"]
    # An exception that goes away lets the default count again.
    exception = {"domain": ".legacy.example", "tls": "none"}
    assert lines(outgoing(exception), outgoing()) == ["destination .legacy.example: tls none -> preferred"]
    assert lines(outgoing(entry), outgoing()) == []
    ended = {"domain": "a.example", "tls": "required", "until": "2020-01-01"}
    assert lines(outgoing(), outgoing(ended)) == []


def test_incoming_policies() -> None:
    where = "policy ACCEPTED on listener In"
    assert lines(incoming(tls="off"), incoming(tls="required")) == [f"{where}: tls off -> required"]
    assert lines(incoming(tls="required"), incoming(tls="preferred")) == []
    after = incoming(tls="preferred", verify_client_certificate=True, tls_mandatory_for="bank")
    assert lines(incoming(tls="preferred"), after) == [
        f"{where}: verify_client_certificate false -> true",
        f"{where}: tls_mandatory_for nobody -> bank",
    ]
    assert lines(after, incoming(tls="preferred")) == []
