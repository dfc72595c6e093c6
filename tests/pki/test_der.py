"""The little of DER."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import TestAuthority

from gatepost.pki.der import (
    INTEGER,
    OCTETS,
    SEQUENCE,
    Element,
    MalformedDer,
    elements,
    extent,
    integer,
    sequence,
    tlv,
)

CERTIFICATE = TestAuthority().issue(["mx.example"]).chain_der[0]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 70_000])
def test_what_is_written_is_read_again(size: int) -> None:
    raw = tlv(OCTETS, b"x" * size)
    assert elements(raw + integer(5)) == [
        Element(OCTETS, b"x" * size, raw),
        Element(INTEGER, b"\5", b"\2\1\5"),
    ]


def test_a_certificate_is_three_elements() -> None:
    (whole,) = elements(CERTIFICATE, 1)
    assert whole.raw == CERTIFICATE
    assert sequence(*(part.raw for part in whole.inside(SEQUENCE, 3))) == CERTIFICATE
    with pytest.raises(MalformedDer):
        whole.inside(SEQUENCE, 2)
    with pytest.raises(MalformedDer):
        whole.inside(OCTETS)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 600_000, 2**64])
def test_integers_are_positive_and_short(value: int) -> None:
    (read,) = elements(integer(value), 1)
    assert int.from_bytes(read.body, "big", signed=True) == value
    assert len(read.body) == value.bit_length() // 8 + 1


def test_a_cut_element_says_how_long_it_should_be() -> None:
    for cut in (0, 1, 3):
        with pytest.raises(MalformedDer):
            extent(CERTIFICATE[:cut])
    assert extent(CERTIFICATE[:10]) == (4, len(CERTIFICATE))
    with pytest.raises(MalformedDer):
        elements(CERTIFICATE[:-1])


@pytest.mark.parametrize("data", [b"\x30\x80\x00\x00", b"\x1f\x81\x01\x00", b"\x30\x85\0\0\0\0\1x", b"\x30"])
def test_what_is_not_this_little_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedDer):
        elements(data)


@settings(max_examples=100)
@given(st.binary(max_size=100))
def test_any_bytes_are_elements_or_an_error(data: bytes) -> None:
    with contextlib.suppress(MalformedDer):
        assert b"".join(element.raw for element in elements(data)) == data
