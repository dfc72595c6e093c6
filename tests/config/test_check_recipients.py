"""Call-ahead and bounce verification in the configuration: what cannot work is refused, what most likely does not is warned of."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import TODAY, document

from gatepost.config.check import check


def found(row: dict[str, Any], routes: list[dict[str, Any]] | None = None) -> list[tuple[str, str, bool]]:
    listener = {
        "name": "In",
        "interface": "Data 1",
        "port": 2525,
        "default_policy": "ACCEPTED",
        "recipient_access": [{"action": "accept", **row}],
    }
    made = document(
        interfaces=[{"name": "Data 1", "address": "127.0.0.1"}],
        listeners=[listener],
        smtp_routes=routes or [],
    )
    return [
        (p.path.removeprefix("listeners[0].recipient_access[0]."), p.text, p.warning)
        for p in check(made, {"Demo"}, TODAY)
        if "recipient_access" in p.path
    ]


ROUTE = {"domain": "example.net", "hosts": ["[192.0.2.9]"]}


@pytest.mark.parametrize(
    ("row", "routes"),
    [
        ({"recipient": "example.net", "call_ahead": True}, [ROUTE]),
        ({"recipient": "mary@example.net", "call_ahead": True}, [ROUTE]),
        ({"recipient": "a.example.net", "call_ahead": True}, [{**ROUTE, "domain": ".example.net"}]),
        ({"recipient": "example.net", "call_ahead": True}, [{**ROUTE, "domain": "ALL"}]),
        ({"recipient": "ALL", "call_ahead": True}, []),
        ({"recipient": "example.net", "call_ahead": True, "call_ahead_host": "[192.0.2.9]:2525"}, []),
        ({"recipient": "example.net"}, []),
    ],
)
def test_what_can_work(row: dict[str, Any], routes: list[dict[str, Any]]) -> None:
    assert found(row, routes) == []


@pytest.mark.parametrize(
    "routes",
    [[], [{"domain": "other.example", "hosts": ["[192.0.2.9]"]}], [{"domain": "ALL", "hosts": ["usedns"]}]],
)
def test_without_a_route_the_mx_is_asked_which_may_be_us(routes: list[dict[str, Any]]) -> None:
    [(path, text, warning)] = found({"recipient": "example.net", "call_ahead": True}, routes)
    assert (path, warning) == ("call_ahead", True)
    assert text.startswith("no smtp route leads example.net anywhere")


@pytest.mark.parametrize(
    ("row", "path", "text", "warning"),
    [
        (
            {"action": "reject", "call_ahead": True},
            "call_ahead",
            "has no effect: the row refuses anyway",
            True,
        ),
        ({"call_ahead_host": "[192.0.2.9]"}, "call_ahead_host", "has no effect without call_ahead", True),
        ({"call_ahead": True, "call_ahead_host": "usedns"}, "call_ahead_host", "is no host", False),
        ({"call_ahead": True, "call_ahead_host": "reject"}, "call_ahead_host", "is no host", False),
    ],
)
def test_what_cannot(row: dict[str, Any], path: str, text: str, warning: bool) -> None:
    assert found({"recipient": "example.net", **row}, [ROUTE]) == [(path, text, warning)]


def test_exceptions_of_bounce_verification_are_a_list_that_exists() -> None:
    lists = [{"name": "never", "addresses": ["news@example.net"]}]
    for name, count in (("never", 0), ("nevr", 1)):
        made = document(
            address_lists=lists, bounce_verification={"domains": ["example.net"], "exceptions": name}
        )
        problems = [p for p in check(made, {"Demo"}, TODAY) if p.path == "bounce_verification.exceptions"]
        assert len(problems) == count
