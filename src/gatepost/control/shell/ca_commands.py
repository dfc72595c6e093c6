"""`gatepost ca …`"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gatepost.control.shell import crl_commands
from gatepost.control.shell.answers import say_change
from gatepost.control.shell.client import Client
from gatepost.control.shell.files import STANDARD, about, read_file, write_file
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption, group
from gatepost.control.shell.screen import day, facts, note, plural, safe, say, say_json, table

ListArgument = Annotated[str, typer.Argument(metavar="system|custom", help="Which list.")]
FingerprintArgument = Annotated[
    str, typer.Argument(metavar="FINGERPRINT", help="SHA-256 as `ca list` shows it; its beginning is enough.")
]
SHOWN_DIGITS = 12
SHOWN_NAME = 36  # of a name in the list, so that a row fits a terminal; `ca show` has the whole subject


def make() -> typer.Typer:
    """The group."""
    app = group("ca", "The certificate authorities that verify peers: the system's list and a custom one.")
    app.command("list")(list_)
    app.command("show")(show)
    app.command("import")(import_)
    app.command("export")(export)
    app.command("remove")(remove)
    app.command("enable")(enable)
    app.command("disable")(disable)
    app.add_typer(crl_commands.make(), name="crl")
    return app


def list_(
    everything: Annotated[
        bool, typer.Option("--all", help="The system's authorities too, one a line.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List both lists; of the system's, which is long, the summary and what needs attention."""
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
    for name in ("custom", "system"):
        rows = [row for row in found["authorities"] if row["list"] == name]
        _say_list(name, rows if everything or name == "custom" else [row for row in rows if row["findings"]])


def _say_list(name: str, rows: list[Mapping[str, Any]]) -> None:
    if not rows:
        return
    say()
    heading = f"{name.capitalize()} authority"
    table(
        (heading, "Valid until", "Fingerprint", "Status"),
        [
            (_short(row["name"]), day(row["not_after"]), row["fingerprint"][:SHOWN_DIGITS], row["status"])
            for row in rows
        ],
    )


def _short(name: str) -> str:
    return name if len(name) <= SHOWN_NAME else name[: SHOWN_NAME - 1] + "…"


def show(fingerprint: FingerprintArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show one authority of either list, with its certificate."""
    found = Client(home).call("ca.show", fingerprint=fingerprint)
    if as_json:
        say_json(found)
        return
    facts(
        (
            ("Subject", found["subject"]),
            ("Issuer", found["issuer"]),
            ("List", f"{found['list']}, {'on' if found['enabled'] else 'off'}"),
            ("Valid", f"{day(found['not_before'])} to {day(found['not_after'])}"),
            ("Serial number", found["serial"]),
            ("Key", found["key"]),
            ("SHA-256", found["fingerprint"]),
            ("Status", found["status"]),
        )
    )
    for finding in found["findings"]:
        repair = f" ({finding['repair']})" if finding["repair"] else ""
        say(safe(f"{finding['severity']}: {finding['text']}{repair}"))
    say()
    say(found["pem"].rstrip())


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="PEM, DER or PKCS#7; - is standard input.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Forget what the custom list held before.")
    ] = False,
    as_json: JsonOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Add the authorities of FILE to the custom list. Does not switch the list on."""
    client = Client(home)
    data = b64encode(read_file(file)).decode("ascii")
    with about(file):
        answer = client.call("ca.import", file=data, replace=replace, comment=comment, pending=pending)
    if as_json:
        say_json(answer)
        return
    added = plural(answer["added"], "new authority", "new authorities")
    say(f"{added}; the custom list has {answer['total']:,}.")
    if not answer["enabled"]:
        say("The custom list is off; `gatepost ca enable custom` switches it on.")
    say_change(client, answer)


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to; - is standard output.")],
    name: Annotated[str, typer.Option("--list", metavar="system|custom", help="Which list.")] = "custom",
    home: HomeOption = None,
) -> None:
    """Write a list, the custom one unless told otherwise, to FILE, as PEM."""
    found = Client(home).call("ca.export", list=name)
    write_file(file, found["pem"].encode("ascii"))
    if file != STANDARD:
        say(f"{plural(found['count'], 'authority', 'authorities')} written to {file}.")


def remove(
    fingerprint: FingerprintArgument,
    as_json: JsonOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Take one authority out of the custom list."""
    client = Client(home)
    answer = client.call("ca.remove", fingerprint=fingerprint, comment=comment, pending=pending)
    if as_json:
        say_json(answer)
        return
    say(safe(f"{answer['removed']} removed; the custom list has {answer['total']:,}."))
    say_change(client, answer)


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
