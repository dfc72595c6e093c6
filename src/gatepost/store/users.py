"""Users: administrators and those who send mail with SMTP AUTH. Their pass-phrases are made, hashed and compared here.

What is kept of a user is one line of text, which is versioned with the configuration and exported only with the private keys:

    $argon2id$v=19$…                            an administrator
    SCRAM-SHA-256$200000:…$…:…                  somebody who sends mail
    $argon2id$… SCRAM-SHA-256$… disabled        both, and switched off

A role *is* its verifier: an administrator's is an argon2id hash (RFC 9106), a sender's one of SCRAM-SHA-256 (`wire.scram`), which serves PLAIN and LOGIN
too. So nobody who may send can administer, nor the other way round, unless given both, and no hash is ever compared for the wrong purpose.
No pass-phrase is kept or logged. A made one has 125 random bits in five groups that can be read out and typed.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from gatepost.wire.saslprep import prepare
from gatepost.wire.scram import SALT, ScramVerifier

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 characters without those that look alike
_GROUPS = 5
_GROUP = 5
_ARGON2 = "$argon2id$"
_SCRAM = "SCRAM-SHA-256$"
_DISABLED = "disabled"


class Role(StrEnum):
    """What a user may do."""

    ADMINISTRATOR = "administrator"
    SMTP = "smtp"


@dataclass(frozen=True, slots=True)
class User:
    """What is kept of one user. The repr leaves the verifiers out."""

    administrator: str = field(default="", repr=False)  # argon2id
    smtp: ScramVerifier | None = field(default=None, repr=False)
    enabled: bool = True

    @property
    def roles(self) -> tuple[Role, ...]:
        given = ((Role.ADMINISTRATOR, bool(self.administrator)), (Role.SMTP, self.smtp is not None))
        return tuple(role for role, has in given if has)

    @property
    def administers(self) -> bool:
        """May administer now."""
        return self.enabled and bool(self.administrator)

    def text(self) -> str:
        """The line that is kept."""
        words = (
            self.administrator,
            self.smtp.text() if self.smtp is not None else "",
            "" if self.enabled else _DISABLED,
        )
        return " ".join(word for word in words if word)

    @classmethod
    def of_text(cls, text: str) -> User:
        """From the line. Raises ValueError for one that is none, or was written by a later release."""
        administrator, smtp, enabled = "", None, True
        for word in text.split(" "):
            if word.startswith(_ARGON2) and not administrator and word.isascii() and word.isprintable():
                administrator = word
            elif word.startswith(_SCRAM) and smtp is None:
                smtp = ScramVerifier.of_text(word)
            elif word == _DISABLED and enabled and (administrator or smtp):
                enabled = False
            else:
                raise ValueError("not what is kept of a user")
        return cls(administrator, smtp, enabled)


def make_user(roles: Collection[Role], passphrase: str, *, enabled: bool = True) -> User:
    """A user of these roles with this pass-phrase. Blocks for some 100 ms. Raises `Unprepared` (see `wire.saslprep`)."""
    smtp = None
    if Role.SMTP in roles:
        smtp = ScramVerifier.derive(prepare(passphrase, stored=True), secrets.token_bytes(SALT))
    return User(hash_passphrase(passphrase) if Role.ADMINISTRATOR in roles else "", smtp, enabled)


def describe_user(text: str) -> str:
    """`smtp`, `administrator, smtp (disabled)`: what may be shown of the line."""
    try:
        user = User.of_text(text)
    except ValueError:
        return "(unreadable)"
    return ", ".join(user.roles) + ("" if user.enabled else " (disabled)")


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
