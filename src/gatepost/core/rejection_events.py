"""Events of rejected senders whose session goes on to RCPT, so that it can be seen whom they wanted to reach."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.core.event import Event

# --- a rejected sender that is let talk ------------------------------------------------------------


@dataclass(slots=True)
class DelayedRejectionBegun(Event):
    """The HAT rejects this connection, and it is greeted all the same."""

    icid: int
    address: str


@dataclass(slots=True)
class DelayedRejectionSender(Event):
    """What a rejected sender said at MAIL."""

    icid: int
    sender: str
    address: str


@dataclass(slots=True)
class DelayedRejectionRecipient(Event):
    """What a rejected sender said at RCPT; it was refused."""

    icid: int
    recipient: str
    address: str
