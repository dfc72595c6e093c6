"""How a change becomes a version: draft, merge, check, activate, store (architecture 7).

Every administrator has one *candidate*: what the versions will be, on the version that it was begun from. A one-shot
change goes into it and is committed at once, with whatever was pending there; with `pending` it only goes in.

A commit merges the candidate with what others committed meanwhile. Two who changed different things both succeed. Who
comes second with the same thing is shown both and loses nothing: the candidate stays.

Nothing is stored before the whole was checked: shape, references, ports, cipher lists, the keys of the certificates in
use. A running gateway activates in all its workers before the version is stored, or nowhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from gatepost.config.check import check
from gatepost.config.examine import Examination, examine
from gatepost.config.load import to_plain
from gatepost.control.ops.acme_parts import with_stand_ins
from gatepost.control.ops.consequences import assignment_warnings, issued
from gatepost.control.ops.document_warnings import document_warnings
from gatepost.control.ops.merging import MergeConflict, merge_content
from gatepost.control.ops.registry import Context
from gatepost.control.ops.rehearsal import rehearse
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import ConfigurationError, Exit, OperatorError, Problem
from gatepost.store.config_store import Content, StaleBase, Version
from gatepost.store.payload import sealed_payload


@dataclass(frozen=True, slots=True)
class Draft:
    """What a caller is about to change: its content, the version under it, and whether it holds pending changes."""

    base: int
    content: Content
    pending: bool

    def with_content(self, content: Content) -> Draft:
        return replace(self, content=content)


@dataclass(frozen=True, slots=True)
class Submission:
    """How a change is to be taken: committed with a comment, or left pending.

    `document` says that the document as a whole is submitted: then all its warnings are repeated, and a version is
    made even if nothing differs.
    """

    comment: str
    pending: bool
    document: bool = False


def draft_of(context: Context, caller: Caller) -> Draft:
    """The caller's candidate, or a fresh one on the version in force."""
    candidate = context.store.candidate(caller.name)
    if candidate is not None:
        return Draft(candidate.base, candidate.content, True)
    version = current(context)
    return Draft(version.number, version.content, False)


def today(context: Context) -> date:
    """The day, UTC, that decides what is past."""
    return datetime.fromtimestamp(context.clock.now(), UTC).date()


def examine_content(context: Context, content: Content) -> Examination:
    """All problems of a content's document."""
    found = examine(content.document, content.profiles, today(context))
    beside = document_warnings(context, content, found.document)
    return replace(found, problems=(*found.problems, *beside))


async def submit(
    context: Context, caller: Caller, draft: Draft, how: Submission, *, warnings: tuple[Problem, ...] = ()
) -> dict[str, Any]:
    """Take a changed draft: commit it, or leave it pending. Raises OperatorError; then nothing has changed, except
    that a draft which others' changes stand in the way of is kept as the caller's candidate.

    The answer has `version` (0 while pending), `pending`, `included` (earlier pending changes went along), `unchanged`
    (there was nothing to do), `warnings`, and `said`, a short account for the log.
    """
    latest = current(context)
    if not how.document and not draft.pending and draft.content == latest.content:
        return {**_answer(latest.number, draft, warnings, "nothing to do"), "unchanged": True}
    if not how.document:
        warnings = (*warnings, *assignment_warnings(context, latest.content, draft.content))
    if how.pending:
        found = examine_content(context, draft.content)
        found.require()
        context.store.put_candidate(caller.name, draft.base, draft.content, context.clock.now())
        return _answer(0, draft, (*warnings, *(found.warnings if how.document else ())), "left pending")
    try:
        number, found = await commit(context, caller, draft, how.comment)
    except MergeConflict as conflict:
        context.store.put_candidate(caller.name, draft.base, draft.content, context.clock.now())
        raise _conflict_refusal(conflict) from None
    return _answer(number, draft, (*warnings, *(found.warnings if how.document else ())), f"version {number}")


def whole_document(context: Context, caller: Caller, draft: Draft, content: Content) -> Draft:
    """A draft whose document was replaced as a whole: it stands for itself, and is no change of an older version.

    Certificates, authorities and users of an old candidate are brought up to date. Raises OperatorError on a conflict.
    """
    latest = current(context)
    base = context.store.version(draft.base)
    if draft.base == latest.number or base is None:
        return draft.with_content(content)
    document = latest.content.document
    try:
        rest = merge_content(
            replace(base.content, document=document), replace(content, document=document), latest
        )
    except MergeConflict as conflict:
        raise _conflict_refusal(conflict) from None
    return Draft(latest.number, replace(rest, document=content.document), draft.pending)


def _answer(number: int, draft: Draft, warnings: tuple[Problem, ...], said: str) -> dict[str, Any]:
    return {
        "version": number,
        "pending": not number,
        "included": bool(number) and draft.pending,
        "unchanged": False,
        "warnings": [problem_document(problem) for problem in warnings],
        "said": said,
    }


async def commit(context: Context, caller: Caller, draft: Draft, comment: str) -> tuple[int, Examination]:
    """Merge, check, activate and store; returns the new version's number. Raises MergeConflict or OperatorError."""
    store = context.store
    latest = current(context)
    content = draft.content
    if draft.base != latest.number:
        base = store.version(draft.base)
        if base is None:
            raise OperatorError(f"version {draft.base}, on which the change is based, does not exist")
        content = merge_content(base.content, content, latest)
    found = await asyncio.to_thread(examine_content, context, content)
    document = found.require()
    content = await with_stand_ins(context, content)
    problems = await rehearse(context, content, document)
    if problems:
        raise ConfigurationError(problems)
    number = latest.number + 1
    payload = sealed_payload(store, content, number, caller.name, comment)

    def keep() -> None:
        store.commit(latest.number, content, caller.name, comment, context.clock.now())

    try:
        if context.gateway is None:
            keep()
        else:
            await context.gateway.activate(payload, keep)
    except StaleBase:
        raise OperatorError(
            "somebody else committed at the same moment", "try again", code=Exit.TRY_AGAIN
        ) from None
    for event in issued(context, latest.content, content, number):
        context.emit(event)
    return number, found


def _conflict_refusal(conflict: MergeConflict) -> OperatorError:
    version = conflict.version
    count = len(conflict.problems)
    return OperatorError(
        f"version {version.number} by {version.author} changed {'the same' if count == 1 else f'{count} of the same'}"
        f" place{'s' if count > 1 else ''} as you did; nothing was committed, and your changes are still pending",
        "look at `gatepost config pending`, then apply a file that has both, or give yours up with "
        "`gatepost config clear`",
        problems=conflict.problems,
    )


def problem_document(problem: Problem) -> dict[str, Any]:
    """A problem in its JSON form."""
    return {
        "path": problem.path,
        "text": problem.text,
        "hint": problem.hint,
        "severity": "warning" if problem.warning else "error",
    }


def changed_section(content: Content, section: str, values: Mapping[str, Any]) -> Content:
    """The content with some keys of one section of the document set."""
    from gatepost.config.load import load_plain

    document = {**content.document, section: {**(content.document.get(section) or {}), **values}}
    return replace(content, document=to_plain(load_plain(document)))


def warnings_of(context: Context, version: Version) -> tuple[Problem, ...]:
    """What is to be warned about in a committed version."""
    from gatepost.config.load import load_plain

    document = load_plain(version.content.document)
    problems = check(document, version.content.profiles, today(context))
    warnings = (problem for problem in problems if problem.warning)
    return (*warnings, *document_warnings(context, version.content, document))
