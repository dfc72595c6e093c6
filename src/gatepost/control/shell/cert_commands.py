"""`gatepost cert …`: the group, and what only looks: list, show, check, csr.

The others are in `cert_making_commands` (new, import, install, export) and `cert_change_commands` (renew, restore, delete).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gatepost.control.shell.answers import say_change
from gatepost.control.shell.cert_options import NameArgument
from gatepost.control.shell.cert_screen import note_paragraph, say_findings, say_list, say_page, say_walk
from gatepost.control.shell.client import Client
from gatepost.control.shell.dane_command import dane
from gatepost.control.shell.names_command import names, say_names
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption, group
from gatepost.control.shell.proof_command import prove
from gatepost.control.shell.screen import day, note, paragraph, safe, say, say_json
from gatepost.core.errors import Exit, OperatorError


def make() -> typer.Typer:
    """The group."""
    from gatepost.control.shell import cert_change_commands, cert_making_commands

    app = group("cert", "Certificates and their keys.")
    app.command("new")(cert_making_commands.new)
    app.command("csr")(csr)
    app.command("install")(cert_making_commands.install)
    app.command("import")(cert_making_commands.import_)
    app.command("export")(cert_making_commands.export)
    app.command("list")(list_)
    app.command("show")(show)
    app.command("check")(check)
    app.command("names")(names)
    app.command("prove")(prove)
    app.command("dane")(dane)
    app.command("renew")(cert_change_commands.renew)
    app.command("restore")(cert_change_commands.restore)
    app.command("delete")(cert_change_commands.delete)
    return app


def list_(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List the certificates, and what uses them."""
    rows = Client(home).call("cert.list")
    if as_json:
        say_json(rows)
    else:
        say_list(rows)


def show(name: NameArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show one certificate, its uses and its history."""
    found = Client(home).call("cert.show", name=name)
    if as_json:
        say_json(found)
    else:
        say_page(found)


def csr(name: NameArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Print the signing request, to be given to a CA.

    PEM on standard output; what to ask of the authority is said on standard error.
    """
    found = Client(home).call("cert.csr", name=name)
    if as_json:
        say_json(found)
        return
    note_paragraph(found["ask"])
    say(found["csr"].rstrip("\n"))


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One certificate; without it all.")] = "",
    repair: Annotated[
        bool, typer.Option("--repair", help="Put the right intermediates in the right order in place.")
    ] = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Say what is wrong, and what repairs it.

    Each finding says what peers will see of it. Ends with 1 when something breaks verification, with 0 on warnings.
    """
    client = Client(home)
    repaired = client.call("cert.repair", name=name, comment=comment, pending=pending) if repair else None
    found = client.call("cert.check", name=name)
    rows: Sequence[Mapping[str, Any]] = [found] if name else found
    if as_json:
        done = {row["name"]: row["notes"] for row in repaired["repaired"]} if repaired else {}
        told = [{**row, "repaired": done.get(row["name"], [])} for row in rows]
        say_json({**told[0], **_walk(client, name)} if name else told)
    else:
        if repaired is not None:
            _say_repaired(client, repaired)
        for row in rows:
            _say_checked(row)
        _say_more(client, name)
    if any(row["broken"] for row in rows):
        raise typer.Exit(Exit.REFUSED)


def _walk(client: Client, name: str) -> Mapping[str, Any]:
    """Why the certificate does not verify, and the comparison of names; a check does not fail because DNS does."""
    try:
        found: Mapping[str, Any] = client.call("cert.walk", name=name)
    except OperatorError as error:
        note(safe(f"The names could not be compared: {error.message}"))
        return {}
    return found


def _say_more(client: Client, name: str) -> None:
    """Of one certificate the walk through it (R37), and for it or for all the comparison of names (R10)."""
    if not name:
        say()
        say_names(client.call("cert.names"))
        return
    found = _walk(client, name)
    for walk in found.get("walks", ()):
        say_walk(walk)
    if found:
        say()
        say_names(found["name_check"])


def _say_repaired(client: Client, repaired: Mapping[str, Any]) -> None:
    for row in repaired["repaired"]:
        say(f"Repaired {row['name']}")
        for text in row["notes"]:
            paragraph("  ", text)
    if not repaired["repaired"]:
        say("No bundle had to be repaired.")
    else:
        say_change(client, repaired)
    say()


def _say_checked(row: Mapping[str, Any]) -> None:
    until = f", until {day(row['not_after'])}" if row["not_after"] else ""
    paragraph("", f"{row['name']}: {row['status']}{until}")
    say_findings(row["findings"])
