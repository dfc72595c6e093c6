"""What is sent along, compared with what should be: twice, stale, in the wrong order, strangers, roots, cross-signs (R6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from gatepost.pki.certificate import Certificate
from gatepost.pki.findings import Code
from gatepost.pki.lifetimes import day
from gatepost.pki.notes import Note, note
from gatepost.pki.routes import Route, Routes, authority_key, identity, own_key


@dataclass(frozen=True)
class Comparison:
    """What is sent behind a host's certificate (`behind`, as sent), and the best way found (`route` and `tail`)."""

    routes: Routes
    behind: Sequence[Certificate]
    route: Route
    tail: tuple[Certificate, ...]
    others: Sequence[Route]
    now: float

    @property
    def leaf(self) -> Certificate:
        """The host's certificate."""
        return self.routes.leaf

    @property
    def leaf_is_root(self) -> bool:
        """The host's certificate signed itself."""
        return self.route.root == self.leaf

    @cached_property
    def bundle(self) -> tuple[Certificate, ...]:
        """What should be sent behind the host's certificate."""
        return (*self.route.intermediates, *self.tail)

    @property
    def top(self) -> Certificate:
        """The last certificate before the root, or before the gap."""
        return self.route.intermediates[-1] if self.route.intermediates else self.leaf

    @property
    def end(self) -> str:
        """The name of the root, or of what signed the last certificate before the gap."""
        return self.top.issuer

    def missing(self) -> Iterator[tuple[Certificate, Certificate]]:
        """What should be sent and is not, with the certificate below; not where an older one of the same key stands for it."""
        sent = {identity(certificate) for certificate in self.behind}
        for below, certificate in pairwise((self.leaf, *self.route.intermediates)):
            if certificate not in self.routes.served and identity(certificate) not in sent:
                yield below, certificate

    def damaged(self, certificate: Certificate) -> bool:
        """Its issuer is sent or trusted, by name and by key identifier, and did not make this signature."""
        wanted = authority_key(certificate)
        if self.route.root is not None or not wanted:
            return False
        named = (*self.behind, *self.routes.anchors.named(certificate.issuer_key))
        return any(
            c.subject_key == certificate.issuer_key
            and own_key(c) == wanted
            and not self.routes.is_signed(certificate, c)
            for c in named
        )

    @property
    def circle(self) -> bool:
        """The way ends in an authority that it has passed already."""
        return self.route.root is None and bool(self.routes.issuers(self.top))

    def expired(self, certificate: Certificate) -> bool:
        """Its end has passed."""
        return self.now > certificate.not_after


def untidy_notes(comparison: Comparison) -> Iterator[Note]:
    """Everything that is wrong with the set and its order."""
    yield from _twice(comparison)
    kept = list(dict.fromkeys(c for c in comparison.behind if c != comparison.leaf))
    for certificate in kept:
        if certificate not in comparison.bundle:
            yield _superfluous(certificate, comparison)
    yield from _order(kept, comparison)
    yield from _cross_signs(comparison)


def _twice(comparison: Comparison) -> Iterator[Note]:
    seen = {comparison.leaf}
    for certificate in comparison.behind:
        if certificate in seen:
            text = f"{certificate.subject} is there twice"
            yield note(Code.DUPLICATE, "warning", text, certificate.subject)
        seen.add(certificate)


def _superfluous(certificate: Certificate, comparison: Comparison) -> Note:
    """Why a certificate should not be sent."""
    subject = certificate.subject
    route = comparison.route
    if comparison.routes.is_root(certificate):
        if not comparison.leaf_is_root and (not route.anchored or _leads_to(certificate, comparison.others)):
            text = f"the root {subject} is sent along; no peer needs it"
            return note(Code.ROOT_INCLUDED, "warning", text, subject)
        return note(Code.UNRELATED, "warning", f"the root {subject} does not belong to the chain", subject)
    for current in (comparison.leaf, *route.upper):
        found = _beside(certificate, current, comparison)
        if found is not None:
            return found
    if route.root is None and certificate.subject_key == comparison.top.issuer_key:
        text = f"{subject} is there with another key than the one that signed {comparison.top.subject}"
        return note(Code.STALE, "warning", text, subject)
    ends = next((r.root.subject for r in comparison.others if r.root and certificate in r.intermediates), "")
    if ends:
        text = f"{subject} belongs to another way, to {ends}, which is not needed beside the one to {comparison.end}"
        return note(Code.UNRELATED, "warning", text, subject)
    siblings = {current.issuer_key for current in route.intermediates}
    if certificate.is_ca and certificate.issuer_key in siblings and comparison.expired(certificate):
        text = f"{subject} expired on {day(certificate.not_after)} and belongs to an earlier chain of its authority"
        return note(Code.STALE, "warning", text, subject)
    text = f"{subject} does not belong to the chain"
    if route.root is None and not comparison.damaged(comparison.top):
        text += f" as far as it is known: the certificate of {comparison.top.issuer} may lie between"
    return note(Code.UNRELATED, "warning", text, subject)


def _leads_to(root: Certificate, routes: Sequence[Route]) -> bool:
    return any(route.root is not None and identity(route.root) == identity(root) for route in routes)


def _beside(certificate: Certificate, current: Certificate, comparison: Comparison) -> Note | None:
    """What a certificate is that shares its subject with one of the chain."""
    subject = certificate.subject
    if certificate.subject_key != current.subject_key:
        return None
    older = (certificate.not_before, certificate.not_after) < (current.not_before, current.not_after)
    if older or comparison.expired(certificate):
        verb = "expired on" if comparison.expired(certificate) else "until"
        text = f"{subject} ({verb} {day(certificate.not_after)}) is older than the current one, until {day(current.not_after)}"
        return note(Code.STALE, "warning", text, subject)
    if current == comparison.route.root:
        text = f"the cross-sign of {subject} by {certificate.issuer} is of no use here"
        return note(Code.UNRELATED, "warning", text, subject)
    if identity(certificate) == identity(current):
        text = f"{subject} is there with two certificates for the same key, by {current.issuer} and {certificate.issuer}"
        return note(Code.DUPLICATE, "warning", text, subject)
    text = f"{subject} has the name of a certificate of the chain and another key"
    return note(Code.UNRELATED, "warning", text, subject)


def _order(kept: Sequence[Certificate], comparison: Comparison) -> Iterator[Note]:
    leaf = comparison.leaf
    if leaf.is_ca and any(
        not c.is_ca and c.issuer_key == leaf.subject_key and comparison.routes.is_signed(c, leaf)
        for c in kept
    ):
        text = f"the first certificate is the authority {leaf.subject}; the host's own has to be the first"
        yield note(Code.MISORDERED, "error", text, leaf.subject, repair="put the host's certificate first")
        return
    wanted = [certificate for certificate in comparison.bundle if certificate in comparison.routes.served]
    if [certificate for certificate in kept if certificate in comparison.bundle] != wanted:
        text = "the intermediates are not in the order from the host's certificate to the root"
        yield note(Code.MISORDERED, "warning", text, leaf.subject)


def _cross_signs(comparison: Comparison) -> Iterator[Note]:
    """Other sound ways that lead to another trusted root: which peers need them."""
    route = comparison.route
    if route.root is None:
        return
    if comparison.tail:
        first, last = comparison.tail[0], comparison.tail[-1]
        text = f"{first.subject} is sent as a cross-sign, for peers that trust {last.issuer} and not {route.root.subject}"
        meaning = f"peers that trust {route.root.subject} verify without it, others up to {last.issuer}"
        repair = f"keep it as long as such peers matter; it ends on {day(first.not_after)}"
        yield note(Code.CROSS_SIGN, "info", text, first.subject, meaning=meaning, repair=repair)
        return
    for other in comparison.others:
        root = other.root
        if not other.anchored or root is None or identity(root) == identity(route.root):
            continue
        if any(comparison.expired(c) or comparison.now < c.not_before for c in other.upper):
            continue
        text = f"another way leads to {root.subject}"
        meaning = (
            f"peers that trust only {root.subject} need it; those that trust {route.root.subject} do not"
        )
        yield note(Code.CROSS_SIGN, "info", text, root.subject, meaning=meaning)
        return
