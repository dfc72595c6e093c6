"""Pass-phrases of administrators: made, hashed (argon2id, RFC 9106), compared.

A made pass-phrase has 125 random bits in five groups that can be read out and typed. Only its hash is
kept with the configuration; it is never logged.
"""

from __future__ import annotations

import secrets

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 characters without those that look alike
_GROUPS = 5
_GROUP = 5


def new_passphrase() -> str:
    """A random pass-phrase, for example `k3vbn-…`."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))


def hash_passphrase(passphrase: str) -> str:
    """The argon2id hash in its encoded form, salt and cost included. Takes some 50 ms on purpose."""
    from argon2 import PasswordHasher

    return PasswordHasher().hash(passphrase)


def verify_passphrase(hashed: str, passphrase: str) -> bool:
    """Whether the pass-phrase belongs to the hash."""
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return PasswordHasher().verify(hashed, passphrase)
    except (VerificationError, InvalidHashError):
        return False
