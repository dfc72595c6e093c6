"""The configuration's branch: which entry counts and why, exceptions that have ended, the route in its written form."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from gatepost.config.load import load_plain
from gatepost.policy.outbound import compile_destinations, compile_routes
from gatepost.probe.explain_rules import Tables, rules_for

TODAY = datetime.date(2026, 11, 24)


def shown(domain: str, **sections: Any) -> dict[str, Any]:
    document = load_plain(sections)
    tables = Tables(document, compile_destinations(document), compile_routes(document), TODAY)
    return rules_for(tables, domain).document()


CONTROLS = {
    "default": {"tls": "required"},
    "destinations": [
        {"domain": "partner.example", "tls": "required-verify"},
        {"domain": ".partner.example", "tls": "none", "reason": "ticket 4711", "until": "2026-11-24"},
        {"domain": "old.partner.example", "tls": "none", "reason": "a move", "until": "2026-11-23"},
        {"domain": "gone.example", "until": "2026-11-23"},
    ],
}


@pytest.mark.parametrize(
    ("domain", "match", "index", "ended"),
    [
        ("partner.example", "exact", 0, []),
        ("a.partner.example", "suffix", 1, []),
        ("old.partner.example", "suffix", 1, [2]),
        ("gone.example", "default", None, [3]),
        ("other.example", "default", None, []),
        ("[192.0.2.1]", "default", None, []),
    ],
)
def test_the_entry_that_counts(domain: str, match: str, index: int | None, ended: list[int]) -> None:
    entry = shown(domain, destination_controls=CONTROLS)["entry"]
    path = "destination_controls.default" if index is None else f"destination_controls.destinations[{index}]"
    assert (entry["match"], entry["path"]) == (match, path)
    assert [one["path"] for one in entry["ended"]] == [
        f"destination_controls.destinations[{one}]" for one in ended
    ]


def test_an_exception_shows_reason_and_last_day() -> None:
    entry = shown("old.partner.example", destination_controls=CONTROLS)["entry"]
    assert (entry["reason"], entry["until"]) == ("ticket 4711", "2026-11-24")
    assert entry["ended"][0] | {"path": ""} == {
        "path": "",
        "domain": "old.partner.example",
        "reason": "a move",
        "until": "2026-11-23",
    }
    tls = next(one for one in entry["settings"] if one["name"] == "tls")
    assert tls == {"name": "tls", "value": "none", "source": "destination_controls.destinations[1].tls"}


@pytest.mark.parametrize(
    ("domain", "kind", "hosts", "path"),
    [
        (
            "fixed.example",
            "hosts",
            ["[relay.example]:2525", "smart.example", "[192.0.2.7]"],
            "smtp_routes[0]",
        ),
        ("plain.example", "dns", ["plain.example"], "smtp_routes[1]"),
        ("dead.example", "reject", [], "smtp_routes[2]"),
        ("any.example", "dns", ["any.example"], ""),
        ("[192.0.2.1]", "address", ["192.0.2.1"], ""),
        ("[192.0.2.999]", "reject", [], ""),
    ],
)
def test_the_route(domain: str, kind: str, hosts: list[str], path: str) -> None:
    routes = [
        {"domain": "fixed.example", "hosts": ["[relay.example]:2525", "smart.example", "192.0.2.7"]},
        {"domain": "plain.example", "hosts": ["usedns"]},
        {"domain": "dead.example", "hosts": ["reject"]},
    ]
    route = shown(domain, smtp_routes=routes)["route"]
    assert (route["kind"], route["hosts"], route["path"]) == (kind, hosts, path)
    assert bool(route["detail"]) is (kind == "reject")


def test_an_entry_in_monitor_mode_stands_beside_the_one_that_counts() -> None:
    proposal = {"domain": "partner.example", "tls": "required-verify", "monitor": True, "reason": "move up"}
    controls = {"destinations": [{"domain": ".example", "tls": "required"}, proposal]}
    found = shown("partner.example", destination_controls=controls)
    assert found["entry"]["path"] == "destination_controls.destinations[0]"
    monitor = found["monitor"]
    assert (monitor["path"], monitor["reason"], monitor["until"]) == (
        "destination_controls.destinations[1]",
        "move up",
        None,
    )
    assert {one["name"]: one["value"] for one in monitor["settings"]} == {
        "tls": "required-verify",
        "dane": "none",
        "mta_sts": False,
        "insecure_names": "refuse",
        "preferred_clear_after": "never",
    }
    assert shown("a.test", destination_controls=controls)["monitor"] is None
