"""What the shell says after a change: version, warnings, and what went along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatepost.control.shell.client import Client
from gatepost.control.shell.screen import note_problems, say


def say_change(client: Client, answer: Mapping[str, Any]) -> None:
    """The outcome of a submission; warnings on standard error."""
    note_problems(answer["warnings"])
    if answer["pending"]:
        say(
            "The change is pending. `gatepost config pending` shows it, `gatepost config commit` makes it live."
        )
        return
    if answer["included"]:
        say("Your earlier pending changes were committed with it.")
    if client.online:
        say(f"Version {answer['version']} is active.")
    else:
        say(
            f"Version {answer['version']} is stored. The gateway is not running; it starts with this version."
        )
