"""The job of records: everything once, over restarts, rotation, a full disk and a damaged database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.test_required_tls_job import Clock

from gatepost.app import records_job
from gatepost.app.records_job import AFTER_TROUBLE, AT_ONCE, IDLE, LOOK, LOST, WORKS, RecordsJob
from gatepost.core.codec import encode_events
from gatepost.core.delivery_events import Delivered
from gatepost.core.event import Event
from gatepost.core.events import Noted, Warned
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.home import Home
from gatepost.store.records import RecordStore
from gatepost.track.json_log import JsonLogFormat
from gatepost.track.log_files import LogFile


class Bench:
    """A home with a log; `restart` is the job of a new desk."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.home.logs.mkdir()
        self.config = ConfigStore.open(self.home.config_db)
        self.clock = Clock()
        self.log = LogFile(self.home.logs, self.home.event_log.name, JsonLogFormat(), self.clock, keep=2)
        self.events: list[Event] = []
        self.mid = 0
        self.free = 1 << 39
        self.configure()
        self.restart()

    def configure(self, **records: int) -> None:
        content = Content({"records": records})
        self.config.commit(self.config.latest_number(), content, "test", "", self.clock.at)

    def restart(self, limit: int = records_job.LIMIT) -> None:
        self.job = RecordsJob(
            self.home,
            self.config,
            self.events.append,
            self.clock,
            limit=limit,
            space=lambda _: (self.free, 1 << 40),
        )

    def look(self) -> float:
        return asyncio.run(self.job.run())

    def deliver(self, count: int = 1) -> None:
        for _ in range(count):
            self.mid += 1
            event = Delivered(
                self.clock.at + self.mid, 1, self.mid, [0], "Ok", None, "a.example", "b.example"
            )
            assert self.log.append(encode_events([Noted(self.clock.at, "something else"), event]))

    def kept(self) -> list[int]:
        store = RecordStore.open(self.home.records_db)
        try:
            return [row.mid for row in store.deliveries(0)]
        finally:
            store.close()

    def told(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Warned | Noted)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.job._close()
    made.config.close()
    made.log.close()


def test_each_delivery_is_kept_once_over_restarts(bench: Bench) -> None:
    bench.deliver(3)
    assert bench.look() == LOOK
    bench.deliver()
    bench.restart()
    assert bench.look() == LOOK
    bench.restart()
    bench.look()
    assert bench.kept() == [1, 2, 3, 4]
    assert bench.told() == []


def test_a_long_log_is_read_in_several_looks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.track.event_reader._CHUNK", 1000)
    bench.restart(limit=1000)
    bench.deliver(20)
    assert bench.look() == AT_ONCE
    while bench.look() == AT_ONCE:
        bench.restart(limit=1000)
    assert bench.kept() == list(range(1, 21))


def test_the_log_may_be_put_away_between_looks(bench: Bench) -> None:
    bench.deliver()
    bench.look()
    bench.deliver()
    bench.log.use(JsonLogFormat(), limit=1, keep=5)
    bench.deliver(2)
    bench.look()
    assert bench.kept() == [1, 2, 3, 4]
    assert bench.told() == []


def test_a_log_that_is_gone_before_it_was_read_is_told(bench: Bench) -> None:
    bench.deliver()
    bench.look()
    bench.home.event_log.unlink()
    bench.log.close()
    bench.log = LogFile(bench.home.logs, bench.home.event_log.name, JsonLogFormat(), bench.clock)
    bench.deliver()
    bench.look()
    assert bench.kept() == [1, 2]
    assert bench.told() == [LOST]


def test_a_full_disk_is_told_once_and_nothing_is_missing_afterwards(bench: Bench) -> None:
    bench.deliver()
    bench.look()
    store = bench.job._store
    assert store is not None
    store._db.execute("PRAGMA max_page_count = 1")
    bench.deliver(2000)
    assert bench.look() == AFTER_TROUBLE
    (told,) = bench.told()
    assert told.startswith("Records of deliveries and sessions cannot be kept: ")
    assert told.endswith("; mail is not affected")
    assert bench.look() == LOOK
    assert bench.told()[1:] == [WORKS]
    assert bench.kept() == list(range(1, 2002))


def test_the_last_of_a_disk_is_left_to_mail(bench: Bench) -> None:
    bench.deliver()
    bench.look()
    bench.deliver()
    bench.free = 300 << 20
    assert bench.look() == AFTER_TROUBLE
    assert "the disk is nearly full, 300 MB are free" in bench.told()[0]
    assert bench.kept() == [1]
    bench.free = 1 << 39
    assert bench.look() == LOOK
    assert bench.kept() == [1, 2]


def test_a_trouble_that_lasts_is_told_once(bench: Bench) -> None:
    bench.home.records_db.mkdir()
    assert [bench.look(), bench.look()] == [AFTER_TROUBLE, AFTER_TROUBLE]
    assert len(bench.told()) == 1
    bench.home.records_db.rmdir()
    bench.look()
    assert len(bench.told()) == 2


def test_a_damaged_database_is_put_aside_and_filled_anew(bench: Bench) -> None:
    bench.deliver(2)
    bench.look()
    bench.job._close()
    for ending in ("-wal", "-shm"):
        bench.home.records_db.with_name("records.db" + ending).unlink(missing_ok=True)
    bench.home.records_db.write_bytes(b"damaged" * 1000)
    bench.restart()
    assert bench.look() == AT_ONCE
    assert "is damaged" in bench.told()[0]
    assert bench.look() == LOOK
    assert bench.kept() == [1, 2]
    assert bench.home.records_db.with_name("records.db.damaged").exists()


def test_what_is_too_old_goes_and_zero_days_keep_nothing(bench: Bench) -> None:
    bench.configure(days=2)
    bench.deliver(2)
    bench.look()
    bench.clock.at += 86_400 + 10
    bench.deliver()
    bench.look()
    assert bench.kept() == [1, 2, 3]
    bench.clock.at += 86_400
    bench.look()
    assert bench.kept() == [3]
    bench.configure(days=0)
    assert bench.look() == IDLE
    assert not bench.home.records_db.exists()


def test_a_record_store_of_a_newer_release_is_left_alone(bench: Bench) -> None:
    bench.look()
    store = bench.job._store
    assert store is not None
    store._db.execute("PRAGMA user_version = 99")
    bench.restart()
    assert bench.look() == AFTER_TROUBLE
    assert "form 99" in bench.told()[0]
    store.close()
