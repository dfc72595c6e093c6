"""The log's lines about rejected senders whose session goes on to RCPT."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatepost.core import rejection_events as ev
from gatepost.core.event import Event
from gatepost.track.certificate_lines import Row
from gatepost.track.log_text import safe

REJECTION_ROWS: Mapping[type[Event], Callable[[Any], Row]] = {
    ev.DelayedRejectionBegun: lambda e: (
        f"ICID {e.icid} Delayed HAT REJECT continuing session for recipient logging ({e.address})"
    ),
    ev.DelayedRejectionSender: lambda e: (
        f"ICID {e.icid} Delayed HAT REJECT Message from: {safe(e.sender) or '<>'} ({e.address})"
    ),
    ev.DelayedRejectionRecipient: lambda e: (
        f"ICID {e.icid} Delayed HAT REJECT Message recipient: <{safe(e.recipient)}> ({e.address})"
    ),
}
