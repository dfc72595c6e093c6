"""`gatepost ca crl …`"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gatepost.control.shell.answers import say_change
from gatepost.control.shell.client import Client
from gatepost.control.shell.files import about, read_file
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption, group
from gatepost.control.shell.screen import local, note, plural, safe, say, say_json, table
from gatepost.core.errors import Exit


def make() -> typer.Typer:
    """The group."""
    app = group("crl", "Revocation lists: what authorities have taken back.")
    app.command("list")(list_)
    app.command("add")(add)
    app.command("import")(import_)
    app.command("fetch")(fetch)
    app.command("remove")(remove)
    return app


def list_(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List where revocation lists come from, and which are in use."""
    rows = Client(home).call("ca.crl.list")
    if as_json:
        say_json(rows)
    elif not rows:
        say("No revocation lists; `gatepost ca crl add URL` or `gatepost ca crl import FILE` brings one.")
    else:
        _say_rows(rows)


def _say_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    headings = ("List", "Status", "Revoked", "Next update", "Issuer")
    cells = [
        (
            row["name"] if row["url"] else "(from a file)",
            row["status"],
            f"{row['revoked']:,}" if row["issuer"] else "-",
            local(row["next_update"]),
            row["issuer"] or "-",
        )
        for row in rows
    ]
    table(headings, cells)
    for row in rows:
        for finding in row["findings"]:
            repair = f" ({finding['repair']})" if finding["repair"] else ""
            note(safe(f"{row['name']}: {finding['text']}{repair}"))


def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="An http or https URL of a list, PEM or DER.")],
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What it is called in lists.")] = "",
    secondary: Annotated[
        str, typer.Option("--secondary", metavar="URL", help="Asked when the first URL does not answer.")
    ] = "",
    every: Annotated[
        str,
        typer.Option("--every", metavar="TIME", help="Longest time between two fetches; 1d unless given."),
    ] = "",
    as_json: JsonOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Fetch a revocation list from URL, now and again before it ends."""
    client = Client(home)
    answer = client.call(
        "ca.crl.add", url=url, name=name, secondary=secondary, every=every, comment=comment, pending=pending
    )
    if as_json:
        say_json(answer)
        return
    say_change(client, answer)


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="PEM or DER; - is standard input.")],
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Use the revocation list in FILE, at once. A newer one of the same authority takes its place."""
    client = Client(home)
    data = b64encode(read_file(file)).decode("ascii")
    with about(file):
        answer = client.call("ca.crl.import", file=data)
    if as_json:
        say_json(answer)
        return
    revoked = plural(answer["revoked"], "certificate")
    until = f", next update {local(answer['next_update'])}" if answer["next_update"] else ""
    word = "is in use already" if answer["unchanged"] else "is in use"
    say(safe(f"The list of {answer['issuer']} {word}: {revoked} revoked{until}."))
    if answer["stale"]:
        note("It is out of date; `gatepost ca crl list` says what follows from that.")


def fetch(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The name or URL of one; absent: all.")] = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Fetch revocation lists now, and say how it went. Needs the running gateway."""
    rows = Client(home).call_running("ca.crl.fetch", name=name)
    if as_json:
        say_json(rows)
    else:
        _say_rows(rows)
    if any(row["failures"] for row in rows):
        raise typer.Exit(Exit.REFUSED)


def remove(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The name or URL; of a list from a file, its issuer or the beginning of its fingerprint.",
        ),
    ],
    as_json: JsonOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Fetch a revocation list no more, or forget one that came from a file."""
    client = Client(home)
    answer = client.call("ca.crl.remove", name=name, comment=comment, pending=pending)
    if as_json:
        say_json(answer)
    elif "forgotten" in answer:
        say(safe(f"The list of {answer['forgotten']} is forgotten."))
    else:
        say_change(client, answer)
