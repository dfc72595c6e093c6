"""The newer integrity check of a PKCS#12 file: PBMAC1 (RFC 9579, RFC 9879; R9).

A PKCS#12 file is a version, the sealed content, and a MAC over that content whose key comes from the pass-phrase. The old MAC
has a key derivation of its own that no approved list knows; PBMAC1 takes PBKDF2 instead. The library writes only the old
one, so its file is taken apart, the content kept byte by byte, and the MAC put anew: PBKDF2 with HMAC-SHA-256,
HMAC-SHA-256 over the content. Read by OpenSSL 3.4 and GnuTLS 3.8.6 and later, not by older ones.
"""

from __future__ import annotations

import hashlib
import hmac

from gatepost.pki.errors import PkiError

KEY_LENGTH = 32
_SALT_UNUSED = b"NOT USED"  # the old MAC's salt: it has to be there, and is not looked at (RFC 9579 §5)

_SEQUENCE, _INTEGER, _OCTETS, _OID, _NULL, _CONTENT = 0x30, 0x02, 0x04, 0x06, b"\x05\x00", 0xA0
_DATA = bytes.fromhex("2a864886f70d010701")
_PBMAC1 = bytes.fromhex("2a864886f70d01050e")
_PBKDF2 = bytes.fromhex("2a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("2a864886f70d0209")


def with_pbmac1(pfx: bytes, passphrase: bytes, salt: bytes, rounds: int) -> bytes:
    """The same file (DER, as the library writes it) with this MAC in place of its own. Raises PkiError for other bytes."""
    version, authenticated, _ = _split(_body(pfx, _SEQUENCE, whole=True), 3)
    kind, wrapped = _split(_body(authenticated, _SEQUENCE, whole=True), 2)
    if kind != _tlv(_OID, _DATA):
        raise PkiError("the PKCS#12 file has no pass-phrase that protects it as a whole")
    content = _body(_body(wrapped, _CONTENT, whole=True), _OCTETS, whole=True)
    key = hashlib.pbkdf2_hmac("sha256", passphrase, salt, rounds, KEY_LENGTH)
    digest = hmac.digest(key, content, "sha256")
    mac = _sequence(
        _sequence(_algorithm(salt, rounds), _tlv(_OCTETS, digest)), _tlv(_OCTETS, _SALT_UNUSED)
    )  # its iterations are 1 and not looked at either: DER leaves the default out
    return _sequence(version, authenticated, mac)


def _algorithm(salt: bytes, rounds: int) -> bytes:
    """AlgorithmIdentifier of PBMAC1 with its parameters (RFC 8018 A.5)."""
    hmac_sha256 = _sequence(_tlv(_OID, _HMAC_SHA256), _NULL)
    derivation = _sequence(_tlv(_OCTETS, salt), _integer(rounds), _integer(KEY_LENGTH), hmac_sha256)
    return _sequence(_tlv(_OID, _PBMAC1), _sequence(_sequence(_tlv(_OID, _PBKDF2), derivation), hmac_sha256))


def _sequence(*parts: bytes) -> bytes:
    return _tlv(_SEQUENCE, b"".join(parts))


def _integer(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _header(data: bytes, start: int) -> tuple[int, int]:
    """Where the content of the element at `start` begins and ends (definite lengths only)."""
    try:
        length, body = data[start + 1], start + 2
    except IndexError:
        raise PkiError("the PKCS#12 file is damaged") from None
    if length >= 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[body : body + size], "big")
        body += size
    if body + length > len(data):
        raise PkiError("the PKCS#12 file is damaged")
    return body, body + length


def _body(data: bytes, tag: int, *, whole: bool) -> bytes:
    """The content of the one element that `data` is."""
    body, end = _header(data, 0)
    if data[0] != tag or (whole and end != len(data)):
        raise PkiError("the PKCS#12 file is damaged")
    return data[body:end]


def _split(data: bytes, count: int) -> list[bytes]:
    """The elements of `data`, headers included; exactly `count`."""
    parts, start = [], 0
    while start < len(data):
        _, end = _header(data, start)
        parts.append(data[start:end])
        start = end
    if len(parts) != count:
        raise PkiError("the PKCS#12 file is damaged")
    return parts
