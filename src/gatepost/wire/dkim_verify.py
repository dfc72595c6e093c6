"""Verifying DKIM signatures (RFC 6376 §6, RFC 8301, RFC 8463). Nothing here asks the DNS or a clock.

How it works. It goes in two steps, since the keys are elsewhere. `claims` reads the message: of each signature it makes a claim, which is
all that is left to be checked (a digest, the signature over it, where its key is) or what came out already. A claim is small and can be
kept. `judge` puts what the DNS said beside a claim. `verify` is both at once.

What it trusts: the record of a key, for the domain in whose zone it stands. A good signature says that who holds the domain `d=`
signed these fields and this body; what the fields say is another matter (`policy.tls_report_trust`).

Choices where the RFCs leave one. A signature with `l=` counts only where that is the whole body (RFC 8460 §3 wants none). A key's record has to
be for mail or for TLS reports (`s=`). Who tests DKIM (`t=y`) is taken as not signing. Of several records under one name the one that can be
read counts, where it is alone. RSA keys have 1,024 to 8,192 bits.

Limits. The first eight signatures of a message, from the top; a time in the future by more than five minutes.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gatepost.wire.dkim import Algorithm
from gatepost.wire.dkim_message import Parts, split_message
from gatepost.wire.dkim_record import REPORTS, KeyRecord, KeyRecordFault, read_key_record, record_name
from gatepost.wire.dkim_signature import (
    FIELD,
    Signature,
    SignatureFault,
    canonical_body,
    header_digest,
    read_signature,
)

MAX_SIGNATURES = 8
CLOCKS = 300.0  # seconds by which two clocks may differ
MIN_RSA, MAX_RSA = 1_024, 8_192  # bits
_SERVICES = frozenset({"*", "email", REPORTS})


class DkimResult(StrEnum):
    """What a signature came to, in the words of RFC 8601 §2.7.1."""

    PASS = "pass"
    FAIL = "fail"  # the message is not what was signed, or not when it was
    PERMANENT = "permerror"  # the signature or its key is of no use, now and later
    TEMPORARY = "temperror"  # the key could not be looked up
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Judged:
    """What one signature came to, by which domain, and why, as a sentence without its full stop."""

    result: DkimResult
    domain: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """What the DNS holds for a key: its texts, none where there is no record. `unknown` says why nobody knows."""

    texts: tuple[str, ...] = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """One signature as its message bears it out. With a `result` it is settled, for the `reason`; else its key decides."""

    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    digest: bytes = b""
    signature: bytes = b""
    result: str = ""
    reason: str = ""

    @property
    def key_name(self) -> str:
        """Where its key is to be looked up; empty for one that is settled."""
        return "" if self.result else record_name(self.domain, self.selector)

    def plain(self) -> dict[str, str]:
        """As texts, to be kept or handed on."""
        texts = asdict(self)
        for name in ("digest", "signature"):
            texts[name] = b64encode(texts[name]).decode("ascii")
        return texts


def read_claim(plain: Mapping[str, Any]) -> Claim:
    """What `Claim.plain` wrote."""
    return Claim(
        **{**plain, "digest": b64decode(plain["digest"]), "signature": b64decode(plain["signature"])}
    )


def verify(message: bytes, keys: Mapping[str, KeyAnswer], now: float) -> list[Judged]:
    """Each signature of a message, from the top. `keys` by `record_name`; what is not in it has no record. Raises MessageFault."""
    found = claims(split_message(message), now)
    return [judge(claim, keys.get(claim.key_name, KeyAnswer())) for claim in found]


def claims(parts: Parts, now: float) -> list[Claim]:
    """The claims of the signatures in a message that came at `now`, from the top."""
    fields = [field for field in parts.fields if field.name == FIELD][:MAX_SIGNATURES]
    digests: dict[bool, bytes] = {}
    found = []
    for field in fields:
        try:
            signature = read_signature(field)
        except SignatureFault as fault:
            reason = f"a signature cannot be used: {fault}"
            found.append(Claim(result=DkimResult.PERMANENT.value, reason=reason))
            continue
        settled = _out_of_time(signature, now) or _other_body(parts.body, signature, digests)
        digest = b"" if settled is not None else header_digest(parts, field, signature)
        found.append(_claim(signature, settled, digest))
    return found


def _claim(signature: Signature, settled: Judged | None, digest: bytes) -> Claim:
    if settled is not None:
        return Claim(signature.domain, signature.selector, result=settled.result.value, reason=settled.reason)
    return Claim(
        signature.domain,
        signature.selector,
        signature.identity,
        signature.algorithm.value,
        digest,
        signature.signature,
    )


def _out_of_time(signature: Signature, now: float) -> Judged | None:
    domain = signature.domain
    if signature.until is not None and now > signature.until:
        return Judged(DkimResult.FAIL, domain, f"the signature of {domain} had expired when the message came")
    if signature.made is not None and signature.made > now + CLOCKS:
        return Judged(DkimResult.FAIL, domain, f"the signature of {domain} is from the future")
    return None


def _other_body(body: bytes, signature: Signature, digests: dict[bool, bytes]) -> Judged | None:
    """Whether the body is another than was signed. `digests` are those that were made for other signatures."""
    relaxed, domain = signature.relaxed_body, signature.domain
    if signature.length is not None and signature.length != len(canonical_body(body, relaxed)):
        return Judged(
            DkimResult.PERMANENT, domain, f"the signature of {domain} is not of the whole body (l=)"
        )
    if relaxed not in digests:
        digests[relaxed] = hashlib.sha256(canonical_body(body, relaxed)).digest()
    if digests[relaxed] != signature.body_hash:
        return Judged(DkimResult.FAIL, domain, f"the body is not the one that {domain} signed")
    return None


# --- the key --------------------------------------------------------------------------------------------


class _KeyFault(Exception):
    """A key that makes no signature good; the text says why."""


def judge(claim: Claim, key: KeyAnswer) -> Judged:
    """What a claim comes to by what the DNS said of its key."""
    domain, name = claim.domain, claim.key_name
    if claim.result:
        return Judged(DkimResult(claim.result), domain, claim.reason)
    if key.unknown:
        reason = f"the key {name} could not be looked up: {key.unknown}"
        return Judged(DkimResult.TEMPORARY, domain, reason)
    try:
        record = _record(key.texts)
        _require_use(record, claim)
        good = _holds(record.public, claim)
    except _KeyFault as fault:
        return Judged(DkimResult.PERMANENT, domain, f"the key {name} is of no use: {fault}")
    if not good:
        return Judged(
            DkimResult.FAIL, domain, f"the signature of {domain} does not match the header, or its key"
        )
    if "y" in record.flags:
        return Judged(DkimResult.NONE, domain, f"{domain} only tests DKIM, says its key {name} (t=y)")
    return Judged(DkimResult.PASS, domain, f"signed by {domain} with the key {name}")


def _record(texts: Sequence[str]) -> KeyRecord:
    """The one record in these texts (RFC 6376 §3.6.2.2)."""
    if not texts:
        raise _KeyFault("there is no record")
    found, why = [], ""
    for text in texts:
        try:
            found.append(read_key_record(text))
        except KeyRecordFault as fault:
            why = str(fault)
    if len(found) > 1:
        raise _KeyFault(f"{len(found)} records stand where one belongs")
    if not found:
        raise _KeyFault(why)
    return found[0]


def _require_use(record: KeyRecord, claim: Claim) -> None:
    """RFC 6376 §6.1.2: whether the key may sign this. Raises _KeyFault."""
    kind = "rsa" if claim.algorithm == Algorithm.RSA_SHA256 else "ed25519"
    if not record.public:
        raise _KeyFault("it was revoked")
    if record.key_type != kind:
        raise _KeyFault(f"it is no key for {claim.algorithm}")
    if record.hashes and "sha256" not in record.hashes:
        raise _KeyFault("it does not allow sha256 (h=)")
    if record.services and not _SERVICES & set(record.services):
        raise _KeyFault("it is neither for mail nor for TLS reports (s=)")
    if "s" in record.flags and claim.identity != claim.domain:
        raise _KeyFault("it does not sign for domains below its own (t=s)")


def _holds(public: bytes, claim: Claim) -> bool:
    """Whether the signature is of the digest by the key. Raises _KeyFault."""
    try:
        if claim.algorithm == Algorithm.ED25519_SHA256:
            # RFC 8463 §3: what is signed is the digest, as if it were the message.
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(claim.signature, claim.digest)
        else:
            key = _rsa_key(public)
            key.verify(claim.signature, claim.digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    except InvalidSignature:
        return False
    except (ValueError, UnsupportedAlgorithm):
        raise _KeyFault("it cannot be read (p=)") from None
    return True


def _rsa_key(public: bytes) -> rsa.RSAPublicKey:
    """Raises _KeyFault, ValueError and UnsupportedAlgorithm."""
    key = load_der_public_key(public)
    if not isinstance(key, rsa.RSAPublicKey):
        raise _KeyFault("it is no RSA key")
    if not MIN_RSA <= key.key_size <= MAX_RSA:
        # RFC 8301 §3.2: shorter ones never count; longer ones than any in use are there to keep us busy.
        raise _KeyFault(f"it has {key.key_size:,} bits, and {MIN_RSA:,} to {MAX_RSA:,} are taken")
    return key
