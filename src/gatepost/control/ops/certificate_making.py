"""cert.new, cert.import, cert.install: what brings a certificate into the store (R3, R5, R6, R7).

Files come as bytes and are read in a child with limits (`reading`); with them comes what the administrator calls them, so
that a message can name the file. Everything ends in a version, or in the caller's pending changes; until then
the old certificate is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gatepost.certs.host_names import meant_hosts, unmatched
from gatepost.certs.lifecycle import (
    Brought,
    Change,
    install_intermediates,
    install_signed,
    put_beside,
    replace_first,
)
from gatepost.certs.making import DEFAULT_DAYS, about_file, new_self_signed
from gatepost.control.ops.draft import draft_of
from gatepost.control.ops.profiles import key_kind, opened_in, places, put, refuse_existing, refusing
from gatepost.control.ops.reading import as_text
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.keys import KeyKind
from gatepost.pki.profile import Profile
from gatepost.pki.selfsigned import SubjectFields

SUBJECT = "common_name organization unit locality state country"


async def new(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Make a key, a self-signed certificate and its request. The answer warns of names that fit no interface."""
    name = arguments.text("name")
    refuse_existing(context, caller, name, "choose another name, or renew it with `gatepost cert renew`")
    subject = SubjectFields(*(arguments.text(field, "") for field in SUBJECT.split()))
    san = arguments.texts("san")
    kind = key_kind(arguments.text("key", KeyKind.RSA2048))
    days = arguments.number("days", DEFAULT_DAYS)
    with refusing():
        profile = await asyncio.to_thread(
            new_self_signed, name, subject, san, days, kind, context.clock.now()
        )
    draft = draft_of(context, caller)
    missed = unmatched(meant_hosts(draft.content.document), san or [subject.common_name])
    answer = await put(context, arguments, caller, draft, Change(profile), f"new certificate {name}")
    return {**answer, "names_warning": missed}


async def import_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Take a certificate and its key from a file; `needs_passphrase` in the answer asks for one.

    `replace`: instead of the certificate of that name. `beside`: as the second one of that name. `force`: also where
    published TLSA records do not have it.
    """
    name = arguments.text("name")
    beside, replacing = arguments.flag("beside"), arguments.flag("replace")
    if beside and replacing:
        raise OperatorError(
            "--beside and --replace exclude each other",
            "--beside replaces the second certificate, --replace the first",
            code=Exit.USAGE,
        )
    if not beside and not replacing:
        refuse_existing(context, caller, name, "replace it with --replace")
    values = {
        "name": name,
        "file": as_text(arguments.data("file")),
        "key": as_text(arguments.data("key")),
        "passphrase": arguments.text("passphrase", ""),
        "now": context.clock.now(),
        "label": arguments.text("label", ""),
        "key_label": arguments.text("key_label", ""),
    }
    answer = await context.read("certificate", values)
    if answer.get("needs_passphrase"):
        return {"needs_passphrase": True, "said": "a pass-phrase is needed"}
    imported = Profile.from_document(answer["profile"])
    draft = draft_of(context, caller)
    change = Change(imported)
    notes = tuple(answer["notes"])
    with refusing():
        if beside:
            change = put_beside(await opened_in(context, draft.content, name), imported)
        elif name in draft.content.profiles and context.store.profile(draft.content.profiles[name]):
            change = await _replaced(context, caller, name, imported)
    warnings, said = await _published(context, change, arguments.flag("force"))
    change = replace(change, notes=(*notes, *change.notes, *said))
    done = await put(context, arguments, caller, draft, change, f"certificate {name} imported")
    done["warnings"] += warnings
    return {**done, "replaces": places(draft.content.document, name) if replacing or beside else []}


async def _replaced(context: Context, caller: Caller, name: str, imported: Profile) -> Change:
    """What an import over a name makes of it. A profile whose keys cannot be opened is replaced as a whole."""
    content = draft_of(context, caller).content
    stored = context.store.profile(content.profiles[name])
    if stored is None or not stored.sealed:
        return Change(imported)
    return replace_first(await opened_in(context, content, name), imported)


async def install(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Put the signed certificate in place of the one that is served, with its intermediates or with other ones.

    Without `file` only the intermediates are replaced. `replaces` in the answer says for which uses. A certificate with another
    key waits for its TLSA record where there are some, unless `force`.
    """
    name, beside = arguments.text("name"), arguments.flag("beside")
    values = {
        "file": as_text(arguments.data("file")),
        "behind": as_text(arguments.data("intermediates")),
        "label": arguments.text("label", ""),
        "behind_label": arguments.text("intermediates_label", ""),
    }
    if not values["file"] and not values["behind"]:
        raise OperatorError("there is nothing to install: the file is empty", "give the signed certificate")
    draft = draft_of(context, caller)
    profile = await opened_in(context, draft.content, name)
    answer = await context.read("answer", values)
    brought = Brought(
        certificates=_octets(answer["certificates"]),
        behind=_octets(answer["behind"]),
        keys=_octets(answer["keys"]),
        notes=tuple(answer["notes"]),
    )
    with refusing(), about_file(values["label"] or values["behind_label"]):
        if values["file"]:
            change = install_signed(profile, brought, context.clock.now(), beside=beside)
            comment = f"signed certificate for {name}"
        else:
            change = install_intermediates(profile, brought.behind, beside=beside)
            comment = f"intermediates for {name}"
    warnings, notes = await _published(context, change, arguments.flag("force"))
    change = replace(change, notes=(*change.notes, *notes))
    done = await put(context, arguments, caller, draft, change, comment)
    done["warnings"] += warnings
    return {**done, "replaces": places(draft.content.document, name)}


async def _published(context: Context, change: Change, force: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Records first, certificate later, for those who publish TLSA. Raises OperatorError."""
    from gatepost.control.ops.dane import publishing

    return await publishing(context, change.profile, force=force)


def _octets(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(text.encode("latin-1") for text in texts)


OPERATIONS = (
    operation("cert.new", new, f"name {SUBJECT} san days key comment pending", changes=True),
    operation(
        "cert.import",
        import_,
        "name file key passphrase replace beside label key_label force comment pending",
        changes=True,
    ),
    operation(
        "cert.install",
        install,
        "name file intermediates beside label intermediates_label force comment pending",
        changes=True,
    ),
)
