"""PKCS#12 files, old and new, in and out (R7, R9).

Read: AES, 3DES and RC2 encryption, SHA-1 and SHA-2 MACs. An empty pass-phrase and none are different in the
format and the same to people: both are tried. Absurd derivation rounds are refused before anything is
derived (`rounds`); call it in a process with limits all the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs12

from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import PrivateKey, key_matches
from gatepost.pki.load import load_certificate
from gatepost.pki.passphrases import require_strong
from gatepost.pki.pbmac1 import with_pbmac1
from gatepost.pki.rounds import refuse_absurd_rounds
from gatepost.pki.text import printable

MAX_FILE = 1024 * 1024
MODERN_ROUNDS = 600_000  # OWASP's advice of 2023 for PBKDF2 with SHA-256
COMPATIBLE_ROUNDS = 50_000


class Form(StrEnum):
    """How an exported file is sealed, in the words of the command line."""

    MODERN = "modern"
    """PBES2 (AES-256-CBC, PBKDF2 with HMAC-SHA-256) and the HMAC-SHA-256 MAC of RFC 7292: OpenSSL 3.0, GnuTLS, Windows 10 and later."""
    PBMAC1 = "pbmac1"
    """The same with the MAC of RFC 9579: OpenSSL 3.4, GnuTLS 3.8.6 and later only."""
    COMPATIBLE = "compatible"
    """3DES and SHA-1: for old Windows and appliances. Weak by today's measure; the pass-phrase has to be better."""


@dataclass(frozen=True, slots=True)
class Pkcs12:
    """What the file holds: its key, the certificate that belongs to it (DER), the others in the file's order."""

    key: PrivateKey | None = field(repr=False)
    certificate: bytes | None
    others: tuple[bytes, ...]
    friendly_name: str


def is_pkcs12(data: bytes) -> bool:
    """The bytes begin like a PKCS#12 file (a SEQUENCE with version 3)."""
    return data[:1] == b"\x30" and b"\x02\x01\x03" in data[2:9]


def load_pkcs12(data: bytes, passphrase: str | None = None) -> Pkcs12:
    """Open the file. Raises WrongPassphrase, PassphraseNeeded or PkiError."""
    if len(data) > MAX_FILE:
        raise PkiError(f"the file is longer than {MAX_FILE // 1024} KB")
    if not is_pkcs12(data):
        raise PkiError("the file is no PKCS#12 file")
    refuse_absurd_rounds(data)
    opened = _open(data, passphrase)
    if opened.key is not None and not isinstance(opened.key, PrivateKey):
        raise PkiError("the private key is of a kind that TLS servers do not use")
    others = tuple(entry.certificate.public_bytes(Encoding.DER) for entry in opened.additional_certs)
    own = opened.cert
    name = (own.friendly_name if own is not None else None) or b""
    return Pkcs12(
        opened.key,
        own.certificate.public_bytes(Encoding.DER) if own is not None else None,
        others,
        printable(name.decode("utf-8", "backslashreplace")),
    )


def _open(data: bytes, passphrase: str | None) -> pkcs12.PKCS12KeyAndCertificates:
    tries: list[bytes | None] = [passphrase.encode("utf-8")] if passphrase else [None, b""]
    for secret in tries:
        try:
            return pkcs12.load_pkcs12(data, secret)
        except ValueError as error:
            wrong = "password" in str(error).lower() or "mac" in str(error).lower()
            if not wrong:
                raise PkiError("the PKCS#12 file is damaged") from None
        except UnsupportedAlgorithm as error:
            raise PkiError("the PKCS#12 file uses encryption that is not supported") from error
    if passphrase:
        raise WrongPassphrase("the pass-phrase does not open the PKCS#12 file")
    raise PassphraseNeeded("the PKCS#12 file has a pass-phrase", "give it with --passphrase-file")


def export_pkcs12(
    key: PrivateKey,
    certificate: bytes,
    intermediates: Sequence[bytes],
    passphrase: str,
    friendly_name: str,
    form: Form = Form.MODERN,
) -> bytes:
    """A file with the key, its certificate and the intermediates (DER each), in their order.

    Raises PkiError for a weak pass-phrase (`passphrases`) or a key that is not the certificate's. The bytes are secret as
    far as the pass-phrase is good. Takes up to half a second of one core.
    """
    require_strong(passphrase)
    own = load_certificate(certificate)
    if not key_matches(key, own):
        raise PkiError("the private key does not belong to the certificate")
    builder = PrivateFormat.PKCS12.encryption_builder()
    if form is Form.COMPATIBLE:
        builder = (
            builder.kdf_rounds(COMPATIBLE_ROUNDS)
            .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(hashes.SHA1())
        )
    else:
        builder = (
            builder.kdf_rounds(MODERN_ROUNDS)
            .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
            .hmac_hash(hashes.SHA256())
        )
    behind = [load_certificate(other) for other in intermediates]
    secret = passphrase.encode("utf-8")
    made = pkcs12.serialize_key_and_certificates(
        friendly_name.encode("utf-8"), key, own, behind, builder.build(secret)
    )
    if form is Form.PBMAC1:
        return with_pbmac1(made, secret, os.urandom(16), MODERN_ROUNDS)
    return made
