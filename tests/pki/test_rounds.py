"""The cheap walk that keeps a file from holding the interpreter with key derivation."""

from __future__ import annotations

import re
import time

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import make_key

from gatepost.pki.errors import PkiError
from gatepost.pki.keys import load_private_key
from gatepost.pki.rounds import MAX_ROUNDS, refuse_absurd_rounds


def der(tag: int, *content: bytes) -> bytes:
    body = b"".join(content)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes(3, "big")
    return bytes((tag, 0x83)) + size + body


def indefinite(tag: int, *content: bytes) -> bytes:
    return bytes((tag, 0x80)) + b"".join(content) + b"\0\0"


def integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


SALT = der(4, b"saltsalt")


def params(rounds: int) -> bytes:
    return der(0x30, SALT, integer(rounds))


def wrapped(inner: bytes, how: str) -> bytes:
    match how:
        case "plain":
            return der(0x30, integer(3), inner)
        case "octets":
            return der(0x30, integer(3), der(0x30, der(0xA0, der(4, der(0x30, der(0x31, inner))))))
        case "indefinite":
            return indefinite(0x30, integer(3), indefinite(0xA0, indefinite(0x24, der(4, der(0x30, inner)))))
        case _:
            whole = der(0x30, inner)
            return indefinite(0x30, indefinite(0x24, der(4, whole[:7]), der(4, whole[7:])))


@pytest.mark.parametrize("how", ["plain", "octets", "indefinite", "segments"])
def test_absurd_rounds_are_found_wherever_they_stand(how: str) -> None:
    refuse_absurd_rounds(wrapped(params(2048), how))
    for rounds in (MAX_ROUNDS + 1, 2**31 - 1, 10**9, 2**63):
        with pytest.raises(PkiError, match="rounds"):
            refuse_absurd_rounds(wrapped(params(rounds), how))


def test_the_sum_counts() -> None:
    many = der(0x30, *(params(MAX_ROUNDS // 10) for _ in range(11)))
    with pytest.raises(PkiError, match="rounds"):
        refuse_absurd_rounds(many)


def test_the_numbers_of_scrypt_multiply() -> None:
    """N, r and p (RFC 7914 §7.1): 2^17, 8, 1 is what programs take; a large p is as dear as a large N."""
    refuse_absurd_rounds(der(0x30, SALT, integer(2**17), integer(8), integer(1), integer(32)))
    for numbers in ((2**17, 8, 8), (2**10, 8, 2**10), (2**10, 2**13, 1)):
        with pytest.raises(PkiError, match="rounds"):
            refuse_absurd_rounds(der(0x30, SALT, *map(integer, numbers)))


def test_the_length_of_the_key_does_not_multiply() -> None:
    refuse_absurd_rounds(der(0x30, SALT, integer(600_000), integer(32)))
    with pytest.raises(PkiError, match="rounds"):
        refuse_absurd_rounds(der(0x30, SALT, integer(MAX_ROUNDS + 1), integer(32)))


def test_a_curve_written_out_is_no_key_derivation() -> None:
    """ECParameters (SEC 1 §C.2): version, field, curve, base point (octets), order (an enormous integer)."""
    order = (integer(2**256 - 1), integer(1))
    refuse_absurd_rounds(der(0x30, integer(1), der(0x30), der(0x30), der(4, b"\4" * 65), *order))
    with pytest.raises(PkiError, match="rounds"):
        refuse_absurd_rounds(der(0x30, SALT, *order))


def test_nesting_and_size_are_bounded() -> None:
    deep = b""
    for _ in range(100):
        deep = der(0x30, deep)
    with pytest.raises(PkiError, match="nested"):
        refuse_absurd_rounds(deep)
    with pytest.raises(PkiError, match="parts"):
        refuse_absurd_rounds(der(0x30, b"\x05\x00" * 60_000))


def test_a_real_key_file_with_absurd_rounds_is_refused_at_once() -> None:
    data = make_key("p256").private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    load_private_key(data, "x")
    rounds = re.search(rb"\x02\x02(..)\x30\x0c\x06\x08", data, re.DOTALL)  # an INTEGER, then the hash
    assert rounds is not None
    # The salt in front gives two octets to the number: 04 10 … -> 04 0e …, 02 04 7f ff ff ff.
    inflated = bytearray(data)
    salt = rounds.start() - 18
    assert inflated[salt : salt + 2] == b"\x04\x10"
    inflated[salt + 1] = 0x0E
    inflated[rounds.start() - 2 : rounds.start() + 4] = b"\x02\x04\x7f\xff\xff\xff"
    started = time.process_time()
    with pytest.raises(PkiError, match="rounds"):
        load_private_key(bytes(inflated), "x")
    assert time.process_time() - started < 0.1


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_are_walked_or_refused(data: bytes) -> None:
    outcomes = set()
    for _ in range(2):
        try:
            refuse_absurd_rounds(data)
            outcomes.add("")
        except PkiError as error:
            outcomes.add(error.text)
    assert len(outcomes) == 1
