"""Which domains are ours."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import document, listener

from gatepost.config.own_domains import OwnDomains


def ours(*recipients: str, action: str = "accept", **sections: Any) -> OwnDomains:
    rules = [{"recipient": text, "action": action} for text in recipients]
    return OwnDomains(document(listeners=[listener(recipient_access=rules)], **sections))


@pytest.mark.parametrize(
    ("recipient", "domain", "expected"),
    [
        ("Example.NET", "example.net", True),
        ("example.net", "sub.example.net", False),
        ("ann@example.net", "example.net", True),
        (".example.net", "sub.example.net", True),
        (".example.net", "example.net", False),
        (".example.net", "notexample.net", False),
        ("ALL", "any.example", True),
        ("postmaster@", "any.example", True),
        ("example.net", "", False),
    ],
)
def test_what_public_listeners_accept_is_ours(recipient: str, domain: str, expected: bool) -> None:
    assert ours(recipient).has(domain) is expected


def test_what_is_rejected_is_not() -> None:
    assert not ours("example.net", action="reject").has("example.net")


def test_the_domain_of_a_policy_is() -> None:
    policies = [{"domain": "Elsewhere.example", "mode": "none", "certificate": "gw"}]
    assert ours("example.net", mta_sts_policies=policies).has("elsewhere.example")
