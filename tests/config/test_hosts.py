"""Hosts of routes and DNS servers."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.hosts import RouteHost, RouteKind, parse_dns_server, parse_route_host
from gatepost.config.values import Fault


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("mail.example.net", RouteHost(RouteKind.MX, "mail.example.net", 25)),
        ("Mail.Example.net:2525", RouteHost(RouteKind.MX, "mail.example.net", 2525)),
        ("[mail.example.net]", RouteHost(RouteKind.HOST, "mail.example.net", 25)),
        ("[mail.example.net]:26", RouteHost(RouteKind.HOST, "mail.example.net", 26)),
        ("192.0.2.1", RouteHost(RouteKind.ADDRESS, "192.0.2.1", 25)),
        ("192.0.2.1:26", RouteHost(RouteKind.ADDRESS, "192.0.2.1", 26)),
        ("[127.0.0.1]:2600", RouteHost(RouteKind.ADDRESS, "127.0.0.1", 2600)),
        ("[2001:DB8::1]:26", RouteHost(RouteKind.ADDRESS, "2001:db8::1", 26)),
        ("[IPv6:2001:db8::1]", RouteHost(RouteKind.ADDRESS, "2001:db8::1", 25)),
        ("2001:db8::1", RouteHost(RouteKind.ADDRESS, "2001:db8::1", 25)),
        ("usedns", RouteHost(RouteKind.USE_DNS)),
        ("USEDNS", RouteHost(RouteKind.USE_DNS)),
        ("reject", RouteHost(RouteKind.REJECT)),
    ],
)
def test_route_hosts(text: str, host: RouteHost) -> None:
    assert parse_route_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "mail.example.net:0",
        "mail.example.net:65536",
        "[::1",
        "[]:25",
        "a:b:c",
        "/dev/null",
        "fe80::1%eth0",
        "10.0.0.300",
        "x\ny",
    ],
)
def test_what_is_no_route_host_is_refused(text: str) -> None:
    with pytest.raises(Fault):
        parse_route_host(text)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
    ],
)
def test_dns_servers(text: str, server: tuple[str, int]) -> None:
    assert parse_dns_server(text) == server


@pytest.mark.parametrize("text", ["dns.example.net", "192.0.2.53:", "[192.0.2.53", ""])
def test_a_dns_server_is_an_address(text: str) -> None:
    with pytest.raises(Fault):
        parse_dns_server(text)


@given(st.text(alphabet="ab1.:[]/-%", max_size=16))
def test_any_text_is_a_host_or_a_fault(text: str) -> None:
    with contextlib.suppress(Fault):
        host, port = parse_dns_server(text)
        assert (str(ip_address(host)), port in range(1, 65_536)) == (host, True)
    with contextlib.suppress(Fault):
        route = parse_route_host(text)
        assert route.port in range(1, 65_536)
        assert route.host or route.kind in (RouteKind.USE_DNS, RouteKind.REJECT)
