"""What happens to a profile: it is signed, given intermediates, a second certificate, or another bundle.

How it works. Every function takes a profile and gives a `Change`: the profile as it is to be, and notes that tell people
what was kept, dropped or set apart on the way. Nothing here reads a file, the clock or the store; what a file brought
comes as `Brought`, public parts only, since the file was read elsewhere.

An answer of an authority belongs to the profile when it is for the key of the outstanding request, or for a key that is served
(R5). The bundle that comes with it is kept as it came, and replaces the old one: last year's intermediate never stays
beside this year's. When nothing came, those of the old ones stay that lead up from the new certificate (R6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gatepost.certs.times import iso_time
from gatepost.pki.certificate import Certificate, read_certificate, signed_by
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import NO_KEY, Origin, Pair, Profile
from gatepost.pki.selfsigned import read_request

FIRST, SECOND = "main", "beside"


class Holder(StrEnum):
    """Which of a profile's keys a certificate is for."""

    WAITING = "waiting"
    MAIN = "main"
    BESIDE = "beside"


@dataclass(frozen=True, slots=True)
class Brought:
    """The public parts of what an administrator gave: DER in the order of the files.

    `certificates` are of the file itself, `behind` of the file with the intermediates; `keys` are the public halves
    (SubjectPublicKeyInfo) of private keys that were in the file.
    """

    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    behind: tuple[bytes, ...] = field(default=(), repr=False)
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A profile as it is to be, and what people should know of the way there."""

    profile: Profile
    notes: tuple[str, ...] = ()


# --- signed by an authority -------------------------------------------------------------------------


def install_signed(profile: Profile, brought: Brought, now: float, *, beside: bool = False) -> Change:
    """The signed certificate in place of the one that is served (R5). `beside`: as the second of two.

    Raises PkiError when none of the certificates is for a key of the profile, when it has expired or is not yet
    valid, or when a private key that came with it is another's.
    """
    leaf, holder = _leaf_for(profile, brought)
    _require_current(leaf, now)
    _require_same_key(leaf, brought)
    second = _is_second(profile, leaf, holder, beside)
    old = profile.beside if second and profile.beside is not None else profile.main
    others = _without(brought.certificates, leaf.der) + brought.behind
    notes = list(brought.notes)
    if brought.keys:
        notes.append("the private key in the file is the one that is here already; it was left out")
    if not others:
        others, dropped = still_belonging(leaf, old.intermediates, now)
        notes += _said_of_old(others, dropped)
    notes += _apart(leaf, others)
    key = profile.next_key if holder is Holder.WAITING else old.key
    origin = Origin.SELF_SIGNED if leaf.self_signed else Origin.SIGNED
    pair = Pair(leaf.der, others, key, origin, now)
    changed = with_pair(profile, pair, second=second)
    if holder is Holder.WAITING:
        changed = replace(changed, next_key=NO_KEY)
        notes.append("the key that was waiting for it is the served one now")
    elif profile.next_key:
        notes.append("it is for the key that was served before; the request with the new key is still open")
    return Change(changed, tuple(notes))


def install_intermediates(profile: Profile, behind: tuple[bytes, ...], *, beside: bool = False) -> Change:
    """Other intermediates behind the certificate that is served; the old ones go. Raises PkiError for none."""
    if not behind:
        raise PkiError("the file holds no certificate", "give the intermediates of the authority, PEM or DER")
    pair = _pair(profile, beside)
    changed = replace(pair, intermediates=behind)
    dropped = [read_certificate(der) for der in pair.intermediates if der not in behind]
    notes = [f"{one.subject} of the old bundle was left out" for one in dropped]
    return Change(with_pair(profile, changed, second=beside), (*notes, *_apart(pair.leaf, behind)))


def _leaf_for(profile: Profile, brought: Brought) -> tuple[Certificate, Holder]:
    """The certificate that is for a key of the profile, the newest of several."""
    read = [read_certificate(der) for der in brought.certificates]
    if not read:
        raise PkiError(
            "the file holds no certificate",
            "give the signed certificate; intermediates alone are given with --intermediates",
        )
    for holder, public in _public_keys(profile):
        own = [certificate for certificate in read if certificate.public_key_der == public]
        if own:
            return max(own, key=lambda certificate: certificate.not_before), holder
    if all(certificate.is_ca for certificate in read):
        raise PkiError(
            f"the file holds certificates of authorities only, the first is {read[0].subject}",
            "the signed certificate has to be in it; intermediates alone are given with --intermediates",
        )
    subject = next(certificate.subject for certificate in read if not certificate.is_ca)
    raise PkiError(
        f"the certificate {subject} was not made for a key of {profile.name}",
        "have the request signed that `gatepost cert csr` prints, or import certificate and key "
        "together with `gatepost cert import … --replace`",
    )


def _public_keys(profile: Profile) -> list[tuple[Holder, bytes]]:
    """The public halves of the profile's keys, the one of an outstanding request first."""
    found = [(Holder.MAIN, profile.leaf.public_key_der)]
    if profile.beside is not None:
        found.append((Holder.BESIDE, profile.beside.leaf.public_key_der))
    if profile.next_key and profile.csr:
        found.insert(0, (Holder.WAITING, read_request(profile.csr).public_key))
    return found


def _require_current(leaf: Certificate, now: float) -> None:
    if leaf.not_after < now:
        raise PkiError(
            f"the certificate {leaf.subject} expired on {iso_time(leaf.not_after)[:10]}",
            "ask the authority for a current one; the one that is served stays",
        )
    if leaf.not_before > now:
        raise PkiError(
            f"the certificate {leaf.subject} is not yet valid, it begins at {iso_time(leaf.not_before)}",
            "install it then, or look at this machine's clock; the one that is served stays",
        )


def _require_same_key(leaf: Certificate, brought: Brought) -> None:
    if brought.keys and leaf.public_key_der not in brought.keys:
        raise PkiError(
            f"the private key in the file does not belong to the certificate {leaf.subject}",
            "leave the key out of the file: the right one is here already",
        )


def _is_second(profile: Profile, leaf: Certificate, holder: Holder, asked: bool) -> bool:
    """Whether the certificate becomes the second of two."""
    if holder is Holder.BESIDE:
        return True
    if holder is Holder.MAIN:
        if asked:
            raise PkiError(
                f"the certificate {leaf.subject} is for the key of the first certificate of {profile.name}",
                "leave --beside out; the second certificate has a key of another kind",
            )
        return False
    known = profile.beside
    return asked or (known is not None and key_family(leaf) == key_family(known.leaf))


# --- the bundle behind a certificate ----------------------------------------------------------------


def still_belonging(
    leaf: Certificate, old: Iterable[bytes], now: float
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Those of the old intermediates that lead up from the leaf, in that order, and the others.

    Where two of them could stand at one place (one of them renewed, or cross-signed), the one that lasts longest stays.
    """
    left = [read_certificate(der) for der in dict.fromkeys(old)]
    path: list[Certificate] = []
    at = leaf
    while not at.self_issued:
        fitting = [c for c in left if c not in path and c.not_after > now and signed_by(at.parsed, c.parsed)]
        if not fitting:
            break
        at = max(fitting, key=lambda certificate: certificate.not_after)
        path.append(at)
    return tuple(c.der for c in path), tuple(c.der for c in left if c not in path)


def _said_of_old(kept: Sequence[bytes], dropped: Sequence[bytes]) -> list[str]:
    notes = [
        f"{read_certificate(der).subject} of the old bundle belongs to the new certificate and stays"
        for der in kept
    ]
    return notes + [
        f"{read_certificate(der).subject} of the old bundle has no place behind the new certificate and was dropped"
        for der in dropped
    ]


def _apart(leaf: Certificate, others: Iterable[bytes]) -> list[str]:
    """The roots among them, which are kept and not sent."""
    read = (read_certificate(der) for der in dict.fromkeys(others))
    return [
        f"the root {one.subject} is kept and not sent to peers"
        for one in read
        if one.self_signed and one != leaf
    ]


def with_bundles(profile: Profile, bundles: Sequence[tuple[bytes, ...]]) -> Change:
    """Other intermediates behind each served certificate, and what that changes, for people (R6, `--repair`)."""
    changed, notes = profile, list[str]()
    for place, (pair, bundle) in enumerate(zip(profile.pairs, bundles, strict=True)):
        notes += _said_of_repair(pair.intermediates, bundle)
        changed = with_pair(changed, replace(pair, intermediates=tuple(bundle)), second=place == 1)
    return Change(changed, tuple(notes))


def _said_of_repair(old: Sequence[bytes], new: Sequence[bytes]) -> list[str]:
    left = list(old)
    for der in new:
        if der in left:
            left.remove(der)
    notes = [f"taken out: {read_certificate(der).subject}" for der in left]
    notes += [f"put in: {read_certificate(der).subject}" for der in new if der not in old]
    both = [der for der in dict.fromkeys(old) if der in new]
    if both != [der for der in new if der in old]:
        notes.append("put in order, each behind the one that it signed")
    return notes


# --- two certificates under one name ----------------------------------------------------------------


def put_beside(profile: Profile, other: Profile) -> Change:
    """The certificate of another profile as the second of two (R5 for both kinds of key). Raises PkiError."""
    notes = () if profile.beside is None else ("the second certificate that was here before is replaced",)
    return Change(with_pair(profile, other.main, second=True), notes)


def replace_first(profile: Profile, other: Profile) -> Change:
    """The certificate of another profile instead of the first one: what an import over a name means.

    A second certificate stays as long as its key is of another kind; a request whose key was the replaced one goes.
    """
    notes: list[str] = []
    beside = profile.beside
    if beside is not None and key_family(beside.leaf) == key_family(other.leaf):
        notes.append(
            f"the second certificate, {beside.leaf.subject}, is of the same kind of key and was dropped"
        )
        beside = None
    csr = profile.csr if profile.next_key else b""
    return Change(
        replace(other, name=profile.name, beside=beside, csr=csr, next_key=profile.next_key), tuple(notes)
    )


def without_beside(profile: Profile) -> Change:
    """The profile with its first certificate only. Raises PkiError when there is no second."""
    pair = _pair(profile, True)
    alone = _with_own_request(replace(profile, beside=None))
    return Change(alone, (f"{pair.leaf.subject} is no longer served beside",))


def with_pair(profile: Profile, pair: Pair, *, second: bool) -> Profile:
    """The profile with one of its certificates replaced. Raises PkiError when both are of the same kind of key."""
    other = profile.main if second else profile.beside
    family = key_family(pair.leaf)
    if other is not None and key_family(other.leaf) == family:
        raise PkiError(
            f"{profile.name} would have two {family} certificates, and peers could be shown only one",
            "two certificates of one name have keys of different kinds; replace the one, or use another name",
        )
    if second:
        return _with_own_request(replace(profile, beside=pair))
    changed = replace(
        profile,
        certificate=pair.certificate,
        intermediates=pair.intermediates,
        key=pair.key,
        origin=pair.origin,
        created=pair.created,
    )
    return _with_own_request(changed)


def _with_own_request(profile: Profile) -> Profile:
    """Without a request whose key is neither served any more nor waiting: its answer could not be installed."""
    if profile.csr and not profile.next_key and profile.waiting:
        return replace(profile, csr=b"")
    return profile


def _pair(profile: Profile, beside: bool) -> Pair:
    if not beside:
        return profile.main
    if profile.beside is None:
        raise PkiError(f"{profile.name} has no second certificate", "leave --beside out")
    return profile.beside


def which_pair(profile: Profile, which: str) -> Pair:
    """`main` or `beside`. Raises PkiError for anything else, or where there is no second certificate."""
    if which not in (FIRST, SECOND):
        raise PkiError(f"{which} is neither {FIRST} nor {SECOND}")
    return _pair(profile, which == SECOND)


def key_family(certificate: Certificate) -> str:
    """`RSA`, `ECDSA`, `Ed25519` or `Ed448`: what decides whether two certificates can stand side by side."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    match certificate.parsed.public_key():
        case rsa.RSAPublicKey():
            return "RSA"
        case ec.EllipticCurvePublicKey():
            return "ECDSA"
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ed448.Ed448PublicKey():
            return "Ed448"
        case other:
            return type(other).__name__


def _without(certificates: Sequence[bytes], leaf: bytes) -> tuple[bytes, ...]:
    """All but the first appearance of the leaf: what stands there twice is kept, and found."""
    place = certificates.index(leaf)
    return (*certificates[:place], *certificates[place + 1 :])
