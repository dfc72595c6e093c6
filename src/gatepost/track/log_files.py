"""Append-only log files that several processes share and rotate together.

How it works: everybody appends with O_APPEND, one write a batch, under a *shared* lock on `.lock` beside the
file; whoever finds the file too large takes the *exclusive* lock, looks again, writes the tail, renames
the file to `name.@YYYYMMDDThhmmss`, begins a new one and prunes the oldest. Others notice before their next write that
the name leads to another inode, and reopen. So no line is torn, lost or written to a file put away.

Limits: locks are held for one write or one rename, so nobody waits long; a file passes its limit by
one batch a process at most. When the disk is full the batch is dropped and counted; the next write that works begins with
one line that says so. Nothing here raises for a failed write.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from gatepost.core.ports import Clock

MODE = 0o640
LOCK_NAME = ".lock"
_STAMP = "%Y%m%dT%H%M%S"


class Format(Protocol):
    """What a file begins and ends with, and how it tells of a loss."""

    def head(self, at: float) -> bytes: ...

    def tail(self, at: float) -> bytes: ...

    def loss(self, at: float, batches: int, reason: str) -> bytes: ...


def log_paths(directory: Path, name: str) -> list[Path]:
    """All files of one log, oldest first; the current one, where there is one, is the last."""
    rotated = sorted(path for path in directory.glob(f"{name}.@*") if _put_away_at(path) is not None)
    current = directory / name
    return [*rotated, current] if current.is_file() else rotated


def _put_away_at(path: Path) -> int | None:
    """The time in a rotated file's name, or None for a name that is not one of ours."""
    try:
        stamp = datetime.strptime(path.name.rpartition(".@")[2] + "+0000", f"{_STAMP}%z")
        return int(stamp.timestamp())
    except ValueError:
        return None


class LogFile:
    """One process's hand on one shared log. `limit` in octets (0: never rotate), `keep` rotated files stay."""

    def __init__(
        self, directory: Path, name: str, form: Format, clock: Clock, *, limit: int = 0, keep: int = 10
    ) -> None:
        self._directory = directory
        self._path = directory / name
        self._form = form
        self._clock = clock
        self._limit = limit
        self._keep = keep
        self._lock = -1
        self._file = -1
        self._identity = (0, 0)  # device and inode of the open file
        self._left: list[int] = []  # files put away that were not flushed to disk yet
        self._torn = False  # the last write stopped inside a line
        self.lost = 0  # batches dropped since the last write that worked
        self.lost_ever = 0
        self._lost_reason = ""

    def use(self, form: Format, *, limit: int, keep: int) -> None:
        """Go on under other settings, from the next write on."""
        self._form, self._limit, self._keep = form, limit, keep

    # --- writing ---------------------------------------------------------------------------------

    def append(self, data: bytes) -> bool:
        """Write one batch of whole lines. False when it was dropped; never raises OSError."""
        try:
            size = self._append(data)
            if self._limit and size >= self._limit:
                self._rotate()
        except OSError as error:
            self.lost += 1
            self.lost_ever += 1
            self._lost_reason = str(error)
            return False
        return True

    def _append(self, data: bytes) -> int:
        with self._locked(fcntl.LOCK_SH):
            current = self._is_current()
            if current:
                return self._write(data)
        with self._locked(fcntl.LOCK_EX):
            if not self._is_current():
                self._open()
            return self._write(data)

    def _write(self, data: bytes) -> int:
        """One write, with the news of a loss in front of it. Returns the file's size."""
        if self.lost:
            notice = self._form.loss(self._clock.now(), self.lost, self._lost_reason)
            data = (b"\n" if self._torn else b"") + notice + data
        written = os.write(self._file, data)
        while written < len(data):  # the disk became full, or a limit was met: the next try says which
            self._torn = True
            written += os.write(self._file, data[written:])
        self._torn = False
        self.lost = 0
        return os.fstat(self._file).st_size

    def _is_current(self) -> bool:
        if self._file < 0:
            return False
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _open(self) -> None:
        """Open, or begin, the current file. Under the exclusive lock, so that only one process writes the head."""
        if self._file >= 0:
            self._left.append(self._file)
            self._file = -1
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        found = os.fstat(self._file)
        self._identity = (found.st_dev, found.st_ino)
        head = self._form.head(self._clock.now())
        if found.st_size == 0:
            os.write(self._file, head)
        elif os.pread(self._file, 1, found.st_size - 1) != b"\n":
            os.write(self._file, b"\n")  # a crash tore the last line: the next one must not become part of it

    # --- rotation --------------------------------------------------------------------------------

    def _rotate(self) -> None:
        with self._locked(fcntl.LOCK_EX):
            if not self._is_current() or os.fstat(self._file).st_size < self._limit:
                return  # another process was faster
            now = self._clock.now()
            tail = self._form.tail(now)
            if tail:
                os.write(self._file, tail)
            os.rename(self._path, self._free_name(now))
            self._open()
        self._prune()

    def _free_name(self, now: float) -> Path:
        """A name behind those of all rotated files, so that names sort by age even when the clock was set back."""
        taken = [_put_away_at(path) for path in log_paths(self._directory, self._path.name)]
        second = max([int(now), *(stamp + 1 for stamp in taken if stamp is not None)])
        return self._path.with_name(f"{self._path.name}.@{datetime.fromtimestamp(second, UTC):{_STAMP}}")

    def _prune(self) -> None:
        rotated = log_paths(self._directory, self._path.name)[:-1]
        for path in rotated[: max(0, len(rotated) - self._keep)]:
            path.unlink(missing_ok=True)

    # --- flushing and closing ----------------------------------------------------------------------

    def sync_job(self) -> Callable[[], bool]:
        """A piece of work, fit for another thread, that brings all that was appended so far to the disk."""
        files, self._left = self._left, []
        copied = True
        try:
            if self._file >= 0:
                files.append(os.dup(self._file))
        except OSError:  # no descriptor is free: what was written is not safe yet
            copied = False

        def work() -> bool:
            done = copied
            for file in files:
                try:
                    os.fdatasync(file)
                except OSError:
                    done = False
                finally:
                    os.close(file)
            return done

        return work

    def close(self) -> None:
        """Give the files back. Flush before, where that matters."""
        for file in (self._file, self._lock, *self._left):
            if file >= 0:
                os.close(file)
        self._file = self._lock = -1
        self._left = []

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        if self._lock < 0:
            self._lock = os.open(self._directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        fcntl.flock(self._lock, how)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
