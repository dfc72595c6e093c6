"""The roots that verify peers: the system's list, and the custom one in the store (R11).

The custom list is PEM text, versioned with the configuration. A root that cannot be read is named and left out; it never
stops the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gatepost.pki.anchors import Anchors
from gatepost.pki.bundle import read_bundle
from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.errors import MalformedCertificate, PkiError

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian and its kin
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora and its kin
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, the BSDs
)
SHORTEST_FINGERPRINT = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """The roots of a file, and what is to be said about it."""

    certificates: tuple[Certificate, ...]
    notes: tuple[str, ...] = ()


def system_bundle() -> tuple[str, bytes]:
    """The path and the content of the system's list; both empty on a machine without one."""
    for path in SYSTEM_BUNDLES:
        if Path(path).is_file():
            return path, Path(path).read_bytes()
    return "", b""


def read_authorities(data: bytes) -> Reading:
    """The certificates of a file to be trusted. Raises PkiError when it holds none."""
    try:
        bundle = read_bundle(data)
    except PkiError:
        # One damaged root must not keep the others out; what is no list at all stays a fault.
        anchors = Anchors.from_pem(data)
        if not anchors.certificates:
            raise
        return Reading(anchors.certificates, anchors.problems)
    read: dict[bytes, Certificate] = {}
    notes = list(bundle.notes)
    for number, der in enumerate(bundle.certificates, start=1):
        try:
            certificate = read_certificate(der)
        except MalformedCertificate as error:
            notes.append(f"certificate {number} of the file: {error.text}")
            continue
        if der in read:
            notes.append(f"certificate {number} of the file, {certificate.subject}, is in it twice")
        read[der] = certificate
    if bundle.keys:
        notes.append("the private key in the file was left out")
    if not read:
        raise PkiError("the file holds no certificate", "give the authority's certificate, PEM or DER")
    return Reading(tuple(read.values()), tuple(notes))


def custom_roots(pem: str) -> Anchors:
    """The custom list as a value."""
    return Anchors.from_pem(pem.encode("ascii"))


def join_lists(pem: str, more: tuple[Certificate, ...]) -> tuple[str, int]:
    """The custom list with further certificates behind it, and how many of them were new."""
    known = {certificate.der for certificate in custom_roots(pem).certificates}
    new: dict[bytes, Certificate] = {c.der: c for c in more if c.der not in known}
    return pem + "".join(c.pem.decode("ascii") for c in new.values()), len(new)


def without(pem: str, gone: Certificate) -> str:
    """The custom list without one certificate."""
    return "".join(c.pem.decode("ascii") for c in custom_roots(pem).certificates if c != gone)


def by_fingerprint(certificates: Iterable[Certificate], wanted: str) -> list[Certificate]:
    """Those whose SHA-256 begins so; colons and case do not matter, and eight digits are wanted at least."""
    digits = wanted.replace(":", "").replace(" ", "").lower()
    if len(digits) < SHORTEST_FINGERPRINT:
        return []
    return [certificate for certificate in certificates if certificate.fingerprint.startswith(digits)]
