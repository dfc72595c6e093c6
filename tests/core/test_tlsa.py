"""TLSA records: every length and number that DNS may bring, and what matches."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.core.tlsa import (
    UNREADABLE,
    Matching,
    Selector,
    Tlsa,
    Usage,
    association,
    of_issuer,
    of_key,
    owner,
    strongest,
)

CERTIFICATE, KEY = b"a certificate", b"its key"
SHA256, SHA512 = hashlib.sha256(KEY).digest(), hashlib.sha512(KEY).digest()


@pytest.mark.parametrize("length", [0, 1, 2, 3, 19, 31, 33])
def test_digests_of_odd_length_are_unusable_and_harmless(length: int) -> None:
    record = Tlsa(3, 1, 1, (SHA256 + b"\x00")[:length])
    assert record.unusable
    assert not record.matches(CERTIFICATE, KEY)
    assert strongest([record]) == []


def test_the_record_of_a_key_matches_it_and_no_other() -> None:
    record = Tlsa(Usage.DANE_EE, Selector.PUBLIC_KEY, Matching.SHA256, SHA256)
    assert record == of_key(KEY)
    assert record.matches(CERTIFICATE, KEY)
    assert not record.matches(CERTIFICATE, b"another key")
    assert record.text() == f"3 1 1 {SHA256.hex()}"


@pytest.mark.parametrize("selector", Selector)
@pytest.mark.parametrize("matching", Matching)
@pytest.mark.parametrize("usage", [Usage.DANE_TA, Usage.DANE_EE])
def test_every_usable_form_matches_its_own_certificate_only(
    usage: Usage, selector: Selector, matching: Matching
) -> None:
    data = association(CERTIFICATE, KEY, selector, matching)
    record = Tlsa(usage, selector, matching, data)
    assert not record.unusable
    assert record.matches(CERTIFICATE, KEY)
    assert not record.matches(b"x", b"y")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (Tlsa(0, 1, 1, SHA256), "usage 0 is not for SMTP"),
        (Tlsa(1, 1, 1, SHA256), "usage 1 is not for SMTP"),
        (Tlsa(4, 1, 1, SHA256), "unknown usage 4"),
        (Tlsa(3, 2, 1, SHA256), "unknown selector 2"),
        (Tlsa(3, 1, 3, SHA256), "unknown matching type 3"),
        (Tlsa(3, 1, 1, SHA512), "64 octets of a digest that has 32"),
        (Tlsa(3, 1, 0, b""), "no octets"),
        (UNREADABLE, "a record that cannot be read"),
    ],
)
def test_what_smtp_cannot_use_says_why(record: Tlsa, why: str) -> None:
    assert record.unusable == why


def test_the_strongest_digest_counts_and_whole_keys_always_do() -> None:
    weak, strong, whole = Tlsa(3, 1, 1, SHA256), Tlsa(3, 1, 2, SHA512), Tlsa(3, 1, 0, KEY)
    other = Tlsa(2, 1, 1, SHA256)
    assert strongest([weak, strong, whole, other, weak]) == [strong, whole, other]
    assert strongest([weak, Tlsa(3, 1, 2, b"broken")]) == [weak]


def test_where_records_stand() -> None:
    assert owner("MX.Example.NET.") == "_25._tcp.mx.example.net"
    assert owner("mx.example.net", 587) == "_587._tcp.mx.example.net"
    assert of_issuer(KEY).usage is Usage.DANE_TA


@given(st.integers(-1, 255), st.integers(-1, 255), st.integers(-1, 255), st.binary(max_size=80))
def test_no_record_raises(usage: int, selector: int, matching: int, data: bytes) -> None:
    record = Tlsa(usage, selector, matching, data)
    assert not (record.unusable and record.matches(CERTIFICATE, KEY))
    assert record.text().startswith(f"{usage} ")
