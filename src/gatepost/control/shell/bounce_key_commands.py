"""`gatepost bounce-keys …`"""

from __future__ import annotations

from typing import Annotated

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.files import read_passphrase_file
from gatepost.control.shell.options import HomeOption, JsonOption, group
from gatepost.control.shell.screen import local, say, say_json, table


def make() -> typer.Typer:
    """The group."""
    app = group("bounce-keys", "Keys of the tags by which reports of our own mail are known.")
    app.command("list")(list_)
    app.command("new")(new)
    app.command("delete")(delete)
    return app


def list_(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show the keys, the one in use first."""
    rows = Client(home).call("bounce-keys.list")
    if as_json:
        say_json(rows)
    elif not rows:
        say("There is no key: nothing is tagged. `gatepost bounce-keys new` makes one.")
    else:
        table(("Key", "Made", "State"), [(one["number"], local(one["made"]), _state(one)) for one in rows])


def _state(one: dict[str, bool]) -> str:
    if one["current"]:
        return "in use"
    return "known, tags of it are on their way" if one["needed"] else "known, no tag of it counts any more"


def new(
    file: Annotated[
        str,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Its first line is the key, for hosts that share it; - is standard input.",
        ),
    ] = "",
    number: Annotated[
        int,
        typer.Option(
            "--number", metavar="N", help="Its number, 0 to 9; else the next one.", show_default=False
        ),
    ] = -1,
    home: HomeOption = None,
) -> None:
    """Tag with a new key from now on; the older ones stay known."""
    arguments: dict[str, object] = {"number": number} if number >= 0 else {}
    if file:
        arguments["secret"] = read_passphrase_file(file)
    answer = Client(home).call("bounce-keys.new", **arguments)
    say(f"Bounce key {answer['number']} is in use.")
    if answer["replaced"]:
        say("An older key had this number; tags that were made with it are refused from now on.")


def delete(
    number: Annotated[int, typer.Argument(metavar="N", help="The key's number.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Forget a key; what comes back with tags of it is refused from then on."""
    answer = Client(home).call("bounce-keys.delete", number=number)
    say(f"Bounce key {number} is forgotten.")
    current = answer["current"]
    say(
        f"Bounce key {current} is in use."
        if current is not None
        else "There is no key now: nothing is tagged."
    )
