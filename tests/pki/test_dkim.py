"""Keys of both kinds: made, kept as PEM, and their public half as a record holds it."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gatepost.pki.dkim import DkimKind, load_key, new_key, public_half, signing
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind, generate, key_pem


def test_an_rsa_key_signs_for_its_published_half() -> None:
    key = load_key(new_key(DkimKind.RSA2048))
    public = load_der_public_key(public_half(key))
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 2048
    public.verify(signing(key)(b"text"), b"text", padding.PKCS1v15(), hashes.SHA256())
    assert DkimKind.RSA2048.record_type == "rsa"


def test_an_ed25519_key_signs_the_digest_for_its_published_half() -> None:
    key = load_key(new_key(DkimKind.ED25519))
    half = public_half(key)
    assert len(half) == 32
    digest = hashlib.sha256(b"text").digest()
    ed25519.Ed25519PublicKey.from_public_bytes(half).verify(signing(key)(b"text"), digest)
    assert DkimKind.ED25519.record_type == "ed25519"


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(PkiError, match="kind that DKIM does not know"):
        load_key(key_pem(generate(KeyKind.P256)))
