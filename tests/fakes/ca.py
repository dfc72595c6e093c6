"""The certificate authority of the tests: that of the zoo (`gatepost.app.zoo.ca`), under the names that tests use."""

from __future__ import annotations

from gatepost.app.zoo.ca import (
    CLIENT_AUTH,
    MUST_STAPLE,
    SERVER_AUTH,
    UNKNOWN,
    Issued,
    self_signed,
)
from gatepost.app.zoo.ca import Authority as TestAuthority
from gatepost.app.zoo.ca_keys import PrivateKey, key_pem, make_key
from gatepost.app.zoo.ca_signing import damaged

__all__ = [
    "CLIENT_AUTH",
    "MUST_STAPLE",
    "SERVER_AUTH",
    "UNKNOWN",
    "Issued",
    "PrivateKey",
    "TestAuthority",
    "damaged",
    "key_pem",
    "make_key",
    "self_signed",
]
