"""What is in a file of certificates and keys: PEM, DER, PKCS#7, PKCS#12, in any order and mixture (R5, R7, C41).

Takes what people really have: several PEM blocks with text between, CRLF, a byte order mark, UTF-16, another file's
encoding around the blocks, line ends written as `\\n`, an EC PARAMETERS block, base64 that lost its BEGIN and END, DER of one
certificate, key or PKCS#7. Nothing is judged or put in order here; certificates come out as DER in the order of the
file, each read to its end. What is damaged is named by its place in the file, and nothing is dropped in silence: a
block that is cut off is a fault, even behind ten whole ones.

Everything is counted before it is parsed, so a file of ten thousand certificates costs no more than a small one.
"""

from __future__ import annotations

import binascii
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from gatepost.pki.der import INTEGER, OCTETS, SEQUENCE, elements, extent
from gatepost.pki.errors import MalformedCertificate, PkiError
from gatepost.pki.foreign import foreign, nothing_in_pem
from gatepost.pki.keys import PrivateKey, load_private_key
from gatepost.pki.load import UNREADABLE, load_certificate
from gatepost.pki.pkcs12 import is_pkcs12, load_pkcs12
from gatepost.pki.rounds import refuse_absurd_rounds

MAX_FILE = 1024 * 1024
MAX_BLOCKS = 300  # a whole list of roots has about 150
MAX_KEYS = 20

_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9# ]{1,40})-----")
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9# ]{1,40})-----[^-]*(?:-(?!----)[^-]*)*-----END \1-----")
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]+=*\s*")
_CERTIFICATE = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
_PKCS7 = (b"PKCS7", b"CMS", b"PKCS #7 SIGNED DATA")
_PKCS12 = (b"PKCS12", b"PKCS #12")
_REQUEST = (b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST")
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_BITS = 0x03
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
    """Everything in the file. Raises PassphraseNeeded, WrongPassphrase, or PkiError when it holds nothing that is known, or
    a part of it is damaged.
    """
    data = _narrow(data)
    if (count := data.count(b"-----BEGIN ")) > MAX_BLOCKS:
        raise PkiError(
            f"the file has {count:,} PEM blocks; at most {MAX_BLOCKS} are read",
            "give the certificate, its key and its intermediates only",
        )
    if len(data) > MAX_FILE:
        raise PkiError(f"the file is longer than {MAX_FILE // 1024} KB", "is it the right file?")
    if count:
        return _PemReader(passphrase).read(data)
    return _read_der(_armourless(data) or data, passphrase)


def _narrow(data: bytes) -> bytes:
    """Text of two bytes a character (UTF-16, as Windows saves it) as one of one byte; everything else as it is."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") and len(data) <= 2 * MAX_FILE:
        return data.decode("utf-16", "replace").encode("ascii", "replace")
    return data


def _armourless(data: bytes) -> bytes | None:
    """The bytes of base64 that has lost its first and last line."""
    if len(data) > 2 * MAX_FILE or len(data) < 64 or _BASE64.fullmatch(data) is None:
        return None
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        return None


class _PemReader:
    """One reading of a PEM file."""

    def __init__(self, passphrase: str | None) -> None:
        self._passphrase = passphrase
        self._certificates: list[bytes] = []
        self._keys: list[PrivateKey] = []
        self._requests: list[bytes] = []
        self._notes: list[str] = []

    def read(self, data: bytes) -> Bundle:
        blocks = list(_BLOCK.finditer(data))
        _refuse_open_blocks(data, blocks)
        secrets = [block[0] for block in blocks if block[1].endswith(b"PRIVATE KEY")]
        if len(secrets) > MAX_KEYS:
            raise PkiError(
                f"the file has {len(secrets)} private keys; at most {MAX_KEYS} are read",
                "give the certificate's own",
            )
        refuse_absurd_rounds(b"".join(secrets))  # each may be within bounds, and all together not
        for number, block in enumerate(blocks, start=1):
            self._take(block[1], _plain(block[0]), number)
        if not (self._certificates or self._keys):
            raise nothing_in_pem([block[1].decode("ascii") for block in blocks])
        return _whole(self._certificates, self._keys, self._requests, self._notes)

    def _take(self, label: bytes, block: bytes, number: int) -> None:
        if label in _CERTIFICATE:
            self._certificates.append(_certificate(block, label, len(self._certificates) + 1))
        elif label in _PKCS7:
            self._certificates += _pkcs7(_decoded(block, f"block {number}"), f"block {number} of the file")
        elif label in _PKCS12:
            held = _pkcs12(_decoded(block, f"block {number}"), self._passphrase)
            self._certificates += held.certificates
            self._keys += held.keys
            self._notes += held.notes
        elif label.endswith(b"PRIVATE KEY"):
            self._keys.append(_key(block, self._passphrase, len(self._keys) + 1))
        elif label in _REQUEST:
            self._requests.append(_request(block, len(self._requests) + 1))
        elif label not in _IGNORED:
            self._notes.append(f"block {number} ({label.decode('ascii')}) is of no use here")


def _refuse_open_blocks(data: bytes, blocks: list[re.Match[bytes]]) -> None:
    """A BEGIN that no END follows is a file that was cut, or copied in part."""
    closed = {block.start() for block in blocks}
    for begin in _BEGIN.finditer(data):
        if begin.start() not in closed:
            line = data.count(b"\n", 0, begin.start()) + 1
            raise PkiError(
                f"the PEM blocks of the file are not whole: the {begin[1].decode('ascii')} of line {line} has no end",
                "a block goes from -----BEGIN …----- to -----END …-----, both whole lines",
            )


def _whole(
    certificates: list[bytes], keys: list[PrivateKey], requests: list[bytes], notes: list[str]
) -> Bundle:
    """The bundle, its certificates read to their ends."""
    if len(certificates) > MAX_BLOCKS:
        raise PkiError(
            f"the file has {len(certificates):,} certificates; at most {MAX_BLOCKS} are read",
            "give the certificate and its intermediates only",
        )
    for number, der in enumerate(certificates, start=1):
        try:
            load_certificate(der)
        except MalformedCertificate:
            raise _damaged_certificate(number) from None
    return Bundle(tuple(certificates), tuple(keys), tuple(requests), tuple(notes))


def _damaged_certificate(number: int) -> PkiError:
    return MalformedCertificate(
        f"certificate {number} of the file is damaged", "get it anew from the authority"
    )


def _plain(block: bytes) -> bytes:
    """One line end, no blanks around lines, a line end at the end."""
    if b"\\" in block:  # out of JSON or a variable of a shell
        block = block.replace(b"\\r", b"").replace(b"\\n", b"\n")
    return b"\n".join(line.strip() for line in block.splitlines()) + b"\n"


def _decoded(block: bytes, what: str) -> bytes:
    """What stands between the first line and the last, without the headers that old programs write (RFC 1421)."""
    lines = block.split(b"\n")[1:-2]
    try:
        return binascii.a2b_base64(b"".join(line for line in lines if b":" not in line), strict_mode=True)
    except binascii.Error:
        raise PkiError(f"{what} of the file is damaged: it is no base64", "transfer the file again") from None


def _certificate(block: bytes, label: bytes, number: int) -> bytes:
    if label == b"TRUSTED CERTIFICATE":
        raise PkiError(
            f"certificate {number} of the file is a TRUSTED CERTIFICATE, OpenSSL's own form",
            "convert it with: openssl x509 -in FILE -out NEW",
        )
    return _decoded(block, f"certificate {number}")


def _key(block: bytes, passphrase: str | None, number: int) -> PrivateKey:
    what = f"private key {number} of the file"
    try:
        return load_private_key(block, passphrase)
    except PkiError as error:
        if "the private key" in error.text:
            raise type(error)(error.text.replace("the private key", what, 1), error.hint) from None
        raise type(error)(f"{what}: {error.text}", error.hint) from None


def _request(block: bytes, number: int) -> bytes:
    try:
        return x509.load_pem_x509_csr(block.replace(b"NEW CERTIFICATE", b"CERTIFICATE")).public_bytes(
            Encoding.DER
        )
    except UNREADABLE:
        raise PkiError(f"signing request {number} of the file is damaged") from None


def _pkcs7(data: bytes, what: str) -> list[bytes]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is BER, or its set in no order: most are
            held = pkcs7.load_der_pkcs7_certificates(data)
    except UNREADABLE:
        raise PkiError(f"{what} is PKCS#7 that cannot be read", "get it anew from the authority") from None
    if not held:
        raise PkiError(f"{what} is PKCS#7 without a certificate", "ask the authority for the certificates")
    return [certificate.public_bytes(Encoding.DER) for certificate in held]


def _pkcs12(data: bytes, passphrase: str | None) -> Bundle:
    opened = load_pkcs12(data, passphrase)
    own = (opened.certificate,) if opened.certificate is not None else ()
    certificates = [*own, *opened.others]
    if not (certificates or opened.keys):
        raise PkiError("the PKCS#12 file holds no certificate and no key")
    return _whole(certificates, list(opened.keys), [], list(opened.notes))


def _read_der(data: bytes, passphrase: str | None) -> Bundle:
    if is_pkcs12(data):
        return _pkcs12(data, passphrase)
    if _SIGNED_DATA in data[:24]:
        return _whole(_pkcs7(data, "the file"), [], [], [])
    data, shape = _shape(data)
    if shape == (SEQUENCE, SEQUENCE, _BITS):
        return _signed(data)
    if shape[:1] == (INTEGER,) or shape == (SEQUENCE, OCTETS):
        return Bundle(keys=(load_private_key(data, passphrase),))
    raise foreign(data)


def _shape(data: bytes) -> tuple[bytes, tuple[int, ...]]:
    """The file without line ends behind its structure, and the tags of what the structure holds; none for what is no DER."""
    try:
        _, end = extent(data)
        if not data[end:].strip():
            data = data[:end]
        (whole,) = elements(data, 1)
        return data, tuple(part.tag for part in whole.inside(SEQUENCE))
    except ValueError:
        return data, ()


def _signed(data: bytes) -> Bundle:
    """A certificate; or a request or a list, which look alike from outside and are of no use."""
    try:
        return Bundle((load_certificate(data).public_bytes(Encoding.DER),))
    except MalformedCertificate:
        for label, load in (("REQUEST", x509.load_der_x509_csr), ("CRL", x509.load_der_x509_crl)):
            if _readable(load, data):
                raise nothing_in_pem([label]) from None
        raise _damaged_certificate(1) from None


def _readable(load: Callable[[bytes], object], data: bytes) -> bool:
    try:
        load(data)
    except UNREADABLE:
        return False
    return True
