"""`gatepost policy …`"""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.files import read_file
from gatepost.control.shell.options import HomeOption, JsonOption, group
from gatepost.control.shell.rehearse_screen import PENDING, Progress, file_name, say_rehearsal
from gatepost.control.shell.screen import note_problems, say_json


def make() -> typer.Typer:
    """The group."""
    app = group("policy", "What a policy does, before it is in force.")
    # A group of one command would be taken for the command itself.
    app.callback()(_group)
    app.command("rehearse")(rehearse)
    return app


def _group() -> None:
    """What a policy does, before it is in force."""


def rehearse(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A configuration; - is standard input.")
    ] = None,
    pending: Annotated[bool, typer.Option("--pending", help="Rehearse your pending changes.")] = False,
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", min=1, help="Days back; absent: all that is kept.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Look nothing up now, whatever is missing.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show what FILE would have made of the recorded mail: who would fail, and why. Changes nothing.

    The exit code says that it was rehearsed, not that nothing would fail: it is 0 in both cases.
    """
    args: dict[str, Any] = {"pending": pending, "offline": offline}
    if file is not None:
        args["text"] = b64encode(read_file(file)).decode("ascii")
    if days is not None:
        args["days"] = days
    with Progress() as told:
        found = Client(home).follow("policy.rehearse", told, **args)
    note_problems(found["warnings"])
    if as_json:
        say_json(found)
    else:
        say_rehearsal(found, file_name(file) if file is not None else PENDING)
