"""Certificates that the library does not write: weak hashes, serial numbers below zero, broken signatures, names byte by byte.

Each is made from a good one: the octets are changed, and signed again where the signature is to hold.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtensionOID

from gatepost.app.zoo.ca_keys import PrivateKey, hash_for

_SHA256_RSA = bytes.fromhex("2a864886f70d01010b")
_WEAK_RSA = {
    "sha1": (bytes.fromhex("2a864886f70d010105"), hashes.SHA1),
    "md5": (bytes.fromhex("2a864886f70d010104"), hashes.MD5),
}


def sign(builder: x509.CertificateBuilder, key: PrivateKey, hash_name: str) -> x509.Certificate:
    """Sign with this hash; raises ValueError for a weak one where the key is not RSA."""
    certificate = builder.sign(key, hash_for(key))
    if hash_name == "sha256":
        return certificate
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{hash_name} needs an authority with an RSA key")
    # The library signs with no weak hash: put the other algorithm, of the same length, in place and sign again.
    oid, algorithm = _WEAK_RSA[hash_name]
    body = certificate.tbs_certificate_bytes
    changed = body.replace(_SHA256_RSA, oid)
    signature = key.sign(changed, padding.PKCS1v15(), algorithm())
    der = certificate.public_bytes(Encoding.DER)
    unsigned = der[: -len(certificate.signature)].replace(body, changed).replace(_SHA256_RSA, oid)
    return x509.load_der_x509_certificate(unsigned + signature)


def with_negative_serial(certificate: x509.Certificate, key: PrivateKey) -> x509.Certificate:
    """The same certificate with its serial number below zero, which the library does not write."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("a negative serial number needs an authority with an EC key")
    number = certificate.serial_number.to_bytes(certificate.serial_number.bit_length() // 8 + 1, "big")
    body = certificate.tbs_certificate_bytes.replace(number, b"\x80" + number[1:], 1)
    return _assembled(certificate, body, key.sign(body, ec.ECDSA(hashes.SHA256())))


def damaged(certificate: x509.Certificate) -> x509.Certificate:
    """The same certificate with one bit of its signature changed."""
    der = certificate.public_bytes(Encoding.DER)
    return x509.load_der_x509_certificate(der[:-1] + bytes((der[-1] ^ 1,)))


def _assembled(certificate: x509.Certificate, body: bytes, signature: bytes) -> x509.Certificate:
    """The certificate with another body and signature, and the algorithm that it has."""
    der = certificate.public_bytes(Encoding.DER)
    old = certificate.tbs_certificate_bytes
    start = der.index(old) + len(old)
    algorithm = der[start : start + 2 + der[start + 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # for a serial number below zero
        return x509.load_der_x509_certificate(_der(0x30, body + algorithm + _der(0x03, b"\0" + signature)))


def dns_names_of(names: Sequence[bytes]) -> x509.UnrecognizedExtension:
    """A subjectAltName with these dNSName entries."""
    entries = b"".join(_der(0x82, name) for name in names)
    return x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, _der(0x30, entries))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content
