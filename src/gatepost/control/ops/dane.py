"""cert.dane: the TLSA records of a certificate, as they should be and as its zone's servers show them; and the key that comes next.

`publishing` is what a change of a served certificate asks before it is taken: records first, certificate later (RFC 7671 §8).
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from gatepost.certs.by_hand import Step, Wish, carry_out, plan
from gatepost.certs.dane import Place, Shown, places_of, shown_of, waiting_key
from gatepost.certs.dane_guard import judge
from gatepost.certs.dane_report import Earlier, Known, Line, PlaceReport, report
from gatepost.certs.dane_time import Readiness, ServerView, Verdict, hardest, readiness
from gatepost.certs.dane_view import DaneLooker
from gatepost.certs.times import iso_time
from gatepost.config.load import load_plain
from gatepost.control.ops.draft import draft_of, problem_document
from gatepost.control.ops.profiles import (
    automatic_names,
    key_kind,
    opened_in,
    periods,
    put,
    refusing,
    shown,
    stored_in,
    unknown,
)
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import OperatorError, Problem
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Profile
from gatepost.store.config_store import Content

MAX_EARLIER = 10


async def dane(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Records to publish for a certificate in force, what every name server shows, and when its next key may be used."""
    name = arguments.text("name")
    content = current(context).content
    if name not in content.profiles:
        raise unknown(content, name)
    document = load_plain(content.document)
    wanted = places_of(document, name)
    with refusing():
        profile = Profile.from_document(stored_in(context, content, name).record)
    served = shown_of(profile)
    coming, issued = await _coming(context, caller, content, name, profile)
    earlier = await asyncio.to_thread(_earlier, context, name)
    seen = await DaneLooker(document, context.store, context.clock).look(wanted, signed=True)
    now = context.clock.now()
    made, judged = [], []
    for place, (view, memory) in seen.items():
        others = _others(context, content, wanted[place], name)
        ready = readiness(view, memory, served, coming, now) if coming else None
        judged += [ready] if ready is not None else []
        made.append(report(view, Known(name, served, others, coming, earlier), ready, now))
    return {
        "name": name,
        "automatic": name in automatic_names(content.document),
        "coming": "issued" if issued else "key" if coming else "",
        "places": [_place(one) for one in made],
        "activation": _readiness(hardest(judged)),
        "ok": all(one.ok for one in made),
    }


async def _coming(
    context: Context, caller: Caller, content: Content, name: str, profile: Profile
) -> tuple[tuple[Shown, ...], bool]:
    """What is to be served next: a certificate that was issued and waits, or the key of an open request."""
    if name in automatic_names(content.document):
        from gatepost.certs.acme_vault import AcmeVault

        ready = await AcmeVault(context.store, context.keeper, context.clock).ready(name)
        return (shown_of(ready.profile), True) if ready is not None else ((), False)
    draft = draft_of(context, caller).content
    if name in draft.profiles:
        with refusing():
            profile = Profile.from_document(stored_in(context, draft, name).record)
    waiting = waiting_key(profile)
    return ((waiting,) if waiting is not None else ()), False


def _others(context: Context, content: Content, names: tuple[str, ...], name: str) -> tuple[Shown, ...]:
    """What other profiles show at the same place. One that cannot be read is passed over: its finding says so."""
    found: list[Shown] = []
    for other in names:
        stored = context.store.profile(content.profiles.get(other, 0)) if other != name else None
        try:
            found += shown_of(Profile.from_document(stored.record)) if stored is not None else ()
        except PkiError:
            continue
    return tuple(found)


def _earlier(context: Context, name: str) -> tuple[Earlier, ...]:
    """What the profile served before, and until when, the newest first."""
    found: list[Earlier] = []
    history = periods(context, name)[: MAX_EARLIER + 1]
    for later, period in pairwise(history):
        stored = context.store.profile(period.revision)
        try:
            profile = Profile.from_document(stored.record) if stored is not None else None
        except PkiError:
            continue
        if profile is not None:
            found += [Earlier(one, period.first, later.at) for one in shown_of(profile)]
    return tuple(found)


# --- the key that comes next ------------------------------------------------------------------------


async def make_next(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Make the next key ahead, with its request: it waits in the profile, and its record can be published."""
    name, key = arguments.text("name"), arguments.text("key", "")
    draft = draft_of(context, caller)
    if name in automatic_names(draft.content.document):
        raise OperatorError(
            f"{name} is issued by itself, and its next key is made with the order (acme.certificates)",
            "set wait_for_dane: true there, and the issued certificate waits for its record; or new_key: false, and key and "
            "records stay",
        )
    profile = await opened_in(context, draft.content, name)
    kind = key_kind(key) if key else None
    if profile.waiting and profile.next_key:
        if kind is not None:
            raise OperatorError(
                f"{name} has a next key already, for which a request is open",
                f"use it, or give it up with `gatepost cert renew {name} --key {key}`",
            )
        return {"version": current(context).number, "unchanged": True, "pending": False, "included": False,
                "warnings": [], "notes": ["there is a next key already; it stays"],
                "said": "the next key is there already", "certificate": shown(context, draft.content, name)}  # fmt: skip
    with refusing():
        planned = plan(profile, Wish(new_key=True, kind=kind, beside=arguments.flag("beside")))
        if planned.step is Step.ANEW:  # self-signed: what is served stays until the signed one is installed
            planned = type(planned)(Step.REQUEST, planned.kind, 0, planned.beside)
        change = await asyncio.to_thread(carry_out, profile, planned, context.clock.now())
    return await put(context, arguments, caller, draft, change, f"certificate {name}: next key")


# --- before a certificate is taken ------------------------------------------------------------------


async def publishing(
    context: Context, after: Profile, *, force: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Refuse a certificate whose TLSA record is not out long enough, where records are published at all.

    Gives warnings (`force`) and notes. Raises OperatorError.
    """
    content = current(context).content
    stored = context.store.profile(content.profiles.get(after.name, 0))
    if stored is None:
        return [], []
    try:
        before = Profile.from_document(stored.record)
    except PkiError:
        return [], []  # what is served cannot be read, and nothing is kept from harm by waiting
    found = await judge(load_plain(content.document), context.store, context.clock, before, after)
    if found is None or found.readiness.free:
        return [], []
    place, reason = found.readiness.place, found.readiness.reason
    if not found.refuses:
        return [], [f"whether TLSA records are published at {place.owner} could not be told: {reason}"]
    if force:
        text = f"activated all the same: {reason}"
        hint = "senders with DANE may refuse this host until their caches have the new record"
        return [problem_document(Problem(place.owner, text, hint, warning=True))], []
    raise OperatorError(
        f"the certificate for {after.name} is not taken yet: {reason}",
        found.hint.replace("NAME", after.name),
    )


# --- the JSON form ----------------------------------------------------------------------------------


def _place(one: PlaceReport) -> dict[str, Any]:
    view = one.view
    return {
        "host": view.place.host,
        "port": view.place.port,
        "owner": view.place.owner,
        "stands_at": view.name,
        "zone": view.zone,
        "signed": view.signed.value,
        "detail": view.detail,
        "error": view.error,
        "publish": [_line(line, one) for line in one.publish],
        "alternative": [_line(line, one) for line in one.alternative],
        "published": [
            {
                "data": found.record.text(),
                "role": found.role.value,
                "text": found.text,
                "on": list(found.on),
                "remove_after": iso_time(found.remove_after) if found.remove_after else "",
            }
            for found in one.found
        ],
        "servers": [_server(server) for server in view.servers],
        "ok": one.ok,
        "serving": one.serving,
        "coming": _readiness(one.readiness),
        "advice": list(one.advice),
    }


def _line(line: Line, one: PlaceReport) -> dict[str, Any]:
    place: Place = one.view.place
    return {
        "owner": f"{place.owner}.",
        "ttl": one.ttl,
        "type": "TLSA",
        "data": line.record.text(),
        "role": line.role.value,
        "certificate": line.of,
        "on": list(line.on),
        "everywhere": bool(line.on) and len(line.on) == len(one.view.counted),
    }


def _server(server: ServerView) -> dict[str, Any]:
    return {
        "server": server.host,
        "address": server.address,
        "ttl": server.ttl,
        "records": [record.text() for record in server.records],
        "error": server.error,
    }


def _readiness(found: Readiness | None) -> dict[str, Any] | None:
    if found is None:
        return None
    at = found.at if found.verdict is Verdict.WAITS else 0.0
    return {
        "verdict": found.verdict.value,
        "possible": found.free,
        "at": iso_time(at + 1) if at else "",
        "owner": found.place.owner,
        "reason": found.reason,
    }


OPERATIONS = (
    operation("cert.dane", dane, "name"),
    operation("cert.dane.next", make_next, "name key beside comment pending", changes=True),
)
