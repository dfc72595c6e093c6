"""MX order, null MX, ourselves in the list, and addresses that are not believed."""

from __future__ import annotations

import ipaddress
import random

import pytest

from gatepost.policy.mx import (
    MAX_MX_HOSTS,
    MailLoop,
    MxHost,
    NoUsableMx,
    NullMx,
    drop_ourselves,
    order_mx,
    refused_address,
)


def hosts(records: list[tuple[int, str]], seed: int = 1) -> list[str]:
    made = order_mx(records, random.Random(seed))
    assert isinstance(made, tuple)
    return [host.host for host in made]


def test_preference_first_and_random_among_equals() -> None:
    records = [(20, "c.example"), (10, "A.example."), (10, "b.example"), (5, "best.example")]
    orders = {tuple(hosts(records, seed)) for seed in range(50)}
    assert orders == {
        ("best.example", "a.example", "b.example", "c.example"),
        ("best.example", "b.example", "a.example", "c.example"),
    }


def test_a_name_given_twice_keeps_its_best_place() -> None:
    assert hosts([(30, "a.example"), (20, "b.example"), (10, "A.example")]) == ["a.example", "b.example"]


def test_null_mx_only_when_it_stands_alone() -> None:
    assert order_mx([(0, ".")], random.Random(1)) == NullMx()
    assert hosts([(0, "."), (10, "a.example")]) == ["a.example"]


@pytest.mark.parametrize("bad", ["192.0.2.1", "[192.0.2.1]", "a..example", "x" * 64 + ".example"])
def test_what_is_no_host_name_is_left_out(bad: str) -> None:
    assert order_mx([(10, bad)], random.Random(1)) == NoUsableMx()
    assert hosts([(10, bad), (20, "a.example")]) == ["a.example"]


def test_hundreds_of_exchangers_are_bounded() -> None:
    many = hosts([(n, f"mx{n}.example") for n in range(300)])
    assert many == [f"mx{n}.example" for n in range(MAX_MX_HOSTS)]


LIST = (
    MxHost(5, "best.example"),
    MxHost(10, "we.example"),
    MxHost(10, "peer.example"),
    MxHost(20, "last.example"),
)


def test_we_and_all_not_better_are_dropped() -> None:
    assert drop_ourselves(LIST, lambda host: host.host == "we.example") == (MxHost(5, "best.example"),)
    assert drop_ourselves(LIST, lambda host: False) == LIST
    assert drop_ourselves(LIST, lambda host: host.host == "best.example") == MailLoop()
    assert drop_ourselves(LIST, lambda host: host.host in ("last.example", "we.example")) == LIST[:1]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback address"),
        ("127.255.0.3", "loopback address"),
        ("::1", "loopback address"),
        ("::ffff:127.0.0.1", "loopback address"),
        ("::127.0.0.1", "loopback address"),
        ("64:ff9b::7f00:1", "loopback address"),
        ("2002:7f00:1::1", "loopback address"),
        ("0.0.0.0", "unspecified address"),
        ("0.1.2.3", "unspecified address"),
        ("::", "unspecified address"),
        ("::ffff:0.0.0.0", "unspecified address"),
        ("224.0.0.1", "multicast address"),
        ("ff02::1", "multicast address"),
        ("::ffff:224.0.0.1", "multicast address"),
        ("169.254.169.254", "link-local address"),
        ("fe80::1", "link-local address"),
        ("::ffff:169.254.169.254", "link-local address"),
        ("255.255.255.255", "reserved address"),
        ("10.1.2.3", "private address"),
        ("172.31.0.1", "private address"),
        ("192.168.0.1", "private address"),
        ("100.64.0.1", "private address"),
        ("fd00::1", "private address"),
        ("::ffff:10.0.0.1", "private address"),
        ("198.51.100.9", "address of one of our own listeners"),
        ("::ffff:198.51.100.9", "address of one of our own listeners"),
        ("198.51.100.10", ""),
        ("2001:db8::1", ""),
        ("::ffff:198.51.100.10", ""),
        ("172.32.0.1", ""),
    ],
)
def test_refused_addresses(address: str, reason: str) -> None:
    ours = {ipaddress.ip_address("198.51.100.9")}
    assert refused_address(ipaddress.ip_address(address), False, ours) == reason
    allowed = refused_address(ipaddress.ip_address(address), True, ours)
    assert allowed == ("" if reason == "private address" else reason)
