"""`gatepost queue …`"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption, YesOption, group
from gatepost.control.shell.screen import facts, local, note, plural, safe, say, say_json, size, table
from gatepost.core.errors import Exit, OperatorError

MidArgument = Annotated[int | None, typer.Argument(metavar="[MID]", min=1, help="One message.")]
DomainOption = Annotated[str, typer.Option("--domain", metavar="D", help="All recipients of one domain.")]
AllOption = Annotated[bool, typer.Option("--all", help="The whole queue.")]

_KINDS = {"ordinary": "", "alert": "alert", "notice": "notice", "tls-report": "TLS report"}
_DONE = {
    "retry": "tried now",
    "hold": "held",
    "release": "released",
    "delete": "deleted",
    "bounce": "returned",
}


def make() -> typer.Typer:
    """The group."""
    app = group("queue", "The messages that wait for delivery.")
    app.command("list")(list_)
    app.command("show")(show)
    for action, about in (
        ("retry", "Try to deliver now."),
        ("hold", "Do not try any more until released."),
        ("release", "Let held messages go, and try them now."),
        ("delete", "Remove messages; nobody is told."),
        ("bounce", "Return messages to their senders."),
    ):
        app.command(action, help=about)(_command(action))
    return app


def list_(domain: DomainOption = "", as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List the queue, oldest first."""
    found = Client(home).call_running("queue.list", **({"domain": domain} if domain else {}))
    for problem in found["problems"]:
        note(f"Not all is shown: {problem}")
    if as_json:
        say_json(found["messages"])
        return
    if not found["messages"]:
        say("The queue is empty." if not domain else f"Nothing waits for {safe(domain)}.")
        return
    table(
        ("MID", "State", "Received", "Size", "Tries", "From, to"),
        [_row(message) for message in found["messages"]],
    )


def _row(message: dict[str, Any]) -> tuple[object, ...]:
    recipients = message["recipients"]
    to = recipients[0] if recipients else "-"
    more = f" and {len(recipients) - 1} more" if len(recipients) > 1 else ""
    return (
        message["mid"],
        message["state"],
        local(message["received"]),
        size(message["size"]),
        message["attempts"],
        f"{_marks(message)}<{message['sender']}> -> {to}{more}",
    )


def _marks(message: dict[str, Any]) -> str:
    """What makes a message unlike others, in front of its sender."""
    return "".join(f"{mark}: " for mark in (_KINDS[message["kind"]], _asked(message)) if mark)


def _asked(message: dict[str, Any]) -> str:
    """What the message itself asks of TLS (RFC 8689)."""
    if message["requiretls"]:
        return "REQUIRETLS"
    return "TLS-Required: No" if message["tls_optional"] else ""


def show(
    mid: Annotated[int, typer.Argument(metavar="MID", min=1, help="The message.")],
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show one message and what is known of each recipient."""
    found = Client(home).call_running("queue.show", mid=mid)
    if as_json:
        say_json(found)
        return
    facts(
        (
            ("MID", found["mid"]),
            ("State", found["state"]),
            ("From", f"<{found['sender']}>"),
            ("Received", f"{local(found['received'])} by {found['listener'] or 'the gateway itself'}"),
            ("Size", size(found["size"])),
            ("Kind", _KINDS[found["kind"]]),
            ("Asks of TLS", _asked(found)),
            ("Report on", f"MID {found['about']}" if found["about"] else ""),
            ("Reason", found["reason"]),
        )
    )
    for recipient in found["recipients"]:
        say()
        facts(
            (
                ("To", f"<{recipient['address']}>"),
                ("State", recipient["state"]),
                ("Tries", recipient["attempts"]),
                ("Next", local(recipient["next_attempt"]) if recipient["state"] == "waiting" else ""),
                ("Last error", _last_error(recipient)),
            )
        )


def _last_error(recipient: dict[str, Any]) -> str:
    words = (recipient["status"], recipient["code"], recipient["text"], recipient["remote"])
    return " ".join(word for word in words if word)


def _command(action: str) -> Callable[..., None]:
    def command(
        mid: MidArgument = None,
        domain: DomainOption = "",
        everything: AllOption = False,
        yes: YesOption = False,
        as_json: JsonOption = False,
        home: HomeOption = None,
    ) -> None:
        chosen = _chosen(mid, domain, everything)
        if action in ("delete", "bounce") and not yes:
            _confirm(action, chosen)
        answer = Client(home).call_running(f"queue.{action}", **chosen)
        for problem in answer["problems"]:
            note(f"Not all was reached: {problem}")
        if as_json:
            say_json({"done": answer["done"], "busy": answer["busy"]})
            return
        say(f"{plural(len(answer['done']), 'message')} {_DONE[action]}.")
        if answer["busy"]:
            numbers = ", ".join(map(str, answer["busy"][:10]))
            note(f"{plural(len(answer['busy']), 'message')} just being delivered, not touched: {numbers}")

    return command


def _chosen(mid: int | None, domain: str, everything: bool) -> dict[str, Any]:
    """The selection, exactly one of the three."""
    found = {"mid": mid, "domain": domain or None, "all": everything or None}
    chosen = {key: value for key, value in found.items() if value is not None}
    if len(chosen) != 1:
        raise OperatorError("name one message (MID), one domain (--domain D) or --all", code=Exit.USAGE)
    return chosen


def _confirm(action: str, chosen: dict[str, Any]) -> None:
    """Ask a person; a script has to say --yes."""
    (kind, value), *_ = chosen.items()
    what = {"mid": f"message {value}", "domain": f"everything for {value}", "all": "the whole queue"}[kind]
    if not sys.stdin.isatty():
        raise OperatorError(f"{action} of {what} was not confirmed", "say --yes", code=Exit.USAGE)
    verb = "Delete" if action == "delete" else "Return to its senders:"
    if not typer.confirm(f"{verb} {what}?", err=True):
        raise typer.Exit(Exit.REFUSED)
