"""Time and the log of the processes that carry no mail: supervisor, desk, and the worker role around its worker.

They log little, so every event is written at once, to the mail log and the JSON log alike. Rotation is
left to the workers. A worker's own events go through its journal, not through this.
"""

from __future__ import annotations

import secrets
import time
import traceback

from gatepost import __version__
from gatepost.core.codec import encode_events
from gatepost.core.events import Event, InternalError
from gatepost.core.ports import Clock
from gatepost.store.home import Home
from gatepost.track.json_log import JsonLogFormat, JsonLogSink
from gatepost.track.log_files import LogFile
from gatepost.track.mail_log import MailLogFormat, MailLogSink


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class ProcessLog:
    """Both logs of a home. Never raises for a disk that is full; the next line that works says so."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._clock = clock
        form = MailLogFormat(version=__version__, serial=home.serial())
        self._sinks = (
            MailLogSink(form, LogFile(home.logs, home.mail_log.name, form, clock)),
            JsonLogSink(LogFile(home.logs, home.event_log.name, JsonLogFormat(), clock)),
        )

    def emit(self, event: Event, /) -> None:
        """Write one event (the port `core.ports.Emit`)."""
        blob = encode_events([event])
        for sink in self._sinks:
            sink.add([([event], blob)])
            sink.flush()

    def bug(self, where: str, error: BaseException) -> str:
        """Log an exception that nobody expected; returns the reference to quote."""
        reference = secrets.token_hex(4)
        text = "".join(traceback.format_exception(error))
        self.emit(InternalError(self._clock.now(), reference, where, text))
        return reference

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()
