"""ca.*: the lists of trusted roots: shown, imported, exported, switched on and off (R11)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gatepost.certs.authorities import custom_roots, join_lists, system_bundle
from gatepost.certs.times import iso_time
from gatepost.control.ops.draft import Submission, changed_section, draft_of, submit
from gatepost.control.ops.reading import as_text
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError, Problem
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import Certificate
from gatepost.pki.text import printable

SECTION = "certificate_authorities"
LISTS = {"system": True, "custom": False}  # and whether each is on unless the document says otherwise


def _enabled(document: Mapping[str, Any], name: str) -> bool:
    return bool((document.get(SECTION) or {}).get(name, LISTS[name]))


async def list_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """All roots of both lists."""
    content = current(context).content
    path, data = system_bundle()
    system = await asyncio.to_thread(Anchors.from_pem, data)
    custom = custom_roots(content.authorities)
    return {
        "lists": [
            _summary("system", system, _enabled(content.document, "system"), path),
            _summary("custom", custom, _enabled(content.document, "custom"), ""),
        ],
        "authorities": [
            *_rows("system", system.certificates, _enabled(content.document, "system")),
            *_rows("custom", custom.certificates, _enabled(content.document, "custom")),
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


def _rows(name: str, certificates: Iterable[Certificate], enabled: bool) -> list[dict[str, Any]]:
    return [
        {
            "list": name,
            "enabled": enabled,
            "name": printable(certificate.common_name) or certificate.subject,
            "common_name": printable(certificate.common_name),
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "not_after": iso_time(certificate.not_after),
            "fingerprint": certificate.fingerprint,
        }
        for certificate in certificates
    ]


async def import_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Put the certificates of a file into the custom list, or replace it by them. Does not switch it on."""
    answer = await context.read("authorities", {"file": as_text(arguments.data("file"))})
    read = custom_roots(answer["pem"]).certificates
    draft = draft_of(context, caller)
    before = "" if arguments.flag("replace") else draft.content.authorities
    pem, added = join_lists(before, read)
    content = replace(draft.content, authorities=pem)
    comment = arguments.comment() or f"{added} certificate authorities imported"
    notes = tuple(Problem("file", note, warning=True) for note in answer["notes"])
    how = Submission(comment, arguments.flag("pending"))
    outcome = await submit(context, caller, draft.with_content(content), how, warnings=notes)
    enabled = _enabled(content.document, "custom")
    return {**outcome, "added": added, "total": len(custom_roots(pem)), "enabled": enabled}


async def export(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The custom list as PEM."""
    pem = current(context).content.authorities
    if not pem:
        raise OperatorError("the custom list is empty", "`gatepost ca import FILE` fills it")
    return {"pem": pem, "count": len(custom_roots(pem))}


async def switch(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Switch one of the two lists on or off."""
    name, enabled = arguments.text("list"), arguments.flag("enabled")
    if name not in LISTS:
        raise OperatorError(f"there is no list {name}", "there are system and custom", code=Exit.USAGE)
    draft = draft_of(context, caller)
    notes: tuple[Problem, ...] = ()
    if name == "custom" and enabled and not draft.content.authorities:
        text, hint = "the custom list is empty", "`gatepost ca import FILE` fills it"
        notes = (Problem(f"{SECTION}.custom", text, hint, warning=True),)
    content = changed_section(draft.content, SECTION, {name: enabled})
    comment = arguments.comment() or f"{name} list of authorities switched {'on' if enabled else 'off'}"
    how = Submission(comment, arguments.flag("pending"))
    return await submit(context, caller, draft.with_content(content), how, warnings=notes)


OPERATIONS = (
    operation("ca.list", list_),
    operation("ca.import", import_, "file replace comment pending", changes=True),
    operation("ca.export", export),
    operation("ca.switch", switch, "list enabled comment pending", changes=True),
)
