"""What DANE needs of name resolution is asked for before mail waits for it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import TODAY, document

from gatepost.config.check import check

DANE = {"default": {"dane": "opportunistic"}}


def found(dns: dict[str, Any], controls: dict[str, Any] | None = None, *, warning: bool = True) -> list[str]:
    made = document(dns=dns, destination_controls=controls or DANE)
    problems = check(made, {"Demo", "gw"}, TODAY)
    return [p.line() for p in problems if p.warning is warning and p.path.startswith("dns")]


def test_dane_needs_a_resolver_that_validates() -> None:
    [line] = found({"validate_dnssec": False})
    assert line.startswith("dns.validate_dnssec: DANE is asked for, and without validation")
    assert found({"validate_dnssec": True}) == []


@pytest.mark.parametrize("servers", [["192.0.2.53"], ["[2001:db8::53]:5353", "192.0.2.53:53"]])
def test_dane_needs_a_name_server_on_this_machine(servers: list[str]) -> None:
    [line] = found({"servers": servers})
    assert line.startswith("dns.servers: DANE is asked for, and none of the name servers is on this machine")
    assert found({"servers": [*servers, "127.0.0.1:5353"]}) == []
    assert found({"servers": [*servers, "[::1]:53"]}) == []


@pytest.mark.parametrize(
    "controls",
    [
        {"default": {"dane": "none"}},
        {"default": {"tls": "none", "dane": "mandatory"}},
        {
            "default": {"dane": "none"},
            "destinations": [{"domain": "a.example", "tls": "none", "dane": "mandatory"}],
        },
    ],
)
def test_who_asks_for_no_dane_is_told_nothing(controls: dict[str, Any]) -> None:
    assert found({"validate_dnssec": False, "servers": ["192.0.2.53"]}, controls) == []


def test_an_entry_that_asks_is_enough() -> None:
    controls = {"default": {"dane": "none"}, "destinations": [{"domain": "a.example", "dane": "mandatory"}]}
    assert len(found({"validate_dnssec": False}, controls)) == 1


def test_the_names_of_the_probe_are_names() -> None:
    lines = found({"probe": {"signed": "a..b", "bogus": "x" * 300}}, warning=False)
    assert [line.partition(":")[0] for line in lines] == ["dns.probe.signed", "dns.probe.bogus"]
    assert found({"probe": {"signed": ".", "bogus": "bogus.example"}}, warning=False) == []
