"""The chain doctor: what is wrong with a chain that is sent or stored, what peers see of it, and the right bundle (R5, R6, R35).

`diagnose` takes the certificates as they are sent, the host's own first. It looks for all ways up to a root (`routes`), takes
the best as the bundle, and tells what differs from it (`untidy`), what the judge finds along it, and what is odd about
the host's certificate itself (`leaf`). It never raises for what a file may hold, and never touches a network: a
certificate that is nowhere at hand is named, with the address that the certificate gives for it.

The bundle has the right intermediates in the right order, never the root, nothing twice, nothing stale, no stranger. It does not
depend on the order in which they were sent, and a bundle that is diagnosed again stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate, read_certificate
from gatepost.pki.checks import check_dates
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.findings import UNANCHORED, Code, Finding
from gatepost.pki.judge import ChainVerdict, Purpose, judge_chain
from gatepost.pki.leaf import leaf_notes
from gatepost.pki.lifetimes import day, lifetime_notes
from gatepost.pki.notes import REPAIR_COMMAND, Note, note
from gatepost.pki.revocation import NO_CRLS, Crls
from gatepost.pki.routes import Pool, Routes, best_route
from gatepost.pki.untidy import Comparison, untidy_notes

__all__ = ["Diagnosis", "Note", "Pool", "diagnose", "in_order"]

MAX_LOOKED_AT = 1000  # certificates of one chain; those behind are left out of the bundle
MAX_OF_ONE_CODE = 20  # findings that are told one by one


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings, the gravest first, and the intermediates that should be sent.

    `changed` says that the bundle differs from what is there; `verifies` that with it the chain is sound up to a trusted root.
    """

    findings: tuple[Note, ...]
    bundle: tuple[bytes, ...]
    changed: bool
    verifies: bool = False


def diagnose(
    chain: Sequence[bytes],
    anchors: Anchors,
    now: float,
    *,
    known: Sequence[bytes] | Pool = (),
    crls: Crls = NO_CRLS,
    purpose: Purpose = Purpose.SERVER,
) -> Diagnosis:
    """Look at a chain of DER certificates, the host's own first, at `now` (seconds since the epoch).

    `known` are intermediates that may fill a gap; who looks at many chains makes the pool once.
    """
    verdict = judge_chain(chain, anchors, now, purpose, crls)
    read = [_readable(der) for der in chain[:MAX_LOOKED_AT]]
    leaf = read[0] if read else None
    if leaf is None:
        unread = [_said(found) for found in verdict.findings]
        return Diagnosis(in_order(unread), tuple(chain[1:]), changed=False)
    behind = [certificate for certificate in read[1:] if certificate is not None]
    pool = known if isinstance(known, Pool) else Pool.of(known)
    routes = Routes(leaf, behind, pool, anchors, now)
    route, others = best_route(routes, now, purpose, crls)
    tail = routes.beyond(route, purpose)
    bundle = tuple(certificate.der for certificate in (*route.intermediates, *tail))
    changed = bundle != tuple(chain[1:])
    repaired = judge_chain((leaf.der, *bundle), anchors, now, purpose, crls) if changed else verdict
    comparison = Comparison(routes, behind, route, tail, others, now)
    notes = [
        *_trust_notes(comparison),
        *_judged(verdict, repaired, comparison),
        *lifetime_notes(leaf, route.upper, now),
        *untidy_notes(comparison),
        *leaf_notes(leaf),
    ]
    if len(chain) > MAX_LOOKED_AT:
        text = f"{len(chain)} certificates are sent; only the first {MAX_LOOKED_AT} were looked at"
        notes.append(note(Code.TOO_LONG, "warning", text, leaf.subject))
    return Diagnosis(in_order(notes), bundle, changed, repaired.ok)


def in_order(notes: Sequence[Note]) -> tuple[Note, ...]:
    """Each once, errors before warnings before explanations; of many of one code some, and how many more there are."""
    grave = {"error": 0, "warning": 1, "info": 2}
    of_code: dict[str, list[Note]] = {}
    for found in dict.fromkeys(notes):
        of_code.setdefault(found.code, []).append(found)
    kept = [found for same in of_code.values() for found in _some(same)]
    return tuple(sorted(kept, key=lambda found: grave[found.severity]))


def _some(same: Sequence[Note]) -> Iterator[Note]:
    yield from same[:MAX_OF_ONE_CODE]
    more = len(same) - MAX_OF_ONE_CODE
    if more > 0:
        yield replace(same[-1], text=f"and {more} more of this kind", subject="")


def _readable(der: bytes) -> Certificate | None:
    try:
        return read_certificate(der)
    except MalformedCertificate:
        return None


def _trust_notes(comparison: Comparison) -> Iterator[Note]:
    """Whether what is sent leads to a root that is trusted, and what is missing on the way."""
    leaf, route = comparison.leaf, comparison.route
    if comparison.leaf_is_root:
        text = "self-signed: TLS works, but a sender that requires verification will refuse it"
        yield note(Code.SELF_SIGNED, "warning", text, leaf.subject)
        return
    for below, certificate in comparison.missing():
        text = f"the certificate of {certificate.subject} is missing, which signed {below.subject}"
        repair = f"{REPAIR_COMMAND} puts it in: it is known here"
        yield note(Code.MISSING_INTERMEDIATE, "error", text, certificate.subject, repair=repair)
    top = comparison.top
    if route.root is None:
        if comparison.damaged(top):
            return  # the judge tells of the bad signature
        if comparison.circle:
            text = f"the chain leads from {top.subject} back to {top.issuer} and to no root"
            yield note(Code.UNTRUSTED_ROOT, "error", text, top.subject)
            return
        yield _unknown_issuer(top, depth=len(route.intermediates))
    elif not route.anchored:
        text = f"the chain ends in {route.root.subject}, which is not among the trusted roots"
        yield note(Code.UNTRUSTED_ROOT, "error", text, route.root.subject)


def _unknown_issuer(top: Certificate, depth: int) -> Note:
    text = f"the certificate of {top.issuer} is missing, which signed {top.subject}"
    if depth:
        text += "; it is an intermediate, or a root that is not trusted here"
    sources = top.issuer_addresses
    where = f"; {top.subject} says that it is at {sources[0]}" if sources else ""
    repair = (
        f"get it from the authority and install it as intermediate{where}; if it is a root that you trust, "
    )
    repair += "add it with `gatepost ca import`"
    return note(Code.MISSING_INTERMEDIATE, "error", text, top.issuer, repair=repair)


def _judged(verdict: ChainVerdict, repaired: ChainVerdict, comparison: Comparison) -> Iterator[Note]:
    """What the judge says of the chain as sent, and what remains wrong when it is repaired."""
    told: set[tuple[Code, str]] = set()
    for found in (*verdict.findings, *repaired.findings):
        if found.code in UNANCHORED or (found.code, found.subject) in told:
            continue
        if found.code is Code.BAD_SIGNATURE and not comparison.damaged(comparison.top):
            continue  # the issuer's name with another key: the missing certificate says it
        told.add((found.code, found.subject))
        yield _said(found, comparison)


def _said(found: Finding, comparison: Comparison | None = None) -> Note:
    text, repair = found.text, ""
    at = _dated(found, comparison) if comparison is not None else None
    if at is not None:
        late = found.code is Code.EXPIRED
        text = f"expired on {day(at.not_after)}" if late else f"is not valid before {day(at.not_before)}"
        if comparison is not None:
            repair = _instead_of(at, comparison)
    where = f" ({found.subject})" if found.depth and found.subject else ""
    return note(
        found.code, "error" if found.breaks else "warning", text + where, found.subject, repair=repair
    )


def _instead_of(dated: Certificate, comparison: Comparison) -> str:
    """What mends a wrong date above the host's certificate, where it is not the usual."""
    if dated == comparison.route.root:
        return "have a certificate issued under the authority's current root"
    if dated in comparison.bundle:
        return "get the authority's current intermediate and install it"
    return f"{REPAIR_COMMAND} puts the current one in its place" if dated != comparison.leaf else ""


def _dated(found: Finding, comparison: Comparison) -> Certificate | None:
    """The certificate that a finding about dates is about."""
    some = (comparison.leaf, *comparison.behind, *comparison.route.upper)
    return next(
        (
            certificate
            for certificate in some
            if certificate.subject == found.subject
            and any(again.code is found.code for again in check_dates(0, certificate, comparison.now))
        ),
        None,
    )
