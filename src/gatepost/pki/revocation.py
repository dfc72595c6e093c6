"""Certificate revocation lists, as an immutable value that the judge looks into.

A list counts when it names the issuer and the issuer's key has signed it. One that is out of date still
revokes what it lists, and its age is noted. Lists for a part of the certificates only (indirect, delta,
or with an unknown critical extension; RFC 5280 §5.2) are not used. No list for an issuer is no finding:
which issuers must have one is the operator's choice, by which lists are loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from gatepost.pki.certificate import Certificate
from gatepost.pki.findings import Code, Finding, finding
from gatepost.pki.load import UNREADABLE
from gatepost.pki.text import folded_name


class Crls:
    """The lists of one configuration. Immutable; `version` is a digest of the content."""

    __slots__ = ("_by_issuer", "problems", "version")

    def __init__(self, lists: Iterable[bytes] = ()) -> None:
        self._by_issuer: dict[str, list[x509.CertificateRevocationList]] = {}
        problems: list[str] = []
        digest = hashlib.sha256()
        for number, data in enumerate(lists, start=1):
            try:
                parsed = _load(data)
                usable = _usable(parsed)
                issuer = folded_name(parsed.issuer)
            except UNREADABLE:
                problems.append(f"revocation list {number} cannot be read")
                continue
            if not usable:
                problems.append(f"revocation list {number} covers only a part of the certificates")
                continue
            digest.update(parsed.public_bytes(Encoding.DER))
            self._by_issuer.setdefault(issuer, []).append(parsed)
        self.problems = tuple(problems)
        self.version = digest.hexdigest() if self._by_issuer else ""

    def check_path(self, path: Sequence[Certificate], now: float) -> Iterator[Finding]:
        """What the lists say of every certificate of a path but the root."""
        for depth, (certificate, issuer) in enumerate(pairwise(path)):
            yield from self._check(depth, certificate, issuer, now)

    def _check(
        self, depth: int, certificate: Certificate, issuer: Certificate, now: float
    ) -> Iterator[Finding]:
        for crl in self._by_issuer.get(certificate.issuer_key, ()):
            if not _signed(crl, issuer):
                continue
            if crl.get_revoked_certificate_by_serial_number(certificate.parsed.serial_number) is not None:
                yield finding(depth, Code.REVOKED, "certificate is revoked", certificate)
                return
            ends = crl.next_update_utc
            if ends is not None and ends.timestamp() < now:
                text = "the issuer's revocation list is out of date"
                yield finding(depth, Code.CRL_STALE, text, certificate, breaks=False)


NO_CRLS = Crls()


def _load(data: bytes) -> x509.CertificateRevocationList:
    if data.lstrip().startswith(b"-----BEGIN"):
        return x509.load_pem_x509_crl(data)
    return x509.load_der_x509_crl(data)


def _usable(crl: x509.CertificateRevocationList) -> bool:
    return not any(extension.critical for extension in crl.extensions)


def _signed(crl: x509.CertificateRevocationList, issuer: Certificate) -> bool:
    key = cast(CertificateIssuerPublicKeyTypes, issuer.parsed.public_key())
    try:
        return crl.is_signature_valid(key)  # TypeError for a key that cannot sign, such as X25519
    except UNREADABLE:
        return False
