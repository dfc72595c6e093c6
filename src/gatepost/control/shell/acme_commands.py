"""`gatepost acme …`"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.files import read_passphrase_file
from gatepost.control.shell.options import HomeOption, JsonOption, group
from gatepost.control.shell.screen import facts, local, note, paragraph, plural, safe, say, say_json, table
from gatepost.core.errors import Exit, OperatorError

SECRETS = {
    "eab": "Key of the external account (base64url)",
    "tsig": "Key of dynamic updates (base64)",
}


def make() -> typer.Typer:
    """The group."""
    app = group("acme", "Certificates that are issued and renewed by themselves.")
    app.command("status")(status)
    app.command("account")(account)
    app.command("renew")(renew)
    app.command("secret")(secret)
    return app


def status(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show every automatic certificate: until when it is in force, when it is renewed and why, and the last try."""
    found = Client(home).call("acme.status")
    if as_json:
        say_json(found)
        return
    if not found:
        say("No certificate is issued by itself (acme.directory and acme.certificates).")
        return
    headings = ("Certificate", "In force until", "Renews", "Last try", "Outcome")
    table(headings, [_row(one) for one in found])
    for one in found:
        _more(one)


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    until = "a stand-in" if one["stand_in"] else local(one["not_after"])
    outcome = plural(one["failures"], "failure") if one["failed"] else one["outcome"]
    if one["waits"]:
        outcome = "issued, waits"
    return one["name"], until, local(one["renews"]), local(one["last_attempt"]), outcome or "-"


def _more(one: Mapping[str, Any]) -> None:
    """What does not fit into a row."""
    say()
    paragraph(
        f"{one['name']}: ", f"{', '.join(one['names'])}, by {one['challenge']}. {one['why'].capitalize()}."
    )
    if one["failed"]:
        paragraph("  The last try failed: ", one["outcome"])
        paragraph("  Next try: ", local(one["next_try"]))
    if one["waits"]:
        paragraph("  It waits: ", one["waits"])
    for remark in one["remarks"]:
        paragraph("  ", remark)


def account(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show the account at the authority, never its key, and what the authority says of itself."""
    found = Client(home).call("acme.account")
    if as_json:
        say_json(found)
        return
    if not found["directory"]:
        say("No authority is set (acme.directory).")
        return
    agreed = "agreed to" if found["terms_agreed"] else "not agreed to (acme.terms_agreed)"
    stored = [name for name, there in found["secrets"].items() if there]
    facts(
        (
            ("Directory", found["directory"]),
            ("Account", found["url"] or "none yet; it is registered with the first order"),
            ("Contact", found["contact"]),
            ("Thumbprint", found["thumbprint"]),
            ("Bound to", found["eab"]),
            ("Stored secrets", ", ".join(stored)),
            ("Terms", f"{found['terms']}, {agreed}" if found["terms"] else ""),
            ("Profiles", ", ".join(found["profiles"])),
        )
    )
    if found["problem"]:
        note(safe(f"The authority did not answer: {found['problem']}"))


def renew(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The certificate's name in acme.certificates.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen; order nothing, change nothing.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Renew an automatic certificate now."""
    answer = Client(home).call("acme.renew", name=name, dry_run=dry_run)
    if as_json:
        say_json(answer)
    else:
        paragraph("", str(answer["said"]))


def secret(
    kind: Annotated[
        str,
        typer.Argument(metavar="eab|tsig", help="Key of the external account, or of dynamic DNS updates."),
    ],
    file: Annotated[
        str, typer.Option("--file", metavar="FILE", help="Its first line is the key; - is standard input.")
    ] = "",
    forget: Annotated[bool, typer.Option("--forget", help="Forget the key that is stored.")] = False,
    home: HomeOption = None,
) -> None:
    """Store a key that the authority or the DNS server handed out; it is asked for unless a file has it."""
    if kind not in SECRETS:
        raise OperatorError(
            f"there is no secret {kind}", f"there are {' and '.join(SECRETS)}", code=Exit.USAGE
        )
    value = "" if forget else _value(kind, file)
    if not value and not forget:
        raise OperatorError(
            "no key was given", "give it, or --forget the one that is stored", code=Exit.USAGE
        )
    answer = Client(home).call("acme.secret", kind=kind, value=value)
    say(f"The key is {'stored' if answer['stored'] else 'forgotten'}.")


def _value(kind: str, file: str) -> str:
    if file:
        return read_passphrase_file(file)
    if not sys.stdin.isatty():
        return read_passphrase_file("-")
    return str(typer.prompt(SECRETS[kind], hide_input=True, err=True))
