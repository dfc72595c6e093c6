"""`gatepost ca …`"""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated

import typer

from gatepost.control.shell.answers import say_change
from gatepost.control.shell.client import Client
from gatepost.control.shell.files import STANDARD, read_file, write_file
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption, group
from gatepost.control.shell.screen import day, note, plural, safe, say, say_json, table

ListArgument = Annotated[str, typer.Argument(metavar="system|custom", help="Which list.")]


def make() -> typer.Typer:
    """The group."""
    app = group("ca", "The certificate authorities that verify peers: the system's list and a custom one.")
    app.command("list")(list_)
    app.command("import")(import_)
    app.command("export")(export)
    app.command("enable")(enable)
    app.command("disable")(disable)
    return app


def list_(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List both lists; of the system's, which is long, only the summary unless --json asks for all."""
    found = Client(home).call("ca.list")
    if as_json:
        say_json(found["authorities"])
        return
    for one in found["lists"]:
        where = f", {one['path']}" if one["path"] else ""
        state = "on" if one["enabled"] else "off"
        say(
            f"{one['name'].capitalize()} list: {state}, {plural(one['count'], 'authority', 'authorities')}{where}"
        )
        for problem in one["problems"]:
            note(safe(f"  {problem}"))
    rows = [row for row in found["authorities"] if row["list"] == "custom"]
    if rows:
        say()
        table(("Custom authority", "Valid until"), [(row["name"], day(row["not_after"])) for row in rows])


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="PEM, DER or PKCS#7; - is standard input.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Forget what the custom list held before.")
    ] = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Add the certificates of FILE to the custom list. Does not switch the list on."""
    client = Client(home)
    data = b64encode(read_file(file)).decode("ascii")
    answer = client.call("ca.import", file=data, replace=replace, comment=comment, pending=pending)
    added = plural(answer["added"], "new authority", "new authorities")
    say(f"{added}; the custom list has {answer['total']:,}.")
    if not answer["enabled"]:
        say("The custom list is off; `gatepost ca enable custom` switches it on.")
    say_change(client, answer)


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to; - is standard output.")],
    home: HomeOption = None,
) -> None:
    """Write the custom list to FILE, as PEM."""
    found = Client(home).call("ca.export")
    write_file(file, found["pem"].encode("ascii"))
    if file != STANDARD:
        say(f"{plural(found['count'], 'authority', 'authorities')} written to {file}.")


def enable(
    name: ListArgument, comment: CommentOption = "", pending: PendingOption = False, home: HomeOption = None
) -> None:
    """Use a list to verify peers."""
    _switch(home, name, True, comment, pending)


def disable(
    name: ListArgument, comment: CommentOption = "", pending: PendingOption = False, home: HomeOption = None
) -> None:
    """Do not use a list any more."""
    _switch(home, name, False, comment, pending)


def _switch(home: str | None, name: str, enabled: bool, comment: str, pending: bool) -> None:
    client = Client(home)
    answer = client.call("ca.switch", list=name, enabled=enabled, comment=comment, pending=pending)
    say_change(client, answer)
