"""Who wants to know whether DNS is signed."""

from __future__ import annotations

from typing import Any

import pytest

from gatepost.config.load import load_plain
from gatepost.policy.dnssec import wants_dnssec
from gatepost.policy.outbound import compile_destinations

OFFERING = {"name": "In", "type": "public", "interface": "Lo", "port": 25, "tls": "starttls"}
PARTNER = {"domain": "partner.example"}


def wanted(default: dict[str, Any], *entries: dict[str, Any], **sections: Any) -> bool:
    controls = {"default": default, "destinations": list(entries)}
    document = load_plain({"destination_controls": controls, **sections})
    return wants_dnssec(document, compile_destinations(document))


@pytest.mark.parametrize(
    ("default", "entries", "expected"),
    [
        ({"tls": "none"}, [], False),
        ({"tls": "preferred"}, [], False),
        ({"tls": "required"}, [], False),
        ({"tls": "preferred-verify"}, [], True),
        ({"tls": "required-verify"}, [], True),
        ({"tls": "required-verify-hosted"}, [], True),
        ({"tls": "preferred", "dane": "opportunistic"}, [], True),
        ({"tls": "none", "dane": "mandatory"}, [], False),  # None is final (R23)
        ({"tls": "none"}, [{**PARTNER, "tls": "required-verify"}], True),
        ({"tls": "none"}, [{**PARTNER, "tls": "required-verify", "monitor": True}], True),
        ({"tls": "required-verify", "monitor": True}, [], True),
        ({"tls": "required"}, [{**PARTNER, "tls": "preferred"}], False),
    ],
)
def test_what_a_destination_asks_for(
    default: dict[str, Any], entries: list[dict[str, Any]], expected: bool
) -> None:
    assert wanted(default, *entries) is expected
    assert not wanted(default, *entries, dns={"validate_dnssec": False})


def test_a_listener_that_takes_messages_which_require_tls() -> None:
    default = {"tls": "preferred"}
    assert wanted(default, listeners=[OFFERING])
    assert not wanted(default, listeners=[{**OFFERING, "requiretls": False}])
