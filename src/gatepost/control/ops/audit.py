"""The record of who did what: one event for each operation that changes something (architecture 3, control socket).

On a running gateway it goes the way of all events. A command on a stopped gateway writes its own line into the same two
files, under the lock that all writers of the log share.
"""

from __future__ import annotations

from gatepost.control.ports import Caller
from gatepost.core.events import Event, Noted
from gatepost.core.ports import Clock
from gatepost.store.home import Home


def audit_event(at: float, op: str, caller: Caller, said: str, *, refused: bool = False) -> Noted:
    """`config.apply by local:0: version 7`; a refusal carries its reason."""
    outcome = f"refused: {said}" if refused else (said or "done")
    fields = {"operation": op, "by": caller.name, "outcome": "refused" if refused else "done", "detail": said}
    return Noted(at, f"{op} by {caller.name}: {outcome}", fields)


class OfflineLog:
    """Both logs of a home whose gateway is stopped. Opened for each event: a command has one or two."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home = home
        self._clock = clock

    def emit(self, event: Event, /) -> None:
        """Append one event; a disk that is full does not stop the operation."""
        from gatepost.track.process_log import ProcessLog

        log = ProcessLog(self._home, self._clock)
        log.emit(event)
        log.close()
