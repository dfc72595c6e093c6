"""`gatepost dkim …`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption, YesOption, group
from gatepost.control.shell.screen import day, note, paragraph, say, say_json, table
from gatepost.core.errors import Exit, OperatorError

DomainArgument = Annotated[str, typer.Argument(metavar="DOMAIN", help="The domain that signs.")]
SelectorOption = Annotated[str, typer.Option("--selector", metavar="S", help="The key's selector.")]


def make() -> typer.Typer:
    """The group."""
    app = group("dkim", "Keys that sign the gateway's own reports (DKIM).")
    app.command("new")(new)
    app.command("list")(list_keys)
    app.command("show")(show)
    app.command("check")(check)
    app.command("delete")(delete)
    return app


def new(
    domain: DomainArgument,
    selector: SelectorOption = "",
    kind: Annotated[str, typer.Option("--key", metavar="KIND", help="rsa2048 or ed25519.")] = "rsa2048",
    reports_only: Annotated[
        bool, typer.Option("--reports-only", help="The record says that the key is for TLS reports alone.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Make a key, and show the record to publish."""
    made = Client(home).call(
        "dkim.new", domain=domain, selector=selector, kind=kind, reports_only=reports_only
    )
    if as_json:
        say_json({key: value for key, value in made.items() if key != "said"})
        return
    say(f"The key {made['selector']} of {made['domain']} is made. Publish this record:")
    _say_record(made)
    if kind == "ed25519":
        say("Many receivers do not verify Ed25519 yet; have an rsa2048 key beside it.")


def list_keys(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show all keys, without their private halves."""
    found = Client(home).call("dkim.list")
    if as_json:
        say_json(found)
        return
    if not found:
        say("There is no key; `gatepost dkim new DOMAIN` makes one.")
        return
    table(
        ("Domain", "Selector", "Kind", "Made", "For"),
        [
            (
                row["domain"],
                row["selector"],
                row["kind"],
                day(row["made"]),
                "TLS reports" if row["reports_only"] else "all mail",
            )
            for row in found
        ],
    )


def show(
    domain: DomainArgument,
    selector: SelectorOption = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show the records to publish for a domain's keys."""
    found = Client(home).call("dkim.show", domain=domain, selector=selector)
    if as_json:
        say_json(found)
        return
    for row in found:
        _say_record(row)


def check(
    domain: DomainArgument,
    selector: SelectorOption = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Compare the records that the DNS publishes with the keys; exit 1 where they differ."""
    found = Client(home).call("dkim.check", domain=domain, selector=selector)
    if as_json:
        say_json(found)
    else:
        for row in found:
            _say_compared(row)
    if any(row["state"] != "good" for row in found):
        raise typer.Exit(Exit.REFUSED)


def delete(
    domain: DomainArgument, selector: SelectorOption = "", yes: YesOption = False, home: HomeOption = None
) -> None:
    """Forget one key for good."""
    if not selector:
        raise OperatorError(
            "no selector was given",
            "name one with --selector; `gatepost dkim list` shows them",
            code=Exit.USAGE,
        )
    if not yes:
        typer.confirm(f"Forget the key {selector} of {domain} for good?", abort=True, err=True)
    gone = Client(home).call("dkim.delete", domain=domain, selector=selector)
    say(f"The key {gone['selector']} of {gone['domain']} is gone. Its record may go too,")
    say("once what it signed has been read.")


def _say_record(row: Mapping[str, Any]) -> None:
    say()
    say(f"  {row['name']}. IN TXT (")
    for line in _cut(row["record"]):
        say(f'    "{line}"')
    say("  )")
    say()


def _cut(text: str, width: int = 72) -> list[str]:
    """Strings of a TXT record may be cut anywhere; short ones fit on the screen."""
    return [text[start : start + width] for start in range(0, len(text), width)]


def _say_compared(row: Mapping[str, Any]) -> None:
    name = row["name"]
    if row["state"] == "good":
        say(f"{name}: good, the record is of this key")
    for problem in row["problems"]:
        paragraph(f"{name}: ", problem)
    for remark in row["remarks"]:
        note(f"{name}: {remark}")
    if row["state"] in ("missing", "wrong"):
        say(f"`gatepost dkim show {row['domain']}` shows what to publish.")
