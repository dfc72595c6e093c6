"""The first moment of a home: version 1, the profile `Demo`, the user `admin` (contract, Home).

Every command that opens a home calls `begin`; it does nothing where a configuration exists, except to check that
the master key is still the one that the store was sealed with. The pass-phrase of `admin` is hashed into
version 1; in clear it exists only in an envelope beside the master key, until `start` has shown it once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gatepost.core.errors import ConfigurationError
from gatepost.store.config_store import CHECK_NAME, ConfigStore, Content, StaleBase, StoredProfile
from gatepost.store.home import Home, create_once
from gatepost.store.secrets import MasterKey, SealBroken, master_key_lost
from gatepost.store.users import hash_passphrase, new_passphrase

AUTHOR = "gatepost"
DEMO = "Demo"
DEMO_DAYS = 3650
ADMINISTRATOR = "admin"
_PASSPHRASE_NAME = "first pass-phrase/"


@dataclass(frozen=True, slots=True)
class Beginning:
    """What version 1 is made of: the default document, and the demo certificate with its key."""

    document: Mapping[str, Any]
    chain: str
    record: Mapping[str, Any]
    key_pem: bytes = field(repr=False)


def begin(home: Home, store: ConfigStore, key: MasterKey, now: float, first: Beginning | None = None) -> None:
    """Make version 1 in an empty store; in any other, check the master key.

    `first` replaces the default content. Raises OperatorError (exit 78) when the key is another one. Runs as the
    home's owner (`Home.as_owner`).
    """
    check = store.get_meta(CHECK_NAME)
    if check is None:
        store.put_meta(CHECK_NAME, key.seal(CHECK_NAME, 0, b""))
    else:
        try:
            key.open(CHECK_NAME, 0, check)
        except SealBroken:
            raise master_key_lost(
                "the master key is not the one that this home was sealed with", store.sealed_names()
            ) from None
    if store.latest_number():
        return
    passphrase = new_passphrase()
    with suppress(FileNotFoundError):
        home.first_passphrase.unlink()  # of a beginning that was cut off
    create_once(home.first_passphrase, key.seal(_PASSPHRASE_NAME, 0, passphrase.encode("ascii")), 0o600)
    first = first or _defaults(now)
    revision = store.reserve_revision(DEMO, now)
    sealed = key.seal(DEMO, revision, first.key_pem)
    store.put_profile(StoredProfile(revision, DEMO, now, first.chain, first.record, sealed))
    content = Content(first.document, {DEMO: revision}, "", {ADMINISTRATOR: hash_passphrase(passphrase)})
    with suppress(StaleBase):
        store.commit(0, content, AUTHOR, "first start", now)


def _defaults(now: float) -> Beginning:
    """The default document under this machine's name, and a demo certificate made for this installation."""
    # A home begins once: other commands need not load these.
    from gatepost.config.defaults import default_document
    from gatepost.config.load import to_plain
    from gatepost.pki.keys import KeyKind, generate
    from gatepost.pki.profile import Origin, make_profile
    from gatepost.pki.selfsigned import SubjectFields, make_self_signed

    try:
        hostname = os.uname().nodename
        document = default_document(hostname)
    except ConfigurationError:
        hostname = "localhost"
        document = default_document(hostname)
    subject = SubjectFields(hostname, organization="Gatepost", unit="demo certificate, not to be verified")
    made = make_self_signed(subject, (), DEMO_DAYS, generate(KeyKind.P256), now)
    profile = make_profile(DEMO, made.certificate, made.key, origin=Origin.DEMO, created=now)
    return Beginning(
        to_plain(document), profile.certificate_pem, profile.document(), profile.private_key_pem().reveal()
    )


def take_first_passphrase(home: Home, key: MasterKey) -> str:
    """The pass-phrase of `admin`, the first time; after that, and where it is not known, an empty text."""
    try:
        sealed = home.first_passphrase.read_bytes()
    except FileNotFoundError:
        return ""
    home.first_passphrase.unlink()
    try:
        return key.open(_PASSPHRASE_NAME, 0, sealed).decode("ascii")
    except SealBroken:
        return ""
