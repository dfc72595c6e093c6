"""The events of SMTP AUTH. They never hold a pass-phrase, a response or a verifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gatepost.core.event import Event, Level

# --- SMTP AUTH ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class SmtpAuthSucceeded(Event):
    """A client has proven who it is. `profile` says who knows the user: `local`, the gateway itself."""

    icid: int
    user: str
    mechanism: str
    profile: str


@dataclass(slots=True)
class SmtpAuthFailed(Event):
    """An attempt that proved nothing, or was not tried. `user` is what the client said, perhaps nothing, at most 128 characters.

    `reason` is for the JSON log alone: `wrong pass-phrase`, `unknown user`, `locked`, `asks for another identity`, …
    """

    icid: int
    user: str
    mechanism: str
    profile: str
    reason: str


@dataclass(slots=True)
class SmtpAuthLocked(Event):
    """An address (`locked` is `address`) or a user (`user`) has failed too often within an hour. Told once, when it happens."""

    level: ClassVar[Level] = "Warning"
    icid: int
    locked: str
    name: str
    failures: int
