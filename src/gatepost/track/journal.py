"""The ordered stream of one worker's events, on its way from the acts to the log files.

One FIFO. A free event goes to the sinks at once when nothing waits before it. Events of a state change are
*held* at their place until the spool has committed it, and whatever comes behind them waits too, so the log has the
order of the acts and never shows what did not happen (architecture 5). Sinks render as events
become visible and write when a timer says so: at most `FLUSH_SECONDS` after the act, or when much has gathered.

`mark(value)` puts the owner's note into the stream, for example the number of a commit. When everything
before it is in the files *and* flushed to disk, `on_safe` gets the value: what the spool keeps for the log up to
there may go. Flushing to disk costs milliseconds, so it is done off the loop and at most every `SYNC_SECONDS`.

Limits: what waits is bounded by the commits under way, which the spool bounds. Time comes from a
scheduler that is passed in; nothing here blocks, except `close`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from gatepost.core.codec import decode_events
from gatepost.core.events import Event

FLUSH_SECONDS = 0.2
SYNC_SECONDS = 5.0
FLUSH_OCTETS = 256 * 1024
GATHERED_EVENTS = (
    64  # rendered together: one turn of the loop is not kept longer than a third of a millisecond
)

Visible = tuple[Sequence[Event], bytes]  # events in their order, with their encoded form where one exists


class Sink(Protocol):
    """Where visible events go: `mail_log.MailLogSink`, `json_log.JsonLogSink`."""

    def add(self, batch: Sequence[Visible], /) -> int:
        """Take a batch of events; returns the octets that now wait for them."""
        ...

    def flush(self) -> None:
        """Write all that was added."""
        ...

    def sync_job(self) -> Callable[[], bool]:
        """Work for another thread: bring what was written to the disk; False when that failed."""
        ...

    def close(self) -> None: ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Scheduler(Protocol):
    """How the journal gets its turns."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer: ...

    def in_background(self, work: Callable[[], bool], done: Callable[[bool], None], /) -> None:
        """Run `work` in another thread and call `done` with its result in this one."""
        ...


class LoopScheduler:
    """The scheduler of a worker: its event loop and that loop's thread pool."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        return self._loop.call_later(delay, callback)

    def in_background(self, work: Callable[[], bool], done: Callable[[bool], None], /) -> None:
        future = self._loop.run_in_executor(None, work)
        future.add_done_callback(lambda finished: None if finished.cancelled() else done(finished.result()))


class _Entry:
    """A place in the order: events that are held, free ones behind them, or a mark."""

    __slots__ = ("blob", "events", "mark", "open")

    def __init__(self, events: Sequence[Event], blob: bytes, *, is_open: bool, mark: Any = None) -> None:
        self.events = events
        self.blob = blob
        self.open = is_open
        self.mark = mark


class WorkerJournal:
    """Implements `core.ports.Journal`. One instance a worker, used in its loop only."""

    def __init__(
        self,
        sinks: Sequence[Sink],
        scheduler: Scheduler,
        on_safe: Callable[[list[Any]], None] = lambda marks: None,
        *,
        flush_seconds: float = FLUSH_SECONDS,
        sync_seconds: float = SYNC_SECONDS,
        gathered_events: int = GATHERED_EVENTS,
    ) -> None:
        self._sinks = tuple(sinks)
        self._scheduler = scheduler
        self._on_safe = on_safe
        self._flush_seconds = flush_seconds
        self._sync_seconds = sync_seconds
        self._gathered_events = gathered_events
        self._queue: deque[_Entry] = deque()
        self._held: dict[int, _Entry] = {}
        self._tokens = 0
        self._octets = 0
        self._visible: list[Visible] = []  # not yet with the sinks
        self._gathered = 0
        self._flush_timer: Timer | None = None
        self._sync_timer: Timer | None = None
        self._marks: list[Any] = []  # reached in the order, not yet safe
        self._syncing: list[Any] = []  # being flushed to disk at this moment
        self._closed = False

    # --- core.ports.Journal ----------------------------------------------------------------------

    def emit(self, event: Event, /) -> None:
        if self._queue:
            self._queue.append(_Entry((event,), b"", is_open=False))
        else:
            self._show((event,), b"")

    def hold(self, events: Sequence[Event], blob: bytes = b"", /) -> int:
        """Queue events until `release` or `discard`. `blob` is their encoded form, where the caller has it already."""
        self._tokens += 1
        entry = _Entry(events, blob, is_open=True)
        self._held[self._tokens] = entry
        self._queue.append(entry)
        return self._tokens

    def release(self, token: int, /) -> None:
        self._held.pop(token).open = False
        self._drain()

    def discard(self, token: int, /) -> None:
        entry = self._held.pop(token)
        entry.events, entry.blob, entry.open = (), b"", False
        self._drain()

    # --- the owner's -----------------------------------------------------------------------------

    def mark(self, value: Any) -> None:
        """Ask to be told, through `on_safe`, when all that was emitted or held so far is settled and on disk."""
        if self._queue:
            self._queue.append(_Entry((), b"", is_open=False, mark=value))
        else:
            self._reach(value)

    def replay(self, blobs: Iterable[bytes]) -> None:
        """Log what an earlier run committed and did not log. Call it before the first `emit`."""
        for blob in blobs:
            self._show(decode_events(blob), blob)

    @property
    def held(self) -> int:
        """How many state changes wait for their commit."""
        return len(self._held)

    def flush(self) -> None:
        """Write everything visible now."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        self._hand_over()
        self._octets = 0
        for sink in self._sinks:
            sink.flush()

    def close(self) -> None:
        """Write and flush everything to disk, tell of the last marks, and let the files go.

        What still waits for a commit is not written: if the commit did happen, its events are
        replayed at the next start. Free events behind it are written.
        """
        if self._closed:
            return
        for token in list(self._held):
            self.discard(token)
        self.flush()
        self._closed = True
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        marks, self._marks, self._syncing = self._syncing + self._marks, [], []
        done = [sink.sync_job()() for sink in self._sinks]
        if marks and all(done):
            self._on_safe(marks)
        for sink in self._sinks:
            sink.close()

    # --- inside ----------------------------------------------------------------------------------

    def _drain(self) -> None:
        queue = self._queue
        while queue and not queue[0].open:
            entry = queue.popleft()
            if entry.events:
                self._show(entry.events, entry.blob)
            if entry.mark is not None:
                self._reach(entry.mark)

    def _show(self, events: Sequence[Event], blob: bytes) -> None:
        self._visible.append((events, blob))
        self._gathered += len(events)
        if self._gathered >= self._gathered_events:
            self._hand_over()
        if self._flush_timer is None:
            self._flush_timer = self._scheduler.call_later(self._flush_seconds, self._flush_due)

    def _hand_over(self) -> None:
        """Let the sinks render what has gathered: doing it together costs less than one by one."""
        batch, self._visible, self._gathered = self._visible, [], 0
        for sink in self._sinks:
            self._octets += sink.add(batch)
        if self._octets >= FLUSH_OCTETS:
            self._octets = 0
            for sink in self._sinks:
                sink.flush()

    def _flush_due(self) -> None:
        self._flush_timer = None
        self.flush()

    def _reach(self, value: Any) -> None:
        self._marks.append(value)
        if self._sync_timer is None and not self._syncing:
            self._sync_timer = self._scheduler.call_later(self._sync_seconds, self._sync_due)

    def _sync_due(self) -> None:
        """Write what is visible and flush it off the loop; the marks reached so far become safe by that."""
        self._sync_timer = None
        self.flush()
        marks = self._syncing = self._marks
        self._marks = []
        jobs = [sink.sync_job() for sink in self._sinks]

        def work() -> bool:
            results = [job() for job in jobs]  # every job runs, also after one that failed
            return all(results)

        def done(safe: bool) -> None:
            if self._closed:
                return  # `close` has taken the marks over
            self._syncing = []
            if safe:
                self._on_safe(marks)
            else:
                self._marks = marks + self._marks
            if self._marks:
                self._sync_timer = self._scheduler.call_later(self._sync_seconds, self._sync_due)

        self._scheduler.in_background(work, done)
