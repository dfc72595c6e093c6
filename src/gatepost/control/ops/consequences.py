"""What a commit means for certificates: what is to be said of an assignment (R2), and which certificates are new in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gatepost.certs.usage import Use, uses
from gatepost.control.ops.registry import Context
from gatepost.core.certificate_events import CertificateIssued
from gatepost.core.errors import Problem
from gatepost.pki.profile import Origin, Profile
from gatepost.store.config_store import Content


def assignment_warnings(context: Context, before: Content, after: Content) -> tuple[Problem, ...]:
    """One warning for each certificate that nobody can verify and that is now assigned somewhere (R2)."""
    if before.document == after.document:
        return ()
    known = {(use.what, use.certificate) for use in uses(before.document)}
    fresh = [use for use in uses(after.document) if (use.what, use.certificate) not in known]
    return _unverifiable_among(context, after.profiles, fresh, {})


def unverifiable(
    context: Context,
    profiles: Mapping[str, int],
    document: Mapping[str, Any],
    coming: Mapping[str, Profile],
) -> tuple[Problem, ...]:
    """The same for everything that is assigned. `coming` are profiles that are not in the store yet."""
    return _unverifiable_among(context, profiles, uses(document), coming)


def _unverifiable_among(
    context: Context, profiles: Mapping[str, int], used: Iterable[Use], coming: Mapping[str, Profile]
) -> tuple[Problem, ...]:
    places: dict[str, list[Use]] = {}
    for use in used:
        if use.certificate in profiles or use.certificate in coming:
            places.setdefault(use.certificate, []).append(use)
    found = (
        (name, where, _look(context, profiles, coming.get(name), name)) for name, where in places.items()
    )
    return tuple(_unverifiable(name, where, demo) for name, where, (alone, demo) in found if alone)


def _look(
    context: Context, profiles: Mapping[str, int], coming: Profile | None, name: str
) -> tuple[bool, bool]:
    """Whether nobody can verify a certificate, and whether it is the demo certificate."""
    if coming is not None:
        return all(not pair.verifiable for pair in coming.pairs), coming.origin is Origin.DEMO
    facts = context.inventory().facts(profiles[name])
    return bool(facts.leaves) and all(leaf.alone for leaf in facts.leaves), facts.origin == Origin.DEMO


def _unverifiable(name: str, found: list[Use], demo: bool) -> Problem:
    where = ", ".join(use.what for use in found)
    if demo:
        text = f"{name} is a demo certificate: it encrypts, but nobody can verify it ({where})"
        return Problem(found[0].path, text, "make or import a certificate of your own", warning=True)
    text = (
        f"{name} is self-signed: TLS works, but a sender that requires verification will refuse it ({where})"
    )
    return Problem(found[0].path, text, "have it signed by an authority", warning=True)


def issued(context: Context, before: Content, after: Content, number: int) -> Iterator[CertificateIssued]:
    """The certificates that are served for the first time with version `number`; what a rollback brings back is not new.

    Of automatic ones the renewal itself tells.
    """
    inventory = context.inventory()
    for name, revision in after.profiles.items():
        old = before.profiles.get(name)
        if revision == old or any(
            row[3] == revision for row in context.store.committed(name) if row[0] < number
        ):
            continue
        known = {leaf.fingerprint for leaf in inventory.facts(old).leaves} if old is not None else set()
        for leaf in inventory.facts(revision).leaves:
            if leaf.fingerprint not in known and leaf.origin != Origin.AUTOMATIC:
                yield CertificateIssued(
                    context.clock.now(), name, leaf.origin, leaf.subject, leaf.not_after, leaf.fingerprint
                )
