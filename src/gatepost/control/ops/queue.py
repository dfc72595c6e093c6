"""queue.*: the queues of all workers as one (architecture 5: only the owner of a shard reads it)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatepost.certs.times import iso_time
from gatepost.control.ops.registry import Arguments, Context, Run, operation
from gatepost.control.ports import Caller, WorkerAnswer
from gatepost.core.address import normalise_domain
from gatepost.core.errors import Exit, OperatorError

SELECTION = "mid domain all"
_MANY = 10_000  # no worker tells of more in one answer


def _selection(arguments: Arguments) -> dict[str, Any]:
    """Exactly one of a message, a domain, or all. Raises OperatorError (exit 2)."""
    mid, domain, everything = (
        arguments.number("mid", 0),
        arguments.text("domain", ""),
        arguments.flag("all"),
    )
    if sum((bool(mid), bool(domain), everything)) != 1:
        raise OperatorError("name one message (MID), one domain (--domain) or all (--all)", code=Exit.USAGE)
    if domain:
        try:
            return {"domain": normalise_domain(domain)}
        except ValueError as error:
            raise OperatorError(f"{domain} is no domain: {error}", code=Exit.USAGE) from None
    return {"mid": mid} if mid else {"all": True}


def _unanswered(answers: Sequence[WorkerAnswer]) -> list[str]:
    return [answer.error for answer in answers if answer.error]


async def list_(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """The queued messages, oldest first."""
    chosen = {"all": True}
    if arguments.names():
        chosen = _selection(arguments)
    answers = await context.running().ask_workers("queue.list", chosen)
    rows = [row for answer in answers if not answer.error for row in answer.result]
    rows.sort(key=lambda row: (row["received"], row["mid"]))
    problems = _unanswered(answers)
    if any(len(answer.result) >= _MANY for answer in answers if not answer.error):
        problems.append("more messages wait than one answer holds; name a domain to see its own")
    return {"messages": [_readable(row) for row in rows], "problems": problems}


async def show(context: Context, arguments: Arguments, caller: Caller) -> Any:
    """One message with all its recipients."""
    mid = arguments.number("mid")
    found, unanswered = await _find(context, mid)
    if not found:
        raise _no_message(mid, unanswered)
    message = _readable(found[0])
    message["recipients"] = [_readable(recipient) for recipient in message["recipients"]]
    return message


async def _find(context: Context, mid: int) -> tuple[list[dict[str, Any]], list[str]]:
    answers = await context.running().ask_workers("queue.show", {"mid": mid})
    found = [row for answer in answers if not answer.error for row in answer.result]
    return found, _unanswered(answers)


def _no_message(mid: int, unanswered: list[str]) -> OperatorError:
    if unanswered:
        return OperatorError(
            f"message {mid} was not found, but {unanswered[0]}", "try again", code=Exit.TRY_AGAIN
        )
    return OperatorError(
        f"there is no message {mid} in the queue",
        f"`gatepost queue list` shows what is there, `gatepost log find --mid {mid}` what became of it",
    )


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Times as text; 0 means that there is none."""
    times = [key for key in ("received", "next_attempt") if key in row]
    changed: dict[str, Any] = {key: iso_time(row[key]) if row[key] else "" for key in times}
    return {**row, **changed}


def _act(action: str) -> Run:
    async def run(context: Context, arguments: Arguments, caller: Caller) -> Any:
        chosen = _selection(arguments)
        answers = await context.running().ask_workers(f"queue.{action}", {**chosen, "by": caller.name})
        done = sorted(mid for answer in answers if not answer.error for mid in answer.result["done"])
        busy = sorted(mid for answer in answers if not answer.error for mid in answer.result["busy"])
        if "mid" in chosen and not done:
            raise await _nothing_done(context, action, chosen["mid"], bool(busy))
        said = ", ".join(f"{key} {value}" for key, value in chosen.items() if key != "all") or "all"
        return {
            "done": done,
            "busy": busy,
            "problems": _unanswered(answers),
            "said": f"{said}: {len(done)} message{'s' if len(done) != 1 else ''}",
        }

    return run


async def _nothing_done(context: Context, action: str, mid: int, busy: bool) -> OperatorError:
    """Why one message was not touched."""
    if busy:
        return OperatorError(
            f"message {mid} is being delivered right now", "try again in a moment", code=Exit.TRY_AGAIN
        )
    found, unanswered = await _find(context, mid)
    if not found:
        return _no_message(mid, unanswered)
    state = found[0]["state"]
    if action == "retry" and state == "held":
        return OperatorError(f"message {mid} is held", f"let it go with `gatepost queue release {mid}`")
    reasons = {
        "hold": "is held already",
        "release": "is not held",
        "retry": "is being delivered right now",
    }
    return OperatorError(f"message {mid} {reasons.get(action, 'has no recipient that still waits')}")


OPERATIONS = (
    operation("queue.list", list_, SELECTION),
    operation("queue.show", show, "mid"),
    *(
        operation(f"queue.{action}", _act(action), SELECTION, changes=True)
        for action in ("retry", "hold", "release", "delete", "bounce")
    ),
)
