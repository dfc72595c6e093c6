"""A certificate profile: a name under which a leaf, its key, its chain and its request are kept and used.

The JSON form holds everything but the private key; the key leaves a profile only by `with_key_document` or
`private_key_pem`, whose callers seal it. `certificate_pem` is what a TLS context loads: leaf first, then
the intermediates.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import PrivateKey, SecretBytes, key_matches, key_pem, load_private_key


class Origin(StrEnum):
    """Where the served certificate came from."""

    DEMO = "demo"
    SELF_SIGNED = "self-signed"
    IMPORTED = "imported"
    SIGNED = "signed"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile. Certificates and the request are DER; `created` is seconds since the epoch.

    `csr` is the outstanding or last request, empty without one. `key` is empty where the reader of the
    store may not have it.
    """

    name: str
    certificate: bytes = field(repr=False)
    intermediates: tuple[bytes, ...] = field(default=(), repr=False)
    key: SecretBytes = field(default_factory=lambda: SecretBytes(b""), repr=False)
    csr: bytes = field(default=b"", repr=False)
    origin: Origin = Origin.IMPORTED
    created: float = 0.0

    @property
    def leaf(self) -> Certificate:
        """The served certificate, read."""
        return read_certificate(self.certificate)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """What is sent to a peer, as DER."""
        return (self.certificate, *self.intermediates)

    @property
    def certificate_pem(self) -> str:
        """Leaf and intermediates as PEM; public only."""
        return b"".join(read_certificate(der).pem for der in self.chain).decode("ascii")

    @property
    def verifiable(self) -> bool:
        """False for the demo and every self-signed certificate: they encrypt, nobody can verify them (R2)."""
        return self.origin not in (Origin.DEMO, Origin.SELF_SIGNED) and not self.leaf.self_signed

    def private_key_pem(self) -> SecretBytes:
        """The key. Raises PkiError where it is not at hand."""
        if not self.key:
            raise PkiError(f"the private key of {self.name} is not at hand")
        return self.key

    def document(self) -> dict[str, Any]:
        """The JSON form, without the private key."""
        return {
            "name": self.name,
            "certificate": b64encode(self.certificate).decode("ascii"),
            "intermediates": [b64encode(der).decode("ascii") for der in self.intermediates],
            "csr": b64encode(self.csr).decode("ascii"),
            "origin": self.origin.value,
            "created": self.created,
        }

    def with_key_document(self) -> dict[str, Any]:
        """The JSON form with the private key in clear: only for an export that was asked for, or to be sealed."""
        return {**self.document(), "private_key": self.private_key_pem().reveal().decode("ascii")}

    @classmethod
    def from_document(cls, document: dict[str, Any], key: SecretBytes | None = None) -> Profile:
        """Read either JSON form; `key` is the opened key where the document has none. Raises PkiError."""
        held = document.get("private_key")
        try:
            profile = cls(
                name=str(document["name"]),
                certificate=b64decode(document["certificate"], validate=True),
                intermediates=tuple(b64decode(text, validate=True) for text in document["intermediates"]),
                key=key or SecretBytes(held.encode("ascii") if held else b""),
                csr=b64decode(document.get("csr", ""), validate=True),
                origin=Origin(document["origin"]),
                created=float(document["created"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise PkiError("the stored certificate profile cannot be read") from None
        for der in profile.chain:
            read_certificate(der)
        return profile


def make_profile(
    name: str,
    certificate: bytes,
    key: PrivateKey,
    *,
    intermediates: tuple[bytes, ...] = (),
    csr: bytes = b"",
    origin: Origin,
    created: float,
) -> Profile:
    """A profile from its parts. Raises PkiError when the key is not the certificate's or something is unreadable."""
    leaf = read_certificate(certificate)
    for der in intermediates:
        read_certificate(der)
    if not key_matches(key, leaf.parsed):
        raise PkiError(
            f"the private key does not belong to the certificate {leaf.subject}",
            "give the key that the certificate was made for",
        )
    return Profile(name, certificate, intermediates, key_pem(key), csr, origin, created)


def profile_key(profile: Profile) -> PrivateKey:
    """The profile's key as an object. Raises PkiError where it is not at hand."""
    return load_private_key(profile.private_key_pem().reveal())
