"""The spool as the worker's loop uses it: changes go in, futures come back when they are on disk.

Everything here runs in the loop and never blocks; threads do what blocks. See the package's own page for how
the parts work together.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatepost.core.errors import OperatorError
from gatepost.store.spool.bodies import BodyThread, BodyWriter
from gatepost.store.spool.files import Files
from gatepost.store.spool.gathering import Gatherer
from gatepost.store.spool.readers import (
    BodyReader,
    FreshBodies,
    MemoryBody,
    check_small_body,
    open_file_body,
)
from gatepost.store.spool.records import (
    BodyDamaged,
    Change,
    Progress,
    SpoolFailed,
    SpoolFull,
    SpoolSettings,
    StoredMessage,
    needs_state,
    pack_message,
    pack_state,
)
from gatepost.store.spool.shard import (
    OpenShard,
    Shard,
    ShardDamaged,
    ShardStatistics,
    make_root,
    messages_of,
    open_shard,
)
from gatepost.store.spool.space import Space
from gatepost.store.spool.transaction import Pending

Problem = Callable[[int, str, int], None]


@dataclass(frozen=True, slots=True)
class ExportPoint:
    """Up to which commit of each shard the events have been let out; see `Spool.export_point`."""

    sequences: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class SpoolStatistics:
    """Figures of a worker's spool. `set_aside` are the shards that could not be opened."""

    messages: int
    fresh_bytes: int
    files_not_removed: int
    shards: tuple[ShardStatistics, ...]
    set_aside: tuple[int, ...]


class Spool:
    """The shards of one worker. Made by `open`; ends with `close`, or with the process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, root: Path, settings: SpoolSettings, files: Files,
                 on_problem: Problem, activity: Callable[[], int]) -> None:  # fmt: skip
        self._loop = loop
        self._settings = settings
        self._gatherer = Gatherer(loop, settings.gather, activity)
        self._on_problem = on_problem
        self._space = Space(files, root, settings)
        self._bodies = BodyThread(files, self._space, self._post, self._body_thread_died)
        self._fresh = FreshBodies(settings.fresh_bytes)
        self._live: dict[int, Shard] = {}
        self._fresh_files: set[int] = set()
        self._shards: dict[int, Shard] = {}
        self._recovered: list[StoredMessage] = []
        self._left_over: list[bytes] = []
        self.set_aside: dict[int, OperatorError] = {}
        self.suspects: frozenset[int] = frozenset()

    @classmethod
    async def open(
        cls,
        root: Path,
        shard_numbers: Sequence[int],
        settings: SpoolSettings,
        *,
        boot: str,
        now: Callable[[], float],
        on_problem: Problem,
        files: Files | None = None,
        activity: Callable[[], int] = lambda: 0,
    ) -> Spool:
        """Take the shards' locks, bring them up to date, and recover what they hold.

        `boot` names this start of the supervisor; `now` is a monotonic clock in seconds for the sampling of free space.
        `activity` grows with all that comes in on the loop's connections (see `gathering`).
        `on_problem(shard, reason, mid)` is called in the loop for what an administrator must see, `mid` 0 meaning the shard.
        A damaged shard is set aside (see `set_aside`) as long as another can be opened. Raises OperatorError.
        """
        loop = asyncio.get_running_loop()
        files = files or Files()
        await loop.run_in_executor(None, make_root, root, files)
        outcomes = await asyncio.gather(
            *(
                loop.run_in_executor(None, open_shard, root, number, boot, settings, files)
                for number in shard_numbers
            ),
            return_exceptions=True,
        )
        opened = [outcome for outcome in outcomes if isinstance(outcome, OpenShard)]
        spool = cls(loop, root, settings, files, on_problem, activity)
        spool._space.clock = now
        spool._judge_outcomes(shard_numbers, outcomes, opened)
        spool._start(opened)
        return spool

    def _judge_outcomes(
        self,
        numbers: Sequence[int],
        outcomes: Sequence[OpenShard | BaseException],
        opened: list[OpenShard],
    ) -> None:
        """Go on without the damaged shards, unless none is left or there is an error of another kind."""
        for number, outcome in zip(numbers, outcomes, strict=True):
            if isinstance(outcome, ShardDamaged) and opened:
                self.set_aside[number] = outcome
                self._on_problem(number, outcome.message, 0)
            elif isinstance(outcome, BaseException):
                for shard in opened:
                    shard.connection.close(True)
                    shard.marks.close()
                    self._space.files.close(shard.lock)
                raise outcome

    def _start(self, opened: list[OpenShard]) -> None:
        self._bodies.start()
        self._recovered = messages_of(opened)
        self._left_over = [lines for shard in opened for lines in shard.found.events]
        self.suspects = frozenset(m.mid for m in self._recovered if m.crashes and not m.held)
        for one in opened:
            shard = Shard(one, self._settings, self._bodies, self._post, self)
            self._shards[shard.number] = shard
            self._live.update((message.mid, shard) for message in one.found.messages)
            for reason, mid in one.found.problems:
                self._on_problem(shard.number, reason, mid)

    async def recovered(self) -> list[StoredMessage]:
        """The messages found at opening, each MID once, oldest first within a shard. They are given once.

        Those that cannot be trusted (damaged row or body, three crashes) are held with the reason. The caller owns
        the values from now on. `suspects` names those to be delivered one at a time, since a crash had them in work;
        after a completed attempt the caller sends an update with `crashes` 0.
        """
        recovered, self._recovered = self._recovered, []
        return recovered

    def left_over_events(self) -> list[bytes]:
        """Events that were committed and not known to be in the log files, oldest first within a shard.

        They are given once; the first `export_point` covers them.
        """
        left_over, self._left_over = self._left_over, []
        return left_over

    # --- in ---------------------------------------------------------------------------------------

    def new_body(self, mid: int, *, shard: int | None = None) -> BodyWriter:
        """Where the body of a new message goes. Messages share the first healthy shard, so that they share commits.

        A report that is submitted in one change with the message it reports on names that message's shard.
        Raises SpoolFailed when no shard is healthy.
        """
        home = self._primary() if shard is None else self._shards[shard]
        return BodyWriter(mid, home, self._bodies, self._settings.small_body, self._settings.body_waiting)

    def submit(self, change: Change) -> asyncio.Future[None]:
        """Make a change durable. The future resolves in the loop when it is on disk, all of it.

        It fails with SpoolFull or SpoolFailed, and then nothing of the change is kept (after SpoolFailed it may still
        be found when the shard is opened again). A change that is not urgent waits for room on a full disk.
        Cancelling the future does not undo the change. Raises ValueError for a message that is not there, or twice.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        shard = self._shard_of(change)
        pending = Pending(future, change.events, change.urgent, time.monotonic())
        update, insert, body = change.update, change.insert, change.body
        if update is not None:
            pending.state_of, pending.state = update.mid, pack_state(update)
        if insert is not None and needs_state(insert):
            pending.added_state = pack_state(insert)
        if insert is not None and body is not None:
            self._pack(shard, insert, body, pending)
        if change.remove:
            pending.remove = change.remove
            self._forget(change.remove)
        if body is not None and body.in_file:
            body.finish(pending)
        else:
            shard.writer.push(pending)
            if pending.urgent:
                self._gatherer.add(shard.writer)
        return future

    def room_for(self, size: int, *, own: bool = False) -> bool:
        """May a message of this size be accepted? Cheap: free space is sampled once a second at most.

        Mail of our `own` (alerts) may use half of the reserve: a disk that is full is what it may have to tell of.

        What is in the logs of our shards counts as used already: at the next checkpoint the databases grow by it, and
        without that room neither a mark nor a start would get through. (Other workers see to theirs.)
        """
        logged = [shard.writer.log.octets for shard in self._shards.values() if not shard.failed]
        if not logged or logged[0] > self._settings.wal_limit:
            return False
        return self._space.room_for(size + sum(logged), own=own)

    def _primary(self) -> Shard:
        for shard in self._shards.values():
            if not shard.failed:
                return shard
        raise SpoolFailed("no shard of the spool can be written to")

    def _shard_of(self, change: Change) -> Shard:
        """The one shard that all of the change belongs to; what does not fit together is the caller's mistake."""
        shards = []
        if change.update is not None:
            shards.append(self._known(change.update.mid))
        if change.remove:
            shards.append(self._known(change.remove))
        insert, body = change.insert, change.body
        if (insert is None) != (body is None):
            raise ValueError("a message is inserted together with its body")
        if insert is not None and body is not None:
            if insert.mid in self._live or body.ended:
                raise ValueError(f"message {insert.mid} is inserted twice")
            if not insert.progress:
                insert.progress = [Progress() for _ in insert.envelope.recipients]
            if len(insert.progress) != len(insert.envelope.recipients):
                raise ValueError(f"the progress of message {insert.mid} does not fit its recipients")
            if body.in_file or not shards:
                shards.append(self._shards[body.shard])
        if not shards:
            raise ValueError("a change of nothing")
        if any(shard is not shards[0] for shard in shards):
            raise ValueError("a change within two shards")
        return shards[0]

    def _known(self, mid: int) -> Shard:
        shard = self._live.get(mid)
        if shard is None:
            raise ValueError(f"message {mid} is not in the spool")
        return shard

    def _pack(self, shard: Shard, message: StoredMessage, body: BodyWriter, pending: Pending) -> None:
        """Take the message in: its row, and what the loop must know of it."""
        mid = message.mid
        packed = pack_message(message)
        message.shard = shard.number
        message.size = body.size
        message.in_file = pending.in_file = body.in_file
        data = None
        if body.in_file:
            self._fresh_files.add(mid)
        else:
            data = body.take()
            message.sha256 = hashlib.sha256(data).digest()
            self._fresh.put(mid, data)
            self._space.spend(body.size)
        pending.insert = mid
        pending.message = message
        pending.row = (mid, body.size, message.sha256, packed, data)
        self._live[mid] = shard

    def _forget(self, mid: int) -> None:
        shard = self._live.pop(mid, None)
        if shard is not None:
            shard.marks.clear(mid)
        self._fresh.drop(mid)
        self._fresh_files.discard(mid)

    # --- out --------------------------------------------------------------------------------------

    async def open_body(self, message: StoredMessage) -> BodyReader:
        """The stored body, from its start. Raises BodyDamaged; the caller then holds the message and tells why."""
        fresh = self._fresh.get(message.mid)
        if fresh is not None:
            return MemoryBody(fresh)
        shard = self._shards[message.shard]
        if message.in_file:
            return await self._open_file(shard, message)
        got: asyncio.Future[object] = self._loop.create_future()
        shard.writer.read_body(message.mid, lambda result: None if got.done() else got.set_result(result))
        body = await got
        if isinstance(body, Exception):
            raise BodyDamaged(f"the body of message {message.mid} cannot be read: {body}") from body
        return MemoryBody(check_small_body(body, message.mid, message.size, message.sha256))

    async def _open_file(self, shard: Shard, message: StoredMessage) -> BodyReader:
        """On the loop when the file is new and its name surely cached, else in a thread."""
        path = shard.bodies / str(message.mid)
        arguments = (path, message.mid, message.size, message.sha256)
        if message.mid in self._fresh_files:
            return open_file_body(*arguments)
        return await self._loop.run_in_executor(None, open_file_body, *arguments)

    # --- marks, events, end -------------------------------------------------------------------------

    def mark_in_work(self, mid: int) -> None:
        """The message is about to be worked on; a crash from now on is counted against it."""
        self._known(mid).marks.set(mid)

    def unmark_in_work(self, mid: int) -> None:
        """It is not worked on any more. A message that was removed has no mark."""
        shard = self._live.get(mid)
        if shard is not None:
            shard.marks.clear(mid)

    def export_point(self) -> ExportPoint:
        """A point in the commits: the events of everything up to it have been let out by those who awaited the change
        (in a done-callback of its future, or directly behind the await of the future itself).

        The journal takes a point, and when all it then held is safely in the log files, says `exported(point)`.
        """
        return ExportPoint(tuple((shard.number, shard.settled) for shard in self._shards.values()))

    def exported(self, point: ExportPoint) -> None:
        """The events up to this point need not be kept any more; their rows go with a later commit."""
        for number, sequence in point.sequences:
            self._shards[number].writer.export(sequence)

    async def close(self) -> None:
        """Commit what was submitted and close the shards. Nothing may be submitted any more."""
        await self._loop.run_in_executor(None, self._bodies.settle)
        await asyncio.gather(
            *(self._loop.run_in_executor(None, shard.stop) for shard in self._shards.values())
        )
        await self._loop.run_in_executor(None, self._bodies.stop)

    def statistics(self) -> SpoolStatistics:
        """Figures for metrics and `gatepost status`."""
        return SpoolStatistics(
            messages=len(self._live),
            fresh_bytes=self._fresh.octets,
            files_not_removed=self._bodies.not_removed,
            shards=tuple(shard.statistics() for shard in self._shards.values()),
            set_aside=tuple(self.set_aside),
        )

    # --- reports of the threads, in the loop ------------------------------------------------------

    def _post(self, call: Callable[..., object], *arguments: object) -> None:
        if not self._loop.is_closed():  # a loop that ended without `close`: there is nobody to tell
            self._loop.call_soon_threadsafe(call, *arguments)

    def committed(self, shard: Shard, batch: list[Pending], sequence: int) -> None:
        for pending in batch:
            if pending.sha256 and pending.message is not None:
                pending.message.sha256 = pending.sha256
            if not pending.future.done():
                pending.future.set_result(None)
        # Behind the callbacks of these futures, which the loop has queued just now.
        self._loop.call_soon(self._settle, shard, sequence)

    def _settle(self, shard: Shard, sequence: int) -> None:
        shard.settled = sequence

    def refused(self, shard: Shard, batch: list[Pending], error: Exception) -> None:
        full = isinstance(error, SpoolFull)
        for pending in batch:
            self._fail(shard, pending, SpoolFull(*error.args) if full else SpoolFailed(*error.args))

    def _fail(self, shard: Shard, pending: Pending, error: Exception) -> None:
        if pending.insert:
            self._forget(pending.insert)
        if pending.remove:
            self._live[pending.remove] = shard
        if not pending.future.done():
            pending.future.set_exception(error)
            if not pending.urgent:
                pending.future.exception()  # nobody need look at it: no complaint when it is dropped

    def problem(self, shard: int, reason: str, mid: int) -> None:
        self._on_problem(shard, reason, mid)

    def thread_died(self, error: BaseException) -> None:
        self._loop.call_exception_handler({"message": "a thread of the spool died", "exception": error})

    def _body_thread_died(self, error: BaseException) -> None:
        for shard in self._shards.values():
            shard.fail(f"the body thread died: {error!r}")
        self.thread_died(error)
