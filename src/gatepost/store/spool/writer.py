"""The writer thread of a shard: it owns the connection, and makes the changes of all sessions durable together.

One turn: wait until the loop rings (`gathering.py`) or lazy work is due, take what is there, commit it in one
transaction (`transaction.py`), tell the loop with one call.

Errors: a full disk rolls the transaction back; who waits is refused, delivery marks are kept and tried again. Any other
error means that what was promised may not be on disk: everybody who waits is told, nothing is tried again, the
shard stays read-only until a new process has read it from the disk (see "fsyncgate": a flush that failed once
may report success the second time, with the data gone).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

import apsw

from gatepost.store.spool.bodies import BodyThread
from gatepost.store.spool.records import SpoolFailed, SpoolFull, SpoolSettings
from gatepost.store.spool.recovery import Recovered
from gatepost.store.spool.transaction import Database, Pending
from gatepost.store.spool.wal import WriteAheadLog


@dataclass(slots=True)
class WriterFigures:
    """What the writer has done since it started. Times in seconds, of the slowest one so far."""

    commits: int = 0
    changes: int = 0
    slowest_commit: float = 0.0
    longest_wait: float = 0.0


class Reports(Protocol):
    """What the writer tells the shard, always in the loop."""

    def committed(self, batch: list[Pending], sequence: int) -> None: ...

    def refused(self, batch: list[Pending], error: Exception) -> None: ...

    def problem(self, reason: str) -> None: ...

    def died(self, error: BaseException) -> None: ...


_AWAKE, _DOZING, _ASLEEP = range(3)  # dozing: only `ring` wakes; asleep: anything does


class Writer:
    """One shard's writer. The public methods may be called from any thread; what begins with `_` is the thread's."""

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
        self._database = Database(connection, found, directory)
        self._settings = settings
        self._bodies = bodies
        self._directory = directory
        self._post = post
        self._reports = reports
        self._mutex = threading.Lock()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._queue: deque[Pending] = deque()
        self._rung = False  # what is in `_queue` shall not wait any longer
        self._state = _AWAKE
        self._stopping = False
        self._reads: deque[tuple[int, Callable[[object], None]]] = deque()
        self._kept: list[Pending] = []  # marks that a full disk refused, first in the next batch
        self._kept_until = 0.0
        self._most = (
            settings.batch_changes
        )  # in one batch; few after a full disk, so that a little room is enough
        self._in_hand: list[Pending] = []  # taken and not reported yet
        self._log = WriteAheadLog(connection, settings, self.fail)
        self.failed = ""
        self.figures = WriterFigures()
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def log(self) -> WriteAheadLog:
        """The figures of the WAL."""
        return self._log

    def push(self, pending: Pending) -> None:
        """Queue a change; the result comes by `Reports`. An urgent one waits for `ring`, another for its time."""
        with self._mutex:
            self._queue.append(pending)
            ring = not pending.urgent and self._state == _ASLEEP
            if ring:
                self._state = _AWAKE
        if ring:
            self._bell.put(None)

    def ring(self) -> None:
        """Commit what was pushed so far, now."""
        with self._mutex:
            self._rung = True
            ring = self._state != _AWAKE
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
        self._database.export(sequence)

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
            self._refuse(self._in_hand, SpoolFailed(self.failed))
            self._outlive()

    def _outlive(self) -> None:
        """After a bug: refuse what comes until the stop, so that nobody waits for ever."""
        refusal = SpoolFailed(self.failed)
        stopping = False
        while not stopping:
            stopping = self._stopping
            while batch := self._take():
                self._refuse(batch, refusal)
            while self._reads:
                self._post(self._reads.popleft()[1], refusal)
            if not stopping:
                try:
                    self._bell.get(timeout=0.1)
                except Empty:
                    pass
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._connection.close(True)

    def _turn(self) -> None:
        while self._reads:
            self._read(*self._reads.popleft())
        self._in_hand = batch = self._take()
        if batch:
            self._commit(batch)
            self._in_hand = []
            if not self.failed:
                self._log.checkpoint_when_due()

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
        return True

    def _sleep_for(self, now: float) -> tuple[float | None, int]:
        """How long the thread may sleep, and how deeply (under the mutex)."""
        if self._rung or self._reads:
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
        half = self._most // 2
        batch, self._kept = self._kept[:half], self._kept[half:]
        room = self._settings.batch_bytes
        with self._mutex:
            queue = self._queue
            while queue and len(batch) < self._most and room > 0:
                pending = queue.popleft()
                if pending.row and not pending.in_file:
                    room -= len(pending.row[4])  # type: ignore[arg-type]
                batch.append(pending)
            self._rung = self._rung and bool(queue)
            self._state = _AWAKE
        return batch

    def _commit(self, batch: list[Pending]) -> None:
        if self.failed:
            self._remove_bodies(batch)
            self._refuse(batch, SpoolFailed(self.failed))
            return
        started = time.monotonic()
        try:
            removed = self._database.write(batch)
        except apsw.FullError as error:
            self._database.roll_back()
            self._no_room(batch, str(error))
            return
        except apsw.Error as error:
            self.fail(f"a commit failed: {error}")
            self._refuse(batch, SpoolFailed(self.failed))
            return
        self._most = min(self._most * 2, self._settings.batch_changes)
        self._log.grown()  # first: who is told may ask at once how much room is left
        self._post(self._reports.committed, batch, self._database.sequence)
        if removed:
            self._bodies.remove(removed)
        now = time.monotonic()
        figures = self.figures
        figures.commits += 1
        figures.changes += len(batch)
        figures.slowest_commit = max(figures.slowest_commit, now - started)
        figures.longest_wait = max(figures.longest_wait, started - batch[0].since)

    def _no_room(self, batch: list[Pending], reason: str) -> None:
        """The transaction did not happen. Who waits is refused; what nobody waits for is kept for later.

        The next batches are smaller: the removal of one message needs a few pages and gives back its body, where all
        the removals together may need more than is left.
        """
        self._most = max(2, len(batch) // 4)
        refused = [pending for pending in batch if pending.urgent]
        self._kept[:0] = [pending for pending in batch if not pending.urgent]
        self._kept_until = time.monotonic() + self._settings.full_pause
        self._remove_bodies(refused)
        self._refuse(refused, SpoolFull(reason))
        self._log.checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)  # room inside the WAL, so that marks fit

    def _remove_bodies(self, batch: list[Pending]) -> None:
        """Of changes of which surely nothing was committed."""
        files = [self._directory / str(pending.insert) for pending in batch if pending.in_file]
        if files:
            self._bodies.remove(files)

    def _refuse(self, batch: list[Pending], error: Exception) -> None:
        if batch:
            self._post(self._reports.refused, batch, error)

    def _read(self, mid: int, give: Callable[[object], None]) -> None:
        try:
            body = self._database.read_body(mid)
        except apsw.Error as error:
            self._post(give, error)
        else:
            self._post(give, body)

    def _something_idle(self) -> bool:
        return not self.failed and (self._log.worth_moving or self._database.events_to_forget)

    def _idle(self) -> None:
        """Nothing came for a while: forget exported events, and leave a short WAL."""
        if self._database.events_to_forget:
            try:
                self._database.forget_events()
            except apsw.FullError:
                self._database.roll_back()
            except apsw.Error as error:
                self.fail(f"a commit failed: {error}")
            self._log.grown()
        if not self.failed:
            self._log.checkpoint_when_idle()

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
        if self.failed:
            # Closing would checkpoint, that is flush again what failed to be flushed.
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        else:
            self._idle()
        self._connection.close(True)
