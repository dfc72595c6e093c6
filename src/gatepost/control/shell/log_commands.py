"""`gatepost log …`"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption, group
from gatepost.control.shell.screen import note, say


def make() -> typer.Typer:
    """The group."""
    app = group("log", "The mail log.")
    app.command("find")(find)
    app.command("follow")(follow)
    return app


def _number(option: str, about: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(option, metavar="N", min=1, help=about)
    return found


def find(
    icid: Annotated[int | None, _number("--icid", "An incoming connection.")] = None,
    dcid: Annotated[int | None, _number("--dcid", "A delivery connection.")] = None,
    mid: Annotated[int | None, _number("--mid", "A message.")] = None,
    address: Annotated[
        str, typer.Option("--address", metavar="A", help="A sender or recipient, or @domain.")
    ] = "",
    tls: Annotated[
        str, typer.Option("--tls", metavar="success|failed|none", help="The outcome of TLS on a connection.")
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="2h, 3d, or an ISO time: only what came later.")
    ] = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Find lines; several criteria narrow each other down. Works on a stopped gateway too."""
    from gatepost.control.ops.logs import criteria, find_lines, line_document

    client = Client(home)
    client.begin()
    wanted = criteria(icid=icid, dcid=dcid, mid=mid, address=address, tls=tls, since=since, now=time.time())
    lines = find_lines(client.home, wanted)
    if as_json:
        import orjson

        before = "["
        for line in lines:
            typer.echo(before + "\n" + orjson.dumps(line_document(line)).decode("utf-8"), nl=False)
            before = ","
        typer.echo("[]" if before == "[" else "\n]")
        return
    found = False
    for line in lines:
        say(line.raw)
        found = True
    if not found:
        note("No line matches.")


def follow(home: HomeOption = None) -> None:
    """Print lines as they are written, until Ctrl-C."""
    from gatepost.control.ops.logs import follow_lines

    def wait(seconds: float) -> bool:
        time.sleep(seconds)
        return True

    client = Client(home)
    client.begin()
    for line in follow_lines(client.home, wait):
        say(line)
