"""The master key, and the envelope in which private keys lie in the store (architecture 3 and 7).

An envelope is AES-256-GCM twice: a data key of its own encrypts the secret, the master key encrypts the
data key. Both bind, as associated data, what the secret is: the profile's name and its revision.
A sealed key that is copied to another row, or rolled back to another revision, does not open.

    b"GP\\x01"  12 nonce  48 wrapped data key  12 nonce  n+16 sealed secret

Only the supervisor (or an offline command) holds a `MasterKey`; the desk reaches it through the
`Keeper` port. Nothing here prints a secret: the key has no useful repr and errors name only what is lost.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import CREDENTIAL, MASTER_KEY_BYTES, Home, credential_path

_MAGIC = b"GP\x01"
_NONCE = 12
_WRAPPED = MASTER_KEY_BYTES + 16
_HEAD = len(_MAGIC) + _NONCE + _WRAPPED


class SealBroken(Exception):
    """An envelope does not open: another master key, another name or revision, or damaged bytes."""


class Keeper(Protocol):
    """Seals and opens secrets without showing the master key. Names are profile names, or end in `/`."""

    async def seal(self, name: str, revision: int, secret: bytes, /) -> bytes: ...

    async def open(self, name: str, revision: int, sealed: bytes, /) -> bytes: ...


class MasterKey:
    """The key that all other keys depend on. 32 bytes; never leaves the process that read it."""

    __slots__ = ("_cipher", "_derives")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != MASTER_KEY_BYTES:
            raise ValueError(f"a master key has {MASTER_KEY_BYTES} bytes")
        self._cipher = AESGCM(raw)
        self._derives = hmac.digest(raw, b"gatepost derived secrets", "sha256")

    def seal(self, name: str, revision: int, secret: bytes) -> bytes:
        """The envelope of `secret`, bound to `name` and `revision`."""
        bound = _associated_data(name, revision)
        data_key = AESGCM.generate_key(bit_length=256)
        outer, inner = os.urandom(_NONCE), os.urandom(_NONCE)
        return b"".join(
            (
                _MAGIC,
                outer,
                self._cipher.encrypt(outer, data_key, bound),
                inner,
                AESGCM(data_key).encrypt(inner, secret, bound),
            )
        )

    def open(self, name: str, revision: int, sealed: bytes) -> bytes:
        """The secret. Raises SealBroken."""
        if not sealed.startswith(_MAGIC) or len(sealed) < _HEAD + _NONCE + 16:
            raise SealBroken("not an envelope of this version")
        bound = _associated_data(name, revision)
        start = len(_MAGIC)
        outer, wrapped = sealed[start : start + _NONCE], sealed[start + _NONCE : _HEAD]
        inner, body = sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :]
        try:
            data_key = self._cipher.decrypt(outer, wrapped, bound)
            return AESGCM(data_key).decrypt(inner, body, bound)
        except InvalidTag:
            raise SealBroken(f"the envelope of {name!r}, revision {revision}, does not open") from None

    def derive(self, purpose: str) -> bytes:
        """32 bytes that only who has the master key can make, always the same for one purpose."""
        return hmac.digest(self._derives, purpose.encode("utf-8"), "sha256")

    def __repr__(self) -> str:
        return "MasterKey(…)"


class LocalKeeper:
    """The keeper of a process that holds the master key itself: the supervisor, an offline command."""

    def __init__(self, key: MasterKey) -> None:
        self._key = key

    async def seal(self, name: str, revision: int, secret: bytes, /) -> bytes:
        return self._key.seal(name, revision, secret)

    async def open(self, name: str, revision: int, sealed: bytes, /) -> bytes:
        return self._key.open(name, revision, sealed)


def read_master_key(home: Home, environ: Mapping[str, str], sealed_names: Sequence[str] = ()) -> MasterKey:
    """The master key: the service manager's credential, else the home's file.

    Raises OperatorError (exit 78) when it is missing or misshapen; `sealed_names` are the
    profiles whose keys are then lost.
    """
    credential = credential_path(environ)
    path = credential or home.master_key
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise master_key_lost(f"the master key {path} is missing", sealed_names) from None
    except PermissionError:
        raise OperatorError(
            f"the master key {path} cannot be read", "run the command as the home's owner"
        ) from None
    if len(raw) != MASTER_KEY_BYTES:
        raise master_key_lost(f"the master key {path} does not have {MASTER_KEY_BYTES} bytes", sealed_names)
    return MasterKey(raw)


def master_key_lost(what: str, sealed_names: Sequence[str]) -> OperatorError:
    """The refusal of a home whose keys can no longer be decrypted, with what is lost."""
    lost = ", ".join(sealed_names) or "none yet"
    return OperatorError(
        f"{what}; without it these private keys cannot be decrypted: {lost}",
        f"bring back {Path('secrets') / 'master.key'} (or the credential {CREDENTIAL}) from a backup; "
        "without one, move the home away, start a new one and import the certificates again",
        code=Exit.FAULTY_CONFIGURATION,
    )


def _associated_data(name: str, revision: int) -> bytes:
    return b"gatepost secret\0" + name.encode("utf-8") + b"\0" + struct.pack(">Q", revision)
