"""smtp routes: forms of hosts, and which entry wins."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.policy.route import (
    FixedHosts,
    Reject,
    Route,
    RouteHost,
    Routes,
    UseAddress,
    UseDns,
    parse_route_host,
)

V4 = ipaddress.ip_address("127.0.0.1")
V6 = ipaddress.ip_address("2001:db8::1")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[127.0.0.1]:2600", RouteHost(address=V4, port=2600)),
        ("[127.0.0.1]", RouteHost(address=V4)),
        ("127.0.0.1", RouteHost(address=V4)),
        ("127.0.0.1:26", RouteHost(address=V4, port=26)),
        ("[2001:db8::1]:2525", RouteHost(address=V6, port=2525)),
        ("[IPv6:2001:db8::1]", RouteHost(address=V6)),
        ("2001:db8::1", RouteHost(address=V6)),
        ("[Mail.Example.net.]", RouteHost(name="mail.example.net")),
        ("[mail.example.net]:587", RouteHost(name="mail.example.net", port=587)),
        ("mail.example.net", RouteHost(name="mail.example.net", use_mx=True)),
        ("mail.example.net:2525", RouteHost(name="mail.example.net", port=2525, use_mx=True)),
        ("bücher.example", RouteHost(name="xn--bcher-kva.example", use_mx=True)),
    ],
)
def test_forms_of_a_host(text: str, host: RouteHost) -> None:
    assert parse_route_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "[a",
        "[a]b",
        "[[a]",
        "[a]:",
        "a:",
        "a:0",
        "a:65536",
        "a:x",
        "a:٣",
        "[a]:99999999999",
        "a..b",
        "1:2:3",
        "/dev/null",
        "a b",
    ],
)
def test_what_is_no_host_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="[a-z]"):
        parse_route_host(text)


@settings(max_examples=100)
@given(st.text(alphabet="[]:.a1-é %", max_size=20))
def test_any_text_is_a_host_or_a_value_error(text: str) -> None:
    try:
        host = parse_route_host(text)
    except ValueError:
        return
    assert 1 <= host.port <= 65535
    assert (host.address is None) is bool(host.name)
    assert not set(host.name) & set("[]:/ ")


ROUTES = Routes(
    [
        Route("Example.net", ["[127.0.0.1]:2600", "backup.example.net"]),
        Route(".example.net", ["[127.0.0.1]:2601"]),
        Route("direct.example.net", ["USEDNS"]),
        Route("dead.example", ["reject"]),
        Route("all", ["smart.example:2525"]),
    ]
)
SMART = FixedHosts((RouteHost("smart.example", port=2525, use_mx=True),))


@pytest.mark.parametrize(
    ("domain", "hop"),
    [
        (
            "example.net",
            FixedHosts((RouteHost(address=V4, port=2600), RouteHost("backup.example.net", use_mx=True))),
        ),
        ("a.b.example.net", FixedHosts((RouteHost(address=V4, port=2601),))),
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


@pytest.mark.parametrize("hosts", [[], ["usedns", "a.example"], ["a.example", "reject"]])
def test_words_stand_alone_and_a_route_has_a_host(hosts: list[str]) -> None:
    with pytest.raises(ValueError, match="route"):
        Routes([Route("example.net", hosts)])
