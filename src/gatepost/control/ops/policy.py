"""policy.rehearse, policy.rises: what a configuration would have made of the deliveries and sessions of the last days.

The configuration is a file, examined like `config.check`, or the caller's candidate; nothing is stored. Records are read and replayed
(`probe.rehearse`) in a thread of the desk where they are few, else in a child process, one at a time; on a stopped gateway in the command.
What no rule asked for on those days (TLSA records, MTA-STS policies, whether DNS is signed) one worker of the running
gateway looks up now, and the answer says for how many messages today's answers count; `offline` leaves that out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from gatepost.config.load import load_plain, to_plain
from gatepost.config.records import Records
from gatepost.control.ops.configuration import read_submitted
from gatepost.control.ops.draft import Draft, draft_of, problem_document, today
from gatepost.control.ops.explain import ask_one, candidate_payload
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.replay_child import Ask, replay_in_child, unreadable
from gatepost.control.ops.replaying import DAY, Replaying, Task
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller, Line
from gatepost.core.errors import Exit, OperatorError, Problem
from gatepost.policy.rising import rises
from gatepost.store.database import NewerForm
from gatepost.store.payload import sealed_payload
from gatepost.store.records import RecordsFailed, RecordStore

FEW = 2_000  # records that are gone through in a thread of the desk
NOT_RUNNING = "the gateway is not running: what nobody looked up on those days was not looked up now either"
NOT_KEPT = "no records are kept: records.days is 0"


class GivenUp(Exception):
    """Nobody waits for what this thread does."""


async def rehearse(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The account of both sides."""
    draft, warnings = await _policy(context, arguments, caller)
    if context.gateway is not None:
        await context.gateway.look("records")
    kept = _kept_days(context)
    days = min(arguments.number("days", kept) or kept, kept)
    since = context.clock.now() - days * DAY
    try:
        found = await _replay(context, caller, draft, since, offline=arguments.flag("offline"))
    except (RecordsFailed, NewerForm) as error:
        raise unreadable(error) from None
    return {
        "policy": "file" if arguments.names() & {"text"} else "pending",
        "version": draft.base,
        "days": days,
        **found,
        "warnings": [problem_document(problem) for problem in warnings],
    }


async def rising(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """Where the policy asks for more TLS than the version in force, a line each."""
    draft, _ = await _policy(context, arguments, caller)
    in_force = load_plain(dict(current(context).content.document))
    found = rises(in_force, load_plain(dict(draft.content.document)), today(context))
    return {"rises": [rise.line() for rise in found]}


async def _policy(
    context: Context, arguments: Arguments, caller: Caller
) -> tuple[Draft, tuple[Problem, ...]]:
    """What is to be tried, checked; as a draft that is never stored."""
    draft = draft_of(context, caller)
    text, pending = arguments.data("text"), arguments.flag("pending")
    if bool(text) is pending:
        raise OperatorError(
            "nothing says which policy is to be rehearsed",
            "name a file, or --pending for your pending changes, not both",
            code=Exit.USAGE,
        )
    if pending:
        if not draft.pending:
            raise OperatorError(
                "you have no pending changes", "name a file, or make changes with --pending first"
            )
        return draft, ()
    found, brought = await read_submitted(context, arguments, draft.content)
    content = replace(draft.content, document=to_plain(found.require()))
    if brought.authorities is not None:
        content = replace(content, authorities=brought.authorities)
    return Draft(draft.base, content, pending=True), found.warnings


def _kept_days(context: Context) -> int:
    latest = context.store.latest()
    section = (latest.content.document.get("records") or {}) if latest is not None else {}
    return Records.model_validate(section).days


async def _replay(
    context: Context, caller: Caller, draft: Draft, since: float, *, offline: bool
) -> dict[str, Any]:
    task, notes = _task(context, draft, since), [] if _kept_days(context) else [NOT_KEPT]

    async def ask(domains: Sequence[str]) -> Mapping[str, Any]:
        if context.gateway is None:
            notes.insert(0, NOT_RUNNING)
            return {}
        args = {"domains": domains, **candidate_payload(context, draft)}
        found: Mapping[str, Any] = await ask_one(context.gateway, "look-up", args)
        return found

    if context.gateway is None or await asyncio.to_thread(_few, context, since):
        found = await _replay_here(task, ask, caller.line, offline=offline)
    else:
        with context.replays.place():
            found = await replay_in_child(task, ask, caller.line, offline=offline)
    return {**found, "notes": notes}


async def _replay_here(task: Task, ask: Ask, line: Line, *, offline: bool) -> dict[str, Any]:
    """In a thread of this process. One that is given up ends at its next word, and lets go of the database then."""
    loop = asyncio.get_running_loop()
    given_up: list[bool] = []

    def tell(what: str, done: int, of: int) -> None:
        if given_up:
            raise GivenUp
        loop.call_soon_threadsafe(line.tell, {"what": what, "done": done, "of": of})

    replaying = await asyncio.to_thread(Replaying, task, tell)
    try:
        asked = [] if offline else await asyncio.to_thread(replaying.wanting)
        account = await asyncio.to_thread(replaying.account, await ask(asked) if asked else {})
    except asyncio.CancelledError:
        given_up.append(True)
        raise
    replaying.close()
    return account


def _task(context: Context, draft: Draft, since: float) -> Task:
    payload = sealed_payload(context.store, draft.content, draft.base, "", "")
    return {
        "records": str(context.home.records_db),
        "since": since,
        "today": today(context).isoformat(),
        **{key: payload[key] for key in ("document", "authorities", "crls")},
    }


def _few(context: Context, since: float) -> bool:
    """They are rehearsed sooner than a process starts."""
    store = RecordStore.open_to_read(context.home.records_db)
    if store is None:
        return True
    with closing(store):
        return store.count(since, FEW) < FEW


OPERATIONS = (
    operation("policy.rehearse", rehearse, "text pending days offline"),
    operation("policy.rises", rising, "text pending"),
)
