"""TLS reports that came in and wait to be read: one file each, in `received-tls-reports/incoming/` of the home.

A worker takes a report out of the mail, the desk out of a request; both write it here, whole and flushed, before they say that it was taken.
The desk reads it later, in a process of its own, and removes the file when the database has the report. So nothing that was acknowledged is
lost, whatever ends in between; what is read twice is known by its id. What cannot be read is put aside into `unreadable/`, where an
administrator finds it, the last hundred of them. What a process that ended in the middle of writing left behind goes an hour later.

A file is one line of JSON (how, when and from whom it came), then the octets as they came.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

MAX_WAITING = 1_000
MAX_WAITING_OCTETS = 256 << 20
MAX_UNREADABLE = 100
STALE = 3_600.0  # seconds after which nobody is still writing a file
_NEW = ".new"


@dataclass(frozen=True, slots=True)
class Came:
    """How a report came: `way` is `mail`, `https` or `file`, `origin` from whom, `at` seconds since the epoch."""

    way: str
    origin: str
    at: float
    mid: int = 0
    recipient: str = ""


class IncomingFull(OSError):
    """Too much waits already; what is offered is to come again."""


class IncomingReports:
    """The two folders. Methods block, and are called in a thread."""

    def __init__(self, folder: Path) -> None:
        self._incoming = folder / "incoming"
        self._unreadable = folder / "unreadable"

    def put(self, name: str, came: Came, content: bytes) -> None:
        """Keep a report until it was read. The same name again replaces it. Raises IncomingFull or OSError."""
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._require_room(len(content))
        _write(self._incoming / name, came, content)

    def _require_room(self, more: int) -> None:
        count = octets = 0
        with os.scandir(self._incoming) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # read meanwhile
                    count, octets = count + 1, octets + entry.stat().st_size
        if count >= MAX_WAITING or octets + more > MAX_WAITING_OCTETS:
            raise IncomingFull("too many TLS reports wait to be read")

    def sweep(self, now: float) -> int:
        """Remove what was begun and never finished; how many files went. Its report is in the queue of the mail still, or was not acknowledged."""
        removed = 0
        try:
            with os.scandir(self._incoming) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # finished meanwhile
                        if entry.name.endswith(_NEW) and entry.stat().st_mtime < now - STALE:
                            os.unlink(entry.path)
                            removed += 1
        except FileNotFoundError:
            return 0
        return removed

    def names(self, limit: int = MAX_WAITING) -> list[str]:
        """What waits, the oldest first."""
        try:
            with os.scandir(self._incoming) as entries:
                found = [(e.stat().st_mtime, e.name) for e in entries if not e.name.endswith(_NEW)]
        except FileNotFoundError:
            return []
        return [name for _, name in sorted(found)[:limit]]

    def get(self, name: str) -> tuple[Came, bytes]:
        """One that waits. Raises OSError, or ValueError for a file that is none of ours."""
        head, _, content = (self._incoming / name).read_bytes().partition(b"\n")
        raw = orjson.loads(head)
        if not isinstance(raw, dict):
            raise ValueError("no facts")
        return (
            Came(
                str(raw.get("way", "")),
                str(raw.get("origin", "")),
                float(raw.get("at", 0.0)),
                int(raw.get("mid", 0)),
                str(raw.get("recipient", "")),
            ),
            content,
        )

    def done(self, name: str) -> None:
        """It was read."""
        (self._incoming / name).unlink(missing_ok=True)

    def put_aside(self, name: str) -> str:
        """It cannot be read; returns where it is now, below the home."""
        self._unreadable.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = self._unreadable / name
        (self._incoming / name).replace(target)
        files = sorted(self._unreadable.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in files[: max(0, len(files) - MAX_UNREADABLE)]:
            path.unlink(missing_ok=True)
        return f"{self._unreadable.parent.name}/{self._unreadable.name}/{name}"


def _write(path: Path, came: Came, content: bytes) -> None:
    new = path.with_name(path.name + _NEW)
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(asdict(came)) + b"\n")
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
