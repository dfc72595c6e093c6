"""acme.*: automatic certificates: how they stand, the account, secrets, a renewal now or its rehearsal, and putting one in force.

An order may take minutes, so it is the job of the desk that orders (`app.renewal_job`), and no operation holds up the changes of
others meanwhile: `acme.renew` asks the job, waits a while and tells what came of it. The job's own way back is
`acme.install`, which only the gateway itself may call.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from gatepost.certs.acme.account import ExternalAccount
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme_secrets import Secret, has_secret
from gatepost.certs.authority_link import connected
from gatepost.certs.crls import trusted_pem
from gatepost.certs.inventory import keep_profile, with_profile
from gatepost.certs.renewal import STANDS_IN
from gatepost.certs.renewing import Row, rows
from gatepost.certs.times import iso_time
from gatepost.config.load import load_plain
from gatepost.control.ops.acme_rehearsal import rehearse_renewal, vault_of
from gatepost.control.ops.audit import audit_event
from gatepost.control.ops.draft import Draft, commit
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Profile

JOB = "renewal"
WAIT_SECONDS = 240.0  # a command gives up at 300
MAX_SECRET = 4_096


async def status(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Every automatic certificate: in force until, due when and why, what the last try came to."""
    return [_row(row) for row in _rows(context)]


def _rows(context: Context) -> list[Row]:
    return rows(context.store, vault_of(context), current(context).content, context.clock.now())


def _row(row: Row) -> dict[str, Any]:
    standing, profile, decision = row.standing, row.profile, row.decision
    stands_in = profile is None or profile.origin in STANDS_IN
    leaves = [pair.leaf for pair in profile.pairs] if profile is not None else []
    return {
        "name": row.wanted.name,
        "names": list(row.wanted.names),
        "challenge": row.wanted.acme.challenge_of(row.wanted.certificate).value,
        "origin": profile.origin.value if profile is not None else "",
        "stand_in": stands_in,
        "not_after": iso_time(min(leaf.not_after for leaf in leaves)) if leaves else "",
        "fingerprints": [leaf.fingerprint for leaf in leaves],
        "renews": iso_time(decision.at),
        "why": decision.reason,
        "waits": standing.waits,
        "last_attempt": iso_time(standing.attempted) if standing.attempted else "",
        "outcome": standing.outcome,
        "failed": standing.failed,
        "failures": standing.failures,
        "next_try": iso_time(decision.at) if standing.failures else "",
        "remarks": list(standing.remarks),
    }


async def account(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The account at the authority, never its key; what the authority says of itself, where it can be reached."""
    content = current(context).content
    acme = load_plain(content.document).acme
    vault = vault_of(context)
    facts = vault.account_facts(acme.directory) if acme.directory else {}
    told = {"terms": "", "profiles": {}, "external_account_required": False, "problem": ""}
    if acme.directory:
        try:
            async with connected(trusted_pem(content), context.clock) as authority:
                directory = await authority.directory(acme.directory)
        except AcmeFailed as failure:
            told["problem"] = failure.whole
        else:
            told |= {
                "terms": directory.terms,
                "profiles": dict(directory.profiles),
                "external_account_required": directory.external_account_required,
            }
    return {
        "directory": acme.directory,
        "url": facts.get("url", ""),
        "thumbprint": facts.get("thumbprint", ""),
        "contact": facts.get("contact", "") or acme.contact or "",
        "terms_agreed": acme.terms_agreed,
        "eab": acme.eab.key_id if acme.eab is not None else "",
        "secrets": {kind.value: has_secret(context.store, kind) for kind in Secret},
        **told,
    }


async def secret(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Store the key of the external account, or that of dynamic DNS updates; an empty one is forgotten."""
    try:
        kind = Secret(arguments.text("kind"))
    except ValueError:
        known = " and ".join(kind.value for kind in Secret)
        raise OperatorError("there is no such secret", f"there are {known}", code=Exit.USAGE) from None
    value = arguments.text("value").strip()
    if value:
        _require_key(kind, value)
    await vault_of(context).put_secret(kind, SecretBytes(value.encode("ascii")))
    if context.gateway is not None:
        context.gateway.look(JOB)
    return {"kind": kind.value, "stored": bool(value), "said": f"{kind} {'stored' if value else 'forgotten'}"}


def _require_key(kind: Secret, value: str) -> None:
    """Refuse what cannot be such a key, without repeating any of it."""
    try:
        if len(value) > MAX_SECRET or not value.isascii():
            raise ValueError
        if kind is Secret.EAB:
            ExternalAccount.from_text("", value)
        elif not b64decode(value, validate=True):
            raise ValueError
    except (ValueError, AcmeFailed):
        form = "base64url" if kind is Secret.EAB else "base64"
        raise OperatorError(
            f"that is no key: it is not {form}", "give the key alone, as the other side handed it out"
        ) from None


async def renew(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Renew now, or say what a renewal would do (`dry_run`: nothing is ordered and nothing changed)."""
    row = _one(context, arguments.text("name"))
    if arguments.flag("dry_run"):
        return await rehearse_renewal(context, current(context).content, row)
    gateway, vault, name = context.running(), vault_of(context), row.wanted.name
    asked = context.clock.now()
    context.emit(audit_event(asked, "acme.renew", caller, name))
    vault.put_standing(name, replace(vault.standing(name), asked=asked))
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await gateway.look(JOB)
    except TimeoutError:
        said = f"The order of {name} takes its time; `gatepost acme status` tells what comes of it."
        return {"name": name, "done": False, "said": said}
    return _outcome(_one(context, name))


def _one(context: Context, name: str) -> Row:
    """The automatic certificate of that name. Raises OperatorError where there is none."""
    found = _rows(context)
    row = next((row for row in found if row.wanted.name == name), None)
    if row is not None:
        return row
    names = ", ".join(row.wanted.name for row in found)
    hint = f"there are {names}" if names else "see acme.directory and acme.certificates"
    raise OperatorError(f"{name} is not renewed by itself", hint)


def _outcome(row: Row) -> dict[str, Any]:
    """What the job made of it. Raises OperatorError when it failed."""
    name, standing = row.wanted.name, row.standing
    if standing.waits:
        return {"name": name, "done": False, "said": f"{name} was issued and waits: {standing.waits}."}
    if standing.failed:
        again = f"it is tried again at {iso_time(row.decision.at)}"
        raise OperatorError(f"{name} was not renewed: {standing.outcome}", again)
    shown = _row(row)
    said = f"{name} was renewed; the new certificate is in force until {shown['not_after']}."
    return {"name": name, "done": True, "certificate": shown, "said": said}


async def install(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Put an issued profile in force, for the gateway's own job. Nobody else may."""
    if caller != Caller.gateway():
        raise OperatorError("this is for the gateway itself", "use `gatepost cert import`", code=Exit.USAGE)
    try:
        value: Mapping[str, Any] = orjson.loads(arguments.data("profile"))
        profile = Profile.from_document(value)
        profile.require_keys()
    except PkiError as error:
        raise OperatorError(error.text, error.hint) from None
    version = current(context)
    if load_plain(version.content.document).acme.certificate(profile.name) is None:
        raise OperatorError(f"{profile.name} is no automatic certificate any more", "see acme.certificates")
    revision = await keep_profile(context.store, context.keeper, profile, context.clock)
    content = with_profile(version.content, profile.name, revision)
    number, _ = await commit(context, caller, Draft(version.number, content, False), arguments.comment())
    return {"version": number, "said": f"version {number}"}


OPERATIONS = (
    operation("acme.status", status),
    operation("acme.account", account),
    operation("acme.secret", secret, "kind value", changes=True),
    operation("acme.renew", renew, "name dry_run"),
    operation("acme.install", install, "profile comment", changes=True),
)
