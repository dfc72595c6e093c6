"""Private keys: made, loaded with or without a pass-phrase, compared with a certificate.

A key travels as PEM (PKCS#8, not encrypted) inside `SecretBytes`, which shows nothing of it in a repr, a log or
a traceback; whoever needs the bytes calls `reveal()`. What is loaded from outside goes through `rounds` first,
so that a file cannot hold the interpreter for an hour with its key derivation.
"""

from __future__ import annotations

import hmac
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.rounds import refuse_absurd_rounds

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
"""The kinds of key that can sign in TLS and that we serve."""

MAX_KEY_FILE = 64 * 1024


class KeyKind(StrEnum):
    """Kinds that can be made, in the written form of the contract."""

    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"
    P256 = "p256"
    P384 = "p384"
    ED25519 = "ed25519"


class SecretBytes:
    """Bytes that are not shown by accident. Comparison takes the same time whatever differs; not hashable."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """The bytes themselves. Never for a log, an error or a repr."""
        return self._value

    def __repr__(self) -> str:
        return "SecretBytes(…)"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and hmac.compare_digest(self._value, other._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def generate(kind: KeyKind) -> PrivateKey:
    """A new private key. RSA takes from 50 ms (2048) to seconds (4096): not on a mail loop."""
    match kind:
        case KeyKind.RSA2048 | KeyKind.RSA3072 | KeyKind.RSA4096:
            return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.value[3:]))
        case KeyKind.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()


def load_private_key(data: bytes, passphrase: str | None = None) -> PrivateKey:
    """A key from PEM or DER (PKCS#8, PKCS#1, SEC 1, encrypted or not). Raises PkiError; nothing of the file in it.

    A pass-phrase for a key that needs none is ignored. Key size and kind are the caller's to judge.
    """
    if len(data) > MAX_KEY_FILE:
        raise PkiError("the file is too long for a private key")
    refuse_absurd_rounds(data)
    secret = passphrase.encode("utf-8") if passphrase else None
    try:
        key = _parse(data, secret)
    except PkiError:
        raise
    except (ValueError, UnsupportedAlgorithm):
        if secret is not None and _encrypted(data):
            raise WrongPassphrase("the pass-phrase does not open the private key") from None
        raise PkiError("the file holds no private key that can be read") from None
    if not isinstance(key, PrivateKey):
        raise PkiError("the private key is of a kind that TLS servers do not use")
    return key


def _parse(data: bytes, secret: bytes | None) -> PrivateKeyTypes:
    load = load_pem_private_key if b"-----BEGIN" in data else load_der_private_key
    try:
        return load(data, secret)
    except TypeError:  # the library's way of saying that a pass-phrase is missing, or that none is needed
        if secret is None:
            raise PassphraseNeeded("the private key is encrypted", "give its pass-phrase") from None
        return load(data, None)


def _encrypted(data: bytes) -> bool:
    return b"ENCRYPTED" in data or b"-----BEGIN" not in data


def key_pem(key: PrivateKey) -> SecretBytes:
    """The key as PEM, PKCS#8, not encrypted."""
    return SecretBytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def key_text(key: PrivateKey) -> str:
    """`RSA 2048`, `EC secp256r1`, `Ed25519`: for people."""
    match key:
        case rsa.RSAPrivateKey():
            return f"RSA {key.key_size}"
        case ec.EllipticCurvePrivateKey():
            return f"EC {key.curve.name}"
        case ed25519.Ed25519PrivateKey():
            return "Ed25519"
        case _:
            return "Ed448"


def public_key_der(key: PrivateKey) -> bytes:
    """SubjectPublicKeyInfo of the public half."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_matches(key: PrivateKey, holder: x509.Certificate | x509.CertificateSigningRequest) -> bool:
    """The certificate or request is for this very key."""
    held = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return held == public_key_der(key)
