"""The journal: the order of the acts, commits awaited, and word of what is safe; time moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.core.codec import encode_events
from gatepost.core.events import ConnectionClosed, Event, MessageQueued, Noted
from gatepost.core.ports import Journal
from gatepost.track.journal import FLUSH_OCTETS, LoopScheduler, WorkerJournal


class Timer:
    def __init__(self, due: float, callback: Callable[[], object]) -> None:
        self.due = due
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Scheduler:
    """Time that a test moves; background work waits until the test lets it be done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.background: list[tuple[Callable[[], bool], Callable[[bool], None]]] = []

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        timer = Timer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def in_background(self, work: Callable[[], bool], done: Callable[[bool], None], /) -> None:
        self.background.append((work, done))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        while True:
            due = [t for t in self.timers if t.due <= self.now + 1e-9 and t.callback is not None]
            if not due:
                return
            first = min(due, key=lambda t: t.due)
            callback, first.callback = first.callback, None
            assert callback is not None
            callback()

    def finish_background(self) -> None:
        jobs, self.background = self.background, []
        for work, done in jobs:
            done(work())


class MemorySink:
    def __init__(self) -> None:
        self.waiting: list[Event] = []
        self.written: list[Event] = []
        self.synced = 0
        self.blobs: list[bytes] = []
        self.disk_works = True
        self.closed = False

    def add(self, batch: Sequence[tuple[Sequence[Event], bytes]], /) -> int:
        added = [event for events, _ in batch for event in events]
        self.waiting += added
        self.blobs += [blob for _, blob in batch]
        return 100 * len(added)

    def flush(self) -> None:
        self.written += self.waiting
        self.waiting = []

    def sync_job(self) -> Callable[[], bool]:
        count = len(self.written)

        def work() -> bool:
            if self.disk_works:
                self.synced = count
            return self.disk_works

        return work

    def close(self) -> None:
        self.closed = True


class World:
    def __init__(self) -> None:
        self.sink = MemorySink()
        self.scheduler = Scheduler()
        self.safe: list[object] = []
        self.journal = WorkerJournal([self.sink], self.scheduler, self.safe.extend, gathered_events=1)

    @property
    def seen(self) -> list[int]:
        """What the sinks have been given, by number."""
        return [e.mid for e in self.sink.written + self.sink.waiting if isinstance(e, MessageQueued)]


def act(number: int) -> MessageQueued:
    return MessageQueued(0.0, number)


def test_it_is_the_journal_of_the_ports() -> None:
    world = World()
    journal: Journal = world.journal
    journal.release(journal.hold([act(1)], b""))
    assert world.seen == [1]


def test_events_are_handed_to_the_sinks_in_batches() -> None:
    world = World()
    journal = WorkerJournal([world.sink], world.scheduler, gathered_events=3)
    journal.emit(act(1))
    journal.emit(act(2))
    assert world.seen == []
    journal.emit(act(3))
    assert world.seen == [1, 2, 3]
    journal.emit(act(4))
    world.scheduler.advance(0.5)
    assert world.sink.written == [act(1), act(2), act(3), act(4)]


def test_a_free_event_is_in_the_files_within_half_a_second() -> None:
    world = World()
    world.journal.emit(act(1))
    assert world.sink.written == []
    world.scheduler.advance(0.5)
    assert world.sink.written == [act(1)]
    world.journal.emit(act(2))
    world.scheduler.advance(0.5)
    assert world.sink.written == [act(1), act(2)]


def test_one_write_serves_all_events_of_a_moment() -> None:
    world = World()
    for number in range(5):
        world.journal.emit(act(number))
    assert len(world.scheduler.timers) == 1


def test_much_is_written_at_once() -> None:
    world = World()
    enough = FLUSH_OCTETS // 100 + 1
    for number in range(enough):
        assert world.sink.written == []
        world.journal.emit(act(number))
    assert len(world.sink.written) == enough


def test_held_events_keep_their_place() -> None:
    world = World()
    world.journal.emit(act(1))
    first = world.journal.hold([act(2), act(3)])
    world.journal.emit(act(4))
    second = world.journal.hold([act(5)])
    world.journal.emit(act(6))
    assert world.seen == [1]
    world.journal.release(second)
    assert world.seen == [1]
    world.journal.release(first)
    assert world.seen == [1, 2, 3, 4, 5, 6]
    world.journal.emit(act(7))
    assert world.seen[-1] == 7
    assert world.journal.held == 0


def test_discarded_events_are_never_seen() -> None:
    world = World()
    token = world.journal.hold([act(1)])
    world.journal.emit(act(2))
    world.journal.discard(token)
    assert world.seen == [2]


def test_the_blob_of_a_commit_reaches_the_sinks() -> None:
    world = World()
    blob = encode_events([act(1)])
    world.journal.release(world.journal.hold([act(1)], blob))
    assert world.sink.blobs == [blob]


def test_a_token_counts_once() -> None:
    world = World()
    token = world.journal.hold([act(1)])
    world.journal.release(token)
    with pytest.raises(KeyError):
        world.journal.release(token)


@given(st.lists(st.sampled_from(["emit", "hold", "settle", "discard"]), max_size=40), st.randoms())
def test_any_interleaving_keeps_the_order(acts: list[str], rng: object) -> None:
    world = World()
    expected: list[int] = []
    dropped: set[int] = set()
    tokens: list[tuple[int, int]] = []
    for number, what in enumerate(acts):
        if what == "emit":
            world.journal.emit(act(number))
            expected.append(number)
        elif what == "hold":
            tokens.append((world.journal.hold([act(number)]), number))
            expected.append(number)
        elif tokens:
            token, held = tokens.pop(rng.randrange(len(tokens)))  # type: ignore[attr-defined]
            if what == "settle":
                world.journal.release(token)
            else:
                world.journal.discard(token)
                dropped.add(held)
        shown = [n for n in expected if n not in dropped]
        assert world.seen == shown[: len(world.seen)]
    for token, _ in tokens:
        world.journal.release(token)
    assert world.seen == [n for n in expected if n not in dropped]


# --- what is safe -----------------------------------------------------------------------------------


def test_a_mark_is_safe_when_everything_before_it_is_on_disk() -> None:
    world = World()
    token = world.journal.hold([act(1)])
    world.journal.mark("commit 1")
    world.scheduler.advance(60)
    world.scheduler.finish_background()
    assert world.safe == []  # its events wait for their commit still
    world.journal.release(token)
    world.scheduler.advance(5)
    assert world.safe == []
    world.scheduler.finish_background()
    assert world.safe == ["commit 1"]
    assert world.sink.synced == 1


def test_the_disk_is_not_flushed_more_often_than_every_five_seconds() -> None:
    world = World()
    flushes = 0
    for second in range(22):
        world.journal.emit(act(second))
        world.journal.mark(second)
        world.scheduler.advance(1)
        flushes += len(world.scheduler.background)
        world.scheduler.finish_background()
    assert flushes == 4
    assert world.safe == list(range(20))


def test_marks_that_come_while_the_disk_is_flushed_wait_for_the_next_time() -> None:
    world = World()
    world.journal.mark(1)
    world.scheduler.advance(5)
    world.journal.emit(act(1))
    world.journal.mark(2)
    world.scheduler.finish_background()
    assert world.safe == [1]
    world.scheduler.advance(5)
    world.scheduler.finish_background()
    assert world.safe == [1, 2]


def test_nothing_is_safe_on_a_disk_that_fails() -> None:
    world = World()
    world.sink.disk_works = False
    world.journal.mark(1)
    world.scheduler.advance(5)
    world.scheduler.finish_background()
    assert world.safe == []
    world.sink.disk_works = True
    world.scheduler.advance(5)
    world.scheduler.finish_background()
    assert world.safe == [1]


# --- beginning and end -------------------------------------------------------------------------------


def test_what_an_earlier_run_left_is_logged_first() -> None:
    world = World()
    blob = encode_events([act(1), act(2)])
    world.journal.replay([blob])
    world.journal.emit(act(3))
    assert world.seen == [1, 2, 3]
    assert world.sink.blobs[0] == blob


def test_closing_writes_at_once_and_drops_what_was_not_committed() -> None:
    world = World()
    world.journal.emit(act(1))
    world.journal.hold([act(2)])
    world.journal.emit(act(3))
    world.journal.mark("end")
    world.journal.close()
    assert world.sink.written == [act(1), act(3)]
    assert world.sink.synced == 2
    assert world.safe == ["end"]
    assert world.sink.closed
    world.journal.close()
    world.scheduler.advance(60)
    assert world.safe == ["end"]


def test_closing_takes_over_marks_that_are_on_their_way() -> None:
    world = World()
    world.journal.mark(1)
    world.scheduler.advance(5)
    world.journal.mark(2)
    world.journal.close()
    world.scheduler.finish_background()
    assert world.safe == [1, 2]


def test_a_loop_can_be_the_scheduler() -> None:
    async def run() -> tuple[list[object], list[Event]]:
        sink, told = MemorySink(), asyncio.Event()
        safe: list[object] = []

        def on_safe(marks: list[object]) -> None:
            safe.extend(marks)
            told.set()

        loop = asyncio.get_running_loop()
        journal = WorkerJournal([sink], LoopScheduler(loop), on_safe, flush_seconds=0, sync_seconds=0)
        journal.emit(Noted(0.0, "x"))
        journal.mark("m")
        async with asyncio.timeout(10):
            await told.wait()
        journal.emit(ConnectionClosed(0.0, 1))
        journal.close()
        return safe, sink.written

    safe, written = asyncio.run(run())
    assert safe == ["m"]
    assert written == [Noted(0.0, "x"), ConnectionClosed(0.0, 1)]
