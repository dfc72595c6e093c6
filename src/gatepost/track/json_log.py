"""`events.jsonl`: every event as one JSON line (`core.codec`), whatever the level of the text log.

The lines of a commit are the very bytes that the spool holds for it. After a crash the spool hands out
those of the last seconds again; `not_yet_logged` leaves out what did get into the file, so that a replay writes nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gatepost.core import events as ev
from gatepost.core.codec import encode_events
from gatepost.core.events import Event
from gatepost.track.log_files import LogFile, log_paths

REPLAY_WINDOW = 64 * 1024 * 1024  # of the file's end; far more than the seconds between two flushes bring


class JsonLogFormat:
    """JSON lines have no head and no tail; a loss is an event like others."""

    def head(self, at: float) -> bytes:
        return b""

    def tail(self, at: float) -> bytes:
        return b""

    def loss(self, at: float, batches: int, reason: str) -> bytes:
        text = f"Log lines of {batches} write{'s' if batches != 1 else ''} were lost: {reason}"
        return encode_events([ev.Warned(at, text)])


class JsonLogSink:
    """A sink of the journal. A commit's `blob` is written as it is, other events are encoded when they come."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._pieces: list[bytes] = []

    def use(self, form: JsonLogFormat, *, limit: int, keep: int) -> None:
        """Rotate as another subscription says."""
        self._file.use(form, limit=limit, keep=keep)

    def add(self, batch: Sequence[tuple[Sequence[Event], bytes]]) -> int:
        """Take events. Returns how many octets wait to be written for them."""
        before = len(self._pieces)
        free: list[Event] = []  # a run of events that nobody has encoded yet
        for events, blob in batch:
            if not blob:
                free.extend(events)
                continue
            if free:
                self._pieces.append(encode_events(free))
                free.clear()
            self._pieces.append(blob)
        if free:
            self._pieces.append(encode_events(free))
        return sum(map(len, self._pieces[before:]))

    def flush(self) -> None:
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._file.append(data)

    def sync_job(self) -> Callable[[], bool]:
        return self._file.sync_job()

    def close(self) -> None:
        self._file.close()


def not_yet_logged(directory: Path, name: str, blobs: Iterable[bytes]) -> list[bytes]:
    """The blobs without the lines that are at the end of the log; what is left of each, in their order.

    It goes by lines: of one commit some changes may be in the file and others not, because the journal held them back
    behind a change of a later commit. No two lines are alike, since each has its time and its identifiers.
    """
    wanted = [blob.splitlines() for blob in blobs]
    missing = {line for lines in wanted for line in lines}
    window = REPLAY_WINDOW
    for path in reversed(log_paths(directory, name)):
        if not missing or window <= 0:
            break
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - window))
            for line in file:
                missing.discard(line.rstrip(b"\n"))
        window -= size
    left = (b"".join(line + b"\n" for line in lines if line in missing) for lines in wanted)
    return [blob for blob in left if blob]
