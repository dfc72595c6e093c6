"""JWS, JWK and thumbprints: the vectors of the RFCs, signatures that verify, and base64url read strictly."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire import jose

# RFC 7638 §3.1: the example's modulus and its thumbprint.
RFC_7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
    "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5haj"
    "rn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    key = rsa.RSAPublicNumbers(65537, int.from_bytes(jose.decode_b64(RFC_7638_N), "big")).public_key()
    assert jose.public_jwk(key) == {"e": "AQAB", "kty": "RSA", "n": RFC_7638_N}
    assert jose.thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_a_point_with_a_leading_zero_keeps_its_length() -> None:
    """RFC 7518 §6.2.1.2: coordinates have the length of the field, whatever their value."""
    key = next(
        made
        for made in (ec.derive_private_key(number, ec.SECP256R1()) for number in range(1, 5000))
        if made.public_key().public_numbers().x < 1 << 248
    )
    assert len(jose.decode_b64(jose.public_jwk(key)["x"])) == 32


def test_an_ecdsa_signature_verifies_and_has_the_form_of_jose() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    body = json.loads(jose.sign(key, {"nonce": "n", "url": "https://ca.example/"}, b'{"a":1}'))
    assert sorted(body) == ["payload", "protected", "signature"]
    header = json.loads(jose.decode_b64(body["protected"]))
    assert header == {"alg": "ES256", "nonce": "n", "url": "https://ca.example/"}
    signature = jose.decode_b64(body["signature"])
    assert len(signature) == 64
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    text = f"{body['protected']}.{body['payload']}".encode()
    key.public_key().verify(der, text, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        key.public_key().verify(der, text + b"x", ec.ECDSA(hashes.SHA256()))


def test_an_rsa_signature_verifies() -> None:
    key = rsa.generate_private_key(65537, 2048)
    body = json.loads(jose.sign(key, {"url": "u"}, b""))
    assert json.loads(jose.decode_b64(body["protected"]))["alg"] == "RS256"
    assert body["payload"] == ""  # POST-as-GET: the empty string, not the empty object
    text = f"{body['protected']}.".encode()
    key.public_key().verify(jose.decode_b64(body["signature"]), text, padding.PKCS1v15(), hashes.SHA256())


def test_an_external_account_is_bound_by_hmac_over_the_accounts_jwk() -> None:
    account = ec.generate_private_key(ec.SECP256R1())
    secret = hashlib.sha256(b"test").digest()
    bound = jose.bind_external_account("kid-1", secret, "https://ca.example/new-account", account)
    header = json.loads(jose.decode_b64(bound["protected"]))
    assert header == {"alg": "HS256", "kid": "kid-1", "url": "https://ca.example/new-account"}
    assert json.loads(jose.decode_b64(bound["payload"])) == jose.public_jwk(account)
    expected = hmac.new(secret, f"{bound['protected']}.{bound['payload']}".encode(), "sha256").digest()
    assert jose.decode_b64(bound["signature"]) == expected


def test_a_key_that_no_ca_takes_is_refused() -> None:
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 1024)):
        with pytest.raises(jose.JoseError):
            jose.sign(key, {}, b"")


@pytest.mark.parametrize("text", ["QQ==", "QR", "A", "Q Q", "Q+8", "Q/8", "Qé8", "QQ\n"])
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(jose.JoseError):
        jose.decode_b64(text)


@settings(max_examples=60)
@given(st.binary(max_size=80))
def test_base64url_goes_there_and_back(data: bytes) -> None:
    assert jose.decode_b64(jose.encode_b64(data)) == data
