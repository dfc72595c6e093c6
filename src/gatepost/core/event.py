"""The base of all events; see `events`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Level = Literal["Critical", "Warning", "Info", "Debug", "Trace"]


@dataclass(slots=True)
class Event:
    """The base of all events; subclasses are named for what happened."""

    at: float
    level: ClassVar[Level] = "Info"
