"""What is said to an ACME server: the payloads of requests, the texts of challenges, and headers of answers read.

Signing is `jose`'s, sending `certs.acme`'s. Payloads are JSON; None stands for the empty payload of a POST-as-GET
(RFC 8555 §6.3).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from gatepost.wire.acme import MAX_URL
from gatepost.wire.acme_objects import Identifier
from gatepost.wire.jose import SigningKey, encode_b64, public_jwk, sign, thumbprint

PEM_CHAIN = "application/pem-certificate-chain"  # RFC 8555 §9.1
ALPN_PROTOCOL = b"acme-tls/1"  # RFC 8737 §6.2
ACME_IDENTIFIER_OID = "1.3.6.1.5.5.7.1.31"  # RFC 8737 §6.1
CHALLENGE_PATH = "/.well-known/acme-challenge/"  # RFC 8555 §8.3
RECORD_LABEL = "_acme-challenge"  # RFC 8555 §8.4
MAX_LINKS = 20
_NONCE = re.compile(r"[A-Za-z0-9_-]{1,512}")


def new_account(
    *,
    contact: Sequence[str] = (),
    terms_agreed: bool = False,
    binding: Mapping[str, str] | None = None,
    only_existing: bool = False,
) -> dict[str, Any]:
    """The payload of newAccount (RFC 8555 §7.3). `contact` are `mailto:` URLs."""
    payload: dict[str, Any] = {}
    if only_existing:
        payload["onlyReturnExisting"] = True
    if contact:
        payload["contact"] = list(contact)
    if terms_agreed:
        payload["termsOfServiceAgreed"] = True
    if binding is not None:
        payload["externalAccountBinding"] = dict(binding)
    return payload


def new_order(identifiers: Sequence[Identifier], *, profile: str = "", replaces: str = "") -> dict[str, Any]:
    """The payload of newOrder (RFC 8555 §7.4; `replaces`: RFC 9773 §5)."""
    payload: dict[str, Any] = {"identifiers": [identifier.document() for identifier in identifiers]}
    if profile:
        payload["profile"] = profile
    if replaces:
        payload["replaces"] = replaces
    return payload


def finalize(csr: bytes) -> dict[str, Any]:
    """The payload that hands over the signing request (RFC 8555 §7.4)."""
    return {"csr": encode_b64(csr)}


def revoke(certificate: bytes, reason: int) -> dict[str, Any]:
    """The payload of revokeCert; `reason` is a code of RFC 5280 §5.3.1 (RFC 8555 §7.6)."""
    return {"certificate": encode_b64(certificate), "reason": reason}


def signed_request(
    key: SigningKey, url: str, nonce: str, payload: Mapping[str, Any] | None, account_url: str = ""
) -> bytes:
    """The body of one request: signed by `key`, known by the account's URL or, before it has one, by its JWK (§6.2)."""
    header: dict[str, Any] = {"nonce": nonce, "url": url}
    if account_url:
        header["kid"] = account_url
    else:
        header["jwk"] = public_jwk(key)
    return sign(key, header, b"" if payload is None else orjson.dumps(payload))


def key_change(old: SigningKey, new: SigningKey, url: str, account_url: str) -> dict[str, Any]:
    """The payload of keyChange: the new key signs that it takes the old one's place (RFC 8555 §7.3.5)."""
    inner = orjson.dumps({"account": account_url, "oldKey": public_jwk(old)})
    signed: dict[str, Any] = orjson.loads(sign(new, {"jwk": public_jwk(new), "url": url}, inner))
    return signed


def key_authorization(token: str, key: SigningKey) -> str:
    """Token and thumbprint: what proves that the challenge and the account belong together (RFC 8555 §8.1)."""
    return f"{token}.{thumbprint(key)}"


def record_value(authorization: str) -> str:
    """The text of the TXT record (RFC 8555 §8.4)."""
    return encode_b64(hashlib.sha256(authorization.encode("ascii")).digest())


def acme_identifier(authorization: str) -> bytes:
    """The DER of the acmeIdentifier extension: an OCTET STRING with SHA-256 (RFC 8737 §3)."""
    return b"\x04\x20" + hashlib.sha256(authorization.encode("ascii")).digest()


def certificate_id(key_identifier: bytes, serial: int) -> str:
    """How renewal information names a certificate (RFC 9773 §4.1): issuer's key and serial number as DER has it."""
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)
    return f"{encode_b64(key_identifier)}.{encode_b64(octets)}"


# --- headers of answers --------------------------------------------------------------------------------


def nonce_of(headers: Mapping[str, str]) -> str:
    """The fresh nonce of an answer, empty where there is none or it is not base64url (RFC 8555 §6.5.1)."""
    text = headers.get("replay-nonce", "")
    return text if _NONCE.fullmatch(text) else ""


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, from a number or a date (RFC 9110 §10.2.3); None where there is none that can be read."""
    text = headers.get("retry-after", "").strip()[:64]
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now) if text else None
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def alternate_links(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The other chains of a certificate: targets of `Link` with the relation `alternate` (RFC 8555 §7.4.2)."""
    found = _LINK.findall(headers.get("link", "")[: MAX_LINKS * MAX_URL])
    return tuple(target for target, rest in found if "alternate" in _relations(rest))[:MAX_LINKS]


_LINK = re.compile(r"<([^<>]*)>([^<>,\"]*(?:\"[^\"]*\"[^<>,\"]*)*)")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))", re.IGNORECASE)


def _relations(parameters: str) -> list[str]:
    match = _REL.search(parameters)
    return (match[1] or match[2] or "").lower().split() if match else []
