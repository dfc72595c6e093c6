"""Private keys: made, loaded with or without a pass-phrase, compared with a certificate.

A key travels as PEM (PKCS#8, not encrypted) inside `SecretBytes`, which shows nothing of it in a repr, a log or
a traceback; whoever needs the bytes calls `reveal()`. What is loaded from outside goes through `rounds` first,
so that a file cannot hold the interpreter for an hour with its key derivation. For the same reason the library does not
prove that an RSA key's factors are prime (9 s for 8,192 bits): that the key signs what its public half accepts says
what we need to know, in milliseconds.
"""

from __future__ import annotations

import hmac
import re
from enum import StrEnum
from types import MappingProxyType

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import PublicKeyAlgorithmOID

from gatepost.pki.der import OCTETS, OID, SEQUENCE, MalformedDer, elements
from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.rounds import refuse_absurd_rounds

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
"""The kinds of key that can sign in TLS and that we serve."""

MAX_KEY_FILE = 64 * 1024
MAX_RSA_BITS = 8192  # a handshake with such a key costs thirty times one with 2048; above, nobody serves one

_OPENSSH = b"BEGIN OPENSSH PRIVATE KEY"
_DEK_INFO = re.compile(rb"DEK-Info: *([A-Z0-9-]*),?([0-9A-Fa-f]*)")
_IV_DIGITS = MappingProxyType(
    {b"DES-EDE3-CBC": 16, b"AES-128-CBC": 32, b"AES-192-CBC": 32, b"AES-256-CBC": 32}
)  # RFC 1421 §4.6.1.3, and what OpenSSL made of it
_CURVES = (ec.SECP224R1, ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_ENCRYPTION = (bytes.fromhex("2a864886f70d0105"), bytes.fromhex("2a864886f70d010c01"))  # PKCS #5 and PKCS #12


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

    A pass-phrase for a key that needs none is ignored. That a size is too small is the caller's to judge.
    """
    if len(data) > MAX_KEY_FILE:
        raise PkiError("the file is too long for a private key")
    if _OPENSSH in data:
        raise PkiError(
            "the private key is in OpenSSH's own form",
            "convert it with: ssh-keygen -p -m PKCS8 -f FILE (it changes the file; work on a copy)",
        )
    if (traditional := _DEK_INFO.search(data)) and _IV_DIGITS.get(traditional[1]) != len(traditional[2]):
        raise _unsupported()  # the library fails an assertion over an IV that is too short
    refuse_absurd_rounds(data)
    secret = passphrase.encode("utf-8") if passphrase else None
    try:
        key = _parse(data, secret)
    except PkiError:
        raise
    except UnsupportedAlgorithm:
        raise _unsupported() from None
    except ValueError:
        if secret is not None and _encrypted(data):
            raise WrongPassphrase(
                "the pass-phrase does not open the private key", "it is another one, or the file is damaged"
            ) from None
        raise PkiError(
            "the private key cannot be read: it is damaged, or of a form that is not known",
            "get it anew from where it was made, as PEM or DER",
        ) from None
    return usable(key)


def _unsupported() -> PkiError:
    return PkiError(
        "the private key is of a kind, or encrypted in a way, that is not supported",
        "convert it with: openssl pkcs8 -topk8 -in FILE -out NEW",
    )


def _parse(data: bytes, secret: bytes | None) -> PrivateKeyTypes:
    load = load_pem_private_key if b"-----BEGIN" in data else load_der_private_key
    try:
        return load(data, secret, unsafe_skip_rsa_key_validation=True)
    except TypeError:  # the library's way of saying that a pass-phrase is missing, or that none is needed
        if secret is None:
            raise PassphraseNeeded("the private key is encrypted", "give its pass-phrase") from None
        return load(data, None, unsafe_skip_rsa_key_validation=True)


def _encrypted(data: bytes) -> bool:
    """PEM says so in words, PKCS#8 with the name of its encryption in the first element."""
    if b"-----BEGIN" in data:
        return b"ENCRYPTED" in data
    try:
        (whole,) = elements(data, 1)
        algorithm, sealed = whole.inside(SEQUENCE, 2)
        name, *_ = algorithm.inside(SEQUENCE)
    except (MalformedDer, ValueError):
        return False
    return sealed.tag == OCTETS and name.tag == OID and name.body.startswith(_ENCRYPTION)


def usable(key: PrivateKeyTypes) -> PrivateKey:
    """The key, if a TLS server can use it and it is whole. Raises PkiError."""
    match key:
        case rsa.RSAPrivateKey():
            if key.key_size > MAX_RSA_BITS:
                raise PkiError(
                    f"the private key is RSA with {key.key_size:,} bits; at most {MAX_RSA_BITS:,} are served",
                    "make a new one: 3072 bits are plenty, P-256 is faster",
                )
            _prove(key)
        case ec.EllipticCurvePrivateKey():
            if not isinstance(key.curve, _CURVES):
                raise PkiError(
                    f"the private key is on the curve {key.curve.name}, which TLS clients do not accept",
                    "make a new one on P-256 or P-384",
                )
        case ed25519.Ed25519PrivateKey() | ed448.Ed448PrivateKey():
            pass
        case _:
            raise PkiError("the private key is of a kind that TLS servers do not use")
    return key


def _prove(key: rsa.RSAPrivateKey) -> None:
    try:
        held = key.private_numbers()
        whole = (
            held.p * held.q == held.public_numbers.n
            and held.dmp1 == held.d % (held.p - 1)
            and held.dmq1 == held.d % (held.q - 1)
            and held.iqmp * held.q % held.p == 1
        )
        signed = key.sign(b"probe", padding.PKCS1v15(), hashes.SHA256()) if whole else b""
        key.public_key().verify(signed, b"probe", padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, ZeroDivisionError, InvalidSignature, InternalError):
        raise PkiError("the private key is damaged: its parts do not belong together") from None


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


def for_pss_only(certificate: x509.Certificate) -> bool:
    """The certificate is for an RSA key that signs in the PSS form only (RFC 4055 §1.2).

    The library reads such a key as a plain one, so that the pair seems to match, and no TLS context takes it.
    """
    return certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS


def key_matches(key: PrivateKey, holder: x509.Certificate | x509.CertificateSigningRequest) -> bool:
    """The certificate or request is for this very key, and can be served with it."""
    if isinstance(holder, x509.Certificate) and for_pss_only(holder):
        return False
    held = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return held == public_key_der(key)
