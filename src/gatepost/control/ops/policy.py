"""policy.rehearse, policy.rises: what a configuration would have made of the deliveries and sessions of the last days.

The configuration is a file, examined like `config.check`, or the caller's candidate; nothing is stored. Records are read and replayed in a
thread (`probe.rehearse`). What no rule asked for on those days (TLSA records, MTA-STS policies, whether DNS is signed) one worker of the running
gateway looks up now, and the answer says for how many messages today's answers count; `offline` leaves that out.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

from gatepost.certs.times import iso_time
from gatepost.certs.trust import revocation_lists, trusted_roots
from gatepost.config.load import load_plain, to_plain
from gatepost.config.records import Records
from gatepost.control.ops.configuration import read_submitted
from gatepost.control.ops.draft import Draft, draft_of, problem_document, today
from gatepost.control.ops.explain import ask_one, candidate_payload
from gatepost.control.ops.registry import Arguments, Context, operation
from gatepost.control.ops.versions import current
from gatepost.control.ports import Caller
from gatepost.core.errors import Exit, OperatorError, Problem
from gatepost.policy.admit import compile_rules
from gatepost.policy.outbound import compile_destinations, compile_routes
from gatepost.policy.rising import rises
from gatepost.probe.rehearse import Rehearsal, answers_of
from gatepost.probe.rehearse_facts import Trial
from gatepost.probe.rehearse_mail import Deliveries
from gatepost.store.database import NewerForm
from gatepost.store.payload import sealed_payload
from gatepost.store.records import RecordsFailed, RecordStore

DAY = 86_400.0
NOT_RUNNING = "the gateway is not running: what nobody looked up on those days was not looked up now either"
NOT_KEPT = "no records are kept: records.days is 0"


async def rehearse(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The account of both sides."""
    draft, warnings = await _policy(context, arguments, caller)
    if context.gateway is not None:
        await context.gateway.look("records")
    kept = _kept_days(context)
    days = min(arguments.number("days", kept) or kept, kept)
    since = context.clock.now() - days * DAY
    try:
        found = await _replay(context, draft, since, offline=arguments.flag("offline"))
    except (RecordsFailed, NewerForm) as error:
        raise OperatorError(
            f"records.db cannot be read: {error}", "the log says since when; mail is not affected"
        ) from None
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


@contextmanager
def _collector_resting() -> Iterator[None]:
    """A full collection over hundreds of thousands of records would stop the desk for seconds; a replay makes no cycles to collect."""
    resting = not gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not resting:
            gc.enable()


async def _replay(context: Context, draft: Draft, since: float, *, offline: bool) -> dict[str, Any]:
    with _collector_resting():
        return await _replayed(context, draft, since, offline=offline)


async def _replayed(context: Context, draft: Draft, since: float, *, offline: bool) -> dict[str, Any]:
    deliveries, reach = await asyncio.to_thread(_read, context, since)
    trial = await asyncio.to_thread(_trial, context, draft)
    rehearsal = Rehearsal(trial, deliveries)
    notes = []
    asked: list[str] = []
    if reach["from"] and not offline:
        asked = await asyncio.to_thread(_wanting, context, rehearsal, trial, deliveries)
        if asked and context.gateway is None:
            notes.append(NOT_RUNNING)
        elif asked and context.gateway is not None:
            args = {"domains": asked, **candidate_payload(context, draft)}
            trial.answers = answers_of(await ask_one(context.gateway, "look-up", args))
    if not _kept_days(context):
        notes.append(NOT_KEPT)
    account = await asyncio.to_thread(_account, context, rehearsal, trial, deliveries, since)
    return {
        "records": reach,
        **account,
        "looked_up": len({key[0] for key in trial.answers}),
        "notes": notes,
    }


# --- in a thread -----------------------------------------------------------------------------------


def _read(context: Context, since: float) -> tuple[Deliveries, dict[str, Any]]:
    """The recorded deliveries, and how far the records reach."""
    store = RecordStore.open_if_there(context.home.records_db)
    if store is None:
        return Deliveries((), ()), {"from": "", "to": ""}
    with closing(store), store.snapshot():
        reach = store.reach()
        deliveries = Deliveries(store.connections(since - DAY), store.deliveries(since))
    first = max(reach.first, since) if reach.first else 0.0
    return deliveries, {
        "from": iso_time(first) if first else "",
        "to": iso_time(reach.last) if reach.last else "",
    }


def _trial(context: Context, draft: Draft) -> Trial:
    document = load_plain(dict(draft.content.document))
    payload = sealed_payload(context.store, draft.content, draft.base, "", "")
    return Trial(
        document,
        compile_destinations(document),
        compile_routes(document),
        compile_rules(document),
        trusted_roots(payload["authorities"]),
        revocation_lists(document, payload),
        today(context),
    )


def _wanting(context: Context, rehearsal: Rehearsal, trial: Trial, deliveries: Deliveries) -> list[str]:
    _take_certificates(context, trial, deliveries, ())
    return rehearsal.wanting()


def _account(
    context: Context, rehearsal: Rehearsal, trial: Trial, deliveries: Deliveries, since: float
) -> dict[str, Any]:
    store = RecordStore.open_if_there(context.home.records_db)
    if store is None:
        return rehearsal.document(())
    with closing(store), store.snapshot():
        sessions = [row for row in store.sessions(since) if _tells(row.facts)]
        chains = [row.facts["client"].get("chain", ()) for row in sessions if row.facts.get("client")]
        _take_certificates(context, trial, deliveries, {one for chain in chains for one in chain})
    return _readable(rehearsal.document(sessions))


def _tells(facts: Mapping[str, Any]) -> bool:
    """Somebody said MAIL."""
    return bool(facts.get("senders") or facts.get("refused"))


def _take_certificates(
    context: Context, trial: Trial, deliveries: Deliveries, more: set[str] | tuple[()]
) -> None:
    store = RecordStore.open_if_there(context.home.records_db)
    if store is not None:
        with closing(store):
            trial.certificates = store.certificates({*deliveries.fingerprints(), *more})


def _readable(value: dict[str, Any]) -> dict[str, Any]:
    """Times of certificates as the contract's JSON has them."""
    found: dict[str, Any] = _with_times(value)
    return found


def _with_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: iso_time(item) if key == "not_after" else _with_times(item) for key, item in value.items()
        }
    return [_with_times(item) for item in value] if isinstance(value, list) else value


OPERATIONS = (
    operation("policy.rehearse", rehearse, "text pending days offline"),
    operation("policy.rises", rising, "text pending"),
)
