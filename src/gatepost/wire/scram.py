"""What is kept of a pass-phrase so that SCRAM-SHA-256 can be spoken, and the arithmetic on it (RFC 5802 §3, RFC 7677).

A `ScramVerifier` holds salt, iteration count, StoredKey and ServerKey. A pass-phrase can be compared with it (`accepts`, for PLAIN and LOGIN) and a
client's proof (`proves`), but neither pass-phrase nor proof can be made from it. Who steals it can try pass-phrases one after the other, each at the cost
of the iterations, and can play the server to that user; so it is treated as a secret.

Its text form is the one of RFC 5803 with the dollar signs that databases write: `SCRAM-SHA-256$65536:salt$StoredKey:ServerKey`, in base64.

`accepts` and `derive` take some 25 ms on purpose; the standard library does that with the interpreter lock let go, so a thread can do it beside a loop.
Pass-phrases are given in their prepared form (`saslprep`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from binascii import Error, a2b_base64
from dataclasses import dataclass, field

ITERATIONS = (
    65_536  # RFC 7677 §4 wants at least 4,096; Cyrus SASL, which Postfix uses, computes no more than this
)
MIN_ITERATIONS, MAX_ITERATIONS = 4_096, 10_000_000
SALT = 16  # octets
KEY = 32

_TEXT = re.compile(
    r"SCRAM-SHA-256\$([0-9]{4,8}):([A-Za-z0-9+/=]{8,128})\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})"
)


@dataclass(frozen=True, slots=True)
class ScramVerifier:
    """What is kept of one pass-phrase. The repr leaves the keys out."""

    iterations: int
    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def derive(cls, passphrase: str, salt: bytes, iterations: int = ITERATIONS) -> ScramVerifier:
        """The verifier of a pass-phrase with a fresh random salt. Blocks."""
        salted = _salted(passphrase, salt, iterations)
        return cls(iterations, salt, _stored_key(salted), _hmac(salted, b"Server Key"))

    @classmethod
    def nobody(cls, secret: bytes, user: str, iterations: int = ITERATIONS) -> ScramVerifier:
        """A verifier that no pass-phrase fits, always the same for the same name: it answers for users that do not exist.

        Without `secret` it cannot be told from a real one, neither by its salt nor by the time that a comparison takes.
        """
        name = user.encode("utf-8", "surrogateescape")
        salt, stored, server = (_hmac(secret, what + name) for what in (b"salt/", b"stored/", b"server/"))
        return cls(iterations, salt[:SALT], stored, server)

    @classmethod
    def of_text(cls, text: str) -> ScramVerifier:
        """From the text form. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError("not a SCRAM-SHA-256 verifier")
        try:
            salt, stored, server = (a2b_base64(part, strict_mode=True) for part in found.groups()[1:])
        except Error:
            raise ValueError("not a SCRAM-SHA-256 verifier") from None
        verifier = cls(int(found[1]), salt, stored, server)
        sound = MIN_ITERATIONS <= verifier.iterations <= MAX_ITERATIONS and len(stored) == len(server) == KEY
        if not sound or verifier.text() != text:
            raise ValueError("not a SCRAM-SHA-256 verifier")
        return verifier

    def text(self) -> str:
        """The text form."""
        salt, stored, server = (
            b64encode(part).decode("ascii") for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"

    def accepts(self, passphrase: str) -> bool:
        """Whether this is the pass-phrase. Blocks for the time of the iterations."""
        salted = _salted(passphrase, self.salt, self.iterations)
        return hmac.compare_digest(_stored_key(salted), self.stored_key)

    def proves(self, message: bytes, proof: bytes) -> bool:
        """Whether a client's proof over the exchange so far (AuthMessage) is that of one who knows the pass-phrase."""
        if len(proof) != KEY:
            return False
        client_key = bytes(a ^ b for a, b in zip(proof, _hmac(self.stored_key, message), strict=True))
        return hmac.compare_digest(hashlib.sha256(client_key).digest(), self.stored_key)

    def signature(self, message: bytes) -> bytes:
        """What shows the client that the server knows it too."""
        return _hmac(self.server_key, message)


def _salted(passphrase: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", passphrase.encode("utf-8"), salt, iterations)


def _stored_key(salted: bytes) -> bytes:
    return hashlib.sha256(_hmac(salted, b"Client Key")).digest()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
