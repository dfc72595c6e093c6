"""cert.*: new, import, list, show. The rest of a certificate's life comes with its own issue."""

from __future__ import annotations

import asyncio
from typing import Any

from gatepost.certs.authorities import system_bundle
from gatepost.certs.inventory import Entry, entries, keep_profile, with_profile
from gatepost.certs.making import DEFAULT_DAYS, new_self_signed
from gatepost.control.ops.draft import Submission, draft_of, submit
from gatepost.control.ops.reading import as_text
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.anchors import Anchors
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind
from gatepost.pki.profile import Profile
from gatepost.pki.selfsigned import SubjectFields
from gatepost.store.config_store import Content

SUBJECT = "common_name organization unit locality state country"


async def new(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Make a key and a self-signed certificate."""
    name = arguments.text("name")
    _refuse_existing(context, caller, name, "choose another name")
    subject = SubjectFields(*(arguments.text(field, "") for field in SUBJECT.split()))
    kind = _kind(arguments.text("key", KeyKind.RSA2048))
    days = arguments.number("days", DEFAULT_DAYS)
    try:
        profile = await asyncio.to_thread(
            new_self_signed, name, subject, arguments.texts("san"), days, kind, context.clock.now()
        )
    except PkiError as error:
        raise OperatorError(error.text, error.hint) from None
    return await _put(context, arguments, caller, profile)


async def import_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Take a certificate and its key from a file; `needs_passphrase` in the answer asks for one."""
    name = arguments.text("name")
    if not arguments.flag("replace"):
        _refuse_existing(context, caller, name, "replace it with --replace")
    values = {
        "name": name,
        "file": as_text(arguments.data("file")),
        "key": as_text(arguments.data("key")),
        "passphrase": arguments.text("passphrase", ""),
        "now": context.clock.now(),
    }
    answer = await context.read("certificate", values)
    if answer.get("needs_passphrase"):
        return {"needs_passphrase": True, "said": "a pass-phrase is needed"}
    return await _put(context, arguments, caller, Profile.from_document(answer["profile"]))


async def _put(context: Context, arguments: Arguments, caller: Caller, profile: Profile) -> Any:
    draft = draft_of(context, caller)
    revision = await keep_profile(context.store, context.keeper, profile, context.clock)
    content = with_profile(draft.content, profile.name, revision)
    how = Submission(arguments.comment() or f"certificate {profile.name}", arguments.flag("pending"))
    answer = await submit(context, caller, draft.with_content(content), how)
    return {**answer, "certificate": _entry(context, content, profile.name).details()}


def _refuse_existing(context: Context, caller: Caller, name: str, hint: str) -> None:
    if name in draft_of(context, caller).content.profiles or name in current(context).content.profiles:
        raise OperatorError(f"there is already a certificate named {name}", hint)


def _kind(text: str) -> KeyKind:
    try:
        return KeyKind(text)
    except ValueError:
        kinds = ", ".join(kind.value for kind in KeyKind)
        raise OperatorError(f"{text} is no kind of key", f"known are {kinds}", code=Exit.USAGE) from None


def anchors(content: Content) -> Anchors:
    """The roots that a certificate of ours is judged by: the system's and the custom ones, switched on or not."""
    return Anchors.from_pem(system_bundle()[1], content.authorities.encode("ascii"))


def _entry(context: Context, content: Content, name: str) -> Entry:
    one = Content(content.document, {name: content.profiles[name]})
    return entries(context.store, one, anchors(content), context.clock.now())[0]


async def list_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """All certificates in force, with status, uses and findings."""
    content = current(context).content
    found = await asyncio.to_thread(entries, context.store, content, anchors(content), context.clock.now())
    return [entry.document() for entry in found]


async def show(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """One certificate in force."""
    name = arguments.text("name")
    content = current(context).content
    if name not in content.profiles:
        raise OperatorError(
            f"there is no certificate named {name}", f"there are {', '.join(sorted(content.profiles))}"
        )
    return _entry(context, content, name).details()


OPERATIONS = (
    operation("cert.new", new, f"name {SUBJECT} san days key comment pending", changes=True),
    operation("cert.import", import_, "name file key passphrase replace comment pending", changes=True),
    operation("cert.list", list_),
    operation("cert.show", show, "name"),
)
