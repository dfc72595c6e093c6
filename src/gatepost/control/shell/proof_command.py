"""`gatepost cert prove`"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from gatepost.control.shell.client import Client
from gatepost.control.shell.options import HomeOption, JsonOption
from gatepost.control.shell.screen import local, note, plural, safe, say, say_json, table
from gatepost.core.errors import Exit

SHOWN_DIGITS = 12  # of a fingerprint, as in the history of `cert show`


def prove(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Ask every listener which certificate it shows, and compare it with what is meant."""
    found = Client(home).call_running("cert.prove")
    if as_json:
        say_json(found)
    else:
        _say(found)
    if not found["fulfilled"]:
        raise typer.Exit(int(Exit.REFUSED))


def proof_line(last: Mapping[str, Any] | None) -> str:
    """The last proof in one line, for `status`."""
    if last is None:
        return "not proven yet"
    when = f"version {last['version']}, {local(last['time'])}"
    if last["fulfilled"]:
        return f"as meant ({plural(last['listeners'], 'listener')}, {plural(last['handshakes'], 'handshake')}; {when})"
    first, *more = last["differences"]
    return safe(
        f"not as meant: {first}{f' and {len(more)} more' if more else ''} ({when}); see `gatepost cert prove`"
    )


def _say(found: dict[str, Any]) -> None:
    table(
        ("Listener", "Asked for", "Keys", "Certificate", "Served", "As meant"),
        [
            (
                row["listener"],
                row["sni"] or "(no SNI)",
                row["keys"],
                row["certificate"],
                row["served"][:SHOWN_DIGITS] or "none",
                "yes" if row["fulfilled"] else f"no: {row['reason']}",
            )
            for row in found["rows"]
        ],
    )
    for one in found["differences"]:
        if one["worker"] is not None:
            asked = one["sni"] or "no SNI"
            say(safe(f"worker {one['worker']}, {one['listener']}, {asked}, {one['keys']}: {one['reason']}"))
    for one in found["silent"]:
        note(safe(f"worker {one['worker']} gave no account: {one['reason']}"))
    listeners, handshakes = plural(found["listeners"], "listener"), plural(found["handshakes"], "handshake")
    result = "all as meant" if found["fulfilled"] else "not as meant"
    say(f"Version {found['version']}, {listeners}, {handshakes}: {result}")
