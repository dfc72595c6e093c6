"""The ports through which the outside reaches pure code: time, and the record of what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gatepost.core.events import Event


class Clock(Protocol):
    """Time as the rest of the product sees it; tests pass a clock that they move by hand."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for timeouts and rates."""
        ...


@dataclass(frozen=True, slots=True)
class Alert:
    """Something an administrator must learn. `key` names the trouble, so that the same one can be told apart.

    `severity` is `critical`, `warning` or `information` (config `alerts`); `text` has several lines and no secrets. `times` is how often it
    happened since it was told last, by this caller's account. `clears` says that the trouble of this key is over: that is told only
    to those who were told of the trouble.
    """

    key: str
    severity: str
    subject: str
    text: str
    times: int = 1
    clears: bool = False


class AlertPort(Protocol):
    """Takes alerts. Never fails; who is told, and how, is decided behind it."""

    async def tell(self, alert: Alert, /) -> None: ...


class Emit(Protocol):
    """Takes one event for the log. Never blocks, never fails; order per ICID, DCID and MID is kept."""

    def __call__(self, event: Event, /) -> None: ...


class Journal(Protocol):
    """The ordered stream of events, some of which may be seen only after a commit (architecture 5).

    `blob`, where the caller has it already, is `core.codec.encode_events(events)`.
    `emit` logs an event as soon as everything before it is out. `hold` queues events that belong to
    one pending state change, at their place in the order, and returns a token; `release` lets them
    out after the commit, `discard` drops them when the change did not happen. `blob` is the encoded
    form of the events (`core.codec`), where the caller has made it for the commit: it saves making it twice.
    """

    def emit(self, event: Event, /) -> None: ...

    def hold(self, events: Sequence[Event], blob: bytes = b"", /) -> int: ...

    def release(self, token: int, /) -> None: ...

    def discard(self, token: int, /) -> None: ...
