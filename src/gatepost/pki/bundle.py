"""What is in a file of certificates and keys: PEM, DER, PKCS#7, in any order and mixture (R5, R7).

Takes what people really have: several PEM blocks with text between, CRLF, a byte order mark, another file's
encoding around the blocks, an EC PARAMETERS block, DER of one certificate, key or PKCS#7. Nothing is judged
or put in order here; certificates come out as DER in the order of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import MalformedCertificate, PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import PrivateKey, load_private_key
from gatepost.pki.load import UNREADABLE

MAX_FILE = 1024 * 1024
MAX_BLOCKS = 300  # a whole list of roots has about 150

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[^-]*(?:-(?!----)[^-]*)*-----END \1-----")
_CERTIFICATE = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
_PKCS7 = (b"PKCS7", b"CMS", b"PKCS #7 SIGNED DATA")
_REQUEST = (b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")
_IGNORED = (b"EC PARAMETERS", b"DH PARAMETERS", b"X509 CRL", b"PUBLIC KEY")


@dataclass(frozen=True, slots=True)
class Bundle:
    """The certificates (DER, in the file's order), keys and requests (DER) of a file, and what was passed over."""

    certificates: tuple[bytes, ...] = ()
    keys: tuple[PrivateKey, ...] = ()
    requests: tuple[bytes, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Bundle({len(self.certificates)} certificates, {len(self.keys)} keys)"


def read_bundle(data: bytes, passphrase: str | None = None) -> Bundle:
    """Everything in the file. Raises PkiError when it holds nothing that is known, or a block is damaged."""
    if len(data) > MAX_FILE:
        raise PkiError(f"the file is longer than {MAX_FILE // 1024} KB")
    if b"-----BEGIN" in data:
        return _read_pem(data, passphrase)
    return _read_der(data, passphrase)


def _read_pem(data: bytes, passphrase: str | None) -> Bundle:
    certificates: list[bytes] = []
    keys: list[PrivateKey] = []
    requests: list[bytes] = []
    notes: list[str] = []
    number = 0
    for number, match in enumerate(_BLOCK.finditer(data), start=1):
        if number > MAX_BLOCKS:
            raise PkiError(f"the file has more than {MAX_BLOCKS} blocks")
        label, block = match[1], _plain(match[0])
        if label in _CERTIFICATE:
            certificates.append(_certificate(block, label, number))
        elif label in _PKCS7:
            certificates += _pkcs7(block, pem=True)
        elif label.endswith(b"PRIVATE KEY"):
            keys.append(_key(block, passphrase, number))
        elif label in _REQUEST:
            requests.append(_request(block, number))
        elif label not in _IGNORED:
            notes.append(f"block {number} ({label.decode('ascii')}) is of no use here")
    if not (certificates or keys or requests):
        raise PkiError(
            "the file holds no certificate and no key"
            if number
            else "the PEM blocks of the file are not whole",
            "a block goes from -----BEGIN …----- to -----END …-----, both whole lines",
        )
    return Bundle(tuple(certificates), tuple(keys), tuple(requests), tuple(notes))


def _plain(block: bytes) -> bytes:
    """One line end, no blanks around lines, a line end at the end."""
    return b"\n".join(line.strip() for line in block.splitlines()) + b"\n"


def _certificate(block: bytes, label: bytes, number: int) -> bytes:
    if label == b"TRUSTED CERTIFICATE":
        raise PkiError(
            f"block {number} is a TRUSTED CERTIFICATE, OpenSSL's own form",
            "convert it with: openssl x509 -in FILE -out NEW",
        )
    wanted = block.replace(b"X509 CERTIFICATE", b"CERTIFICATE")
    try:
        return x509.load_pem_x509_certificate(wanted).public_bytes(Encoding.DER)
    except UNREADABLE:
        raise PkiError(f"block {number} is a damaged certificate") from None


def _key(block: bytes, passphrase: str | None, number: int) -> PrivateKey:
    try:
        return load_private_key(block, passphrase)
    except (PassphraseNeeded, WrongPassphrase):
        raise
    except PkiError as error:
        raise PkiError(f"block {number}: {error.text}", error.hint) from None


def _request(block: bytes, number: int) -> bytes:
    try:
        return x509.load_pem_x509_csr(block.replace(b"NEW CERTIFICATE", b"CERTIFICATE")).public_bytes(
            Encoding.DER
        )
    except UNREADABLE:
        raise PkiError(f"block {number} is a damaged signing request") from None


def _pkcs7(data: bytes, *, pem: bool) -> list[bytes]:
    load = pkcs7.load_pem_pkcs7_certificates if pem else pkcs7.load_der_pkcs7_certificates
    if pem:
        for label in _PKCS7[1:]:
            data = data.replace(b" " + label + b"-----", b" PKCS7-----")
    try:
        return [certificate.public_bytes(Encoding.DER) for certificate in load(data)]
    except UNREADABLE:
        raise PkiError("the PKCS#7 part of the file cannot be read") from None


def _read_der(data: bytes, passphrase: str | None) -> Bundle:
    try:
        return Bundle((read_certificate(data).der,))
    except MalformedCertificate:
        pass
    try:
        return Bundle(tuple(_pkcs7(data, pem=False)))
    except PkiError:
        pass
    try:
        return Bundle(keys=(load_private_key(data, passphrase),))
    except (PassphraseNeeded, WrongPassphrase):
        raise
    except PkiError:
        pass
    raise PkiError(
        "the file is neither PEM nor DER nor PKCS#7",
        "a .p12 or .pfx file is imported as PKCS#12, with its pass-phrase",
    )
