"""Keys: made, loaded, compared, and never shown."""

from __future__ import annotations

import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import TestAuthority, make_key

from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import KeyKind, SecretBytes, generate, key_matches, key_pem, key_text, load_private_key

KEY = make_key("p256")


@pytest.mark.parametrize(
    ("kind", "text"),
    [(KeyKind.P256, "EC secp256r1"), (KeyKind.P384, "EC secp384r1"), (KeyKind.ED25519, "Ed25519")],
)
def test_made_keys_load_again(kind: KeyKind, text: str) -> None:
    made = generate(kind)
    loaded = load_private_key(key_pem(made).reveal())
    assert key_text(loaded) == text
    assert key_pem(loaded) == key_pem(made)


def test_rsa() -> None:
    assert key_text(generate(KeyKind.RSA2048)) == "RSA 2048"


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("layout", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_all_forms_load(encoding: Encoding, layout: PrivateFormat, kind: str) -> None:
    key = make_key(kind)
    data = key.private_bytes(encoding, layout, NoEncryption())
    assert key_pem(load_private_key(data)) == key_pem(key)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_pass_phrase_that_is_not_needed_is_ignored(encoding: Encoding) -> None:
    data = KEY.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())
    assert key_pem(load_private_key(data, "not needed")) == key_pem(KEY)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_pass_phrases(encoding: Encoding) -> None:
    data = KEY.private_bytes(encoding, PrivateFormat.PKCS8, BestAvailableEncryption("pässword".encode()))
    assert key_pem(load_private_key(data, "pässword")) == key_pem(KEY)
    with pytest.raises(WrongPassphrase):
        load_private_key(data, "wrong")
    with pytest.raises(PassphraseNeeded):
        load_private_key(data)


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_said_without_its_content(data: bytes) -> None:
    with pytest.raises(PkiError) as caught:
        load_private_key(data)
    assert "AAAA" not in str(caught.value)


def test_a_key_that_cannot_sign_is_refused() -> None:
    data = x25519.X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(PkiError, match="kind"):
        load_private_key(data)


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_an_error(data: bytes) -> None:
    with pytest.raises(PkiError):
        load_private_key(data)


def test_key_matches() -> None:
    issued = TestAuthority().issue(["mx.example"], key=KEY)
    assert key_matches(KEY, issued.leaf)
    assert not key_matches(make_key("p256"), issued.leaf)


def test_secrets_are_not_shown() -> None:
    secret = SecretBytes(b"hunter2")
    for text in (repr(secret), str(secret), f"{secret}", repr([secret])):
        assert "hunter2" not in text
    assert secret == SecretBytes(b"hunter2")
    assert secret != SecretBytes(b"other")
    assert secret != b"hunter2"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)
