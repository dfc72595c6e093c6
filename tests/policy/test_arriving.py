"""What an address may come to before its name and its score are known."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from tests.policy.test_admit import hat, rules

from gatepost.config.values import NO_LIMIT
from gatepost.policy.admit import ListenerRules
from gatepost.policy.arriving import may_come_to, most_connections, refused_unseen

POLICIES: list[dict[str, Any]] = [
    {"name": "FEW", "action": "accept", "max_connections_per_ip": 3},
    {"name": "MANY", "action": "relay", "max_connections_per_ip": 50},
    {"name": "ANY", "action": "relay", "max_connections_per_ip": "unlimited"},
    {"name": "REFUSED", "action": "tcprefuse"},
]
TABLE = hat(
    ("OWN", ["10.0.0.0/8"], "ANY"),
    ("BAD", ["sbrs[-10:-5]"], "REFUSED"),
    ("KNOWN", ["192.0.2.9", ".known.example", "mx.example"], "MANY"),
    ("DROP", ["198.51.100."], "REFUSED"),
    ("ALL", ["ALL"], "FEW"),
)


def table(reverse: bool = True) -> ListenerRules:
    sections = {"mail_flow_policies": POLICIES, "dns": {"reverse": reverse}}
    return rules(host_access=TABLE, sections=sections)


@pytest.mark.parametrize(
    ("address", "reverse", "scored", "names", "most"),
    [
        ("10.1.1.1", True, True, ["ANY"], NO_LIMIT),
        ("::ffff:10.1.1.1", True, True, ["ANY"], NO_LIMIT),
        ("192.0.2.9", True, False, ["MANY"], 50),
        ("192.0.2.9", True, True, ["REFUSED", "MANY"], 50),
        ("192.0.2.1", True, False, ["MANY", "FEW"], 50),
        ("192.0.2.1", False, False, ["FEW"], 3),
        ("192.0.2.1", False, True, ["REFUSED", "FEW"], 3),
        ("198.51.100.1", False, False, ["REFUSED"], 1000),
    ],
)
def test_the_policies_that_are_possible(
    address: str, reverse: bool, scored: bool, names: list[str], most: int
) -> None:
    policies = may_come_to(table(reverse), ipaddress.ip_address(address), scored=scored)
    assert [policy.name for policy in policies] == names
    assert most_connections(policies) == most
    assert refused_unseen(policies) is (names == ["REFUSED"])


def test_an_address_that_no_row_names_may_still_come() -> None:
    policies = may_come_to(rules(), ipaddress.ip_address("192.0.2.1"), scored=True)
    assert policies == ()
    assert most_connections(policies) == 1
    assert not refused_unseen(policies)
