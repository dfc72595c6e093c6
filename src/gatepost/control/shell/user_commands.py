"""`gatepost user …`"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gatepost.control.shell.answers import say_change
from gatepost.control.shell.client import Client
from gatepost.control.shell.files import read_passphrase_file
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption, group
from gatepost.control.shell.screen import say_json, table
from gatepost.core.errors import Exit, OperatorError

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
FileOption = Annotated[
    str | None,
    typer.Option(
        "--passphrase-file", metavar="F", help="The pass-phrase is its first line; - is standard input."
    ),
]


def make() -> typer.Typer:
    """The group."""
    app = group("user", "Who administers, and who sends mail with SMTP AUTH.")
    app.command("list")(list_)
    app.command("add")(add)
    app.command("passphrase")(passphrase)
    app.command("enable")(enable)
    app.command("disable")(disable)
    app.command("delete")(delete)
    return app


def list_(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List all users."""
    found = Client(home).call("user.list")
    if as_json:
        say_json(found)
        return
    rows = [
        (row["name"], ", ".join(row["roles"]), "enabled" if row["enabled"] else "disabled") for row in found
    ]
    table(("Name", "Roles", "State"), rows)


def add(
    name: NameArgument,
    role: Annotated[
        list[str] | None,
        typer.Option(
            "--role", metavar="smtp|administrator", help="What the user may do; may be given twice."
        ),
    ] = None,
    passphrase_file: FileOption = None,
    as_json: JsonOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Add a user, who may send mail unless told otherwise. The pass-phrase is asked for unless a file has it."""
    given = _passphrase(passphrase_file, name)
    _change(
        home,
        "user.add",
        as_json,
        name=name,
        roles=role or [],
        passphrase=given,
        comment=comment,
        pending=pending,
    )


def passphrase(
    name: NameArgument,
    passphrase_file: FileOption = None,
    as_json: JsonOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Give a user a new pass-phrase. It is asked for unless a file has it."""
    given = _passphrase(passphrase_file, name)
    _change(home, "user.passphrase", as_json, name=name, passphrase=given, comment=comment, pending=pending)


def enable(
    name: NameArgument,
    as_json: JsonOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Let a user in again."""
    _change(home, "user.enable", as_json, name=name, comment=comment, pending=pending)


def disable(
    name: NameArgument,
    as_json: JsonOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Let a user in no more; sessions that he has end before their next message."""
    _change(home, "user.disable", as_json, name=name, comment=comment, pending=pending)


def delete(
    name: NameArgument,
    as_json: JsonOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Remove a user."""
    _change(home, "user.delete", as_json, name=name, comment=comment, pending=pending)


def _change(home: str | None, op: str, as_json: bool, **arguments: str | bool | list[str]) -> None:
    client = Client(home)
    answer = client.call(op, **arguments)
    if as_json:
        say_json(answer)
        return
    say_change(client, answer)


def _passphrase(file: str | None, name: str) -> str:
    if file is not None:
        return read_passphrase_file(file)
    if not sys.stdin.isatty():
        raise OperatorError(
            f"no pass-phrase was given for {name}", "give it with --passphrase-file FILE", code=Exit.USAGE
        )
    answer: str = typer.prompt(
        f"Pass-phrase of {name}", hide_input=True, confirmation_prompt="Once more", err=True
    )
    return answer
