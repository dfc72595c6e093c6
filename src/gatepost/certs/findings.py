"""What is to be said of a profile, with the stable codes of the contract (contract/README.md, Output).

Looked at is what a peer would see of every pair that is served: the chain doctor's findings, whether the key fits, whether
the names fit where the profile is used (R10), and whether it will do as a client certificate where the gateway is the client.
A finding that breaks verification is an `error`; what only deserves attention is a `warning`; `info` explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gatepost.certs.usage import Use
from gatepost.config.links import LINKS
from gatepost.core.tls import NameSource, ReferenceName
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate
from gatepost.pki.checks import Purpose, check_host_usage
from gatepost.pki.doctor import Note, Pool, diagnose, in_order
from gatepost.pki.errors import PkiError
from gatepost.pki.findings import Code
from gatepost.pki.keys import key_matches, load_private_key
from gatepost.pki.leaf import rare_key
from gatepost.pki.names import match_names
from gatepost.pki.notes import Severity, note
from gatepost.pki.profile import Origin, Pair, Profile
from gatepost.pki.revocation import NO_CRLS, Crls

__all__ = ["Note", "Severity", "profile_findings"]

CLIENT_PATHS = frozenset(
    {"destination_controls.global.certificate", *(f"{link}.certificate" for link in LINKS)}
)
"""Where the gateway shows the certificate as a client."""


def profile_findings(
    profile: Profile,
    used: Sequence[Use],
    anchors: Anchors,
    now: float,
    *,
    known: Sequence[bytes] | Pool = (),
    crls: Crls = NO_CRLS,
) -> list[Note]:
    """Everything there is to say of a profile, the gravest first.

    `known` are intermediates from elsewhere that may fill a gap; who looks at many profiles makes the pool once.
    """
    notes: list[Note] = []
    pool = known if isinstance(known, Pool) else Pool.of(known)
    several = len(profile.pairs) > 1
    for pair in profile.pairs:
        for found in _pair_findings(pair, used, anchors, now, pool, crls):
            text = f"{found.text} (the {_kind(pair.leaf)} certificate)" if several else found.text
            notes.append(replace(found.named(profile.name), text=text))
    notes += _rare(profile)
    return list(in_order(notes))


def _pair_findings(
    pair: Pair, used: Sequence[Use], anchors: Anchors, now: float, pool: Pool, crls: Crls
) -> Iterator[Note]:
    leaf = pair.leaf
    client = [use for use in used if use.path in CLIENT_PATHS]
    only_client = bool(client) and len(client) == len(used)
    purpose = Purpose.CLIENT if only_client else Purpose.SERVER
    for found in diagnose(pair.chain, anchors, now, known=pool, crls=crls, purpose=purpose).findings:
        if found.code == Code.SELF_SIGNED and pair.origin is Origin.DEMO:
            yield note(
                Code.DEMO, "warning", "a demo certificate encrypts, but nobody can verify it", leaf.subject
            )
        elif found.code == Code.WRONG_USAGE and only_client:
            yield _client_usage(found.text, found.subject, client)
        else:
            yield found
    if client and not only_client:
        for wrong in check_host_usage(leaf, Purpose.CLIENT):
            if wrong.code is Code.WRONG_USAGE:
                yield _client_usage(wrong.text, leaf.subject, client)
    yield from _key(pair)
    yield from _names(leaf, used)


def _client_usage(text: str, subject: str, client: Iterable[Use]) -> Note:
    """A warning: most receivers do not ask for a client certificate, and of those that do not all look at its usages."""
    where = ", ".join(use.what for use in client)
    return note(
        Code.WRONG_USAGE,
        "warning",
        f"{text}, which {where} needs",
        subject,
        meaning="a server that verifies client certificates refuses it; public authorities no longer issue certificates "
        "for servers and clients in one",
        repair="use a certificate of a private authority, or self-signed, that the other side was told to trust",
    )


def _key(pair: Pair) -> Iterator[Note]:
    """Where the private key is at hand it has to be the certificate's."""
    if not pair.key:
        return
    try:
        fits = key_matches(load_private_key(pair.key.reveal()), pair.leaf.parsed)
    except PkiError as error:
        yield note(
            Code.KEY_MISMATCH, "error", f"its private key cannot be used: {error.text}", pair.leaf.subject
        )
        return
    if not fits:
        text = "its private key does not belong to the certificate"
        yield note(Code.KEY_MISMATCH, "error", text, pair.leaf.subject)


def _names(leaf: Certificate, used: Iterable[Use]) -> Iterator[Note]:
    """R10: where it is shown to senders, the certificate has to carry the interface's host name."""
    used = list(used)
    for host in dict.fromkeys(use.host for use in used if use.host):
        reference = ReferenceName(host, NameSource.OPERATOR)
        if match_names(leaf.names, [reference]) is None:
            where = ", ".join(use.what for use in used if use.host == host)
            text = f"it is not valid for {host}, the host name of {where}"
            meaning = f"a sender that verifies the name {host} refuses it"
            repair = f"use one that names {host}"
            yield note(Code.NAME_MISMATCH, "warning", text, leaf.subject, meaning=meaning, repair=repair)


def _rare(profile: Profile) -> Iterator[Note]:
    """Kinds of keys that many peers cannot do with, where there is no other certificate for those."""
    kinds = [rare_key(pair.leaf) for pair in profile.pairs]
    if all(kinds):
        text = f"many peers cannot do with {kinds[0]}"
        yield note(Code.RARE_KEY, "warning", text, profile.leaf.subject)


def _kind(leaf: Certificate) -> str:
    key = leaf.parsed.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA"
    return "ECDSA" if isinstance(key, ec.EllipticCurvePublicKey) else rare_key(leaf) or "other"
