"""Addresses that strangers name and that are not connected to."""

from __future__ import annotations

import ipaddress

import pytest

from gatepost.core.address_ranges import refused_address


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
