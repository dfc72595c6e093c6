"""What a CA sends as a certificate, before it is taken: PEM read strictly, key, names, dates and order looked at.

A CA that errs, or somebody in its place, must not bring a certificate into service that does not work: the leaf is for our key and
covers every name that was asked for, it is no CA's, it is valid now, and each certificate signed the one before it. Whether
peers trust the root is not asked here; the chain doctor says that of every profile.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from gatepost.certs.acme.errors import UnsoundCertificate
from gatepost.pki.certificate import Certificate, read_certificate, signed_by
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import PrivateKey, key_matches
from gatepost.pki.load import UNREADABLE
from gatepost.pki.selfsigned import SubjectFields, alternative_names
from gatepost.wire.acme_objects import Identifier, IdentifierKind

MAX_CHAIN = 10
MAX_COMMON_NAME = 64  # RFC 5280, upper bound of a common name
CLOCK_SLACK = 86_400.0  # a day: our own clock may be the wrong one (C41)
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def make_request(identifiers: Sequence[Identifier], key: PrivateKey) -> bytes:
    """The signing request (PKCS#10, DER): the names as SAN, and nothing that the CA would not copy (RFC 8555 §7.4).

    The first host name that fits is the common name too, for readers that show only it; an address never is.
    """
    names = [identifier.value for identifier in identifiers]
    hosts = [i.value for i in identifiers if i.kind is IdentifierKind.DNS and len(i.value) <= MAX_COMMON_NAME]
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host) for host in hosts[:1]])
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(alternative_names(SubjectFields(names[0]), names), critical=False)
    )
    own_hash = isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return builder.sign(key, None if own_hash else hashes.SHA256()).public_bytes(Encoding.DER)


def read_chain(body: bytes) -> tuple[bytes, ...]:
    """The certificates of an answer, leaf first, as DER (RFC 8555 §9.1). Raises UnsoundCertificate for anything else in it."""
    if _BLOCK.sub(b"", body).strip():
        raise UnsoundCertificate("the CA's certificate comes with something that is no certificate")
    blocks = _BLOCK.findall(body)
    if not 0 < len(blocks) <= MAX_CHAIN:
        raise UnsoundCertificate(f"the CA's chain has {len(blocks)} certificates, not 1 to {MAX_CHAIN}")
    try:
        return tuple(x509.load_pem_x509_certificate(block).public_bytes(Encoding.DER) for block in blocks)
    except UNREADABLE:
        raise UnsoundCertificate("a certificate of the CA's chain cannot be read") from None


def require_sound(
    chain: Sequence[bytes], key: PrivateKey, identifiers: Sequence[Identifier], now: float
) -> tuple[str, ...]:
    """Raises UnsoundCertificate where the chain cannot be served; else the remarks that are worth a line in the log."""
    try:
        certificates = [read_certificate(der) for der in chain]
    except PkiError as error:
        raise UnsoundCertificate(f"the CA's chain cannot be read: {error.text}") from None
    leaf = certificates[0]
    if not key_matches(key, leaf.parsed):
        raise UnsoundCertificate("the CA's certificate is for another key than ours")
    if leaf.is_ca:
        raise UnsoundCertificate("the CA's certificate is one for a CA")
    missing = [i.value for i in identifiers if not _covers(leaf, i)]
    if missing:
        raise UnsoundCertificate(f"the CA's certificate lacks {', '.join(missing)}")
    if leaf.not_after <= now:
        raise UnsoundCertificate("the CA's certificate has expired already: compare this machine's clock")
    if leaf.not_before > now + CLOCK_SLACK or leaf.not_after <= leaf.not_before:
        raise UnsoundCertificate("the CA's certificate is not valid yet: compare this machine's clock")
    for child, issuer in pairwise(certificates):
        if not signed_by(child.parsed, issuer.parsed):
            raise UnsoundCertificate(
                f"the CA's chain is broken: {issuer.subject} did not sign {child.subject}"
            )
    early = leaf.not_before > now
    return ("the certificate begins in the future by this machine's clock, which is slow",) if early else ()


def top_issuer(chain: Sequence[bytes]) -> str:
    """The common name of who signed the last certificate: what the chain leads to. Empty where it cannot be told."""
    try:
        names = read_certificate(chain[-1]).parsed.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except PkiError:
        return ""
    return str(names[0].value) if names else ""


def _covers(leaf: Certificate, identifier: Identifier) -> bool:
    """Exactly as asked for: a wildcard in the certificate does not stand for a name of the order."""
    if identifier.kind is IdentifierKind.IP:
        return ipaddress.ip_address(identifier.value) in leaf.names.addresses
    return identifier.value in {name.lower() for name in leaf.names.dns}
