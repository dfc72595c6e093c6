"""A cheap walk over a DER or BER file that refuses absurd key derivation before anyone derives a key.

A PKCS#12 or PKCS#8 file says how often its key derivation runs; the derivation holds the interpreter lock (2 s
for 8 million rounds, architecture 8), and a hostile file may ask for 2^31. In all the structures concerned
(RFC 8018 PBKDF2, PBES1 and PBMAC1, RFC 7292 macData and PBE, RFC 7914 scrypt) the number follows the salt: an
INTEGER behind an OCTET STRING that is the first or the second element of a SEQUENCE. The walk adds up all such
integers; scrypt has two more behind it, which multiply it. What an encrypted part hides cannot be seen; the
caller's process limits hold for that.

BER is walked too, since older programs write PKCS#12 with indefinite lengths.
"""

from __future__ import annotations

import binascii
import re

from gatepost.pki.errors import PkiError

MAX_ROUNDS = 5_000_000  # of a whole file: about a second
MAX_DEPTH = 32
MAX_NODES = 50_000

_SEQUENCE, _SET, _INTEGER, _OCTETS, _OCTETS_BUILT = 0x30, 0x31, 0x02, 0x04, 0x24
_PEM_BLOCK = re.compile(rb"-----BEGIN [A-Z0-9 ]{1,40}-----([A-Za-z0-9+/=\s]*)-----END")


class _Damaged(Exception):
    """Not the structure that we took it for; the real parser will say so."""


def refuse_absurd_rounds(data: bytes) -> None:
    """Raises PkiError when the file, or a PEM block in it, asks for too many rounds or is nested absurdly."""
    pieces = [data] if b"-----BEGIN" not in data else _pem_pieces(data)
    walk = _Walk()
    for piece in pieces:
        try:
            walk.children(piece, 0, len(piece), 0)
        except _Damaged:
            continue
    if walk.rounds > MAX_ROUNDS:
        raise PkiError(
            f"the file asks for {walk.rounds:,} rounds of key derivation",
            f"make it anew with fewer; at most {MAX_ROUNDS:,} are done",
        )


def _pem_pieces(data: bytes) -> list[bytes]:
    pieces = []
    for match in _PEM_BLOCK.finditer(data):
        try:
            pieces.append(binascii.a2b_base64(match[1]))
        except binascii.Error:
            continue
    return pieces


class _Walk:
    """One walk; `rounds` is the sum found so far."""

    def __init__(self) -> None:
        self.rounds = 0
        self._nodes = 0

    def children(self, data: bytes, start: int, end: int, depth: int) -> int:
        """Walk the elements from `start` to `end` (or to the end-of-contents octets); where it ended."""
        if depth > MAX_DEPTH:
            raise PkiError("the file is nested more deeply than any real one")
        numbers: list[int] | None = None  # those behind a salt
        place = 0
        while start < end:
            if data[start : start + 2] == b"\0\0":
                start += 2
                break
            self._nodes += 1
            if self._nodes > MAX_NODES:
                raise PkiError("the file has more parts than any real one")
            tag = data[start]
            body, stop = _header(data, start, end)
            if tag == _INTEGER and numbers is not None and stop is not None:
                numbers.append(int.from_bytes(data[body : min(stop, body + 16)], "big"))
            elif numbers is None and tag in (_OCTETS, _OCTETS_BUILT) and place < 2:
                numbers = []
            start = self._inside(data, tag, body, stop, end, depth)
            place += 1
        self.rounds += _cost(numbers or [])
        return start

    def _inside(self, data: bytes, tag: int, body: int, stop: int | None, end: int, depth: int) -> int:
        if tag & 0x20:
            if tag == _OCTETS_BUILT:
                self._joined(data, body, end if stop is None else stop, depth)
            ended = self.children(data, body, end if stop is None else stop, depth + 1)
            return ended if stop is None else stop
        if stop is None:
            raise _Damaged
        if tag == _OCTETS and data[body : body + 1] in (b"\x30", b"\x24") and stop - body > 8:
            try:
                self.children(data, body, stop, depth + 1)
            except _Damaged:
                pass  # octets that only look like a structure
        return stop

    def _joined(self, data: bytes, start: int, end: int, depth: int) -> None:
        """An OCTET STRING in segments: what it holds as a whole is a structure of its own."""
        parts = []
        while start < end and data[start] == _OCTETS:
            body, stop = _header(data, start, end)
            if stop is None:
                raise _Damaged
            parts.append(data[body:stop])
            start = stop
        joined = b"".join(parts)
        if len(parts) > 1 and joined[:1] == b"\x30":
            try:
                self.children(joined, 0, len(joined), depth + 1)
            except _Damaged:
                return


def _cost(numbers: list[int]) -> int:
    """PBKDF2 has its rounds and the key's length, scrypt N, r and p: about as much work as their product in rounds."""
    if len(numbers) < 3:
        return numbers[0] if numbers else 0
    return numbers[0] * numbers[1] * numbers[2]


def _header(data: bytes, start: int, end: int) -> tuple[int, int | None]:
    """Where the content begins, and where it ends (None: indefinite length). Long tags are not used here."""
    if start + 2 > end or data[start] & 0x1F == 0x1F:
        raise _Damaged
    length = data[start + 1]
    body = start + 2
    if length == 0x80:
        return body, None
    if length > 0x80:
        size = length & 0x7F
        if size > 4 or body + size > end:
            raise _Damaged
        length = int.from_bytes(data[body : body + size], "big")
        body += size
    if body + length > end:
        raise _Damaged
    return body, body + length
