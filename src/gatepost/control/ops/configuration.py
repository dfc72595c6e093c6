"""config.*: apply, check, pending, commit, clear, diff, rollback, export."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gatepost.certs.inventory import stored_text
from gatepost.certs.times import iso_time
from gatepost.config.diff import Change, diff
from gatepost.config.examine import Examination, examine
from gatepost.config.load import load_plain, to_plain
from gatepost.control.ops.document_warnings import document_warnings
from gatepost.control.ops.draft import (
    Draft,
    Submission,
    draft_of,
    examine_content,
    problem_document,
    submit,
    today,
    whole_document,
)
from gatepost.control.ops.exchange import Brought, export_parts
from gatepost.control.ops.reading import as_text
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.rehearsal import tls_problems
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import OperatorError, Problem
from gatepost.pki.profile import Profile
from gatepost.policy.rising import rises
from gatepost.store.config_store import Content, Version
from gatepost.store.users import describe_user


def _submission(arguments: Arguments) -> Submission:
    return Submission(arguments.comment(), arguments.flag("pending"), document=True)


async def read_submitted(
    context: Context, arguments: Arguments, known: Content
) -> tuple[Examination, Brought]:
    """The file as an examined document, and the certificates, authorities and users that came in it."""
    answer = await context.read("yaml", {"text": as_text(arguments.data("text"))})
    syntax = tuple(Problem(p["path"], p["text"], p["hint"], p["warning"]) for p in answer["problems"])
    if not answer["readable"]:
        return Examination(syntax, None), Brought()
    brought = Brought(
        tuple(Profile.from_document(profile) for profile in answer.get("profiles", ())),
        answer.get("authorities"),
        answer.get("users"),
    )
    names = {*known.profiles, *brought.names()}
    found = await asyncio.to_thread(examine, answer["document"], names, today(context))
    ciphers = tls_problems(found.document) if found.document is not None else ()
    coming = replace(known, users={**known.users, **(brought.users or {})})
    beside = document_warnings(context, coming, found.document, brought.profiles)
    return Examination((*syntax, *found.problems, *ciphers, *beside), found.document), brought


async def apply(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Replace the whole document by the file's."""
    how = _submission(arguments)
    draft = draft_of(context, caller)
    found, brought = await read_submitted(context, arguments, draft.content)
    document = found.require()
    content = await brought.into(context, replace(draft.content, document=to_plain(document)))
    before = current(context)
    answer = await submit(context, caller, whole_document(context, caller, draft, content), how)
    return {**answer, "rises": [] if how.pending else risen(context, before)}


async def check_file(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """All problems of a file. Nothing is stored."""
    found, _ = await read_submitted(context, arguments, draft_of(context, caller).content)
    return {"problems": [problem_document(problem) for problem in found.problems]}


async def pending(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """What the caller has changed and not committed."""
    candidate = context.store.candidate(caller.name)
    latest = current(context)
    if candidate is None:
        return {
            "pending": False,
            "base": latest.number,
            "latest": latest.number,
            "changes": [],
            "problems": [],
        }
    base = context.store.version(candidate.base)
    assert base is not None  # versions are never removed
    found = examine_content(context, candidate.content)
    return {
        "pending": True,
        "base": candidate.base,
        "latest": latest.number,
        "since": iso_time(candidate.at),
        "changes": changes(context, base.content, candidate.content),
        "problems": [problem_document(problem) for problem in found.problems],
    }


async def commit_candidate(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Make the caller's pending changes a version."""
    draft = draft_of(context, caller)
    if not draft.pending:
        raise OperatorError(
            "you have no pending changes", "commands with --pending make some; without it they commit at once"
        )
    before = current(context)
    answer = await submit(context, caller, draft, Submission(arguments.comment(), False, document=True))
    return {**answer, "included": False, "rises": risen(context, before)}


def risen(context: Context, before: Version) -> list[str]:
    """Where the version in force asks for more TLS than one before it, a line each."""
    old, new = (load_plain(dict(one.content.document)) for one in (before, current(context)))
    return [rise.line() for rise in rises(old, new, today(context))]


async def clear(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Give the caller's pending changes up."""
    return {"cleared": context.store.clear_candidate(caller.name), "said": ""}


async def difference(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """What differs between a version and the one in force; without a number, what the last commit changed."""
    latest = current(context)
    number = arguments.number("version", max(latest.number - 1, 1))
    return {
        "from": number,
        "to": latest.number,
        "changes": changes(context, _version(context, number).content, latest.content),
    }


def changes(context: Context, before: Content, after: Content) -> list[dict[str, Any]]:
    """Every difference of two contents: path, before and after (null where there was nothing), and a line of text."""
    found = [
        {"path": change.path, "before": change.before, "after": change.after, "line": change.line()}
        for change in diff(load_plain(dict(before.document)), load_plain(dict(after.document)))
    ]
    found += _named_changes(
        "certificates",
        {name: stored_text(context.store, revision) for name, revision in before.profiles.items()},
        {name: stored_text(context.store, revision) for name, revision in after.profiles.items()},
    )
    found += _user_changes(before.users, after.users)
    if before.authorities != after.authorities:
        counts = [text.count("-----BEGIN") for text in (before.authorities, after.authorities)]
        found.append(_change("authorities", f"{counts[0]} certificates", f"{counts[1]} certificates"))
    return found


def _named_changes(section: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[dict[str, Any]]:
    """What differs by name."""
    return [
        _change(f"{section}[{name}]", old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _user_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[dict[str, Any]]:
    """Roles and state of users that differ; of a pass-phrase only that it is another one."""
    found = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            texts = [describe_user(side[name]) if name in side else None for side in (old, new)]
            if texts[0] == texts[1]:
                texts = [f"{text}, (pass-phrase)" for text in texts]
            found.append(_change(f"users[{name}]", *texts))
    return found


def _change(path: str, before: str | None, after: str | None) -> dict[str, Any]:
    line = Change(path, before, after).line()
    return {"path": path, "before": before, "after": after, "line": line}


def _version(context: Context, number: int) -> Version:
    version = context.store.version(number)
    if version is None:
        raise OperatorError(
            f"there is no version {number}", f"`gatepost config history` lists 1 to {current(context).number}"
        )
    return version


async def rollback(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Make an old version's document, certificates, authorities and users a new version."""
    old = _version(context, arguments.number("version"))
    latest = current(context)
    comment = arguments.comment() or f"rollback to version {old.number}"
    if context.store.candidate(caller.name) is not None:
        raise OperatorError(
            "you have pending changes, which a rollback would commit or lose",
            "commit them or give them up (`gatepost config clear`) before",
        )
    draft = Draft(latest.number, old.content, False)
    return await submit(context, caller, draft, Submission(comment, arguments.flag("pending"), document=True))


async def export(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The document in force as a file; `certificates` adds profiles with their keys, authorities and users."""
    from gatepost.config.yaml_write import write_yaml

    version = current(context)
    document = dict(version.content.document)
    with_keys = arguments.flag("certificates")
    if with_keys:
        document |= await export_parts(context, version.content)
    said = "with private keys" if with_keys else "without keys"
    return {"version": version.number, "text": write_yaml(document), "said": said}


OPERATIONS = (
    operation("config.apply", apply, "text comment pending", changes=True),
    operation("config.check", check_file, "text"),
    operation("config.pending", pending),
    operation("config.commit", commit_candidate, "comment", changes=True),
    operation("config.clear", clear, changes=True),
    operation("config.diff", difference, "version"),
    operation("config.rollback", rollback, "version comment pending", changes=True),
    operation("config.export", export, "certificates", changes=True),
)
