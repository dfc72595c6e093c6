"""`gatepost cert new|install|import|export`: certificates come in and go out. Files are read and written here, with the
operator's own rights; the operations get bytes."""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gatepost.control.shell.cert_options import (
    BesideOption,
    DaneForceOption,
    NameArgument,
    PassphraseFileOption,
    PassphraseOption,
    ask_new_passphrase,
    ask_passphrase,
    field,
    given_passphrase,
)
from gatepost.control.shell.cert_screen import note_paragraph, say_changed
from gatepost.control.shell.client import Client
from gatepost.control.shell.files import STANDARD, read_file, write_file
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption
from gatepost.control.shell.screen import note, paragraph, plural, safe, say_json
from gatepost.core.errors import Exit, OperatorError


def new(
    name: NameArgument,
    common_name: Annotated[str, field("--common-name", "The host name.", "CN")] = "",
    san: Annotated[list[str] | None, field("--san", "A further name; may be repeated.", "DNS")] = None,
    organization: Annotated[str, field("--organization", "Organisation.", "O")] = "",
    unit: Annotated[str, field("--unit", "Organisational unit.", "OU")] = "",
    locality: Annotated[str, field("--locality", "Town.", "L")] = "",
    state: Annotated[str, field("--state", "State or province.", "ST")] = "",
    country: Annotated[str, field("--country", "Two letters.", "C")] = "",
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", min=1, help="How long it is valid.")
    ] = None,
    key: Annotated[
        str, field("--key", "rsa2048, rsa3072, rsa4096, p256, p384 or ed25519.", "KIND")
    ] = "rsa2048",
    comment: CommentOption = "",
    pending: PendingOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Make a key, a self-signed certificate and a request."""
    client = Client(home)
    hosts = client.call("cert.hosts", common_name=common_name, san=san or [])
    if not common_name:
        common_name = _ask_common_name(hosts["hosts"])
        hosts = client.call("cert.hosts", common_name=common_name, san=san or [])
    if hosts["warning"]:
        note_paragraph(hosts["warning"] + ".", "Warning: ")
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
    _say(client, answer, as_json)
    if not as_json:
        first = "commit it, then " if pending else ""
        paragraph("", f"To have it signed by an authority: {first}gatepost cert csr {name}")


def _ask_common_name(hosts: Sequence[dict[str, Any]]) -> str:
    """Offer the host names of the interfaces, the first as it stands (R3)."""
    offered = ", ".join(host["name"] for host in hosts)
    if not sys.stdin.isatty():
        hint = f"give it with --common-name; the interfaces' host names are {offered}" if hosts else ""
        raise OperatorError(
            "a certificate needs a common name", hint or "give it with --common-name", code=Exit.USAGE
        )
    for host in hosts:
        note(safe(f"  {host['name']}: {', '.join(host['interfaces'])}"))
    first = hosts[0]["name"] if hosts else None
    answer: str = typer.prompt("Common name", default=first, err=True)
    return answer


def _say(client: Client, answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(answer)
    else:
        say_changed(client, answer)


def install(
    name: NameArgument,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="The signed certificate, with or without its chain: PEM, DER or PKCS#7; - is standard input.",
        ),
    ] = "",
    intermediates: Annotated[
        str, field("--intermediates", "The intermediates; without FILE only they are replaced.", "FILE")
    ] = "",
    beside: BesideOption = False,
    force: DaneForceOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Install the certificate that a CA signed.

    It takes the place of the one that is served, for every use.
    """
    if not file and not intermediates:
        raise OperatorError(
            "there is nothing to install", "give the signed certificate's FILE", code=Exit.USAGE
        )
    if file == intermediates == STANDARD:
        raise OperatorError("only one of the files can be standard input", code=Exit.USAGE)
    client = Client(home)
    answer = client.call(
        "cert.install",
        name=name,
        file=_coded(file),
        intermediates=_coded(intermediates),
        beside=beside,
        label=_label(file),
        intermediates_label=_label(intermediates),
        force=force,
        comment=comment,
        pending=pending,
    )
    _say(client, answer, as_json)


def _coded(file: str) -> str:
    """A file's bytes as they cross to an operation. An empty file is refused here, where it can be told from none."""
    data = read_file(file) if file else b""
    if file and not data:
        raise OperatorError(f"{file} is empty", "is it the right file?")
    return b64encode(data).decode("ascii")


def _label(file: str) -> str:
    """What a message calls the file."""
    return "standard input" if file == STANDARD else file


def import_(
    name: NameArgument,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="PEM, DER, PKCS#7 or PKCS#12; - is standard input.")
    ],
    key: Annotated[str, field("--key", "The private key, where FILE has none.", "FILE")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace a certificate of this name.")] = False,
    beside: BesideOption = False,
    passphrase: PassphraseOption = None,
    passphrase_file: PassphraseFileOption = None,
    force: DaneForceOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Import a certificate, its key and its chain."""
    if [file, key, passphrase_file].count(STANDARD) > 1:
        raise OperatorError("only one of the files can be standard input", code=Exit.USAGE)
    client = Client(home)
    args: dict[str, Any] = {
        "name": name,
        "file": _coded(file),
        "key": _coded(key),
        "passphrase": given_passphrase(passphrase, passphrase_file),
        "replace": replace,
        "beside": beside,
        "label": _label(file),
        "key_label": _label(key),
        "force": force,
        "comment": comment,
        "pending": pending,
    }
    answer = client.call("cert.import", **args)
    if answer.get("needs_passphrase"):
        answer = client.call("cert.import", **{**args, "passphrase": ask_passphrase(file)})
    _say(client, answer, as_json)


def export(
    name: NameArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="To be written; - is standard output.")],
    passphrase: PassphraseOption = None,
    passphrase_file: PassphraseFileOption = None,
    compatible: Annotated[
        bool, typer.Option("--compatible", help="3DES and SHA-1, for old programs; weak by today's measure.")
    ] = False,
    pbmac1: Annotated[
        bool, typer.Option("--pbmac1", help="With the integrity check of RFC 9579: OpenSSL 3.4 and later.")
    ] = False,
    which: Annotated[str, field("--which", "main or beside, where there are two.", "ONE")] = "main",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Write certificate, key and chain to a PKCS#12 file."""
    if compatible and pbmac1:
        raise OperatorError("--compatible and --pbmac1 exclude each other", "give one", code=Exit.USAGE)
    if file != STANDARD and Path(file).exists() and not overwrite:
        raise OperatorError(f"{file} exists", "name another file, or replace it with --overwrite")
    if as_json and file == STANDARD:
        raise OperatorError("--json and - exclude each other", "name a file", code=Exit.USAGE)
    client = Client(home)
    client.call("cert.show", name=name)  # a wrong name is said before a pass-phrase is asked for
    secret = given_passphrase(passphrase, passphrase_file) or ask_new_passphrase()
    form = "compatible" if compatible else "pbmac1" if pbmac1 else "modern"
    answer = client.call("cert.export", name=name, passphrase=secret, form=form, which=which)
    write_file(file, b64decode(answer["file"]), secret=True)
    if as_json:
        say_json({key: value for key, value in answer.items() if key not in ("file", "said")})
        return
    where = "standard output" if file == STANDARD else file
    note_paragraph(
        f"{name} ({answer['subject']}): {plural(answer['certificates'], 'certificate')} and the private key "
        f"written to {where}. Whoever has the file and the pass-phrase has the key."
    )
