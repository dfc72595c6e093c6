"""A client of SCRAM-SHA-256 that shares no code with the server: written from RFC 5802 and RFC 7677 with `hashlib` alone."""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode, b64encode


class ScramClient:
    """One exchange. `first`, then `final` with the server's challenge, then `verify` with its last one; all in base64."""

    def __init__(self, user: str, passphrase: str, *, header: str = "n,,", nonce: str = "") -> None:
        self._passphrase = passphrase
        self._header = header
        self._nonce = nonce or b64encode(os.urandom(18)).decode()
        escaped = user.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={escaped},r={self._nonce}"
        self._salted = self._message = b""
        self.iterations = 0
        self.salt = b""

    def first(self) -> str:
        return _b64(self._header + self._bare)

    def final(self, challenge: str) -> str:
        server_first = b64decode(challenge).decode()
        fields = dict(part.split("=", 1) for part in server_first.split(","))
        assert fields["r"].startswith(self._nonce)
        assert len(fields["r"]) > len(self._nonce) + 16, "the server's nonce is long"
        self.salt, self.iterations = b64decode(fields["s"]), int(fields["i"])
        self._salted = hashlib.pbkdf2_hmac("sha256", self._passphrase.encode(), self.salt, self.iterations)
        without_proof = f"c={_b64(self._header)},r={fields['r']}"
        self._message = f"{self._bare},{server_first},{without_proof}".encode()
        client_key = hmac.new(self._salted, b"Client Key", hashlib.sha256).digest()
        signature = hmac.new(hashlib.sha256(client_key).digest(), self._message, hashlib.sha256).digest()
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return _b64(f"{without_proof},p={b64encode(proof).decode()}")

    def verify(self, challenge: str) -> None:
        """The server has to know the pass-phrase too."""
        server_key = hmac.new(self._salted, b"Server Key", hashlib.sha256).digest()
        wanted = b"v=" + b64encode(hmac.new(server_key, self._message, hashlib.sha256).digest())
        assert b64decode(challenge) == wanted


def _b64(text: str) -> str:
    return b64encode(text.encode()).decode()
