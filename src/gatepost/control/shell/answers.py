"""What the shell says after a change: version, warnings, and what went along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatepost.control.shell.client import Client
from gatepost.control.shell.screen import note_problems, say


def say_change(client: Client, answer: Mapping[str, Any]) -> None:
    """The outcome of a submission; warnings on standard error."""
    note_problems(answer["warnings"])
    version = answer["version"]
    if answer["unchanged"]:
        say(f"Nothing had to be changed; version {version} stays.")
    elif answer["pending"]:
        say("The change is pending: `gatepost config pending` shows it,")
        say("`gatepost config commit` makes it live.")
    else:
        if answer["included"]:
            say("Your earlier pending changes were committed with it.")
        if client.online:
            say(f"Version {version} is active.")
        else:
            say(f"Version {version} is stored. The gateway is not running; it starts with this version.")
