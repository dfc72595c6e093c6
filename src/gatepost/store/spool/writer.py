"""The writer thread of a shard: it owns the connection, and makes the changes of all sessions durable together.

One turn: wait for work, gather a little when several sessions wait, take what is there, commit it in one
transaction, tell the loop with one call. Each statement of a transaction is one crossing of the interpreter lock, so
their number does not depend on the number of messages: one INSERT with as many rows as there are messages, one upsert
of states, one DELETE over an array, one event blob.

Errors: a full disk rolls the transaction back; who waits is refused, delivery marks are kept and tried again. Any other
error means that what was promised may not be on disk: everybody who waits is told, nothing is tried again, the
shard stays read-only until a new process has read it from the disk (see "fsyncgate": a flush that failed once
may report success the second time, with the data gone).
"""

from __future__ import annotations

import array
import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

import apsw

from gatepost.store.spool.bodies import BodyThread
from gatepost.store.spool.records import SpoolFailed, SpoolFull, SpoolSettings, StoredMessage
from gatepost.store.spool.recovery import Recovered

PAGE = 4096 + 24  # a page in the WAL, with its frame header


class Pending:
    """A change on its way: everything packed when it was submitted, so that nothing of it can still move."""

    __slots__ = ("events", "future", "in_file", "insert", "message", "remove", "row", "sha256", "since", "state",
                 "state_of", "urgent")  # fmt: skip

    def __init__(self, future: asyncio.Future[None], events: bytes, urgent: bool, since: float) -> None:
        self.future = future
        self.events = events
        self.urgent = urgent
        self.since = since
        self.insert = 0  # MID of `row`
        self.message: StoredMessage | None = None  # gets its digest when the body is safe
        self.row: tuple[object, ...] = ()
        self.in_file = False
        self.sha256 = b""
        self.state_of = 0  # MID of `state`
        self.state = b""
        self.remove = 0

    def body_is_safe(self, sha256: bytes) -> None:
        """The body file is flushed: its digest completes the row."""
        mid, size, _, packed, body = self.row
        self.sha256 = sha256
        self.row = (mid, size, sha256, packed, body)


@dataclass(slots=True)
class WriterFigures:
    """What the writer has done since it started. Times in seconds, of the slowest one since the last look."""

    commits: int = 0
    changes: int = 0
    checkpoints: int = 0
    slowest_commit: float = 0.0
    slowest_checkpoint: float = 0.0
    longest_wait: float = 0.0


class Reports(Protocol):
    """What the writer tells the shard, always in the loop."""

    def committed(self, batch: list[Pending], sequence: int) -> None: ...

    def refused(self, batch: list[Pending], error: Exception) -> None: ...

    def problem(self, reason: str) -> None: ...

    def died(self, error: BaseException) -> None: ...


_AWAKE, _DOZING, _ASLEEP = range(3)  # dozing: only something urgent may ring; asleep: anything may


class Writer:
    """One shard's writer. All methods but `start` and those named so may be called from any thread."""

    def __init__(
        self,
        connection: apsw.Connection,
        found: Recovered,
        settings: SpoolSettings,
        bodies: BodyThread,
        directory: Path,
        post: Callable[..., object],
        reports: Reports,
    ) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._settings = settings
        self._bodies = bodies
        self._directory = directory
        self._post = post
        self._reports = reports
        self._stated = found.stated
        self._files = {m.mid for m in found.messages if m.in_file}
        self._sequence = found.last_event
        self._exported = 0
        self._deleted = 0
        self._mutex = threading.Lock()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._queue: deque[Pending] = deque()
        self._urgent = 0  # how many of `_queue`
        self._state = _AWAKE
        self._stopping = False
        self._reads: deque[tuple[int, Callable[[object], None]]] = deque()
        self._kept: list[Pending] = []  # marks that a full disk refused, first in the next batch
        self._kept_until = 0.0
        self._last_urgent = 0
        self._pages_done = 0  # pages written when the last complete checkpoint was made
        self._tried_at = 0  # WAL size at the last checkpoint that was not complete
        self.failed = ""
        self.wal_bytes = 0
        self.figures = WriterFigures()
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def push(self, pending: Pending) -> None:
        """Queue a change; the result comes by `Reports`."""
        with self._mutex:
            self._queue.append(pending)
            if pending.urgent:
                self._urgent += 1
                ring = self._state != _AWAKE
            else:
                ring = self._state == _ASLEEP
            if ring:
                self._state = _AWAKE
        if ring:
            self._bell.put(None)

    def read_body(self, mid: int, give: Callable[[object], None]) -> None:
        """Have `give` called in the loop with the body in the row, or with the exception that kept it."""
        with self._mutex:
            self._reads.append((mid, give))
            self._state = _AWAKE
        self._bell.put(None)

    def export(self, sequence: int) -> None:
        """The events up to here are in the log files: their rows are removed with a later commit."""
        self._exported = max(self._exported, sequence)

    def fail(self, reason: str) -> None:
        """Read-only from now on; the first reason stays."""
        if not self.failed:
            self.failed = reason
            self._post(self._reports.problem, reason)

    def stop(self) -> None:
        """Commit what was queued, checkpoint, close the database. Blocks."""
        with self._mutex:
            self._stopping = True
            self._state = _AWAKE
        self._bell.put(None)
        self._thread.join()

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait():
                self._turn()
            self._turn()
            self._finish()
        except BaseException as error:  # noqa: BLE001 (the thread's outermost frame: nobody may wait for ever)
            self.fail(f"internal error: {error!r}")
            self._post(self._reports.died, error)
            self._outlive()

    def _outlive(self) -> None:
        """After a bug: refuse what comes until the stop, so that no session waits for ever."""
        while not self._stopping:
            self._refuse(self._take(), SpoolFailed(self.failed))
            try:
                self._bell.get(timeout=0.1)
            except Empty:
                pass
        self._refuse(self._take(), SpoolFailed(self.failed))
        self._connection.close(True)

    def _turn(self) -> None:
        while self._reads:
            self._read(*self._reads.popleft())
        batch = self._take()
        if batch:
            self._commit(batch)
            self._checkpoint_when_due()

    def _wait(self) -> bool:
        """Until there is something to commit or to read; False when it is time to stop."""
        while True:
            with self._mutex:
                if self._stopping:
                    return False
                now = time.monotonic()
                timeout, state = self._sleep_for(now)
                if timeout is not None and timeout <= 0:
                    break
                self._state = state
            try:
                self._bell.get(timeout=timeout)
            except Empty:
                if state == _ASLEEP and not self._queue:
                    self._idle()
        several = self._urgent > 1 or (self._urgent and self._last_urgent > 1)
        if several and self._urgent < self._settings.batch_changes // 4:
            time.sleep(self._settings.gather)
        return True

    def _sleep_for(self, now: float) -> tuple[float | None, int]:
        """How long the thread may sleep, and how deeply (under the mutex)."""
        if self._urgent or self._reads:
            return 0.0, _AWAKE
        due = []
        if self._queue:
            due.append(self._queue[0].since + self._settings.lazy_delay)
        if self._kept:
            due.append(self._kept_until)
        if due:
            return min(due) - now, _DOZING
        if self._something_idle():
            return self._settings.idle, _ASLEEP
        return None, _ASLEEP

    def _take(self) -> list[Pending]:
        """The next batch, in the order of submission, bounded in changes and octets."""
        half = self._settings.batch_changes // 2
        batch, self._kept = self._kept[:half], self._kept[half:]
        urgent = 0
        room = self._settings.batch_bytes
        with self._mutex:
            queue = self._queue
            while queue and len(batch) < self._settings.batch_changes and room > 0:
                pending = queue.popleft()
                urgent += pending.urgent
                if pending.row and not pending.in_file:
                    room -= len(pending.row[4])  # type: ignore[arg-type]
                batch.append(pending)
            self._urgent -= urgent
            self._state = _AWAKE
        self._last_urgent = urgent
        return batch

    def _commit(self, batch: list[Pending]) -> None:
        if self.failed:
            self._refuse(batch, SpoolFailed(self.failed))
            return
        started = time.monotonic()
        try:
            removed = self._write(batch)
        except apsw.FullError as error:
            self._roll_back()
            self._no_room(batch, str(error))
            return
        except (apsw.Error, OSError) as error:
            self.fail(f"a commit failed: {error}")
            self._refuse(batch, SpoolFailed(self.failed))
            return
        self._post(self._reports.committed, batch, self._sequence)
        if removed:
            self._bodies.remove(removed)
        now = time.monotonic()
        figures = self.figures
        figures.commits += 1
        figures.changes += len(batch)
        figures.slowest_commit = max(figures.slowest_commit, now - started)
        figures.longest_wait = max(figures.longest_wait, started - batch[0].since)
        pages = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
        self.wal_bytes = (pages - self._pages_done) * PAGE

    def _write(self, batch: list[Pending]) -> list[Path]:
        """The transaction. Within it the last word on a message counts, and a removal is always the last.

        Returns the body files that may go now.
        """
        rows: dict[int, tuple[object, ...]] = {}
        states: dict[int, bytes] = {}
        removed: list[int] = []
        files: set[int] = set()
        blobs = []
        for pending in batch:
            if pending.row:
                rows[pending.insert] = pending.row
                if pending.in_file:
                    files.add(pending.insert)
            if pending.state:
                states[pending.state_of] = pending.state
            if pending.remove:
                removed.append(pending.remove)
            if pending.events:
                blobs.append(pending.events)
        for mid in removed:
            rows.pop(mid, None)
            states.pop(mid, None)
        execute = self._cursor.execute
        execute("BEGIN IMMEDIATE")
        if rows:
            execute(_insert_messages(len(rows)), tuple(chain.from_iterable(rows.values())))
        if states:
            execute(_upsert_states(len(states)), tuple(chain.from_iterable(states.items())))
        if removed:
            mids = apsw.carray(array.array("q", removed))
            execute("DELETE FROM message WHERE mid IN carray(?)", (mids,))
            if not self._stated.isdisjoint(removed):
                execute("DELETE FROM state WHERE mid IN carray(?)", (mids,))
        sequence = self._sequence
        if blobs:
            sequence += 1
            execute("INSERT INTO event VALUES (?, ?)", (sequence, b"".join(blobs)))
        exported = self._exported
        if exported > self._deleted:
            execute("DELETE FROM event WHERE seq <= ?", (exported,))
        execute("COMMIT")
        self._sequence = sequence
        self._deleted = max(self._deleted, exported)
        self._stated.update(states)
        self._stated.difference_update(removed)
        self._files |= files
        gone = self._files.intersection(removed)
        self._files -= gone
        return [self._directory / str(mid) for mid in gone]

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def _no_room(self, batch: list[Pending], reason: str) -> None:
        """The transaction did not happen. Who waits is refused; what nobody waits for is kept for later."""
        refused = [pending for pending in batch if pending.urgent]
        self._kept[:0] = [pending for pending in batch if not pending.urgent]
        self._kept_until = time.monotonic() + self._settings.full_pause
        files = [self._directory / str(pending.insert) for pending in refused if pending.in_file]
        if files:
            self._bodies.remove(files)
        self._refuse(refused, SpoolFull(reason))
        self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)  # room inside the WAL, so that marks fit

    def _refuse(self, batch: list[Pending], error: Exception) -> None:
        if batch:
            self._post(self._reports.refused, batch, error)

    def _read(self, mid: int, give: Callable[[object], None]) -> None:
        try:
            rows = self._cursor.execute("SELECT body FROM message WHERE mid = ?", (mid,)).fetchall()
        except (apsw.Error, OSError) as error:
            self._post(give, error)
            return
        self._post(give, rows[0][0] if rows else None)

    # --- checkpoints ----------------------------------------------------------------------------------

    def _checkpoint_when_due(self) -> None:
        settings = self._settings
        if self.wal_bytes < settings.wal_passive or self.failed:
            return
        if self.wal_bytes - self._tried_at < settings.wal_passive:
            return
        large = self.wal_bytes >= settings.wal_truncate
        self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE if large else apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _checkpoint(self, mode: int) -> None:
        """Move the WAL's pages to the database. A full disk leaves it for later, any other error fails the shard."""
        started = time.monotonic()
        try:
            frames, moved = self._connection.wal_checkpoint(mode=mode)
        except (apsw.FullError, apsw.BusyError):
            self._tried_at = self.wal_bytes
            return
        except apsw.Error as error:
            self.fail(f"a checkpoint failed: {error}")
            return
        self.figures.checkpoints += 1
        self.figures.slowest_checkpoint = max(self.figures.slowest_checkpoint, time.monotonic() - started)
        if frames == moved:
            self._pages_done = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
            self.wal_bytes = self._tried_at = 0
        else:
            self._tried_at = self.wal_bytes

    def _something_idle(self) -> bool:
        return not self.failed and (self.wal_bytes > self._tried_at or self._exported > self._deleted)

    def _idle(self) -> None:
        """Nothing came for a while: forget exported events, and leave a short WAL."""
        if self._exported > self._deleted:
            self._commit_housekeeping()
        if self.wal_bytes and not self.failed:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _commit_housekeeping(self) -> None:
        exported = self._exported
        try:
            self._cursor.execute("DELETE FROM event WHERE seq <= ?", (exported,))
        except apsw.FullError:
            self._roll_back()
            return
        except (apsw.Error, OSError) as error:
            self.fail(f"a commit failed: {error}")
            return
        self._deleted = exported
        pages = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
        self.wal_bytes = (pages - self._pages_done) * PAGE

    def _finish(self) -> None:
        """The last turn: everything queued, then a database without a WAL."""
        while self._queue or self._kept:
            before = len(self._queue) + len(self._kept)
            self._turn()
            if (
                len(self._queue) + len(self._kept) >= before
            ):  # a full disk: these are lost marks, not lost mail
                kept, self._kept = self._kept, []
                self._refuse(kept, SpoolFull("the disk is full"))
        if not self.failed:
            self._idle()
        self._connection.close(True)


def _insert_messages(count: int) -> str:
    return "INSERT INTO message VALUES (?,?,?,?,?)" + ",(?,?,?,?,?)" * (count - 1)


def _upsert_states(count: int) -> str:
    return (
        "INSERT INTO state VALUES (?,?)"
        + ",(?,?)" * (count - 1)
        + " ON CONFLICT (mid) DO UPDATE SET packed = excluded.packed"
    )
