"""Destination controls, routes, the delivery interface."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import TODAY, document, small

from gatepost.config.check import check


def found(warning: bool, **sections: Any) -> list[str]:
    return [p.line() for p in check(document(**sections), {"Demo", "gw"}, TODAY) if p.warning is warning]


def route(domain: str, *hosts: str) -> dict[str, Any]:
    return {"domain": domain, "hosts": list(hosts)}


def test_names_in_the_destination_controls_must_exist() -> None:
    controls = {
        "global": {"certificate": "none"},
        "default": {"bounce_profile": "Dfault"},
        "destinations": [{"domain": "a.example", "bounce_profile": "Slow"}],
    }
    assert [line.partition(":")[0] for line in found(False, destination_controls=controls)] == [
        "destination_controls.global.certificate",
        "destination_controls.default.bounce_profile",
        "destination_controls.destinations[0].bounce_profile",
    ]
    assert found(False, destination_controls={"default": {"bounce_profile": "Default"}}) == []


def test_a_domain_has_one_entry_however_it_is_written() -> None:
    entries = [{"domain": "a.example"}, {"domain": ".a.example"}, {"domain": "A.Example."}]
    [line] = found(False, destination_controls={"destinations": entries})
    assert line.startswith("destination_controls.destinations[2].domain:")
    [line] = found(False, smtp_routes=[route("ALL", "usedns"), route("ALL", "reject")])
    assert line.startswith("smtp_routes[1].domain:")


def test_an_entry_that_ended_is_warned_about() -> None:
    def entry(until: str) -> dict[str, Any]:
        return {"destinations": [{"domain": "a.example", "tls": "none", "until": until}]}

    [line] = found(True, destination_controls=entry("2026-11-23"))
    assert line.startswith("destination_controls.destinations[0].until: 2026-11-23 is past")
    assert found(True, destination_controls=entry("2026-11-24")) == []


@pytest.mark.parametrize("word", ["usedns", "reject"])
def test_a_word_is_a_route_by_itself(word: str) -> None:
    [line] = found(False, smtp_routes=[route("a.example", "[192.0.2.9]", word)])
    assert line.startswith("smtp_routes[0].hosts[1]:")


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1", "[::]:25", "[ff02::1]"])
def test_an_address_nobody_has(address: str) -> None:
    [line] = found(False, smtp_routes=[route("a.example", address)])
    assert line.startswith("smtp_routes[0].hosts[0]: no mail server can have the address")


def test_a_route_back_to_ourselves_is_warned_about() -> None:
    [line] = found(True, smtp_routes=[route("a.example", "192.0.2.1:25")])
    assert line.startswith("smtp_routes[0].hosts[0]: leads back to our own listener In")
    assert found(True, smtp_routes=[route("a.example", "192.0.2.1:26")]) == []


def test_a_host_given_twice_is_warned_about() -> None:
    [line] = found(True, smtp_routes=[route("a.example", "b.example", "B.example:25")])
    assert line.startswith("smtp_routes[0].hosts[1]: is given twice")


@pytest.mark.parametrize("level", ["required-verify", "required-verify-hosted"])
@pytest.mark.parametrize("routed", ["a.example", ".example", "ALL"])
def test_verification_over_a_route_to_an_address_is_warned_about(level: str, routed: str) -> None:
    controls = {"destinations": [{"domain": "a.example", "tls": level}]}
    [line] = found(True, destination_controls=controls, smtp_routes=[route(routed, "[192.0.2.9]:25")])
    assert line.startswith("destination_controls.destinations[0].tls:")
    assert found(True, destination_controls=controls, smtp_routes=[route(routed, "mail.example")]) == []


def test_the_nearest_route_counts() -> None:
    controls = {"destinations": [{"domain": "a.example", "tls": "required-verify"}]}
    routes = [route("ALL", "[192.0.2.9]"), route("a.example", "usedns")]
    assert found(True, destination_controls=controls, smtp_routes=routes) == []


def test_the_default_level_counts_for_routes_without_an_entry() -> None:
    controls = {
        "default": {"tls": "required-verify"},
        "destinations": [{"domain": "b.example", "tls": "required"}],
    }
    routes = [route("a.example", "[192.0.2.9]"), route("b.example", "[192.0.2.9]")]
    [line] = found(True, destination_controls=controls, smtp_routes=routes)
    assert "route for a.example" in line


def test_the_delivery_interface_must_exist() -> None:
    assert found(False, delivery={"interface": "auto"}) == []
    assert found(False, delivery={"interface": "Data 1"}) == []
    assert found(False, delivery={"interface": "Data1"}) == [
        'delivery.interface: no interface named "Data1" (did you mean Data 1?)'
    ]
    assert small()["interfaces"][0]["name"] == "Data 1"
