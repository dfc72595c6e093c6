"""ca.*: the lists of trusted roots: shown, imported, exported, switched on and off (R11)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gatepost.certs.authorities import by_fingerprint, custom_roots, join_lists, system_bundle, without
from gatepost.certs.authority_checks import Lists, authority_findings, sort_import
from gatepost.certs.pages import public_key_text
from gatepost.certs.times import iso_time
from gatepost.control.ops.draft import Submission, changed_section, draft_of, submit
from gatepost.control.ops.reading import as_text
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError, Problem
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate
from gatepost.pki.notes import Note
from gatepost.pki.text import printable
from gatepost.store.config_store import Content

SECTION = "certificate_authorities"
LISTS = {"system": True, "custom": False}  # and whether each is on unless the document says otherwise


def _enabled(document: Mapping[str, Any], name: str) -> bool:
    return bool((document.get(SECTION) or {}).get(name, LISTS[name]))


async def _system() -> tuple[str, Anchors]:
    """The system's list and where it is; some 150 roots are read, so not on the loop."""
    path, data = system_bundle()
    return path, await asyncio.to_thread(Anchors.from_pem, data)


def _lists(content: Content, custom: str, system: Anchors) -> Lists:
    return Lists(custom_roots(custom).certificates, system.certificates, _enabled(content.document, "system"))


# --- showing --------------------------------------------------------------------------------------


async def list_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """All roots of both lists, with what is to be said of each."""
    content, now = current(context).content, context.clock.now()
    path, system = await _system()
    custom = custom_roots(content.authorities)
    lists = _lists(content, content.authorities, system)
    parts = (("system", system, path), ("custom", custom, ""))
    return {
        "lists": [_summary(name, one, _enabled(content.document, name), where) for name, one, where in parts],
        "authorities": [
            _row(
                name,
                certificate,
                _enabled(content.document, name),
                authority_findings(certificate, lists, now),
            )
            for name, one, _ in parts
            for certificate in one.certificates
        ],
    }


def _summary(name: str, anchors: Anchors, enabled: bool, path: str) -> dict[str, Any]:
    return {
        "name": name,
        "enabled": enabled,
        "count": len(anchors),
        "path": path,
        "problems": list(anchors.problems),
    }


def _row(name: str, certificate: Certificate, enabled: bool, notes: Iterable[Note]) -> dict[str, Any]:
    findings = [note.document() for note in notes]
    errors = [found for found in findings if found["severity"] == "error"]
    return {
        "list": name,
        "enabled": enabled,
        "name": printable(certificate.common_name) or certificate.subject,
        "common_name": printable(certificate.common_name),
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_before": iso_time(certificate.not_before),
        "not_after": iso_time(certificate.not_after),
        "fingerprint": certificate.fingerprint,
        "status": (errors or findings or [{"code": "valid"}])[0]["code"],
        "findings": findings,
    }


async def show(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """One authority of either list, whole."""
    wanted, now = arguments.text("fingerprint"), context.clock.now()
    content = current(context).content
    _, system = await _system()
    lists = _lists(content, content.authorities, system)
    found = {
        certificate.der: (name, certificate)
        for name, certificates in (("system", lists.system), ("custom", lists.custom))
        for certificate in by_fingerprint(certificates, wanted)
    }
    _require_one(wanted, [certificate for _, certificate in found.values()])
    name, certificate = next(iter(found.values()))
    notes = authority_findings(certificate, lists, now)
    return {
        **_row(name, certificate, _enabled(content.document, name), notes),
        "serial": f"{certificate.parsed.serial_number:x}",
        "key": public_key_text(certificate),
        "root": certificate.self_signed,
        "pem": certificate.pem.decode("ascii"),
    }


def _require_one(wanted: str, found: list[Certificate]) -> Certificate:
    hint = "`gatepost ca list --json` shows the fingerprints (SHA-256); eight digits are enough"
    if not found:
        raise OperatorError(f"there is no authority with the fingerprint {printable(wanted)}", hint)
    if len(found) > 1:
        raise OperatorError(f"{len(found)} authorities have a fingerprint that begins so", hint)
    return found[0]


async def export(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """One of the lists as PEM, the custom one unless the other is asked for."""
    name = arguments.text("list", "custom")
    _require_list(name)
    if name == "system":
        _, system = await _system()
        if not system.certificates:
            raise OperatorError("this machine has no list of authorities", "Debian's is ca-certificates")
        return {"pem": b"".join(c.pem for c in system.certificates).decode("ascii"), "count": len(system)}
    pem = current(context).content.authorities
    if not pem:
        raise OperatorError("the custom list is empty", "`gatepost ca import FILE` fills it")
    return {"pem": pem, "count": len(custom_roots(pem))}


# --- changing -------------------------------------------------------------------------------------


async def import_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Put the authorities of a file into the custom list, or replace it by them. Does not switch it on.

    What could never verify anybody is left out and named; a file that holds nothing else is refused.
    """
    answer = await context.read("authorities", {"file": as_text(arguments.data("file"))})
    draft = draft_of(context, caller)
    before = "" if arguments.flag("replace") else draft.content.authorities
    _, system = await _system()
    new = custom_roots(answer["pem"]).certificates
    found = sort_import(new, _lists(draft.content, before, system), context.clock.now())
    if not found.taken and not found.nothing_new:
        raise _nothing_left(found.left_out)
    pem, added = join_lists(before, found.taken)
    content = replace(draft.content, authorities=pem)
    comment = arguments.comment() or f"{added} certificate authorities imported"
    notes = (
        *(Problem("file", note, warning=True) for note in answer["notes"]),
        *(Problem("file", f"left out: {note.text}", note.repair, warning=True) for note in found.left_out),
        *(Problem("file", note.text, note.repair, warning=True) for note in found.warnings),
    )
    how = Submission(comment, arguments.flag("pending"))
    outcome = await submit(context, caller, draft.with_content(content), how, warnings=notes)
    enabled = _enabled(content.document, "custom")
    total = len(custom_roots(pem))
    return {**outcome, "added": added, "left_out": len(found.left_out), "total": total, "enabled": enabled}


def _nothing_left(left_out: tuple[Note, ...]) -> OperatorError:
    """Every certificate of the file was shut out: the first reason, and how many more there are."""
    reasons = [note for note in left_out if note.code != "duplicate"]
    more = len(left_out) - 1
    behind = f"; {more} other{'s were' if more > 1 else ' was'} left out too" if more else ""
    return OperatorError(f"nothing can be imported: {reasons[0].text}{behind}", reasons[0].repair)


async def remove(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Take one authority out of the custom list."""
    wanted = arguments.text("fingerprint")
    draft = draft_of(context, caller)
    before = draft.content.authorities
    gone = _require_one(wanted, by_fingerprint(custom_roots(before).certificates, wanted))
    content = replace(draft.content, authorities=without(before, gone))
    comment = arguments.comment() or f"certificate authority {gone.subject} removed"
    how = Submission(comment, arguments.flag("pending"))
    outcome = await submit(context, caller, draft.with_content(content), how)
    return {**outcome, "removed": gone.subject, "total": len(custom_roots(content.authorities))}


async def switch(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Switch one of the two lists on or off."""
    name, enabled = arguments.text("list"), arguments.flag("enabled")
    _require_list(name)
    draft = draft_of(context, caller)
    content = changed_section(draft.content, SECTION, {name: enabled})
    comment = arguments.comment() or f"{name} list of authorities switched {'on' if enabled else 'off'}"
    how = Submission(comment, arguments.flag("pending"))
    notes = tuple(_switch_notes(content, name, enabled))
    return await submit(context, caller, draft.with_content(content), how, warnings=notes)


def _require_list(name: str) -> None:
    if name not in LISTS:
        raise OperatorError(
            f"there is no list {printable(name)}", "there are system and custom", code=Exit.USAGE
        )


def _switch_notes(content: Content, name: str, enabled: bool) -> Iterable[Problem]:
    if name == "custom" and enabled and not content.authorities:
        text, hint = "the custom list is empty", "`gatepost ca import FILE` fills it"
        yield Problem(f"{SECTION}.custom", text, hint, warning=True)
    if not any(_enabled(content.document, one) for one in LISTS):
        text, hint = "both lists are off: no peer can be verified", "`gatepost ca enable system`"
        yield Problem(f"{SECTION}.{name}", text, hint, warning=True)


OPERATIONS = (
    operation("ca.list", list_),
    operation("ca.show", show, "fingerprint"),
    operation("ca.import", import_, "file replace comment pending", changes=True),
    operation("ca.export", export, "list"),
    operation("ca.remove", remove, "fingerprint comment pending", changes=True),
    operation("ca.switch", switch, "list enabled comment pending", changes=True),
)
