"""A verifier of DKIM signatures of its own (RFC 6376 §6.1.3, RFC 8463): nothing in it comes from the product.

It takes a message and what DNS publishes, and says of each signature whether it holds. It reads the headers with Python's `email` package
and canonicalises by regular expressions, so that it can agree with the product only where both follow the RFC.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key


def verdicts(message: bytes, published: Mapping[str, str]) -> list[str]:
    """For each signature from the top `good`, or what is wrong with it. `published`: names to TXT."""
    head, body = re.split(rb"\r\n\r\n", message, maxsplit=1)
    fields = re.findall(rb"([!-9;-~]+)[ \t]*:((?:.|\r\n[ \t])*)(?:\r\n|\Z)", head + b"\r\n")
    return [
        _verdict(fields, index, body, published)
        for index, (name, _) in enumerate(fields)
        if name.lower() == b"dkim-signature"
    ]


def _verdict(fields: list[tuple[bytes, bytes]], index: int, body: bytes, published: Mapping[str, str]) -> str:
    raw = fields[index][1].decode("ascii")
    tags = dict(re.findall(r"\s*(\w+)\s*=\s*([^;]*?)\s*(?:;|\Z)", raw))
    if (tags["v"], tags["c"]) != ("1", "relaxed/relaxed") or "l" in tags:
        return "not a signature that this reads"
    key = dict(re.findall(r"\s*(\w+)\s*=\s*([^;]*?)\s*(?:;|\Z)", published.get(_record(tags), "")))
    if not key.get("p"):
        return "no key"
    if hashlib.sha256(_body(body)).digest() != base64.b64decode(re.sub(r"\s", "", tags["bh"])):
        return "the body differs"
    left = list(fields)
    signed = b""
    for name in re.split(r"\s*:\s*", tags["h"]):
        at = max(
            (i for i, (known, _) in enumerate(left) if known.lower() == name.encode().lower()), default=-1
        )
        if at >= 0:
            signed += _field(*left.pop(at)) + b"\r\n"
    if b"from" not in [name.lower().encode() for name in re.split(r"\s*:\s*", tags["h"])]:
        return "From is not signed"
    own = re.sub(r"(\bb\s*=)[^;]*", r"\1", raw)
    signed += _field(b"dkim-signature", own.encode())
    signature = base64.b64decode(re.sub(r"\s", "", tags["b"]))
    return _checked(tags["a"], base64.b64decode(key["p"]), signature, signed)


def _record(tags: Mapping[str, str]) -> str:
    return f"{tags['s']}._domainkey.{tags['d']}"


def _field(name: bytes, value: bytes) -> bytes:
    value = re.sub(rb"[ \t]+", b" ", re.sub(rb"\r\n(?=[ \t])", b"", value))
    return name.lower().strip() + b":" + value.strip()


def _body(body: bytes) -> bytes:
    body = re.sub(rb"[ \t]+", b" ", body)
    body = re.sub(rb" \r\n", b"\r\n", body)
    body = re.sub(rb"(\r\n)*\Z", b"\r\n", body, count=1)
    return b"" if body == b"\r\n" else body


def _checked(algorithm: str, public: bytes, signature: bytes, signed: bytes) -> str:
    try:
        if algorithm == "rsa-sha256":
            key = load_der_public_key(public)
            assert isinstance(key, rsa.RSAPublicKey)
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == "ed25519-sha256":
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(
                signature, hashlib.sha256(signed).digest()
            )
        else:
            return f"unknown algorithm {algorithm}"
    except InvalidSignature:
        return "the signature is of other text or another key"
    return "good"
