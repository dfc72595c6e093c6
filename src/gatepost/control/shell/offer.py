"""Before TLS is asked for more strictly: the offer to rehearse that over the recorded mail. Scripts are never kept waiting."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.rehearse_screen import Progress, say_rehearsal
from gatepost.control.shell.screen import note, paragraph, say
from gatepost.core.errors import OperatorError

SHOWN = 5


def offer_rehearsal(client: Client, source: Mapping[str, Any], what: str) -> None:
    """At a terminal, ask. `source` names the policy as `policy.rehearse` takes it, `what` as people call it.

    Raises OperatorError when it is given up.
    """
    if not _asks():
        return
    found: Sequence[str] = client.call("policy.rises", **source)["rises"]
    if not found:
        return
    say("This asks for more TLS than what is in force:")
    _list(found)
    if not typer.confirm("Rehearse it over the recorded mail first?", default=False):
        return
    with Progress() as told:
        rehearsed = client.follow("policy.rehearse", told, **source)
    say_rehearsal(rehearsed, what)
    say()
    if not typer.confirm("Go on?", default=False):
        raise OperatorError("nothing was committed", "change it, or apply it as it is when you are sure")


def tell_rises(answer: Mapping[str, Any], command: str) -> None:
    """Without a terminal, one line about what can be looked at; `command` shows it."""
    if answer["rises"] and not _asks():
        count = len(answer["rises"])
        note(
            f"TLS is asked for more strictly in {count} place{'s' if count > 1 else ''} now; `{command}` shows"
            " what that would have meant for the mail of the last days"
        )


def _asks() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _list(found: Sequence[str]) -> None:
    for line in found[:SHOWN]:
        paragraph("  ", line)
    if len(found) > SHOWN:
        say(f"  and {len(found) - SHOWN:,} more")
