"""One shard: its folder, its lock, its database and writer, its marks, and what the loop knows of it.

`spool/<n>/lock` is held (flock) as long as the shard is open, so no two processes ever own one; the kernel lets it
go when the owner dies. A shard whose database is damaged is refused with an `OperatorError` and left as it is.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import apsw

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.spool import schema
from gatepost.store.spool.bodies import BodyThread
from gatepost.store.spool.files import NO_ROOM, Files
from gatepost.store.spool.marks import WorkMarks
from gatepost.store.spool.records import SpoolSettings, StoredMessage
from gatepost.store.spool.recovery import BODIES, Place, Recovered, orphans, recover
from gatepost.store.spool.transaction import Pending
from gatepost.store.spool.writer import Writer

LOCK_POLL = 0.05


class ShardDamaged(OperatorError):
    """This shard cannot be opened; the others can. Nothing in its folder was changed."""


@dataclass(slots=True)
class OpenShard:
    """A shard that was opened and recovered, before its writer runs."""

    number: int
    directory: Path
    lock: int
    connection: apsw.Connection
    marks: WorkMarks
    found: Recovered


def open_shard(root: Path, number: int, boot: str, settings: SpoolSettings, files: Files) -> OpenShard:
    """Lock, check, migrate and recover a shard, making it when it is new. Blocks.

    Raises ShardDamaged, or another OperatorError: the shard has another owner or the disk is full (75), or it has a
    newer schema (78).
    """
    directory = root / str(number)
    with ExitStack() as undo:
        _make(directory, files)
        lock = _lock(directory / "lock", number, settings.lock_wait)
        undo.callback(os.close, lock)
        path = directory / schema.DATABASE
        try:
            connection = schema.connect(path, settings.vfs, settings.lock_wait)
            undo.callback(connection.close, True)
            _refuse_lost_database(connection, directory, number)
            _check(connection, path, settings.check_limit)
            schema.migrate(connection, path, number, files)
            files.flush_directory(directory)
            marks = WorkMarks(directory / "work", settings.work_slots)
            undo.callback(marks.close)
            found = recover(connection, marks, Place(number, directory, boot, settings.crash_limit), files)
            _empty_log(connection)
        except apsw.BusyError as error:
            raise OperatorError(
                f"spool shard {number} is opened by another program",
                f"close what uses {path}",
                code=Exit.TRY_AGAIN,
            ) from error
        except (apsw.Error, OSError) as error:
            if isinstance(error, apsw.FullError) or getattr(error, "errno", 0) in NO_ROOM:
                raise _no_room(number, directory) from error
            raise _damaged(number, directory, str(error)) from error
        undo.pop_all()
    return OpenShard(number, directory, lock, connection, marks, found)


def _damaged(number: int, directory: Path, text: str) -> ShardDamaged:
    return ShardDamaged(
        f"spool shard {number} cannot be read and was set aside: {text}",
        f"look at the disk, then restore or move away {directory}; nothing in it was changed",
    )


def _no_room(number: int, directory: Path) -> OperatorError:
    """A full disk is not damage: the shard is opened once there is room, by whoever tries again."""
    return OperatorError(
        f"spool shard {number} cannot be opened: no space left on the disk of {directory}",
        "make room on it and try again; nothing in the spool was changed",
        code=Exit.TRY_AGAIN,
    )


def make_root(root: Path, files: Files) -> None:
    """The folder of all shards. Raises OperatorError."""
    if root.is_dir():
        return
    try:
        root.mkdir(mode=0o700, parents=True)
        files.flush_directory(root.parent)
    except OSError as error:
        raise OperatorError(f"the spool cannot make {root}: {error.strerror}") from error


def shards_on_disk(root: Path) -> list[int]:
    """The numbers of all shards under a spool's folder, in order; the supervisor assigns every one of them."""
    if not root.is_dir():
        return []
    names = [path.name for path in root.iterdir() if path.name.isdecimal() and path.is_dir()]
    return sorted(int(name) for name in names if str(int(name)) == name)


def _make(directory: Path, files: Files) -> None:
    if (directory / BODIES).is_dir():
        return
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / BODIES).mkdir(mode=0o700, exist_ok=True)
        files.flush_directory(directory)
        files.flush_directory(directory.parent)
    except OSError as error:
        raise OperatorError(f"the spool cannot make {directory}: {error.strerror}") from error


def _lock(path: Path, number: int, patience: float) -> int:
    """Take the lock, waiting for a dying owner. flock has no time limit of its own, hence the polling."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperatorError(f"the spool cannot open {path}: {error.strerror}") from error
    give_up = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                os.close(descriptor)
                raise OperatorError(
                    f"spool shard {number} is in use by another process",
                    "stop the other gateway, or wait until it has ended",
                    code=Exit.TRY_AGAIN,
                ) from None
            time.sleep(LOCK_POLL)
        else:
            return descriptor


def _refuse_lost_database(connection: apsw.Connection, directory: Path, number: int) -> None:
    """A new database beside old bodies means that the old one was lost; its bodies must not be taken for orphans."""
    if schema.version_of(connection) == 0 and orphans(set(os.listdir(directory / BODIES)), lambda _: False):
        raise _damaged(number, directory, f"{schema.DATABASE} is missing or empty although there are bodies")


def _check(connection: apsw.Connection, path: Path, limit: int) -> None:
    if path.stat().st_size <= limit:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != [("ok",)]:
            raise apsw.CorruptError(str(verdict[0][0]))


def _empty_log(connection: apsw.Connection) -> None:
    """Start with an empty WAL; on a full disk it stays for later."""
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.FullError:
        pass


@dataclass(frozen=True, slots=True)
class ShardStatistics:
    """Figures of one shard; times in seconds, of the slowest one. `failed` is empty while it works."""

    shard: int
    failed: str
    commits: int
    changes: int
    slowest_commit: float
    longest_wait: float
    wal_octets: int
    checkpoints: int
    slowest_checkpoint: float


class Shard:
    """An open shard as the loop sees it. Everything here runs in the loop but what `bodies.Home` names."""

    def __init__(
        self,
        opened: OpenShard,
        settings: SpoolSettings,
        bodies: BodyThread,
        post: Callable[..., object],
        owner: ShardOwner,
    ) -> None:
        self.number = opened.number
        self.bodies = opened.directory / BODIES
        self.marks = opened.marks
        self.settled = opened.found.last_event  # events up to here have been let out by who waited for them
        self._post = post
        self._owner = owner
        self._lock = opened.lock
        self.writer = Writer(opened.connection, opened.found, settings, bodies, self.bodies, post, self)
        self.writer.start()

    @property
    def failed(self) -> str:
        """Why the shard is read-only, or empty."""
        return self.writer.failed

    # `bodies.Home`: called by the body thread

    def enqueue(self, pending: Pending) -> None:
        self.writer.push(pending)
        self.writer.ring()

    def refuse(self, pending: Pending, error: Exception) -> None:
        self._post(self.refused, [pending], error)

    def fail(self, reason: str) -> None:
        self.writer.fail(reason)

    # `writer.Reports`: called in the loop

    def committed(self, batch: list[Pending], sequence: int) -> None:
        self._owner.committed(self, batch, sequence)

    def refused(self, batch: list[Pending], error: Exception) -> None:
        self._owner.refused(self, batch, error)

    def problem(self, reason: str) -> None:
        self._owner.problem(self.number, reason, 0)

    def died(self, error: BaseException) -> None:
        self._owner.thread_died(error)

    def statistics(self) -> ShardStatistics:
        """A copy of the figures; each is right, together they may be a commit apart."""
        figures, log = self.writer.figures, self.writer.log
        return ShardStatistics(
            shard=self.number,
            failed=self.failed,
            commits=figures.commits,
            changes=figures.changes,
            slowest_commit=figures.slowest_commit,
            longest_wait=figures.longest_wait,
            wal_octets=log.octets,
            checkpoints=log.checkpoints,
            slowest_checkpoint=log.slowest,
        )

    def stop(self) -> None:
        """Commit what is queued and let everything go. Blocks."""
        self.writer.stop()
        self.marks.close()
        os.close(self._lock)


class ShardOwner(Protocol):
    """What a shard tells the spool, in the loop."""

    def committed(self, shard: Shard, batch: list[Pending], sequence: int) -> None: ...

    def refused(self, shard: Shard, batch: list[Pending], error: Exception) -> None: ...

    def problem(self, shard: int, reason: str, mid: int) -> None: ...

    def thread_died(self, error: BaseException) -> None: ...


def messages_of(opened: list[OpenShard]) -> list[StoredMessage]:
    return [message for shard in opened for message in shard.found.messages]
