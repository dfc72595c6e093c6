"""What an administrator is told of a place: the records to publish, what each server shows, and what to do next.

Values and sentences only; the faces lay them out. `ok` is false where a sender with DANE would refuse what is served now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gatepost.certs.dane import (
    SUGGESTED_TTL,
    Shown,
    covering,
    covers,
    issuer_records,
    key_records,
    useful,
)
from gatepost.certs.dane_time import TTLS, Readiness, ServerView, Signed, Verdict, View
from gatepost.certs.times import iso_time
from gatepost.core.tlsa import Tlsa, strongest

_HEX = 16


class Role(StrEnum):
    """What a record is for."""

    CURRENT = "current"
    NEXT = "next"
    ISSUER = "issuer"
    OTHER = "other"  # another certificate of ours at the same place
    EARLIER = "earlier"  # a certificate that was served before
    STALE = "stale"  # nothing that is known here
    UNUSABLE = "unusable"


@dataclass(frozen=True, slots=True)
class Line:
    """A record to publish; `of` is the profile, `on` the servers that show it already."""

    record: Tlsa
    role: Role
    of: str
    on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A record that is published: what it is of, on which servers, and from when on it may go (0: not said)."""

    record: Tlsa
    role: Role
    text: str
    on: tuple[str, ...]
    remove_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Earlier:
    """A certificate that a profile served until `until`, since version `version`."""

    shown: Shown
    version: int
    until: float


@dataclass(frozen=True, slots=True)
class Known:
    """What is shown at a place: of the profile itself, of other profiles, what comes next, and what was before."""

    name: str
    served: tuple[Shown, ...]
    others: tuple[Shown, ...] = ()
    coming: tuple[Shown, ...] = ()
    earlier: tuple[Earlier, ...] = ()

    @property
    def new(self) -> tuple[Shown, ...]:
        """What comes and has a key of its own."""
        keys = {one.public_key for one in self.served}
        return tuple(one for one in self.coming if one.public_key not in keys)


@dataclass(frozen=True, slots=True)
class PlaceReport:
    """Everything about one place."""

    view: View
    ttl: int
    publish: tuple[Line, ...]
    alternative: tuple[Line, ...]
    found: tuple[Found, ...]
    readiness: Readiness | None
    ok: bool
    serving: str
    advice: tuple[str, ...] = field(default=())


def report(view: View, known: Known, readiness: Readiness | None, now: float) -> PlaceReport:
    """The report on a place; `readiness` is that of what comes next, None where nothing does."""
    ok, serving = _serving(view, known, now)
    publish = tuple(_publish(view, known))
    ttl = min(view.ttl or SUGGESTED_TTL, SUGGESTED_TTL)
    alternative = tuple(
        Line(record, Role.ISSUER, known.name, _on(view, record))
        for record in issuer_records(known.served, view.place.host, now)
    )
    found = tuple(_found(record, view, known, now) for record in view.records)
    made = PlaceReport(view, ttl, publish, alternative, found, readiness, ok, serving)
    advice = tuple(_advice(made, known, now))
    return PlaceReport(view, ttl, publish, alternative, found, readiness, ok, serving, advice)


def _publish(view: View, known: Known) -> Iterator[Line]:
    done: set[Tlsa] = set()
    for role, group in ((Role.CURRENT, known.served), (Role.OTHER, known.others), (Role.NEXT, known.new)):
        for one in group:
            (record,) = key_records([one])
            if record not in done:
                done.add(record)
                yield Line(record, role, one.profile, _on(view, record))


def _on(view: View, record: Tlsa) -> tuple[str, ...]:
    return tuple(server.text for server in view.answered if record in server.records)


# --- what is published ------------------------------------------------------------------------------


def _found(record: Tlsa, view: View, known: Known, now: float) -> Found:
    on, host = _on(view, record), view.place.host
    if record.unusable:
        return Found(record, Role.UNUSABLE, f"senders cannot use it: {record.unusable}", on)
    shadow = "" if record in strongest(view.records) else " (heeded by nobody beside a stronger digest)"

    def matching(group: Iterable[Shown]) -> Shown | None:
        return next((one for one in group if covers(record, one, host, now)), None)

    if (one := matching(known.served)) is not None:
        issuer = record.usage == 2
        text = f"{'the issuer of ' if issuer else ''}the certificate {one.profile} that is served{shadow}"
        return Found(record, Role.ISSUER if issuer else Role.CURRENT, text, on)
    if (one := matching(known.new)) is not None:
        return Found(record, Role.NEXT, f"the next key of {one.profile}{shadow}", on)
    if (one := matching(known.others)) is not None:
        return Found(
            record, Role.OTHER, f"the certificate {one.profile}, which is served here too{shadow}", on
        )
    for was in known.earlier:
        if covers(record, was.shown, host, was.until):
            after = was.until + TTLS * view.ttl
            when = "can be removed" if after <= now else f"can be removed from {iso_time(after)} on"
            text = f"an earlier certificate of {was.shown.profile} (version {was.version}): {when}"
            return Found(record, Role.EARLIER, text, on, after)
    text = "nothing that is served here: remove it, unless another machine of this name uses it"
    return Found(record, Role.STALE, text, on)


def _serving(view: View, known: Known, now: float) -> tuple[bool, str]:
    """Whether senders with DANE accept what is served, and a sentence about it."""
    if view.error:
        return True, f"What is published could not be seen: {view.error}."
    if not view.answered:
        return True, f"What is published could not be seen: no name server of {view.zone} answers."
    if not view.records:
        return True, "No TLSA records are published here: senders do not use DANE."
    host = view.place.host
    bad = [
        server
        for server in view.answered
        if useful(server.records)
        and not all(covering(server.records, one, host, now) for one in known.served)
    ]
    if bad:
        none = not any(covering(s.records, one, host, now) for s in bad for one in known.served)
        what = "what is served" if none else "all that is served"
        return (
            False,
            f"The records on {_listed(bad)} do not match {what}: senders with DANE refuse this host.",
        )
    if not any(useful(server.records) for server in view.answered):
        return True, "No record is one that SMTP can use: senders with DANE ask for TLS, and verify nothing."
    return True, "The published records match what is served."


def _listed(servers: Sequence[ServerView]) -> str:
    return ", ".join(dict.fromkeys(server.text for server in servers))


# --- what to do -------------------------------------------------------------------------------------


def _advice(made: PlaceReport, known: Known, now: float) -> Iterator[str]:
    view = made.view
    if view.signed is Signed.NO:
        yield (
            f"The zone is not signed with DNSSEC ({view.detail}): senders ignore TLSA records there, so they are of no "
            "use until it is."
        )
    elif view.signed is Signed.BROKEN:
        yield f"DNSSEC is broken ({view.detail}): senders with DANE do not deliver to this host at all."
    elif view.signed is Signed.UNKNOWN and view.detail:
        yield f"Whether the zone is signed is not known ({view.detail}); senders heed records of a signed zone only."
    if not made.ok:
        yield "Publish the lines of the current certificate at once, or bring the earlier certificate back."
    yield from _differences(view)
    missing = [line for line in made.publish if line.role is not Role.NEXT and not line.on]
    if view.answered and view.records and missing and made.ok:
        texts = ", ".join(line.record.text()[:_HEX] + "…" for line in missing)
        yield f"Not published, and not needed while other records match: {texts}"
    yield from _next_step(made, known)


def _differences(view: View) -> Iterator[str]:
    """Servers that say something else than the others."""
    silent = [server for server in view.counted if server.error]
    if silent:
        texts = "; ".join(f"{server.text}: {server.error}" for server in silent)
        yield f"Not every server could be asked ({texts}); what it shows is not known."
    elsewhere = set(view.records)
    for server in view.answered:
        absent = elsewhere - set(server.records)
        if absent:
            count = f"{len(absent)} of {len(elsewhere)} records"
            yield f"{server.text} lacks {count} that others show: is it up to date with its zone?"


def _next_step(made: PlaceReport, known: Known) -> Iterator[str]:
    name, readiness = known.name, made.readiness
    if readiness is None or not known.coming:
        yield (
            f"The key can stay when the certificate is renewed; then the records stay too. For a new key: `gatepost cert dane "
            f"{name} --make-next`, publish the line of the next key beside the current one, and install the certificate for "
            "it two TTLs later."
        )
        return
    match readiness.verdict:
        case Verdict.MISSING:
            yield f"Publish the line of the next key on every server and leave the current one there; {readiness.reason}."
        case Verdict.WAITS:
            yield f"The new certificate can be served from {iso_time(readiness.at + 1)} on: {readiness.reason}."
        case Verdict.UNKNOWN:
            yield f"The new certificate should not be served yet: {readiness.reason}."
        case Verdict.FREE:
            yield f"Nothing has to be waited for: {readiness.reason}."
        case Verdict.READY:
            yield (
                f"The new certificate can be served now: {readiness.reason}. Remove the line of the old key once it is."
            )
