"""cert.renew, cert.repair, cert.restore, cert.delete: what becomes of a certificate that is there (R6, R8).

A certificate under `acme.certificates` renews itself, and `cert.renew` hands over to `acme.renew`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gatepost.certs.by_hand import Plan, Step, Wish, carry_out, plan
from gatepost.certs.chains import ChainDoctor
from gatepost.certs.expiry import automatic_renewals
from gatepost.certs.inventory import keep_profile, open_profile, with_profile, with_profiles, without_profile
from gatepost.certs.lifecycle import without_beside
from gatepost.control.ops.draft import Draft, draft_of
from gatepost.control.ops.profiles import (
    key_kind,
    opened_in,
    places,
    put,
    refusing,
    shown,
    stored_in,
    submit_content,
    unknown,
)
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import OperatorError
from gatepost.pki.errors import PkiError
from gatepost.pki.profile import Profile

_WISH = "name new_key key days beside"


def _wish(arguments: Arguments) -> Wish:
    key = arguments.text("key", "")
    return Wish(
        arguments.flag("new_key"),
        key_kind(key) if key else None,
        arguments.number("days", 0),
        arguments.flag("beside"),
    )


async def renewal(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """What a renewal would do; nothing is changed. `automatic`: the certificate renews itself."""
    name = arguments.text("name")
    content = draft_of(context, caller).content
    wish = _wish(arguments)
    stored = stored_in(context, content, name)
    if name in automatic_renewals(content.document):
        return {"name": name, "automatic": True}
    with refusing():
        return _planned(name, plan(Profile.from_document(stored.record), wish))


async def renew(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Renew by hand: a self-signed certificate anew, any other by a new request. The answer says what comes next."""
    name = arguments.text("name")
    wish = _wish(arguments)
    draft = draft_of(context, caller)
    if name in automatic_renewals(draft.content.document):
        raise OperatorError(
            f"{name} renews itself (acme.certificates)", "take it out there to renew it by hand"
        )
    profile = await opened_in(context, draft.content, name)
    with refusing():
        planned = plan(profile, wish)
        change = await asyncio.to_thread(carry_out, profile, planned, context.clock.now())
    said = _planned(name, planned)
    if planned.step is Step.SAME_REQUEST:
        return {**said, "version": current(context).number, "unchanged": True, "pending": False,
                "included": False, "warnings": [], "notes": [], "said": "the request is there already",
                "certificate": shown(context, draft.content, name)}  # fmt: skip
    what = "renewed" if planned.step is Step.ANEW else "new request"
    answer = await put(context, arguments, caller, draft, change, f"certificate {name}: {what}")
    return {**said, **answer, "replaces": places(draft.content.document, name)}


def _planned(name: str, planned: Plan) -> dict[str, Any]:
    """A plan as JSON, with what happens next in words."""
    return {
        "name": name,
        "automatic": False,
        "step": planned.step.value,
        "new_key": planned.kind.value if planned.kind is not None else "",
        "days": planned.days,
        "beside": planned.beside,
        "gives_up": planned.gives_up,
        "next": _next(name, planned),
    }


def _next(name: str, planned: Plan) -> str:
    if planned.step is Step.ANEW:
        return (
            "It is self-signed: TLS works, but a sender that requires verification will refuse it. "
            f"To have it signed by an authority: gatepost cert csr {name}, then gatepost cert install {name} FILE"
        )
    until = " Until then the certificate that is there is served."
    if planned.step is Step.SAME_REQUEST:
        text = "The request that is there is for the same key and the same names, and can be signed once more"
    elif planned.kind is None:
        text = "The new request is for the same key"
    else:
        text = f"The new request is for a new key ({planned.kind.value}), which waits beside the served one"
    beside = " --beside" if planned.beside else ""
    return (
        f"{text}. Give the authority what `gatepost cert csr {name}` prints, then install its answer: "
        f"gatepost cert install {name} FILE{beside}.{until}"
    )


async def repair(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Put the right intermediates in the right order behind one certificate, or behind all that need it."""
    name = arguments.text("name", "")
    draft = draft_of(context, caller)
    content = draft.content
    if name and name not in content.profiles:
        raise unknown(content, name)
    chosen = [name] if name else sorted(content.profiles)
    doctor = ChainDoctor(context.store, content, context.inventory().anchors(content), context.clock.now())
    wanting = await asyncio.to_thread(_wanting, doctor, content.profiles, chosen)
    repaired, revisions = [], {}
    for one in wanting:
        stored = stored_in(context, content, one)
        with refusing():
            change = doctor.repaired(await open_profile(context.keeper, stored))
        revisions[one] = await keep_profile(context.store, context.keeper, change.profile, context.clock)
        repaired.append({"name": one, "notes": list(change.notes)})
    changed = with_profiles(content, revisions)
    what = name or f"{len(wanting)} certificates"
    answer = await submit_content(
        context, arguments, caller, Draft(draft.base, content, draft.pending), changed, f"repaired {what}"
    )
    return {**answer, "repaired": repaired}


def _wanting(doctor: ChainDoctor, profiles: Any, names: list[str]) -> list[str]:
    """Those whose bundle is not the right one. One that cannot be read is passed over: its finding says so."""
    found = []
    for name in names:
        try:
            if doctor.changes(profiles[name]):
                found.append(name)
        except PkiError:
            continue
    return found


async def restore(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Bring back the certificate and the key that a profile had in a version, as a new version."""
    name, number = arguments.text("name"), arguments.number("version")
    draft = draft_of(context, caller)
    rows = context.store.committed(name)
    revision = next((row[3] for row in rows if row[0] == number), None)
    if revision is None:
        known = f"`gatepost cert show {name}` lists the versions that have it" if rows else ""
        raise OperatorError(f"version {number} has no certificate named {name}", known)
    now = draft.content.profiles.get(name)
    notes = []
    if now is not None and now != revision:
        with refusing():
            if Profile.from_document(stored_in(context, draft.content, name).record).waiting:
                notes.append(
                    f"the open request of {name} and its waiting key go; version {rows[-1][0]} keeps them"
                )
    content = with_profile(draft.content, name, revision)
    comment = f"certificate {name} as in version {number}"
    answer = await submit_content(context, arguments, caller, draft, content, comment)
    return {
        **answer,
        "certificate": shown(context, content, name),
        "notes": notes,
        "replaces": places(draft.content.document, name),
    }


async def delete(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Take a certificate out of the configuration; its history stays. One that is used anywhere is refused.

    `force` deletes what only other administrators' pending changes use. `beside` takes out the second certificate only.
    """
    name, force = arguments.text("name"), arguments.flag("force")
    draft = draft_of(context, caller)
    if name not in draft.content.profiles:
        raise unknown(draft.content, name)
    if arguments.flag("beside"):
        with refusing():
            change = without_beside(await opened_in(context, draft.content, name))
        return await put(context, arguments, caller, draft, change, f"second certificate of {name} deleted")
    _refuse_used(name, places(draft.content.document, name), force)
    others = _others_use(context, caller, name)
    if others and not force:
        raise OperatorError(
            f"{name} is used in pending changes of {'; '.join(others)}",
            "ask them, or delete it all the same with --force: their commit is then refused until they "
            "choose another certificate",
        )
    content = without_profile(draft.content, name)
    answer = await submit_content(context, arguments, caller, draft, content, f"certificate {name} deleted")
    return {**answer, "name": name, "notes": [f"used in pending changes of {text}" for text in others]}


def _refuse_used(name: str, used: list[str], force: bool) -> None:
    if not used:
        return
    hint = "assign another certificate there first"
    if force:
        hint += (
            "; --force does not help, since the configuration would name a certificate that does not exist"
        )
    raise OperatorError(f"{name} is used by {', '.join(used)}", hint)


def _others_use(context: Context, caller: Caller, name: str) -> list[str]:
    """Other administrators whose pending changes use the certificate, and where."""
    found = []
    for candidate in context.store.candidates():
        used = places(candidate.content.document, name)
        if candidate.author != caller.name and used:
            found.append(f"{candidate.author} ({', '.join(used)})")
    return found


_SUBMITS = "comment pending"
OPERATIONS = (
    operation("cert.renewal", renewal, _WISH),
    operation("cert.renew", renew, f"{_WISH} {_SUBMITS}", changes=True),
    operation("cert.repair", repair, f"name {_SUBMITS}", changes=True),
    operation("cert.restore", restore, f"name version {_SUBMITS}", changes=True),
    operation("cert.delete", delete, f"name force beside {_SUBMITS}", changes=True),
)
