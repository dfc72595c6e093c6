"""Keys: made, loaded, compared, and never shown."""

from __future__ import annotations

import pickle
import re
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import TestAuthority, make_key

from gatepost.pki.der import integer, sequence
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


@pytest.mark.parametrize(
    ("curve", "served"),
    [(ec.SECP521R1(), True), (ec.SECP256K1(), False), (ec.BrainpoolP256R1(), False)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_curve_that_no_client_takes_is_refused(curve: ec.EllipticCurve, served: bool) -> None:
    data = ec.generate_private_key(curve).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if served:
        assert key_text(load_private_key(data)) == f"EC {curve.name}"
        return
    with pytest.raises(PkiError, match=f"curve {curve.name}"):
        load_private_key(data)


@pytest.mark.parametrize(
    "header", ["AES-256-CBC,0011", "AES-256-CBC", "CAMELLIA-256-CBC,00", "", "DES-CBC,0011223344556677"]
)
def test_an_old_encrypted_key_with_an_odd_header_is_refused(header: str) -> None:
    """The library ends the program over an IV that is too short."""
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x"))
    assert key_pem(load_private_key(key, "x")) == key_pem(KEY)
    odd = re.sub(rb"DEK-Info: .*", b"DEK-Info: " + header.encode(), key)
    for passphrase in ("x", "wrong", None):
        with pytest.raises(PkiError, match="encrypted in a way, that is not supported"):
            load_private_key(odd, passphrase)


def test_an_openssh_key_is_named() -> None:
    data = KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with pytest.raises(PkiError, match="OpenSSH") as caught:
        load_private_key(data)
    assert "ssh-keygen" in caught.value.hint


# Mersenne primes: products of two are moduli of any size, without a search.
PRIMES = {1024: (2**521 - 1, 2**607 - 1), 4096: (2**2203 - 1, 2**2281 - 1), 14112: (2**9689 - 1, 2**4423 - 1)}


def rsa_parts(size: int) -> list[int]:
    """The nine numbers of an RSA key (RFC 8017 §A.1.2)."""
    p, q = PRIMES[size]
    d = pow(65537, -1, (p - 1) * (q - 1))
    return [0, p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)]


def rsa_file(parts: list[int]) -> bytes:
    return sequence(*map(integer, parts))


def test_a_whole_rsa_key_is_taken() -> None:
    assert key_text(load_private_key(rsa_file(rsa_parts(4096)))) == "RSA 4484"


@pytest.mark.parametrize("place", range(1, 9))
def test_an_rsa_key_with_a_wrong_number_is_refused(place: int) -> None:
    parts = rsa_parts(1024)
    parts[place] += 2
    with pytest.raises(PkiError, match=r"damaged|can be read"):
        load_private_key(rsa_file(parts))


@pytest.mark.parametrize("place", range(1, 9))
@pytest.mark.parametrize("value", [0, 1])
def test_an_rsa_key_with_an_absurd_number_is_refused(place: int, value: int) -> None:
    parts = rsa_parts(1024)
    parts[place] = value
    with pytest.raises(PkiError, match=r"damaged|can be read"):
        load_private_key(rsa_file(parts))


def test_an_enormous_rsa_key_is_refused_at_once() -> None:
    started = time.process_time()
    with pytest.raises(PkiError, match="14,112 bits"):
        load_private_key(rsa_file(rsa_parts(14112)))
    assert time.process_time() - started < 0.5  # proving its factors prime would take half a minute


def test_bytes_that_are_no_key_are_no_wrong_pass_phrase() -> None:
    for data in (b"garbage", b"\x30\x03\x02\x01\x00", b"\x30\x82"):
        with pytest.raises(PkiError) as caught:
            load_private_key(data, "given")
        assert not isinstance(caught.value, WrongPassphrase)


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
