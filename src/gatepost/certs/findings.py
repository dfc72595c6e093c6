"""What is to be said of a profile, with the stable codes of the contract (contract/README.md, Output).

Judged is what a peer would see: dates, key, hash, purposes, the chain up to a known root, and whether the names fit where
the profile is used (R10). A finding that breaks verification is an `error`; what only deserves attention is a `warning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gatepost.certs.usage import Use
from gatepost.core.tls import NameSource, ReferenceName
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate, read_certificate, signed_by
from gatepost.pki.findings import UNANCHORED
from gatepost.pki.judge import Purpose, judge_chain
from gatepost.pki.names import match_names
from gatepost.pki.profile import Origin, Profile

SOON_DAYS = 30
DAY = 86_400

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Note:
    """One finding: code, how bad it is, what it is, and what mends it."""

    code: str
    severity: Severity
    text: str
    repair: str = ""


_REPAIRS = {
    "expired": "renew the certificate, or import a new one with --replace",
    "not-yet-valid": "wait until it is valid, or look at this machine's clock",
    "missing-intermediate": "import it again together with the intermediates of its authority",
    "untrusted-root": "import the authority with `gatepost ca import` if you trust it",
    "weak-key": "make a new key: RSA of 2048 bits or more, or P-256",
    "weak-hash": "have it signed again with SHA-256",
    "wrong-usage": "ask the authority for a TLS server certificate",
}


def profile_findings(profile: Profile, used: Sequence[Use], anchors: Anchors, now: float) -> list[Note]:
    """Everything there is to say of a profile, the gravest first."""
    leaf = profile.leaf
    others = [read_certificate(der) for der in profile.intermediates]
    notes = [
        *_trust(profile, leaf, anchors, now),
        *_soon(leaf, now),
        *_tidiness(leaf, others),
        *_names(leaf, used),
    ]
    return sorted(notes, key=lambda note: note.severity != "error")


def _trust(profile: Profile, leaf: Certificate, anchors: Anchors, now: float) -> Iterator[Note]:
    demo = profile.origin is Origin.DEMO
    alone = demo or leaf.self_signed
    if demo:
        text = "a demo certificate encrypts, but nobody can verify it"
        yield Note("demo", "warning", text, "make or import a certificate of your own")
    elif alone:
        text = "self-signed: TLS works, but a sender that requires verification will refuse it"
        yield Note("self-signed", "warning", text, "have it signed by an authority")
    for found in judge_chain(profile.chain, anchors, now, Purpose.SERVER).findings:
        if alone and found.code in UNANCHORED:
            continue
        code = found.code.value
        where = f" ({found.subject})" if found.depth and found.subject else ""
        severity: Severity = "error" if found.breaks else "warning"
        yield Note(code, severity, found.text + where, _REPAIRS.get(code, ""))


def _soon(leaf: Certificate, now: float) -> Iterator[Note]:
    left = leaf.not_after - now
    if 0 <= left < SOON_DAYS * DAY:
        days = int(left // DAY)
        text = f"expires in {days} day{'s' if days != 1 else ''}" if days else "expires within a day"
        yield Note("expires-soon", "warning", text, "renew it now")


def _tidiness(leaf: Certificate, others: Sequence[Certificate]) -> Iterator[Note]:
    """Certificates behind the leaf that are there twice, that no peer needs, or that stand in the wrong order."""
    seen = {leaf.der}
    kept: list[Certificate] = []
    for certificate in others:
        if certificate.der in seen:
            yield Note("duplicate", "warning", f"{certificate.subject} is there twice", "leave one out")
            continue
        seen.add(certificate.der)
        kept.append(certificate)
    chain = _in_order(leaf, kept)
    for certificate in kept:
        if certificate.self_signed and not leaf.self_signed:
            text = f"the root {certificate.subject} is sent along; no peer needs it"
            yield Note("root-included", "warning", text, "leave it out")
        elif certificate not in chain:
            text = f"{certificate.subject} does not belong to the chain"
            yield Note("unrelated", "warning", text, "leave it out")
    if [c for c in kept if c in chain] != chain:
        text = "the intermediates are not in the order from the host's certificate to the root"
        yield Note("misordered", "warning", text, "put each behind the one that it signed")


def _in_order(leaf: Certificate, others: Sequence[Certificate]) -> list[Certificate]:
    """The certificates that lead from the leaf upwards, as far as they go."""
    chain: list[Certificate] = []
    at = leaf
    while not at.self_issued:
        issuer = next((c for c in others if c not in chain and signed_by(at.parsed, c.parsed)), None)
        if issuer is None:
            break
        chain.append(issuer)
        at = issuer
    return chain


def _names(leaf: Certificate, used: Iterable[Use]) -> Iterator[Note]:
    """R10: where it is shown to senders, the certificate has to carry the interface's host name."""
    for host in dict.fromkeys(use.host for use in used if use.host):
        reference = ReferenceName(host, NameSource.OPERATOR)
        if match_names(leaf.names, [reference]) is None:
            where = ", ".join(use.what for use in used if use.host == host)
            text = f"it is not valid for {host}, the host name of {where}"
            yield Note("name-mismatch", "warning", text, f"use one that names {host}")
