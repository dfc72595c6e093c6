"""TLSA records: what a zone says of the certificate of a service (RFC 6698, RFC 7671), for SMTP (RFC 7672).

A record names a usage, a selector (the whole certificate, or its public key), how it is given (whole, or a digest), and the
octets. A record that SMTP cannot use, however short or long it is (D9), is kept and says why, since records of which none is
usable still ask for TLS (D5). Nothing here reads certificates: whoever compares brings the certificate's DER and its
SubjectPublicKeyInfo.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from gatepost.core.address import normalise_domain


class Usage(IntEnum):
    """What the record says of the chain (RFC 6698 §2.1.1, names of RFC 7218)."""

    PKIX_TA = 0
    PKIX_EE = 1
    DANE_TA = 2
    DANE_EE = 3


class Selector(IntEnum):
    """Which part of the certificate is meant (RFC 6698 §2.1.2)."""

    CERTIFICATE = 0
    PUBLIC_KEY = 1


class Matching(IntEnum):
    """How it is given (RFC 6698 §2.1.3)."""

    FULL = 0
    SHA256 = 1
    SHA512 = 2


_DIGEST_SIZES = {Matching.SHA256: 32, Matching.SHA512: 64}


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One record as DNS has it: numbers may be unknown ones, `data` of any length."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def unusable(self) -> str:
        """Why SMTP cannot use the record, or empty (RFC 7672 §3.1: only DANE-TA and DANE-EE)."""
        if self == UNREADABLE:
            return "a record that cannot be read"
        if self.usage in (Usage.PKIX_TA, Usage.PKIX_EE):
            return f"usage {self.usage} is not for SMTP"
        if self.usage not in (Usage.DANE_TA, Usage.DANE_EE):
            return f"unknown usage {self.usage}"
        if self.selector not in (Selector.CERTIFICATE, Selector.PUBLIC_KEY):
            return f"unknown selector {self.selector}"
        if self.matching not in (Matching.FULL, Matching.SHA256, Matching.SHA512):
            return f"unknown matching type {self.matching}"
        wanted = _DIGEST_SIZES.get(Matching(self.matching))
        if wanted is not None and len(self.data) != wanted:
            return f"{len(self.data)} octets of a digest that has {wanted}"
        return "" if self.data else "no octets"

    def matches(self, certificate: bytes, public_key: bytes) -> bool:
        """The record is of this certificate (DER) or its key (SubjectPublicKeyInfo). False for unusable ones."""
        if self.unusable:
            return False
        found = association(certificate, public_key, Selector(self.selector), Matching(self.matching))
        return hmac.compare_digest(found, self.data)

    def text(self) -> str:
        """As a zone file has it: `3 1 1 8d02…`."""
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


UNREADABLE = Tlsa(-1, -1, -1, b"")
"""Stands for a record whose octets are none of a TLSA record: there, and of no use (D9)."""


class TlsaState(StrEnum):
    """What DNS says of a host's TLSA records (RFC 7672 §2.2)."""

    UNAVAILABLE = "unavailable"  # no resolver is trusted to validate
    ABSENT = "absent"  # proven, or the host's own zone is not signed
    FAILED = "failed"  # could not tell: the host must not be used as if there were none
    FOUND = "found"


@dataclass(frozen=True, slots=True)
class TlsaAnswer:
    """The TLSA records of a host. `base` is the name under which they stand, which is also the name for SNI."""

    state: TlsaState
    records: tuple[Tlsa, ...] = ()
    base: str = ""
    detail: str = ""


def association(certificate: bytes, public_key: bytes, selector: Selector, matching: Matching) -> bytes:
    """The octets of a record for this certificate."""
    chosen = certificate if selector is Selector.CERTIFICATE else public_key
    match matching:
        case Matching.FULL:
            return chosen
        case Matching.SHA256:
            return hashlib.sha256(chosen).digest()
        case Matching.SHA512:
            return hashlib.sha512(chosen).digest()


def of_key(public_key: bytes) -> Tlsa:
    """`3 1 1`: the record to publish for a host's key (RFC 7672 §3.1.1); it outlives certificates of the same key."""
    return Tlsa(Usage.DANE_EE, Selector.PUBLIC_KEY, Matching.SHA256, hashlib.sha256(public_key).digest())


def of_issuer(public_key: bytes) -> Tlsa:
    """`2 1 1`: the record for the key of an issuer that is sent along in the chain (RFC 7672 §3.1.2)."""
    return Tlsa(Usage.DANE_TA, Selector.PUBLIC_KEY, Matching.SHA256, hashlib.sha256(public_key).digest())


def owner(host: str, port: int = 25) -> str:
    """The name under which the records of a service stand: `_25._tcp.mx.example.net` (RFC 6698 §3)."""
    return f"_{port}._tcp.{normalise_domain(host)}"


def strongest(records: Iterable[Tlsa]) -> Sequence[Tlsa]:
    """The usable records, of each usage and selector only those of the strongest digest (RFC 7671 §9).

    A whole certificate or key is no digest: it is always among them.
    """
    usable = list(dict.fromkeys(record for record in records if not record.unusable))
    best: dict[tuple[int, int], int] = {}
    for record in usable:
        if record.matching != Matching.FULL:
            key = (record.usage, record.selector)
            best[key] = max(best.get(key, 0), record.matching)
    return [
        record
        for record in usable
        if record.matching in (Matching.FULL, best.get((record.usage, record.selector)))
    ]
