"""`gatepost cert renew|restore|delete`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gatepost.control.shell.answers import say_change
from gatepost.control.shell.cert_options import BesideOption, NameArgument, field
from gatepost.control.shell.cert_screen import say_changed
from gatepost.control.shell.client import Client
from gatepost.control.shell.options import CommentOption, HomeOption, JsonOption, PendingOption
from gatepost.control.shell.screen import paragraph, safe, say, say_json
from gatepost.core.errors import Exit, OperatorError

_STEPS = {
    "self-signed": "a self-signed certificate is made anew at once",
    "request": "a new signing request is made for the authority",
    "existing-request": "nothing has to be made: the signing request that is there can be signed once more",
}


def renew(
    name: NameArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
    ] = False,
    new_key: Annotated[bool, typer.Option("--new-key", help="With a new key of the same kind.")] = False,
    key: Annotated[
        str, field("--key", "With a new key: rsa2048, rsa3072, rsa4096, p256, p384 or ed25519.", "KIND")
    ] = "",
    days: Annotated[
        int,
        typer.Option("--days", metavar="N", min=0, help="How long a self-signed one is valid; as before."),
    ] = 0,
    beside: BesideOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Renew a certificate.

    A self-signed one is made anew, an automatic one is ordered from its authority, any other gets a new signing request.
    """
    client = Client(home)
    wish: dict[str, Any] = {
        "name": name, "new_key": new_key, "key": key, "days": days, "beside": beside,
    }  # fmt: skip
    planned = client.call("cert.renewal", **wish)
    if planned["automatic"]:
        _renew_automatic(client, wish, dry_run, as_json)
    elif dry_run:
        if as_json:
            say_json(planned)
        else:
            _say_plan(planned)
    else:
        answer = client.call("cert.renew", **wish, comment=comment, pending=pending)
        if as_json:
            say_json(answer)
        else:
            made = answer["step"] == "self-signed"
            say_changed(client, answer if made else {**answer, "replaces": []})  # a request serves nobody
            _say_next(answer)


def _renew_automatic(client: Client, wish: Mapping[str, Any], dry_run: bool, as_json: bool) -> None:
    if wish["key"] or wish["days"]:
        raise OperatorError(
            f"{wish['name']} renews itself: its key and its life are settings of acme.certificates",
            "leave --key and --days out",
            code=Exit.USAGE,
        )
    answer = client.call("acme.renew", name=wish["name"], dry_run=dry_run)
    if as_json:
        say_json(answer)
    else:
        paragraph("", str(answer["said"]))


def _say_plan(planned: Mapping[str, Any]) -> None:
    key = f"with a new key ({planned['new_key']})" if planned["new_key"] else "with the key that is there"
    paragraph("", f"{planned['name']}: {_STEPS[planned['step']]}, {key}.")
    if planned["days"]:
        say(f"It would be valid for {planned['days']} days.")
    if planned["gives_up"]:
        paragraph("", "The request that is open now, and its waiting key, would be given up.")
    paragraph("", planned["next"])
    say("Nothing was changed.")


def _say_next(answer: Mapping[str, Any]) -> None:
    if answer["pending"] and answer["step"] != "self-signed":
        paragraph("", "Commit it first: a signed answer could not be applied to a request that is pending.")
    paragraph("", answer["next"])


def restore(
    name: NameArgument,
    version: Annotated[
        int, typer.Argument(metavar="VERSION", min=1, help="As `gatepost cert show NAME` lists them.")
    ],
    comment: CommentOption = "",
    pending: PendingOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Bring an earlier certificate and its key back."""
    client = Client(home)
    answer = client.call("cert.restore", name=name, version=version, comment=comment, pending=pending)
    if as_json:
        say_json(answer)
    else:
        say_changed(client, answer)


def delete(
    name: NameArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also when other administrators' pending changes use it.")
    ] = False,
    beside: BesideOption = False,
    comment: CommentOption = "",
    pending: PendingOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Delete a certificate that nothing uses.

    Its history stays, and `gatepost cert restore` brings it back.
    """
    client = Client(home)
    answer = client.call(
        "cert.delete", name=name, force=force, beside=beside, comment=comment, pending=pending
    )
    if as_json:
        say_json(answer)
        return
    for text in answer["notes"]:
        paragraph("note: ", text)
    if not answer["unchanged"]:
        what = f"The second certificate of {name}" if beside else f"Certificate {name}"
        say(safe(f"{what} {'is to be' if answer['pending'] else 'is'} deleted."))
    say_change(client, answer)
