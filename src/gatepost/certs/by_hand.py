"""Renewal by hand (R8): a self-signed certificate is made anew at once, any other gets a new request for its authority.

Subject and names are those of the certificate that is there. The key stays unless a new one is asked for; a new key of a
request waits in the profile until the signed certificate comes, and what is served goes on being served.
`plan` says what would happen and changes nothing; `carry_out` does it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from gatepost.certs.lifecycle import Change, key_family, with_pair
from gatepost.pki.certificate import Certificate
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind, PrivateKey, generate, key_pem, load_private_key
from gatepost.pki.profile import NO_KEY, Origin, Pair, Profile
from gatepost.pki.selfsigned import MAX_DAYS, read_request, request_again, self_signed_again

DAY = 86_400
_FAMILY = {
    KeyKind.RSA2048: "RSA",
    KeyKind.RSA3072: "RSA",
    KeyKind.RSA4096: "RSA",
    KeyKind.P256: "ECDSA",
    KeyKind.P384: "ECDSA",
    KeyKind.ED25519: "Ed25519",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. `kind` implies a new key; `days` 0 means as long as before; `beside` is the second certificate."""

    new_key: bool = False
    kind: KeyKind | None = None
    days: int = 0
    beside: bool = False


class Step(StrEnum):
    """What a renewal comes to."""

    ANEW = "self-signed"
    REQUEST = "request"
    SAME_REQUEST = "existing-request"


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done: `kind` is the new key's, None where the key stays; `days` counts for a self-signed one only."""

    step: Step
    kind: KeyKind | None
    days: int
    beside: bool
    gives_up: bool = False  # an open request with a key of its own


def plan(profile: Profile, wish: Wish) -> Plan:
    """What the wish comes to. Raises PkiError for one that cannot be."""
    pair = profile.beside if wish.beside else profile.main
    kind = _new_kind(profile, pair, wish)
    model = pair or profile.main
    if not model.verifiable:
        days = wish.days or _days(model.leaf)
        if not 1 <= days <= MAX_DAYS:
            raise PkiError(f"the duration goes from 1 to {MAX_DAYS} days")
        return Plan(Step.ANEW, kind, days, wish.beside)
    if wish.days:
        raise PkiError(
            f"{profile.name} is signed by an authority, which decides how long it is valid",
            "leave --days out; it is for self-signed certificates",
        )
    if kind is None and _asks_for_the_same(profile, model):
        return Plan(Step.SAME_REQUEST, None, 0, wish.beside)
    return Plan(Step.REQUEST, kind, 0, wish.beside, gives_up=profile.waiting)


def _new_kind(profile: Profile, pair: Pair | None, wish: Wish) -> KeyKind | None:
    """The kind of the new key, or None for the key that is there."""
    if pair is None and wish.kind is None:
        raise PkiError(
            f"{profile.name} has no second certificate",
            "to make one, say of which kind its key is to be, for example --beside --key p256",
        )
    kind = wish.kind
    if kind is None and wish.new_key and pair is not None:
        kind = _kind_like(pair.leaf)
    other = profile.main if wish.beside else profile.beside
    if kind is not None and other is not None and _FAMILY[kind] == key_family(other.leaf):
        raise PkiError(
            f"{profile.name} would have two {_FAMILY[kind]} certificates, and peers could be shown only one",
            "choose a key of another kind",
        )
    return kind


def _kind_like(leaf: Certificate) -> KeyKind:
    """The kind that can be made and comes nearest to the key of a certificate."""
    match leaf.parsed.public_key():
        case rsa.RSAPublicKey() as key:
            if key.key_size > 3072:
                return KeyKind.RSA4096
            return KeyKind.RSA3072 if key.key_size > 2048 else KeyKind.RSA2048
        case ec.EllipticCurvePublicKey() as key:
            return KeyKind.P256 if key.key_size <= 256 else KeyKind.P384
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return KeyKind.ED25519
        case _:
            return KeyKind.RSA2048


def _days(leaf: Certificate) -> int:
    """How long the certificate was made for, in whole days."""
    return min(max(round((leaf.not_after - leaf.not_before) / DAY), 1), MAX_DAYS)


def _asks_for_the_same(profile: Profile, pair: Pair) -> bool:
    """The request that is there is for this certificate's key, subject and names."""
    if not profile.csr or profile.waiting:
        return False
    there = read_request(profile.csr)
    leaf = pair.leaf
    return (there.subject, set(there.names), there.public_key) == (
        leaf.subject,
        set(leaf.names.texts()),
        leaf.public_key_der,
    )


def carry_out(profile: Profile, planned: Plan, now: float) -> Change:
    """Do it; a new RSA key takes up to seconds. Raises PkiError."""
    if planned.step is Step.SAME_REQUEST:
        return Change(profile)
    pair = profile.beside if planned.beside and profile.beside is not None else profile.main
    key = generate(planned.kind) if planned.kind is not None else load_private_key(pair.key.reveal())
    if planned.step is Step.ANEW:
        return Change(_made_anew(profile, pair, planned, key, now))
    request = request_again(pair.certificate, key)
    notes = ("the request that was open before, and its key, are given up",) if planned.gives_up else ()
    waiting = key_pem(key) if planned.kind is not None else NO_KEY
    return Change(replace(profile, csr=request, next_key=waiting), notes)


def _made_anew(profile: Profile, pair: Pair, planned: Plan, key: PrivateKey, now: float) -> Profile:
    made = self_signed_again(pair.certificate, planned.days, key, now)
    origin = Origin.DEMO if pair.origin is Origin.DEMO else Origin.SELF_SIGNED
    changed = with_pair(profile, Pair(made.certificate, (), key_pem(key), origin, now), second=planned.beside)
    if profile.next_key:
        return changed  # the request there is open, with a key of its own
    return replace(changed, csr=request_again(made.certificate, key))
