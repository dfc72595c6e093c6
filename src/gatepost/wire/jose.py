"""JSON Web Signatures as ACME uses them, and nothing more of JOSE.

A request to a CA is a JSON object signed with the account's key, in the flattened form (RFC 7515 §7.2.2); the key itself
goes along once, as a JWK (RFC 7517), and is later named by the account's URL. The thumbprint of the JWK (RFC 7638) ties a
challenge to the account. An external account is bound by a second signature with the key that the CA handed out,
HMAC with SHA-256 (RFC 8555 §7.3.4).

What it does. Signs with P-256 (ES256) and RSA (RS256); it verifies nothing, since a CA never signs for us. Base64url is read
strictly: no padding, no other characters, no spare bits (RFC 7515 §2).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
VerifyingKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

CONTENT_TYPE = "application/jose+json"  # RFC 8555 §6.2
MIN_RSA_BITS = 2048  # RFC 7518 §3.3
_P256_OCTETS = 32


class JoseError(ValueError):
    """A key that JOSE has no signature for here, or text that is no base64url. Holds nothing of the key."""


def encode_b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_b64(text: str) -> bytes:
    """The octets of base64url without padding. Raises JoseError for any other spelling of them."""
    if len(text) % 4 == 1 or not set(text) <= _B64:
        raise JoseError("not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        raise JoseError("not base64url") from None
    if encode_b64(data) != text:
        raise JoseError("not base64url: bits are set behind the end")
    return data


_B64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def public_jwk(key: SigningKey | VerifyingKey) -> dict[str, str]:
    """The public half as a JWK with exactly the members that a thumbprint is made of (RFC 7638 §3.2).

    Raises JoseError for a curve other than P-256 and for RSA below 2048 bits.
    """
    public = key.public_key() if isinstance(key, SigningKey) else key
    if isinstance(public, ec.EllipticCurvePublicKey):
        if not isinstance(public.curve, ec.SECP256R1):
            raise JoseError("an account's key is P-256 or RSA")
        point = public.public_numbers()
        return {
            "crv": "P-256",
            "kty": "EC",
            "x": encode_b64(point.x.to_bytes(_P256_OCTETS, "big")),
            "y": encode_b64(point.y.to_bytes(_P256_OCTETS, "big")),
        }
    if public.key_size < MIN_RSA_BITS:
        raise JoseError(f"an account's RSA key has at least {MIN_RSA_BITS} bits")
    numbers = public.public_numbers()
    return {"e": _encode_integer(numbers.e), "kty": "RSA", "n": _encode_integer(numbers.n)}


def thumbprint(key: SigningKey | VerifyingKey) -> str:
    """SHA-256 of the JWK in its one canonical form, base64url (RFC 7638 §3)."""
    return encode_b64(hashlib.sha256(_compact(public_jwk(key))).digest())


def sign(key: SigningKey, protected: Mapping[str, Any], payload: bytes) -> bytes:
    """The flattened JWS over `payload`, as the body of a request. `alg` is added to the header. Raises JoseError."""
    algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
    public_jwk(key)
    header, content, text = _signing_input({"alg": algorithm, **protected}, payload)
    return _flattened(header, content, _signature(key, text))


def bind_external_account(
    key_id: str, mac_key: bytes, url: str, account: SigningKey | VerifyingKey
) -> dict[str, str]:
    """The `externalAccountBinding` of a new account: its JWK, signed with the CA's key (RFC 8555 §7.3.4)."""
    header, content, text = _signing_input(
        {"alg": "HS256", "kid": key_id, "url": url}, _compact(public_jwk(account))
    )
    signature = hmac.digest(mac_key, text, "sha256")
    return {"protected": header, "payload": content, "signature": encode_b64(signature)}


def _signing_input(header: Mapping[str, Any], payload: bytes) -> tuple[str, str, bytes]:
    protected, content = encode_b64(_compact(header)), encode_b64(payload)
    return protected, content, f"{protected}.{content}".encode("ascii")


def _flattened(header: str, content: str, signature: bytes) -> bytes:
    return _compact({"protected": header, "payload": content, "signature": encode_b64(signature)})


def _signature(key: SigningKey, text: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    # RFC 7518 §3.4: both numbers at full length behind each other, not the DER that the library makes.
    r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(_P256_OCTETS, "big") + s.to_bytes(_P256_OCTETS, "big")


def _compact(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii")


def _encode_integer(number: int) -> str:
    return encode_b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))
