"""`gatepost reputation`: what the DNS lists say of an address, and which group of each listener takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption
from gatepost.control.shell.screen import facts, note, paragraph, say, say_json, table


def reputation(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="An IP address.", show_default=False)],
    pending: Annotated[bool, typer.Option("--pending", help="Look at your pending changes.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show an address's reputation score, each list's answer, and what each listener does with it."""
    found = Client(home).call("reputation", address=address, pending=pending)
    if pending and not found["pending"]:
        note("You have no pending changes; this is the version in force.")
    if as_json:
        say_json(found)
    else:
        say_reputation(found)


def say_reputation(found: Mapping[str, Any]) -> None:
    """The answer of the operation, for people."""
    score = "None" if found["enabled"] else "not enabled"
    facts(
        [
            ("address", found["address"]),
            ("host name", found["host"] or found["host_note"]),
            ("score", score if found["score"] is None else f"{found['score']:.1f}"),
            ("note", f"no list is asked: {found['note']}" if found["note"] else ""),
        ]
    )
    if found["lists"]:
        say()
        table(("List", "Answer", "Weight"), [_list_cells(one) for one in found["lists"]])
        for one in found["lists"]:
            if one["detail"]:
                paragraph("", f"{one['zone']} {one['said']}: {one['detail']}")
    if found["listeners"]:
        say()
        rows = [
            (one["listener"], one["action"], one["group"], one["match"], one["policy"])
            for one in found["listeners"]
        ]
        table(("Listener", "Action", "Group", "Match", "Policy"), rows)


def _list_cells(one: Mapping[str, Any]) -> tuple[str, str, str]:
    weight = "" if one["weight"] is None else f"{one['weight']:+.1f}"
    return one["zone"], ", ".join(one["answers"]) or one["said"], weight
