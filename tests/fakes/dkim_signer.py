"""A signer of DKIM signatures of its own, for tests: every canonicalisation and any tag, also wrong ones. Nothing in it comes from the product.

    signed(message, Key.ed25519(), d="a.example", c="simple/relaxed", l="7")

Tags that are given replace its own; None leaves one out. The field stands in front of the message. `Key.record()` is what to publish.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True)
class Key:
    """A key of either kind."""

    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

    @classmethod
    def ed25519(cls, seed: int = 1) -> Key:
        return cls(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))

    @classmethod
    def rsa(cls, bits: int = 2048) -> Key:
        return cls(rsa.generate_private_key(65537, bits))

    @property
    def kind(self) -> str:
        return "rsa" if isinstance(self.private, rsa.RSAPrivateKey) else "ed25519"

    def record(self, more: str = "") -> str:
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={self.kind}; {more}p={base64.b64encode(octets).decode()}"

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(hashlib.sha256(data).digest())


def signed(message: bytes, key: Key, *, fold: str = "\r\n\t", **given: str | None) -> bytes:
    """The message with one more signature in front."""
    head, _, body = message.partition(b"\r\n\r\n")
    way = given.get("c", "relaxed/relaxed") or "simple/simple"
    header_way, _, body_way = way.partition("/")
    canonical = _body(body, body_way or "simple")
    if given.get("l") is not None:
        canonical = canonical[: int(given["l"] or 0)]
    tags: dict[str, str | None] = {
        "v": "1",
        "a": f"{key.kind}-sha256",
        "c": way,
        "d": "partner.example",
        "s": "s1",
        "h": "from:to:subject",
        "bh": base64.b64encode(hashlib.sha256(canonical).digest()).decode(),
    }
    tags |= given
    lines = [f"{name}={value};" for name, value in tags.items() if value is not None]
    field = f"DKIM-Signature: {fold.join(lines)}{fold}b=".encode("latin-1")
    text = b"".join(_chosen(head, tags["h"] or "", header_way)) + _field(field, header_way)
    value = base64.b64encode(key.sign(text)).decode()
    return (
        field + fold.join(value[at : at + 60] for at in range(0, len(value), 60)).encode() + b"\r\n" + message
    )


def _chosen(head: bytes, names: str, way: str) -> list[bytes]:
    fields = re.split(rb"\r\n(?![ \t])", head)
    found = []
    for name in names.split(":"):
        mine = [one for one in fields if one.split(b":")[0].strip().lower() == name.strip().lower().encode()]
        if mine:
            for index in range(len(fields) - 1, -1, -1):
                if fields[index] is mine[-1]:
                    del fields[index]
                    break
            found.append(_field(mine[-1], way) + b"\r\n")
    return found


def _field(field: bytes, way: str) -> bytes:
    if way == "simple":
        return field
    name, _, value = field.partition(b":")
    return name.strip().lower() + b":" + b" ".join(re.sub(rb"\r\n(?=[ \t])", b"", value).split())


def _body(body: bytes, way: str) -> bytes:
    lines = body.split(b"\r\n")
    if way == "relaxed":
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"" if way == "relaxed" else b"\r\n"
    return b"\r\n".join(lines) + b"\r\n"
