"""A list of trusted roots as an immutable value.

Made from PEM bundles; a root that cannot be read is noted in `problems` and does not stop the others
(architecture 4). `version` is a digest of the content: memos, pool keys and logs name the list by it.
The roots are looked up by name, so that a judgement works with the few that matter and not with 150.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterable, Iterator

from OpenSSL import crypto

from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.errors import MalformedCertificate

_BEGIN = (
    b"-----BEGIN CERTIFICATE-----",
    b"-----BEGIN TRUSTED CERTIFICATE-----",
    b"-----BEGIN X509 CERTIFICATE-----",
)
_MAX_SELECTED = 16


class Anchors:
    """The roots of one configuration. Immutable; OpenSSL's form of a root is made when it is first needed."""

    __slots__ = ("_by_name", "_members", "_native", "certificates", "problems", "version")

    def __init__(self, certificates: Iterable[Certificate] = (), problems: Iterable[str] = ()) -> None:
        unique = {certificate.der: certificate for certificate in certificates}
        self.certificates = tuple(unique.values())
        self.problems = tuple(problems)
        digest = hashlib.sha256()
        for der in sorted(unique):
            digest.update(hashlib.sha256(der).digest())
        self.version = digest.hexdigest()
        self._members = frozenset(unique)
        self._by_name: dict[str, tuple[Certificate, ...]] = {}
        for certificate in self.certificates:
            known = self._by_name.get(certificate.subject_key, ())
            self._by_name[certificate.subject_key] = (*known, certificate)
        self._native: dict[bytes, crypto.X509] = {}

    @classmethod
    def from_pem(cls, *bundles: bytes) -> Anchors:
        """The roots of these bundles; text between the blocks is ignored, duplicates count once."""
        certificates, problems = [], []
        for bundle in bundles:
            for number, der in enumerate(_pem_certificates(bundle), start=1):
                try:
                    certificates.append(read_certificate(der))
                except MalformedCertificate as error:
                    problems.append(f"certificate {number} of the list: {error.text}")
        return cls(certificates, problems)

    @classmethod
    def from_der(cls, certificates: Iterable[bytes]) -> Anchors:
        """The roots as DER; an unreadable one is noted in `problems`."""
        read, problems = [], []
        for number, der in enumerate(certificates, start=1):
            try:
                read.append(read_certificate(der))
            except MalformedCertificate as error:
                problems.append(f"certificate {number} of the list: {error.text}")
        return cls(read, problems)

    def __len__(self) -> int:
        return len(self.certificates)

    def __contains__(self, certificate: object) -> bool:
        return isinstance(certificate, Certificate) and certificate.der in self._members

    def named(self, subject_key: str) -> tuple[Certificate, ...]:
        """The roots with this folded subject."""
        return self._by_name.get(subject_key, ())

    def select(self, chain: Iterable[Certificate]) -> list[Certificate]:
        """The roots that could matter to a chain: named by it, or naming further roots (at most 16)."""
        chosen: dict[bytes, Certificate] = {}
        names = [key for certificate in chain for key in (certificate.issuer_key, certificate.subject_key)]
        seen: set[str] = set()
        while names and len(chosen) < _MAX_SELECTED:
            key = names.pop(0)
            if key in seen:
                continue
            seen.add(key)
            for root in self.named(key)[:_MAX_SELECTED]:
                chosen[root.der] = root
                names.append(root.issuer_key)
        return list(chosen.values())[:_MAX_SELECTED]

    def native(self, certificate: Certificate) -> crypto.X509:
        """OpenSSL's form of one of the roots."""
        made = self._native.get(certificate.der)
        if made is None:
            made = self._native[certificate.der] = crypto.X509.from_cryptography(certificate.parsed)
        return made


def _pem_certificates(bundle: bytes) -> Iterator[bytes]:
    """The DER of each block; a block whose base64 is broken gives bytes that no one can read."""
    inside: list[bytes] | None = None
    for line in bundle.splitlines():
        text = line.strip()
        if text in _BEGIN:
            inside = []
        elif text.startswith(b"-----END") and inside is not None:
            try:
                yield binascii.a2b_base64(b"".join(inside))
            except binascii.Error:
                yield b""
            inside = None
        elif inside is not None:
            inside.append(text)
