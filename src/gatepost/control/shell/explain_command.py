"""`gatepost explain`: what would become of mail for a domain, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.explain_screen import say_explanation
from gatepost.control.shell.options import HomeOption, JsonOption
from gatepost.control.shell.screen import note, say_json


def explain(
    domain: Annotated[
        str, typer.Argument(metavar="DOMAIN", help="A domain, user@domain, or [address].", show_default=False)
    ],
    live: Annotated[
        bool, typer.Option("--live", help="Call the hosts as a delivery does, up to EHLO inside TLS.")
    ] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Look at your pending changes.")] = False,
    requiretls: Annotated[
        bool, typer.Option("--requiretls", help="For a message that requires TLS on its whole way.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show where mail for a domain goes, under which TLS, and why; by the code that delivers."""
    how = "explain.live" if live else "explain"
    found = Client(home).call(how, domain=domain, pending=pending, requiretls=requiretls)
    if pending and not found["pending"]:
        note("You have no pending changes; this is the version in force.")
    found.pop("said", None)
    if as_json:
        say_json(found)
    else:
        say_explanation(found)
