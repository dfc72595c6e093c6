"""smtp routes: forms of hosts, and which entry wins."""

from __future__ import annotations

import ipaddress

import pytest

from gatepost.config.hosts import RouteHost as WrittenHost
from gatepost.config.hosts import RouteKind
from gatepost.policy.route import (
    FixedHosts,
    Reject,
    Route,
    RouteHost,
    Routes,
    UseAddress,
    UseDns,
)

V4 = ipaddress.ip_address("127.0.0.1")
V6 = ipaddress.ip_address("2001:db8::1")
USEDNS = WrittenHost(RouteKind.USE_DNS)
REJECT = WrittenHost(RouteKind.REJECT)
SINK = WrittenHost(RouteKind.ADDRESS, "127.0.0.1", 2600)
BACKUP = WrittenHost(RouteKind.HOST, "backup.example.net")
MX = WrittenHost(RouteKind.MX, "smart.example", 2525)

ROUTES = Routes(
    [
        Route("Example.net", [SINK, BACKUP, WrittenHost(RouteKind.ADDRESS, "2001:db8::1")]),
        Route(".example.net", [BACKUP]),
        Route("direct.example.net", [USEDNS]),
        Route("dead.example", [REJECT]),
        Route("all", [MX]),
    ]
)
SMART = FixedHosts((RouteHost("smart.example", 2525, mx=True),))


@pytest.mark.parametrize(
    ("domain", "hop"),
    [
        (
            "example.net",
            FixedHosts(
                (
                    RouteHost("127.0.0.1", 2600, address=V4),
                    RouteHost("backup.example.net"),
                    RouteHost("2001:db8::1", address=V6),
                )
            ),
        ),
        ("a.b.example.net", FixedHosts((RouteHost("backup.example.net"),))),
        ("direct.example.net", UseDns("direct.example.net")),
        ("dead.example", Reject("the smtp route of this domain says reject")),
        ("other.example", SMART),
        ("notexample.net", SMART),
        ("[192.0.2.1]", SMART),
    ],
)
def test_exact_beats_suffix_beats_all(domain: str, hop: object) -> None:
    assert ROUTES.find(domain) == hop


def test_without_routes_dns_decides_and_a_literal_is_itself() -> None:
    none = Routes()
    assert none.find("example.net") == UseDns("example.net")
    assert none.find("[192.0.2.1]") == UseAddress(ipaddress.ip_address("192.0.2.1"))
    assert none.find("[ipv6:2001:db8::1]") == UseAddress(V6)
    assert isinstance(none.find("[nonsense]"), Reject)


@pytest.mark.parametrize("hosts", [[], [USEDNS, MX], [MX, REJECT]])
def test_words_stand_alone_and_a_route_has_a_host(hosts: list[WrittenHost]) -> None:
    with pytest.raises(ValueError, match="route"):
        Routes([Route("example.net", hosts)])


@pytest.mark.parametrize(
    ("domain", "entry", "path"),
    [
        ("example.net", "Example.net", "smtp_routes[0]"),
        ("a.example.net", ".example.net", "smtp_routes[1]"),
        ("direct.example.net", "direct.example.net", "smtp_routes[2]"),
        ("other.example", "all", "smtp_routes[3]"),
    ],
)
def test_the_choice_says_which_entry_it_comes_from(domain: str, entry: str, path: str) -> None:
    routes = Routes(
        Route(name, hosts, f"smtp_routes[{index}]")
        for index, (name, hosts) in enumerate(
            [
                ("Example.net", [SINK]),
                (".example.net", [BACKUP]),
                ("direct.example.net", [USEDNS]),
                ("all", [MX]),
            ]
        )
    )
    choice = routes.choose(domain)
    assert (choice.domain, choice.path) == (entry, path)
    assert choice.next_hop == routes.find(domain)


def test_without_a_route_the_choice_has_no_entry() -> None:
    choice = Routes().choose("example.net")
    assert (choice.next_hop, choice.domain, choice.path) == (UseDns("example.net"), "", "")
