"""Entries of the HAT: every form of asyncos 2.3, and what is refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.senders import (
    AddressSender,
    AllSenders,
    NameSender,
    ScoreSender,
    parse_sender,
)
from gatepost.config.values import Fault


def covered(text: str) -> set[tuple[str, str]]:
    """First and last address of every block."""
    sender = parse_sender(text)
    assert isinstance(sender, AddressSender)
    ends = set()
    for block in sender.blocks:
        width = 32 if block.version == 4 else 128
        first = block.prefix << (width - block.length)
        last = first | ((1 << (width - block.length)) - 1)
        kind = ipaddress.IPv4Address if block.version == 4 else ipaddress.IPv6Address
        ends.add((str(kind(first)), str(kind(last))))
    return ends


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("192.0.2.", "192.0.2.0", "192.0.2.255"),
        ("192.0.2", "192.0.2.0", "192.0.2.255"),
        ("10.1.", "10.1.0.0", "10.1.255.255"),
        ("10.1", "10.1.0.0", "10.1.255.255"),
        ("10.", "10.0.0.0", "10.255.255.255"),
        ("10", "10.0.0.0", "10.255.255.255"),
        ("192.0.2.0/24", "192.0.2.0", "192.0.2.255"),
        ("10/8", "10.0.0.0", "10.255.255.255"),
        ("10.1/16", "10.1.0.0", "10.1.255.255"),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ("192.0.2.4-7", "192.0.2.4", "192.0.2.7"),
        ("10.4-7", "10.4.0.0", "10.7.255.255"),
        ("10.4-7.", "10.4.0.0", "10.7.255.255"),
        ("10.1.4-7", "10.1.4.0", "10.1.7.255"),
        ("8-15", "8.0.0.0", "15.255.255.255"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1"),
        ("2001:DB8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:db8::4-2001:db8::7", "2001:db8::4", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.0/120", "192.0.2.0", "192.0.2.255"),
        ("::ffff:192.0.2.4-::ffff:192.0.2.7", "192.0.2.4", "192.0.2.7"),
    ],
)
def test_addresses(text: str, first: str, last: str) -> None:
    assert covered(text) == {(first, last)}


def test_a_range_that_is_no_block_becomes_several() -> None:
    assert covered("192.0.2.1-6") == {
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.2", "192.0.2.3"),
        ("192.0.2.4", "192.0.2.5"),
        ("192.0.2.6", "192.0.2.6"),
    }


@given(st.integers(0, 255), st.integers(0, 255))
def test_a_range_covers_exactly_its_octets(one: int, other: int) -> None:
    low, high = sorted((one, other))
    sender = parse_sender(f"192.0.2.{low}-{high}")
    assert isinstance(sender, AddressSender)
    octets = sorted(
        number & 255
        for block in sender.blocks
        for number in range(block.prefix << (32 - block.length), (block.prefix + 1) << (32 - block.length))
    )
    assert octets == list(range(low, high + 1))


def test_names() -> None:
    assert parse_sender("MX.Partner.example.") == NameSender(
        "MX.Partner.example.", "mx.partner.example", False
    )
    assert parse_sender(".partner.example") == NameSender(".partner.example", "partner.example", True)
    assert parse_sender("3com.example") == NameSender("3com.example", "3com.example", False)
    assert parse_sender("ALL") == parse_sender("all") == AllSenders()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SBRS[-10:-3]", "sbrs[-10.0:-3.0]"),
        ("sbrs[-1.45:2]", "sbrs[-1.4:2.0]"),
        ("SBRS[None]", "sbrs[none]"),
        ("sbrs[0:10]", "sbrs[0.0:10.0]"),
    ],
)
def test_scores_are_shown_normalised(text: str, shown: str) -> None:
    sender = parse_sender(text)
    assert isinstance(sender, ScoreSender)
    assert sender.text == shown


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("dnslist[bl.example]", "cannot be decided"),
        ("SBO:1234", "cannot be decided"),
        ("sbrs[3:-3]", "range of scores"),
        ("sbrs[-11:0]", "range of scores"),
        ("sbrs[]", "score entry"),
        ("sbrs 3", "score entry"),
        ("192.0.2.256", "over 255"),
        ("192.0.2.1/33", "longer than 32"),
        ("192.0.2.1/24", "host bits"),
        ("2001:db8::1/32", "host bits"),
        ("192.0.2.010", "leading zero"),
        ("192.0.2.9-1", "ends before"),
        ("2001:db8::9-2001:db8::1", "ends before"),
        ("192.0.2.1.", "not an IPv4 address"),
        ("192.0.2.1.1", "not an IPv4"),
        ("192..2.1", "not an IPv4"),
        ("1-2-3", "not an IPv4"),
        ("/8", "not an IPv4"),
        ("192.0.2.0/255.255.255.0", "not an IPv4"),
        ("2001:db8:::1", "not an IPv6"),
        ("2001:db8::1-192.0.2.1", "not an IPv6"),
        ("fe80::1%eth0", "zone"),
        ("*.example.net", "not a sender"),
        ("a b", "neither"),
        ("user@example.net", "neither"),
        ("", "empty"),
        ("a\nb", "neither"),
    ],
)
def test_what_is_no_sender_is_refused_and_says_why(text: str, about: str) -> None:
    with pytest.raises(Fault, match=about):
        parse_sender(text)


def test_host_bits_get_the_right_network_as_a_hint() -> None:
    with pytest.raises(Fault) as caught:
        parse_sender("192.0.2.77/24")
    assert "192.0.2.0/24" in caught.value.hint


@given(st.text(alphabet="0123456789abcdefx.:-/[]% @*\r\nALLsbr", max_size=24))
def test_any_text_is_a_sender_or_a_fault(text: str) -> None:
    try:
        sender = parse_sender(text)
    except Fault:
        return
    assert sender.text.isprintable()
