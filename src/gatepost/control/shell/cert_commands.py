"""`gatepost cert …`"""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gatepost.control.shell.answers import say_change
from gatepost.control.shell.client import Client
from gatepost.control.shell.files import STANDARD, read_file, read_passphrase_file
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption, group
from gatepost.control.shell.proof_command import prove
from gatepost.control.shell.screen import day, facts, local, note, paragraph, safe, say, say_json, table
from gatepost.core.errors import Exit, OperatorError

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The certificate's name in the configuration.")
]


def make() -> typer.Typer:
    """The group."""
    app = group("cert", "Certificates and their keys.")
    app.command("new")(new)
    app.command("import")(import_)
    app.command("list")(list_)
    app.command("show")(show)
    app.command("prove")(prove)
    return app


def _field(option: str, about: str, metavar: str = "TEXT") -> Any:
    return typer.Option(option, metavar=metavar, help=about)


def new(
    name: NameArgument,
    common_name: Annotated[str, _field("--common-name", "The host name.", "CN")],
    san: Annotated[list[str] | None, _field("--san", "A further name; may be repeated.", "DNS")] = None,
    organization: Annotated[str, _field("--organization", "Organisation.", "O")] = "",
    unit: Annotated[str, _field("--unit", "Organisational unit.", "OU")] = "",
    locality: Annotated[str, _field("--locality", "Town.", "L")] = "",
    state: Annotated[str, _field("--state", "State or province.", "ST")] = "",
    country: Annotated[str, _field("--country", "Two letters.", "C")] = "",
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", min=1, help="How long it is valid.")
    ] = None,
    key: Annotated[
        str, _field("--key", "rsa2048, rsa3072, rsa4096, p256, p384 or ed25519.", "KIND")
    ] = "rsa2048",
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Make a key and a self-signed certificate."""
    client = Client(home)
    answer = client.call(
        "cert.new",
        name=name,
        common_name=common_name,
        san=san or [],
        organization=organization,
        unit=unit,
        locality=locality,
        state=state,
        country=country,
        key=key,
        comment=comment,
        pending=pending,
        **({} if days is None else {"days": days}),
    )
    _say_certificate(client, answer)


def import_(
    name: NameArgument,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="PEM, DER, PKCS#7 or PKCS#12; - is standard input.")
    ],
    key: Annotated[str, _field("--key", "The private key, where FILE has none.", "FILE")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a certificate of this name.")] = False,
    passphrase: Annotated[
        str | None, _field("--passphrase", "Visible to others on this machine; a file is better.", "P")
    ] = None,
    passphrase_file: Annotated[
        str | None, _field("--passphrase-file", "The pass-phrase is its first line.", "F")
    ] = None,
    comment: CommentOption = "",
    pending: PendingOption = False,
    home: HomeOption = None,
) -> None:
    """Import a certificate with its private key and its chain."""
    if [file, key, passphrase_file].count(STANDARD) > 1:
        raise OperatorError("only one of the files can be standard input", code=Exit.USAGE)
    client = Client(home)
    args: dict[str, Any] = {
        "name": name,
        "file": b64encode(read_file(file)).decode("ascii"),
        "key": b64encode(read_file(key)).decode("ascii") if key else "",
        "passphrase": _given_passphrase(passphrase, passphrase_file),
        "replace": replace,
        "comment": comment,
        "pending": pending,
    }
    answer = client.call("cert.import", **args)
    if answer.get("needs_passphrase"):
        answer = client.call("cert.import", **{**args, "passphrase": _ask_passphrase(file)})
    _say_certificate(client, answer)


def _given_passphrase(passphrase: str | None, file: str | None) -> str:
    if passphrase is not None and file is not None:
        raise OperatorError(
            "--passphrase and --passphrase-file exclude each other", "give one", code=Exit.USAGE
        )
    if passphrase is not None:
        note(
            "A pass-phrase on the command line is visible to others on this machine; a file or the prompt is better."
        )
        return passphrase
    return read_passphrase_file(file) if file is not None else ""


def _ask_passphrase(file: str) -> str:
    if not sys.stdin.isatty():
        raise OperatorError(
            f"{file} is encrypted and no pass-phrase was given", "give it with --passphrase-file FILE"
        )
    answer: str = typer.prompt(f"Pass-phrase of {file}", hide_input=True, err=True)
    return answer


def _say_certificate(client: Client, answer: Mapping[str, Any]) -> None:
    found = answer["certificate"]
    say(safe(f"Certificate {found['name']}: {found['subject']}"))
    facts(
        (
            ("names", ", ".join(found["names"])),
            ("issuer", found["issuer"]),
            ("valid until", day(found["not_after"])),
            ("key", found["key"]),
        ),
        indent="  ",
    )
    _say_findings(found["findings"])
    say_change(client, answer)


def _say_findings(findings: list[dict[str, str]]) -> None:
    for finding in findings:
        tail = f"; {finding['repair']}" if finding["repair"] else ""
        paragraph(f"  {finding['severity']}: ", finding["text"] + tail)


def list_(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List the certificates, their state and what uses them."""
    rows = Client(home).call("cert.list")
    if as_json:
        say_json(rows)
        return
    cells: list[tuple[str, ...]] = []
    for row in rows:
        first, *more = row["used_by"] or ["-"]
        head = (row["name"], row["common_name"] or "-", row["status"], day(row["not_after"]))
        cells.append((*head, first))
        cells += [("", "", "", "", use) for use in more]
    table(("Name", "Common name", "Status", "Valid until", "Used by"), cells)


def show(name: NameArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show one certificate."""
    found = Client(home).call("cert.show", name=name)
    if as_json:
        say_json(found)
        return
    facts(
        (
            ("Name", found["name"]),
            ("Subject", found["subject"]),
            ("Names", ", ".join(found["names"])),
            ("Issuer", found["issuer"]),
            ("Valid", f"{day(found['not_before'])} to {day(found['not_after'])}"),
            ("Status", found["status"]),
            ("Origin", f"{found['origin']}, {local(found['created'])}"),
            ("Key", found["key"] + ("" if found["private_key"] else " (the private key is missing)")),
            ("Serial", found["serial"]),
            ("SHA-256", found["fingerprint"]),
            ("Used by", ", ".join(found["used_by"]) or "nothing"),
        )
    )
    if len(found["chain"]) > 1:
        say("Chain")
        for certificate in found["chain"]:
            say(safe(f"  {certificate['subject']}, until {day(certificate['not_after'])}"))
    if found["findings"]:
        say("Findings")
        _say_findings(found["findings"])
