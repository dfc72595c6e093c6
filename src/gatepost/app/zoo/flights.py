"""The first flight of a TLS 1.2 server, written by hand: what no library of today would say (RFC 5246 §7.4).

Only as far as a client has to give up; nothing is encrypted, no key is agreed. So ciphers of another century, compression,
tiny Diffie-Hellman groups and octets in place of a certificate can be shown to a client without a library that speaks them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import IntEnum

ALERT, HANDSHAKE = 21, 22
_VERSION = b"\x03\x03"
_NO_RENEGOTIATION = bytes.fromhex("ff01000100")  # RFC 5746 §3.6: an empty renegotiation_info
_SERVER_HELLO, _CERTIFICATE, _KEY_EXCHANGE, _DONE = 2, 11, 12, 14


class Suite(IntEnum):
    """Cipher suites by their number."""

    EXPORT_RC4_MD5 = 0x0003
    RC4_SHA = 0x0005
    TRIPLE_DES = 0x000A
    ANONYMOUS_DH = 0x0034
    DHE_RSA = 0x009F
    ECDHE_RSA = 0xC02F


def record(kind: int, content: bytes) -> bytes:
    """One record (§6.2.1)."""
    return bytes((kind,)) + _VERSION + len(content).to_bytes(2, "big") + content


def alert(description: int) -> bytes:
    """A fatal alert (§7.2)."""
    return record(ALERT, bytes((2, description)))


def _message(kind: int, content: bytes) -> bytes:
    return bytes((kind,)) + len(content).to_bytes(3, "big") + content


def _vector(content: bytes, size: int = 2) -> bytes:
    return len(content).to_bytes(size, "big") + content


def flight(
    suite: Suite, chain: Sequence[bytes] = (), key_exchange: bytes = b"", *, compression: int = 0
) -> bytes:
    """ServerHello, Certificate, ServerKeyExchange and ServerHelloDone in one record; empty ones are left out."""
    hello = _VERSION + os.urandom(32) + b"\0" + suite.to_bytes(2, "big") + bytes((compression,))
    said = _message(_SERVER_HELLO, hello + _vector(_NO_RENEGOTIATION))
    if chain:
        said += _message(_CERTIFICATE, _vector(b"".join(_vector(der, 3) for der in chain), 3))
    if key_exchange:
        said += _message(_KEY_EXCHANGE, key_exchange)
    return record(HANDSHAKE, said + _message(_DONE, b""))


_SHA256_RSA, _SHA1_RSA = b"\x04\x01", b"\x02\x01"


def small_group() -> bytes:
    """A Diffie-Hellman group of 512 bits, and a signature that nobody will look at."""
    prime = (1 << 511 | int.from_bytes(os.urandom(63), "big") | 1).to_bytes(64, "big")
    signature = _SHA256_RSA + _vector(os.urandom(256))
    return _vector(prime) + _vector(b"\x02") + _vector(b"\x01" + os.urandom(60)) + signature


def sha1_signed() -> bytes:
    """A point of P-256 (its generator), signed with RSA and SHA-1, which the client did not offer."""
    point = bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    return b"\x03\x00\x17" + _vector(point, 1) + _SHA1_RSA + _vector(os.urandom(256))


def oversized_record() -> bytes:
    """The header of a record that is longer than any may be (§6.2.3), and what it needs to be whole."""
    size = (1 << 14) + 2049
    return bytes((HANDSHAKE,)) + _VERSION + size.to_bytes(2, "big") + bytes(size)
