"""Events read from the log where reading stopped: over rotations, torn lines, pruned files; whole, in pieces, and of the asked kinds only."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatepost.core.codec import encode_events
from gatepost.core.delivery_events import DeliveryClosed, DeliveryOpened, RequiredTlsFailed
from gatepost.core.event import Event
from gatepost.core.events import Noted
from gatepost.track.event_reader import START, EventReader, Position
from gatepost.track.json_log import JsonLogFormat
from gatepost.track.log_files import LogFile

NAME = "events.jsonl"
ALL = 1 << 30
KINDS = (RequiredTlsFailed, DeliveryOpened)


class Clock:
    def now(self) -> float:
        return 1_800_000_000.0

    def monotonic(self) -> float:
        return 0.0


def failed(at: float, reason: str = "no TLS") -> RequiredTlsFailed:
    return RequiredTlsFailed(at, "a.example", "192.0.2.1", "required", reason, True)


class Log:
    def __init__(self, folder: Path, *, keep: int = 10) -> None:
        self.folder = folder
        self.file = LogFile(folder, NAME, JsonLogFormat(), Clock(), keep=keep)
        self.reader = EventReader(folder, NAME)
        self.position: Position = START
        self.lost = False
        self.rotations = 0

    def write(self, *events: Event) -> None:
        assert self.file.append(encode_events(events))

    def rotate(self) -> None:
        self.file.use(JsonLogFormat(), limit=1, keep=self.file._keep)
        self.rotations += 1
        # No two files begin alike: every event has its time.
        self.file.append(encode_events([Noted(float(self.rotations), "full")]))
        self.file.use(JsonLogFormat(), limit=0, keep=self.file._keep)

    def read(self, limit: int = ALL, kinds: Sequence[type[Event]] = KINDS) -> list[float]:
        read = self.reader.read(self.position, kinds, limit)
        self.position, self.lost = read.position, read.lost
        return [event.at for event in read.events]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_what_is_new_is_read_once(log: Log) -> None:
    assert log.read() == []
    log.write(failed(1.0), Noted(2.0, "x"))
    assert log.read() == [1.0]
    assert log.read() == []
    log.write(DeliveryOpened(3.0, 1, "a", "b", 25), DeliveryClosed(4.0, 1), failed(5.0))
    assert log.read() == [3.0, 5.0]
    assert log.lost is False


def test_only_the_kinds_that_are_asked_for_also_where_a_text_speaks_of_them(log: Log) -> None:
    log.write(Noted(1.0, '{"event":"RequiredTlsFailed","at":9.0}\n{"event":"RequiredTlsFailed",'))
    log.write(failed(2.0), DeliveryOpened(3.0, 1, "a", "b", 25))
    assert log.read(kinds=(RequiredTlsFailed,)) == [2.0]


def test_a_rotation_loses_nothing(log: Log) -> None:
    log.write(failed(1.0))
    assert log.read() == [1.0]
    log.write(failed(2.0))
    log.rotate()
    log.write(failed(3.0))
    log.rotate()
    log.write(failed(4.0))
    assert log.read() == [2.0, 3.0, 4.0]
    log.rotate()
    assert log.read() == []
    assert log.lost is False


def test_a_file_that_is_gone_unread_is_told_of(tmp_path: Path) -> None:
    log = Log(tmp_path, keep=1)
    log.write(failed(1.0))
    assert log.read() == [1.0]
    for at in (2.0, 3.0, 4.0):
        log.write(failed(at))
        log.rotate()
    log.write(failed(5.0))
    assert log.read() == [4.0, 5.0]
    assert log.lost is True
    assert log.read() == []
    assert log.lost is False


def test_a_removed_log_is_told_of_and_begun_anew(log: Log) -> None:
    log.write(failed(1.0), failed(1.5))
    log.read()
    (log.folder / NAME).unlink()
    log.write(failed(2.0))
    assert log.read() == [2.0]
    assert log.lost is True


def test_a_line_that_is_being_written_waits(log: Log) -> None:
    line = encode_events([failed(1.0)])
    path = log.folder / NAME
    path.write_bytes(line[:-10])
    assert log.read() == []
    path.write_bytes(line)
    assert log.read() == [1.0]


def test_a_torn_line_at_the_end_of_a_file_that_was_put_away_is_passed_over(log: Log) -> None:
    log.write(failed(1.0))
    log.read()
    with (log.folder / NAME).open("ab") as file:
        file.write(encode_events([failed(2.0)])[:-3])
    (log.folder / NAME).rename(log.folder / f"{NAME}.@20270101T000000")
    log.write(failed(3.0))
    assert log.read() == [3.0]
    assert log.lost is False


def test_the_limit_ends_a_look_and_says_that_there_is_more(log: Log) -> None:
    log.write(*(failed(float(at), "x" * 3_000) for at in range(1_000)))
    log.rotate()
    log.write(failed(1_000.0))
    seen: list[float] = []
    looks = 0
    while True:
        read = log.reader.read(log.position, KINDS, 1)
        seen += [event.at for event in read.events]
        log.position = read.position
        looks += 1
        if not read.more:
            break
    seen += log.read()
    assert seen == [float(at) for at in range(1_001)]
    assert looks > 2


def test_the_first_time_begins_behind_a_line_near_the_end(log: Log) -> None:
    assert log.reader.near_end(100) == START
    log.write(*(failed(float(at)) for at in range(100)))
    log.position = log.reader.near_end(1_000)
    seen = log.read()
    assert 3 < len(seen) < 20
    assert seen[-1] == 99.0
    log.position = log.reader.near_end(1 << 20)
    assert log.read()[0] == 1.0


def test_a_home_that_was_copied_is_read_on(log: Log, tmp_path: Path) -> None:
    log.write(failed(1.0))
    log.read()
    other = tmp_path / "copy"
    other.mkdir()
    (other / NAME).write_bytes((log.folder / NAME).read_bytes() + encode_events([failed(2.0)]))
    log.reader = EventReader(other, NAME)
    assert log.read() == [2.0]


STEPS = st.lists(st.sampled_from(["write", "write", "rotate", "read", "piece", "restart"]), max_size=30)


@given(STEPS)
@example(["rotate", "write", "rotate", "rotate"])
@settings(max_examples=60, deadline=None)
def test_every_event_is_seen_once_and_in_order(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder), keep=100)
        seen: list[float] = []
        written = 0
        for step in steps:
            match step:
                case "write":
                    written += 1
                    log.write(failed(float(written)), Noted(0.0, "y" * 50))
                case "rotate":
                    log.rotate()
                case "read":
                    seen += log.read()
                case "piece":
                    seen += log.read(1)
                case _:
                    log.reader = EventReader(Path(folder), NAME)
            assert log.lost is False
        for _ in steps:
            seen += log.read()
        log.file.close()
        assert seen == [float(number + 1) for number in range(written)]
