"""What the operations on certificates share: finding a profile, opening its keys, storing a changed one, showing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from gatepost.certs.chains import ChainDoctor
from gatepost.certs.expiry import automatic_renewals
from gatepost.certs.inventory import keep_profile, open_profile, with_profile
from gatepost.certs.lifecycle import Change
from gatepost.certs.pages import page
from gatepost.certs.times import iso_time
from gatepost.certs.usage import uses
from gatepost.control.ops.draft import Draft, Submission, draft_of, submit
from gatepost.control.ops.registry import Arguments, Context
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind
from gatepost.pki.profile import Profile
from gatepost.store.config_store import Content, StoredProfile

MOST_NAMES = 10  # in a hint


@contextmanager
def refusing() -> Iterator[None]:
    """What the certificates' own room refuses, as the operator is told of it."""
    try:
        yield
    except PkiError as error:
        raise OperatorError(error.text, error.hint) from None


def stored_in(context: Context, content: Content, name: str) -> StoredProfile:
    """A profile of a version or candidate. Raises OperatorError that names those that exist."""
    stored = context.store.profile(content.profiles[name]) if name in content.profiles else None
    if stored is None:
        raise unknown(content, name)
    return stored


def unknown(content: Content, name: str) -> OperatorError:
    """The refusal for a name that no profile has."""
    names = sorted(content.profiles)
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return OperatorError(
        f"there is no certificate named {name}", f"there are {', '.join(names[:MOST_NAMES])}{more}"
    )


async def opened_in(context: Context, content: Content, name: str) -> Profile:
    """The same with its keys, to be changed or exported."""
    stored = stored_in(context, content, name)
    with refusing():
        return await open_profile(context.keeper, stored)


def only_pending(context: Context, caller: Caller, name: str) -> bool:
    """The profile is in the caller's candidate, and in no committed version that is in force."""
    content = draft_of(context, caller).content
    return name in content.profiles and name not in current(context).content.profiles


def refuse_existing(context: Context, caller: Caller, name: str, hint: str) -> None:
    """A new profile needs a name of its own, in force and in the caller's candidate."""
    if name in draft_of(context, caller).content.profiles or name in current(context).content.profiles:
        raise OperatorError(f"there is already a certificate named {name}", hint)


async def put(
    context: Context, arguments: Arguments, caller: Caller, draft: Draft, change: Change, comment: str
) -> dict[str, Any]:
    """Store a changed profile and submit it: what every one of these operations ends in.

    The answer is that of a submission, with the profile's page, what it serves from now on, and notes.
    """
    name = change.profile.name
    revision = await keep_profile(context.store, context.keeper, change.profile, context.clock)
    content = with_profile(draft.content, name, revision)
    answer = await submit_content(context, arguments, caller, draft, content, comment)
    return {**answer, "certificate": shown(context, content, name), "notes": list(change.notes)}


async def submit_content(
    context: Context, arguments: Arguments, caller: Caller, draft: Draft, content: Content, comment: str
) -> dict[str, Any]:
    """Submit other profiles of the draft, under the caller's comment or this one."""
    how = Submission(arguments.comment() or comment, arguments.flag("pending"))
    return await submit(context, caller, draft.with_content(content), how)


def shown(context: Context, content: Content, name: str) -> dict[str, Any]:
    """One profile's page: the profile, where it is used, what is to be said of it, with what is known elsewhere."""
    inventory, now = context.inventory(), context.clock.now()
    (entry,) = inventory.entries(content, now, (name,))
    doctor = ChainDoctor(context.store, content, inventory.anchors(content), now)
    if doctor.may_help(entry):
        entry = replace(entry, notes=doctor.findings(entry))
    found = page(entry, stored_in(context, content, name))
    return {**found, **renewal_of(renewal_times(context, content), name)}


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which one revision of a profile was in force: from version `first` to `last`."""

    first: int
    last: int
    at: float
    author: str
    revision: int


def periods(context: Context, name: str) -> list[Period]:
    """The history of a profile, newest first: only what was committed."""
    found: list[Period] = []
    for number, at, author, revision in context.store.committed(name):
        if found and found[-1].revision == revision and found[-1].last == number - 1:
            found[-1] = replace(found[-1], last=number)
        else:
            found.append(Period(number, number, at, author, revision))
    return found[::-1]


def history(context: Context, name: str) -> list[dict[str, Any]]:
    """The history as JSON; `version` is what `cert restore` takes."""
    latest = current(context).number
    inventory = context.inventory()
    rows = []
    for period in periods(context, name):
        facts = inventory.facts(period.revision)
        rows.append(
            {
                "version": period.first,
                "last_version": period.last,
                "in_force": period.last == latest,
                "time": iso_time(period.at),
                "author": period.author,
                "revision": period.revision,
                "origin": facts.origin,
                "certificates": [
                    {
                        "subject": leaf.subject,
                        "not_after": iso_time(leaf.not_after),
                        "fingerprint": leaf.fingerprint,
                    }
                    for leaf in facts.leaves
                ],
            }
        )
    return rows


def places(document: Mapping[str, Any], name: str) -> list[str]:
    """Everywhere a document uses a profile, for people; what renews it by itself counts."""
    found = [use.what for use in uses(document) if use.certificate == name]
    if name in automatic_names(document):
        found.append("automatic renewal (acme.certificates)")
    return found


def automatic_names(document: Mapping[str, Any]) -> frozenset[str]:
    """The profiles that are issued and renewed by themselves."""
    section = document.get("acme") or {}
    return frozenset(item["name"] for item in section.get("certificates") or ())


def renewal_times(context: Context, content: Content) -> dict[str, float]:
    """When each certificate that renews itself is due, by name; without an authority there is none."""
    if not automatic_renewals(content.document):
        return {}
    from gatepost.certs.acme_vault import AcmeVault
    from gatepost.certs.renewing import rows

    vault = AcmeVault(context.store, context.keeper, context.clock)
    found = rows(context.store, vault, content, context.clock.now())
    return {row.wanted.name: row.decision.at for row in found}


def renewal_of(times: Mapping[str, float], name: str) -> dict[str, Any]:
    """How a certificate is renewed, for its row and its page: by itself, and when; or by hand."""
    return {
        "automatic": name in times,
        "next_renewal": iso_time(times[name]) if name in times else "",
    }


def key_kind(text: str) -> KeyKind:
    """A kind of key in the contract's words."""
    try:
        return KeyKind(text)
    except ValueError:
        kinds = ", ".join(kind.value for kind in KeyKind)
        raise OperatorError(f"{text} is no kind of key", f"known are {kinds}", code=Exit.USAGE) from None
