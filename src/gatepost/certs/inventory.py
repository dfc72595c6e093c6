"""Profiles in and out of the store, and how they are shown.

An `Entry` is what a list and a page show of one profile; its JSON form has the stable keys of the contract. Keys are
sealed by the keeper on the way in and not opened here at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatepost.certs.findings import Note, profile_findings
from gatepost.certs.times import iso_time
from gatepost.certs.usage import Use, uses
from gatepost.core.ports import Clock
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Profile
from gatepost.pki.text import printable
from gatepost.store.config_store import ConfigStore, Content, StoredProfile, seal_profile
from gatepost.store.secrets import Keeper

_TELLING = ("expired", "not-yet-valid", "malformed")  # what a status says before anything else
_MILD = ("demo", "expires-soon", "self-signed")


@dataclass(frozen=True, slots=True)
class Entry:
    """One profile of a version or candidate. `leaf` is None when the stored profile cannot be read."""

    name: str
    revision: int
    origin: str
    created: float
    leaf: Certificate | None
    chain: tuple[Certificate, ...]
    has_key: bool
    used: tuple[Use, ...]
    notes: tuple[Note, ...]

    @property
    def status(self) -> str:
        """`valid`, or the code of the finding that matters most."""
        codes = [note.code for note in self.notes]
        errors = [note.code for note in self.notes if note.severity == "error"]
        order = (*_TELLING, *errors, *_MILD)
        return next((code for code in order if code in codes), "valid")

    def document(self) -> dict[str, Any]:
        """The JSON form of a list."""
        leaf = self.leaf
        return {
            "name": self.name,
            "common_name": printable(leaf.common_name) if leaf else "",
            "issuer": leaf.issuer if leaf else "",
            "not_before": iso_time(leaf.not_before) if leaf else "",
            "not_after": iso_time(leaf.not_after) if leaf else "",
            "status": self.status,
            "origin": self.origin,
            "used_by": [use.what for use in self.used],
            "findings": [
                {"code": note.code, "severity": note.severity, "text": note.text, "repair": note.repair}
                for note in self.notes
            ],
        }

    def details(self) -> dict[str, Any]:
        """The JSON form of one profile's page."""
        leaf = self.leaf
        return {
            **self.document(),
            "subject": leaf.subject if leaf else "",
            "names": list(leaf.names.texts()) if leaf else [],
            "serial": f"{leaf.parsed.serial_number:x}" if leaf else "",
            "fingerprint": leaf.fingerprint if leaf else "",
            "key": public_key_text(leaf) if leaf else "",
            "private_key": self.has_key,
            "revision": self.revision,
            "created": iso_time(self.created),
            "chain": [
                {
                    "subject": certificate.subject,
                    "issuer": certificate.issuer,
                    "not_after": iso_time(certificate.not_after),
                    "fingerprint": certificate.fingerprint,
                }
                for certificate in self.chain
            ],
        }


def entries(store: ConfigStore, content: Content, anchors: Anchors, now: float) -> list[Entry]:
    """All profiles of a version or candidate, by name."""
    used = list(uses(content.document))
    found = []
    for name, revision in sorted(content.profiles.items()):
        stored = store.profile(revision)
        if stored is not None:
            found.append(_entry(stored, [use for use in used if use.certificate == name], anchors, now))
    return found


def _entry(stored: StoredProfile, used: Sequence[Use], anchors: Anchors, now: float) -> Entry:
    leaf, origin = None, ""
    chain: tuple[Certificate, ...] = ()
    notes: tuple[Note, ...]
    try:
        profile = Profile.from_document(dict(stored.record))
        leaf, origin = profile.leaf, profile.origin.value
        chain = tuple(read_certificate(der) for der in profile.chain)
        notes = tuple(profile_findings(profile, used, anchors, now))
    except PkiError as error:
        notes = (Note("malformed", "error", error.text, "import the certificate again with --replace"),)
    return Entry(
        stored.name, stored.revision, origin, stored.at, leaf, chain, bool(stored.sealed), tuple(used), notes
    )


def stored_text(store: ConfigStore, revision: int) -> str:
    """One revision of a profile in a few words that tell it from any other: subject, last day, fingerprint."""
    stored = store.profile(revision)
    if stored is None:
        return f"revision {revision}"
    try:
        leaf = Profile.from_document(dict(stored.record)).leaf
    except PkiError:
        return f"revision {revision}, unreadable"
    return f"{leaf.subject}, until {iso_time(leaf.not_after)[:10]}, SHA-256 {leaf.fingerprint[:16]}…"


async def keep_profile(store: ConfigStore, keeper: Keeper, profile: Profile, clock: Clock) -> int:
    """Put a profile into the store with its key sealed; returns its revision. Nothing uses it yet."""
    return await seal_profile(
        store,
        keeper,
        profile.name,
        profile.certificate_pem,
        profile.document(),
        profile.secret().reveal(),
        clock.now,
    )


def with_profile(content: Content, name: str, revision: int) -> Content:
    """The content with a profile added or replaced."""
    return Content(content.document, {**content.profiles, name: revision}, content.authorities, content.users)


def public_key_text(certificate: Certificate) -> str:
    """`RSA 2048`, `EC secp256r1`: the kind of a certificate's key."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = certificate.parsed.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")
