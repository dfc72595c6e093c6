"""What OpenSSL's path check leaves out: dates as a list, purposes, key sizes, hashes.

The checks run over a path that was found, or, to tell everything at once, over as much of a path as can be
put together when there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from gatepost.pki.certificate import Certificate
from gatepost.pki.findings import Code, Finding, finding

MIN_RSA_BITS = 2048  # RFC 9325 §4.5
MIN_EC_BITS = 256
MIN_RSA_EXPONENT = 3  # with 1 anybody can sign
_WEAK_HASHES = frozenset({"md5", "sha1"})  # RFC 9325 §4.2, RFC 9155


class Purpose(Enum):
    """What the host's certificate is used for; the value are the extended key usages of which each allows it.

    CLIENT_OR_SERVER is a client with a server's certificate: public authorities issue no other any more.
    """

    SERVER = frozenset({ExtendedKeyUsageOID.SERVER_AUTH})
    CLIENT = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH})
    CLIENT_OR_SERVER = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH})


def check_path(
    path: Sequence[Certificate], *, anchored: bool, now: float, purpose: Purpose
) -> Iterator[Finding]:
    """Everything that is wrong along a path, the host's certificate first.

    `anchored` says that the last certificate is one of the trusted roots: its signature and its
    usages are then the operator's business, its dates and its key are not.
    """
    last = len(path) - 1
    for depth, certificate in enumerate(path):
        if depth == 0 or (anchored and depth == last):
            yield from check_dates(depth, certificate, now)
            yield from _check_key(depth, certificate)
        else:
            yield from check_intermediate(depth, certificate, now, purpose)
        if depth == 0:
            if not (anchored and last == 0):
                yield from _check_hash(depth, certificate)
            yield from check_host_usage(certificate, purpose)


def check_intermediate(
    depth: int, certificate: Certificate, now: float, purpose: Purpose
) -> Iterator[Finding]:
    """What is wrong with one certificate between the host's own and the root."""
    yield from check_dates(depth, certificate, now)
    yield from _check_key(depth, certificate)
    yield from _check_hash(depth, certificate)
    yield from _check_issuer_usage(depth, certificate, purpose)


def check_dates(depth: int, certificate: Certificate, now: float) -> Iterator[Finding]:
    """RFC 5280 §4.1.2.5: both ends belong to the validity period."""
    if now < certificate.not_before:
        yield finding(depth, Code.NOT_YET_VALID, "certificate is not yet valid", certificate)
    elif int(now) > certificate.not_after:
        yield finding(depth, Code.EXPIRED, "certificate has expired", certificate)


def _check_key(depth: int, certificate: Certificate) -> Iterator[Finding]:
    key = certificate.parsed.public_key()
    text = ""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            text = f"RSA key of {key.key_size} bits is too short"
        elif key.public_numbers().e < MIN_RSA_EXPONENT:
            text = "RSA key with exponent 1"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.key_size < MIN_EC_BITS:
            text = f"EC key of {key.key_size} bits is too short"
    elif isinstance(key, dsa.DSAPublicKey):
        text = "DSA key"
    if text:
        yield finding(depth, Code.WEAK_KEY, text, certificate)


def _check_hash(depth: int, certificate: Certificate) -> Iterator[Finding]:
    try:
        used = certificate.parsed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return  # an algorithm that this library has no hash for; OpenSSL has checked the signature
    if used is not None and used.name in _WEAK_HASHES:
        yield finding(depth, Code.WEAK_HASH, f"signed with {used.name.upper()}", certificate)


def check_host_usage(certificate: Certificate, purpose: Purpose) -> Iterator[Finding]:
    """RFC 5280 §4.2.1.3 and .12, as OpenSSL's sslserver and sslclient purposes read them.

    A host certificate that is a CA too is only noted: `openssl req -x509` makes such ones by default.
    """
    if not _extended_usage_allows(certificate, purpose):
        yield finding(0, Code.WRONG_USAGE, _PURPOSE_TEXT[purpose], certificate)
    usage = _key_usage(certificate)
    if usage is not None:
        useful = usage.digital_signature or (
            purpose is Purpose.SERVER and (usage.key_encipherment or usage.key_agreement)
        )
        if not useful:
            yield finding(0, Code.WRONG_USAGE, "key usage does not allow a TLS handshake", certificate)
    if certificate.is_ca:
        yield finding(
            0, Code.CA_AS_HOST, "the host's certificate says that it is a CA", certificate, breaks=False
        )


_PURPOSE_TEXT = {
    Purpose.SERVER: "extended key usage does not include server authentication",
    Purpose.CLIENT: "extended key usage does not include client authentication",
    Purpose.CLIENT_OR_SERVER: "extended key usage includes neither client nor server authentication",
}


def _check_issuer_usage(depth: int, certificate: Certificate, purpose: Purpose) -> Iterator[Finding]:
    """An intermediate's extended key usage limits what it may issue (practice of all browsers and OpenSSL)."""
    if not _extended_usage_allows(certificate, purpose):
        yield finding(depth, Code.WRONG_USAGE, _PURPOSE_TEXT[purpose], certificate)


def _extended_usage_allows(certificate: Certificate, purpose: Purpose) -> bool:
    """No extension, the purpose itself or anyExtendedKeyUsage (RFC 5280 §4.2.1.12)."""
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return not purpose.value.isdisjoint(usages) or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages


def _key_usage(certificate: Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
