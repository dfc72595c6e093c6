"""Keys for DKIM: the two kinds that verifiers know, how they sign, and their public half as its record holds it.

RSA with 2,048 bits (RFC 8301 §3.2) is understood by everybody, Ed25519 (RFC 8463) by some. A message may be signed with both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind, SecretBytes, generate, key_pem, load_private_key

DkimPrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class DkimKind(StrEnum):
    """Kinds that can be made, in the written form of the command."""

    RSA2048 = "rsa2048"
    ED25519 = "ed25519"

    @property
    def record_type(self) -> str:
        """The `k=` of the record."""
        return "rsa" if self is DkimKind.RSA2048 else "ed25519"


def new_key(kind: DkimKind) -> SecretBytes:
    """A new key as PEM. RSA takes some 50 ms."""
    return key_pem(generate(KeyKind(kind.value)))


def load_key(pem: SecretBytes) -> DkimPrivateKey:
    """Raises PkiError for a key that signs no mail."""
    key = load_private_key(pem.reveal())
    if not isinstance(key, DkimPrivateKey):
        raise PkiError("the key is of a kind that DKIM does not know")
    return key


def public_half(key: DkimPrivateKey) -> bytes:
    """What stands in `p=`: SubjectPublicKeyInfo for RSA, the 32 octets for Ed25519 (RFC 8463 §4.2)."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes_raw()


def signing(key: DkimPrivateKey) -> Callable[[bytes], bytes]:
    """The function that signs, in the manner of the key's algorithm."""
    if isinstance(key, rsa.RSAPrivateKey):
        rsa_key = key
        return lambda data: rsa_key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    edwards = key
    # RFC 8463 §3: what is signed is the digest, so that both algorithms read a message alike.
    return lambda data: edwards.sign(hashlib.sha256(data).digest())
