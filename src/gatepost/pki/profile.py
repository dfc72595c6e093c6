"""A certificate profile: a name under which certificates, their keys, their chains and a request are kept and used.

A profile serves one certificate, or two of different key types side by side: `beside` is then shown to peers that can do with
it, as the TLS library chooses. A request that was made with a new key has that key in `next_key`, which waits there
until the signed certificate comes; it is never served and leaves the store for nothing but that.

The JSON form holds everything but the private keys; they leave a profile only by `secret`, `with_key_document`,
`private_key_pem` or `identities`, whose callers seal or load them. `secret` is all keys as PEM, one behind the other, in the
order served, beside, next: what the store seals.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import PrivateKey, SecretBytes, key_matches, key_pem, load_private_key
from gatepost.pki.selfsigned import csr_matches, read_request


class Origin(StrEnum):
    """Where the served certificate came from."""

    DEMO = "demo"
    SELF_SIGNED = "self-signed"
    IMPORTED = "imported"
    SIGNED = "signed"
    AUTOMATIC = "automatic"


NO_KEY = SecretBytes(b"")
_ONE_KEY = re.compile(rb"-----BEGIN [A-Z ]{1,40}-----[^-]*-----END [A-Z ]{1,40}-----\s*")


@dataclass(frozen=True, slots=True)
class Pair:
    """One served certificate: DER, its chain behind it, its key. `created` is seconds since the epoch."""

    certificate: bytes = field(repr=False)
    intermediates: tuple[bytes, ...] = field(default=(), repr=False)
    key: SecretBytes = field(default_factory=lambda: NO_KEY, repr=False)
    origin: Origin = Origin.IMPORTED
    created: float = 0.0

    @property
    def leaf(self) -> Certificate:
        """The certificate, read."""
        return read_certificate(self.certificate)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The leaf and everything that is kept behind it, as DER: what is judged, repaired and exported."""
        return (self.certificate, *self.intermediates)

    @property
    def served(self) -> tuple[bytes, ...]:
        """What is sent to a peer, as DER: the chain without roots, which are kept apart (R5)."""
        behind = (der for der in self.intermediates if not read_certificate(der).self_signed)
        return (self.certificate, *behind)

    @property
    def certificate_pem(self) -> str:
        """What is sent to a peer, as PEM; public only."""
        return b"".join(read_certificate(der).pem for der in self.served).decode("ascii")

    @property
    def verifiable(self) -> bool:
        """False for the demo and every self-signed certificate: they encrypt, nobody can verify them (R2)."""
        return self.origin not in (Origin.DEMO, Origin.SELF_SIGNED) and not self.leaf.self_signed


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile. Certificates and the request are DER; `created` is seconds since the epoch.

    `csr` is the outstanding or last request, empty without one; it was made with `next_key` where there is one, else
    with a served key. Keys are empty where the reader of the store may not have them.
    """

    name: str
    certificate: bytes = field(repr=False)
    intermediates: tuple[bytes, ...] = field(default=(), repr=False)
    key: SecretBytes = field(default_factory=lambda: NO_KEY, repr=False)
    csr: bytes = field(default=b"", repr=False)
    origin: Origin = Origin.IMPORTED
    created: float = 0.0
    beside: Pair | None = None
    next_key: SecretBytes = field(default_factory=lambda: NO_KEY, repr=False)

    @property
    def main(self) -> Pair:
        """The first certificate with what belongs to it."""
        return Pair(self.certificate, self.intermediates, self.key, self.origin, self.created)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Everything that is served: one certificate, or two of different key types."""
        return (self.main,) if self.beside is None else (self.main, self.beside)

    @property
    def leaf(self) -> Certificate:
        """The first certificate, read."""
        return read_certificate(self.certificate)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The first certificate and everything that is kept behind it, as DER."""
        return (self.certificate, *self.intermediates)

    @property
    def certificate_pem(self) -> str:
        """What is sent to a peer with the first certificate, as PEM; public only."""
        return self.main.certificate_pem

    @property
    def chains_pem(self) -> tuple[str, ...]:
        """What is sent to a peer with every served certificate, leaf first, without roots; public only."""
        return tuple(pair.certificate_pem for pair in self.pairs)

    @property
    def verifiable(self) -> bool:
        """False for the demo and every self-signed certificate: they encrypt, nobody can verify them (R2)."""
        return self.main.verifiable

    @property
    def waiting(self) -> bool:
        """The request was made with a key that is not served yet; this can be told without keys at hand."""
        if not self.csr:
            return False
        asked = read_request(self.csr).public_key
        return all(pair.leaf.public_key_der != asked for pair in self.pairs)

    def private_key_pem(self) -> SecretBytes:
        """The key of the first certificate. Raises PkiError where it is not at hand."""
        if not self.key:
            raise PkiError(f"the private key of {self.name} is not at hand")
        return self.key

    def secret(self) -> SecretBytes:
        """All keys, in the order served, beside, next: what is sealed. Raises PkiError where they are not at hand."""
        keys = [self.private_key_pem().reveal()]
        if self.beside is not None:
            keys.append(self.beside.key.reveal())
        if self.next_key:
            keys.append(self.next_key.reveal())
        return SecretBytes(b"".join(keys))

    def document(self) -> dict[str, Any]:
        """The JSON form, without private keys."""
        document = {
            "name": self.name,
            **_pair_document(self.main),
            "csr": b64encode(self.csr).decode("ascii"),
        }
        if self.beside is not None:
            document["beside"] = _pair_document(self.beside)
        if self.next_key:
            document["next_key"] = True
        return document

    def with_key_document(self) -> dict[str, Any]:
        """The JSON form with the private keys in clear: only for an export that was asked for, or to be sealed."""
        return {**self.document(), "private_key": self.secret().reveal().decode("ascii")}

    @classmethod
    def from_document(cls, document: Mapping[str, Any], secret: SecretBytes | None = None) -> Profile:
        """Read either JSON form; `secret` are the opened keys where the document has none. Raises PkiError."""
        try:
            beside = document.get("beside")
            waits = bool(document.get("next_key", False))
            keys = _keys_of(document, secret, (2 if beside else 1) + waits)
            main = _read_pair(document, keys[0])
            profile = cls(
                name=str(document["name"]),
                certificate=main.certificate,
                intermediates=main.intermediates,
                key=main.key,
                csr=b64decode(document.get("csr", ""), validate=True),
                origin=main.origin,
                created=main.created,
                beside=_read_pair(beside, keys[1]) if beside else None,
                next_key=keys[-1] if waits else NO_KEY,
            )
        except PkiError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError):
            raise PkiError("the stored certificate profile cannot be read") from None
        for pair in profile.pairs:
            for der in pair.chain:
                read_certificate(der)
        return profile

    def require_keys(self) -> None:
        """Every key belongs to its certificate, the request to its key. Raises PkiError with what does not."""
        for pair in self.pairs:
            if not pair.key:
                raise PkiError(f"the private key of {self.name} is not at hand")
            if not key_matches(load_private_key(pair.key.reveal()), pair.leaf.parsed):
                raise PkiError(
                    f"the private key does not belong to the certificate {pair.leaf.subject}",
                    "give the key that the certificate was made for",
                )
        if self.csr and self.next_key and not csr_matches(self.csr, load_private_key(self.next_key.reveal())):
            raise PkiError(f"the waiting key of {self.name} does not belong to its signing request")


def _keys_of(document: Mapping[str, Any], secret: SecretBytes | None, wanted: int) -> list[SecretBytes]:
    """The keys in their order, from the argument or the document; empty ones where neither has any."""
    held = document.get("private_key")
    keys = split_keys(secret or SecretBytes(held.encode("ascii") if held else b""))
    if keys and len(keys) != wanted:
        raise PkiError(f"{document['name']} has {len(keys)} private keys, not {wanted}")
    return keys or [NO_KEY] * wanted


def _pair_document(pair: Pair) -> dict[str, Any]:
    return {
        "certificate": b64encode(pair.certificate).decode("ascii"),
        "intermediates": [b64encode(der).decode("ascii") for der in pair.intermediates],
        "origin": pair.origin.value,
        "created": pair.created,
    }


def _read_pair(document: Mapping[str, Any], key: SecretBytes) -> Pair:
    return Pair(
        b64decode(document["certificate"], validate=True),
        tuple(b64decode(text, validate=True) for text in document["intermediates"]),
        key,
        Origin(document["origin"]),
        float(document["created"]),
    )


def split_keys(secret: SecretBytes) -> list[SecretBytes]:
    """The keys of a profile's secret, each PEM by itself; none for an empty one."""
    return [SecretBytes(match.group()) for match in _ONE_KEY.finditer(secret.reveal())]


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
    """A profile of one certificate. Raises PkiError when the key is not the certificate's or something is unreadable."""
    for der in (certificate, *intermediates):
        read_certificate(der)
    profile = Profile(name, certificate, intermediates, key_pem(key), csr, origin, created)
    profile.require_keys()
    return profile


def profile_key(profile: Profile) -> PrivateKey:
    """The key of the first certificate as an object. Raises PkiError where it is not at hand."""
    return load_private_key(profile.private_key_pem().reveal())
