"""The host names that a certificate should carry, and what is said when it carries none of them (R3)."""

from __future__ import annotations

from typing import Any

from gatepost.certs.host_names import Host, meant_hosts, unmatched

DOCUMENT: dict[str, Any] = {
    "system": {"hostname": "gw.example.net"},
    "interfaces": [
        {"name": "In", "address": "192.0.2.1", "hostname": "mx.example.net"},
        {"name": "Out", "address": "192.0.2.2"},
        {"name": "Unused", "address": "192.0.2.3", "hostname": "unused.example.net"},
    ],
    "listeners": [{"name": "A", "interface": "In"}, {"name": "B", "interface": "In"}],
    "delivery": {"interface": "Out"},
}


def test_listening_and_delivery_interfaces_count_and_no_others() -> None:
    assert meant_hosts(DOCUMENT) == (
        Host("mx.example.net", ("listener A", "listener B")),
        Host("gw.example.net", ("delivery",)),
    )


def test_delivery_by_any_interface_says_the_first_ones_name() -> None:
    for delivery in ({}, {"delivery": {"interface": "auto"}}):
        hosts = meant_hosts({**{k: v for k, v in DOCUMENT.items() if k != "delivery"}, **delivery})
        assert hosts == (Host("mx.example.net", ("listener A", "listener B", "delivery")),)
    assert meant_hosts({}) == ()


def test_one_match_is_enough_and_wildcards_count() -> None:
    hosts = meant_hosts(DOCUMENT)
    for names in (["mx.example.net"], ["other.example", "GW.example.net"], ["*.example.net"]):
        assert unmatched(hosts, names) == ""
    said = unmatched(hosts, ["www.example.net"])
    assert "mx.example.net (listener A, listener B), gw.example.net (delivery)" in said
    assert unmatched((), ["www.example.net"]) == ""
