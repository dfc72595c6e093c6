"""PKCS#12 files, old and new, in and out (R7, R9).

Read: AES, 3DES, RC2 and RC4 encryption; MACs with SHA-1, SHA-2 or PBMAC1, or none; BER as old programs write it. An
empty pass-phrase and none are different in the format and the same to people: both are tried. Absurd derivation
rounds and key sizes are refused before anything is derived; call it in a process with limits all the same.

The library gives one key, the first. A file with several (a Java keystore, two files joined) is looked into: the
keys stand in parts of the file that are not sealed as a whole, each sealed by itself, and are opened one by one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs12

from gatepost.pki.der import CONTENT, OCTETS, OID, SEQUENCE, Element, MalformedDer, elements, tlv
from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import PrivateKey, key_matches, load_private_key, usable
from gatepost.pki.load import load_certificate
from gatepost.pki.passphrases import require_strong
from gatepost.pki.pbmac1 import with_pbmac1
from gatepost.pki.rounds import refuse_absurd_rounds
from gatepost.pki.text import printable

MAX_FILE = 1024 * 1024
MAX_KEY_BAG = 8 * 1024  # RSA with 8192 bits is under 5 KB
_DATA = tlv(OID, bytes.fromhex("2a864886f70d010701"))
_KEY_BAGS = tuple(tlv(OID, bytes.fromhex("2a864886f70d010c0a01") + kind) for kind in (b"\1", b"\2"))
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
    """What the file holds: its keys, the certificate of the first (DER), the others in the file's order, what was left out."""

    keys: tuple[PrivateKey, ...] = field(repr=False)
    certificate: bytes | None
    others: tuple[bytes, ...]
    friendly_name: str
    notes: tuple[str, ...] = ()


def is_pkcs12(data: bytes) -> bool:
    """The bytes begin like a PKCS#12 file (a SEQUENCE whose first element is the version, 3)."""
    return data[:1] == b"\x30" and b"\x02\x01\x03" in data[2:9]


def load_pkcs12(data: bytes, passphrase: str | None = None) -> Pkcs12:
    """Open the file. Raises WrongPassphrase, PassphraseNeeded or PkiError."""
    if len(data) > MAX_FILE:
        raise PkiError(f"the file is longer than {MAX_FILE // 1024} KB")
    if not is_pkcs12(data):
        raise PkiError("the file is no PKCS#12 file")
    refuse_absurd_rounds(data)
    bags = _key_bags(data)
    for number, bag in enumerate(bags, start=1):
        if len(bag) > MAX_KEY_BAG:  # the library would try to prove its factors prime, for minutes
            raise PkiError(f"private key {number} of the PKCS#12 file is larger than any that is served")
    opened = _open(data, passphrase)
    keys, notes = _all_keys(opened.key, bags, passphrase)
    own = opened.cert
    name = (own.friendly_name if own is not None else None) or b""
    return Pkcs12(
        keys,
        own.certificate.public_bytes(Encoding.DER) if own is not None else None,
        tuple(entry.certificate.public_bytes(Encoding.DER) for entry in opened.additional_certs),
        printable(name.decode("utf-8", "backslashreplace")),
        notes,
    )


def _open(data: bytes, passphrase: str | None) -> pkcs12.PKCS12KeyAndCertificates:
    tries: list[bytes | None] = [passphrase.encode("utf-8")] if passphrase else [None, b""]
    for secret in tries:
        try:
            with warnings.catch_warnings():
                # It says when a file is BER and not DER: most old ones are, and it reads them.
                warnings.simplefilter("ignore", UserWarning)
                return pkcs12.load_pkcs12(data, secret)
        except UnsupportedAlgorithm:
            raise PkiError(
                "the PKCS#12 file uses encryption that is not supported",
                "open it with the program that made it, and export it anew with AES-256",
            ) from None
        except (ValueError, TypeError) as error:
            wrong = "password" in str(error).lower() or "mac" in str(error).lower()
            if not wrong:
                raise PkiError("the PKCS#12 file is damaged", "get it anew from where it was made") from None
    if passphrase:
        raise WrongPassphrase(
            "the pass-phrase does not open the PKCS#12 file", "it is another one, or the file is damaged"
        )
    raise PassphraseNeeded("the PKCS#12 file has a pass-phrase", "give it with --passphrase-file")


def _all_keys(
    first: PrivateKeyTypes | None, bags: Sequence[bytes], passphrase: str | None
) -> tuple[tuple[PrivateKey, ...], tuple[str, ...]]:
    """The keys of the file, and a note for each that had to be left out."""
    if first is None or len(bags) < 2:
        return (() if first is None else (usable(first),)), ()
    keys: list[PrivateKey] = []
    notes: list[str] = []
    for number, bag in enumerate(bags, start=1):
        try:
            keys.append(load_private_key(bag, passphrase))
        except PkiError as error:
            notes.append(f"private key {number} of the file was left out: {error.text}")
    return (tuple(keys) or (usable(first),)), tuple(notes)


def _key_bags(data: bytes) -> list[bytes]:
    """The keys as they stand in the file, sealed or not (RFC 7292 §4.2); none where it is BER or all is sealed at once."""
    try:
        (whole,) = elements(data, 1)
        _, authenticated, *_ = whole.inside(SEQUENCE)
        (safes,) = elements(_content(authenticated), 1)
        bags = [
            bag.inside(SEQUENCE)
            for safe in safes.inside(SEQUENCE)
            if safe.body.startswith(_DATA)
            for (contents,) in [elements(_content(safe), 1)]
            for bag in contents.inside(SEQUENCE)
        ]
    except ValueError:
        return []
    return [bag[1].body for bag in bags if len(bag) > 1 and bag[0].raw in _KEY_BAGS]


def _content(info: Element) -> bytes:
    """What a ContentInfo holds."""
    _, wrapped = info.inside(SEQUENCE, 2)
    (octets,) = wrapped.inside(CONTENT, 1)
    if octets.tag != OCTETS:
        raise MalformedDer("OCTET STRING was expected")
    return octets.body


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
        friendly_name.encode("utf-8") or None, key, own, behind, builder.build(secret)
    )
    if form is Form.PBMAC1:
        return with_pbmac1(made, secret, os.urandom(16), MODERN_ROUNDS)
    return made
