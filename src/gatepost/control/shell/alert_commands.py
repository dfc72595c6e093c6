"""`gatepost alert …`"""

from __future__ import annotations

from typing import Annotated

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption, group
from gatepost.control.shell.screen import safe, say, say_json


def make() -> typer.Typer:
    """The group."""
    app = group("alert", "Mail to administrators.")
    app.callback()(_group)
    app.command("test")(send_test)
    return app


def _group() -> None:
    """Mail to administrators."""


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
        say_json({key: answer[key] for key in ("severity", "recipients", "mids")})
        return
    mids = ", ".join(f"MID {mid}" for mid in answer["mids"])
    say(safe(f"A test alert ({severity}) is in the queue as {mids}, to {', '.join(answer['recipients'])}."))
