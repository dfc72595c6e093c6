"""Locks of SMTP AUTH, from the log of events to alerts: once, together, over restarts, and only where AUTH is offered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatepost.app.auth_job import AT_ONCE, IDLE, KEEP_POSITION, LOOK, NAMED, AuthJob, locked_alert
from gatepost.core.auth_events import SmtpAuthFailed, SmtpAuthLocked
from gatepost.core.codec import encode_events
from gatepost.core.event import Event
from gatepost.core.ports import Alert
from gatepost.store.config_store import ConfigStore, Content
from gatepost.track.event_reader import EventReader
from gatepost.track.json_log import JsonLogFormat
from gatepost.track.log_files import LogFile

NAME = "events.jsonl"


class Bench:
    """A store, a log, and what was told. It is its own clock."""

    def __init__(self, folder: Path) -> None:
        self.at = 1_800_000_000.0
        self.folder = folder
        self.store = ConfigStore.open(folder / "config.db")
        self.log = LogFile(folder, NAME, JsonLogFormat(), self, keep=2)
        self.alerts: list[Alert] = []
        self.restart()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    def offer(self, level: str = "preferred") -> None:
        document = {"mail_flow_policies": [{"name": "A", "action": "accept", "smtp_auth": level}]}
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.at)

    def restart(self) -> None:
        self.job = AuthJob(self.store, EventReader(self.folder, NAME), self, self)

    def look(self) -> float:
        return asyncio.run(self.job.run())

    def locks(self, *names: str) -> None:
        events: list[Event] = [SmtpAuthFailed(self.at, 1, "mary", "PLAIN", "local", "wrong pass-phrase")]
        events += [SmtpAuthLocked(self.at, 1, "user", name, 10) for name in names]
        assert self.log.append(encode_events(events))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.log.close()
    made.store.close()


def test_nothing_is_read_where_nothing_is_offered(bench: Bench) -> None:
    bench.locks("mary")
    assert bench.look() == IDLE
    bench.offer("off")
    assert bench.look() == IDLE
    assert bench.alerts == []


def test_locks_of_one_look_are_told_together_and_once(bench: Bench) -> None:
    bench.offer()
    bench.locks("mary", "jane")
    assert bench.look() == LOOK
    (alert,) = bench.alerts
    assert (alert.key, alert.severity, alert.times) == ("smtp-auth-locked", "warning", 2)
    assert alert.subject == "SMTP AUTH: user mary is locked, and 1 more"
    assert "  user mary (10 failures)\n  user jane (10 failures)\n" in alert.text
    bench.look()
    bench.restart()
    bench.look()
    assert len(bench.alerts) == 1
    bench.locks("tom")
    bench.look()
    assert bench.alerts[1].subject == "SMTP AUTH: user tom is locked"


def test_failures_alone_move_the_position_now_and_then(bench: Bench) -> None:
    bench.offer()
    bench.locks()
    bench.look()
    bench.at += KEEP_POSITION + 1
    bench.locks()
    bench.look()
    bench.restart()
    bench.look()
    assert bench.alerts == []


def test_what_is_old_is_not_told_when_reading_begins(bench: Bench) -> None:
    bench.locks("mary")
    bench.at += 3_700
    bench.offer()
    bench.look()
    assert bench.alerts == []


def test_switched_off_it_forgets_where_it_was(bench: Bench) -> None:
    bench.offer()
    bench.locks("mary")
    bench.look()
    bench.offer("off")
    assert bench.look() == IDLE
    assert bench.store.get_meta("auth-locks") is None


def test_an_alert_names_so_many_and_no_more() -> None:
    found = [SmtpAuthLocked(0.0, 1, "address", f"192.0.2.{number}", 20) for number in range(NAMED + 5)]
    text = locked_alert(found).text
    assert text.count("address 192.0.2.") == NAMED
    assert "  and 5 more" in text
    assert AT_ONCE < LOOK
