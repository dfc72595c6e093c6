"""cert.*, what only looks: list, show, check, csr, the names a certificate should carry; and export.

How a certificate is made is in `certificate_making`, how it is renewed, repaired, restored and deleted in
`certificate_changes`.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from gatepost.certs.chains import ChainDoctor
from gatepost.certs.host_names import meant_hosts, unmatched
from gatepost.certs.inventory import Entry
from gatepost.certs.lifecycle import FIRST, which_pair
from gatepost.control.ops.draft import draft_of
from gatepost.control.ops.profiles import (
    history,
    only_pending,
    opened_in,
    refusing,
    renewal_of,
    renewal_times,
    shown,
    stored_in,
    unknown,
)
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.keys import load_private_key
from gatepost.pki.passphrases import require_strong
from gatepost.pki.pkcs12 import Form, export_pkcs12
from gatepost.pki.profile import Profile
from gatepost.pki.selfsigned import csr_pem, read_request

ASK = (
    "Ask the authority for the certificate in X.509/PEM (Apache) form, and for its intermediate certificate. "
    "Then: gatepost cert install NAME FILE"
)


async def list_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """All certificates in force, with status, days left, uses and findings."""
    found = await _entries(context)
    times = renewal_times(context, current(context).content)
    return [
        {**entry.document, **renewal_of(times, entry.name)} if entry.name in times else entry.document
        for entry in found
    ]


async def _entries(context: Context, names: Iterable[str] | None = None) -> list[Entry]:
    content = current(context).content
    return await asyncio.to_thread(context.inventory().entries, content, context.clock.now(), names)


async def show(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """One certificate in force: both pairs, request, uses, findings, history; and whether the caller has changed it."""
    name = arguments.text("name")
    content = current(context).content
    if name not in content.profiles:
        if only_pending(context, caller, name):
            raise OperatorError(
                f"{name} is only pending, not committed", "`gatepost config commit` makes it a certificate"
            )
        raise unknown(content, name)
    found = await asyncio.to_thread(shown, context, content, name)
    pending = draft_of(context, caller).content.profiles.get(name) != content.profiles[name]
    return {**found, "history": await asyncio.to_thread(history, context, name), "pending": pending}


async def check(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The findings of one certificate in force, or of all; `repairable`: `cert.repair` would change its bundle."""
    name = arguments.text("name", "")
    content = current(context).content
    if name and name not in content.profiles:
        raise unknown(content, name)
    entries = await _entries(context, (name,) if name else None)
    rows = await asyncio.to_thread(_checked, context, entries)
    return rows[0] if name else rows


def _checked(context: Context, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    content = current(context).content
    doctor = ChainDoctor(context.store, content, context.inventory().anchors(content), context.clock.now())
    rows = []
    for entry in entries:
        helps = doctor.may_help(entry)
        told = replace(entry, notes=doctor.findings(entry)) if helps else entry
        rows.append({**told.document, "repairable": helps and doctor.changes(entry.facts.revision)})
    return rows


async def csr(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The signing request of a committed certificate, to be given to an authority (R4)."""
    name = arguments.text("name")
    if only_pending(context, caller, name):
        raise _uncommitted(f"{name} is only pending, not committed")
    content = current(context).content
    with refusing():
        profile = Profile.from_document(stored_in(context, content, name).record)
        draft = draft_of(context, caller).content
        if name in draft.profiles and draft.profiles[name] != content.profiles[name]:
            pending = Profile.from_document(stored_in(context, draft, name).record)
            if pending.csr != profile.csr:
                raise _uncommitted(f"the request of {name} is only pending, not committed")
        if not profile.csr:
            raise OperatorError(f"{name} has no signing request", f"`gatepost cert renew {name}` makes one")
        request = read_request(profile.csr)
        return {
            "name": name,
            "subject": request.subject,
            "names": list(request.names),
            "waiting_key": profile.waiting,
            "csr": csr_pem(profile.csr),
            "ask": ASK.replace("NAME", name),
        }


def _uncommitted(what: str) -> OperatorError:
    return OperatorError(
        f"{what}: a signed answer could not be applied to it", "commit first: `gatepost config commit`"
    )


async def names(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The host names that a certificate should carry one of, and what is wrong with the names that are asked about (R3)."""
    document = draft_of(context, caller).content.document
    hosts = meant_hosts(document)
    asked = [arguments.text("common_name", ""), *arguments.texts("san")]
    missed = unmatched(hosts, [name for name in asked if name]) if any(asked) else ""
    return {
        "hosts": [{"name": host.name, "interfaces": list(host.where)} for host in hosts],
        "warning": missed,
    }


async def export(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """One certificate in force with its key and all its intermediates as PKCS#12 (R9); the bytes are base64."""
    name, passphrase = arguments.text("name"), arguments.text("passphrase")
    form = _form(arguments.text("form", Form.MODERN))
    if only_pending(context, caller, name):
        raise OperatorError(
            f"{name} is only pending, not committed", "commit first: `gatepost config commit`"
        )
    with refusing():
        require_strong(passphrase)
        profile = await opened_in(context, current(context).content, name)
        pair = which_pair(profile, arguments.text("which", FIRST))
        key = load_private_key(pair.key.reveal())
        made = await asyncio.to_thread(
            export_pkcs12, key, pair.certificate, pair.intermediates, passphrase, name, form
        )
    return {
        "name": name,
        "subject": pair.leaf.subject,
        "certificates": len(pair.chain),
        "form": form.value,
        "file": b64encode(made).decode("ascii"),
        "said": f"{name} with its private key, as PKCS#12",
    }


def _form(text: str) -> Form:
    try:
        return Form(text)
    except ValueError:
        known = ", ".join(form.value for form in Form)
        raise OperatorError(f"{text} is no form of PKCS#12", f"known are {known}", code=Exit.USAGE) from None


OPERATIONS = (
    operation("cert.list", list_),
    operation("cert.show", show, "name"),
    operation("cert.check", check, "name"),
    operation("cert.csr", csr, "name"),
    operation("cert.hosts", names, "common_name san"),
    operation("cert.export", export, "name passphrase form which", changes=True),
)
