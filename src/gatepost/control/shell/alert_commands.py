"""`gatepost alert …`"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.files import read_passphrase_file
from gatepost.control.shell.options import HomeOption, JsonOption, group
from gatepost.control.shell.screen import plural, safe, say, say_json
from gatepost.core.errors import Exit, OperatorError


def make() -> typer.Typer:
    """The group."""
    app = group("alert", "What administrators are told, by mail and webhooks.")
    app.callback()(_group)
    app.command("test")(send_test)
    app.command("secret")(secret)
    return app


def _group() -> None:
    """What administrators are told, by mail and webhooks."""


def send_test(
    severity: Annotated[
        str, typer.Option("--severity", metavar="S", help="critical, warning or information.")
    ] = "information",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Send a test alert to everybody who takes alerts of this severity."""
    answer = Client(home).call_running("alert.test", severity=severity)
    if as_json:
        say_json({key: answer[key] for key in ("severity", "recipients", "mids", "webhooks")})
        return
    if answer["mids"]:
        mids = ", ".join(f"MID {mid}" for mid in answer["mids"])
        say(
            safe(
                f"A test alert ({severity}) is in the queue as {mids}, to {', '.join(answer['recipients'])}."
            )
        )
    if answer["webhooks"]:
        say(f"It is posted to {plural(answer['webhooks'], 'webhook')}; the log says what came of it.")


def secret(
    file: Annotated[
        str, typer.Option("--file", metavar="FILE", help="Its first line is the secret; - is standard input.")
    ] = "",
    forget: Annotated[bool, typer.Option("--forget", help="Forget the secret that is stored.")] = False,
    home: HomeOption = None,
) -> None:
    """Store the secret that signs what webhooks get; it is asked for unless a file has it."""
    value = "" if forget else _value(file)
    if not value and not forget:
        raise OperatorError(
            "no secret was given", "give it, or --forget the one that is stored", code=Exit.USAGE
        )
    answer = Client(home).call("alert.secret", value=value)
    say(f"The secret is {'stored' if answer['stored'] else 'forgotten'}.")


def _value(file: str) -> str:
    if file or not sys.stdin.isatty():
        return read_passphrase_file(file or "-")
    return str(typer.prompt("Secret of the webhooks", hide_input=True, err=True))
