"""Reminders of entries that end: each mark once, over restarts, with what holds afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.endings_job import META, EndingsJob
from gatepost.core.ports import Alert
from gatepost.policy.endings import DAY
from gatepost.store.config_store import ConfigStore, Content

END = datetime(2027, 2, 1, tzinfo=UTC).timestamp()


class Bench:
    def __init__(self, store: ConfigStore) -> None:
        self.store = store
        self.at = END - 30 * DAY
        self.alerts: list[Alert] = []
        self.restart()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    def restart(self) -> None:
        self.job = EndingsJob(self.store, self, self)

    def configure(self, *destinations: dict[str, Any], tls: str = "required") -> None:
        document = {"destination_controls": {"default": {"tls": tls}, "destinations": list(destinations)}}
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.at)

    def look(self, days_left: float) -> list[str]:
        self.at = END - days_left * DAY
        self.alerts.clear()
        self.pause = asyncio.run(self.job.run())
        return [f"{one.severity}: {one.subject}" for one in self.alerts]


ENTRY = {"domain": "a.example", "tls": "none", "until": "2027-01-31", "reason": "ticket 4711"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield Bench(store)
    store.close()


def test_a_week_and_a_day_before_and_when_it_has_ended(bench: Bench) -> None:
    bench.configure(ENTRY)
    assert bench.look(30) == []
    assert bench.pause == 23 * DAY
    assert bench.look(7) == ["information: Exception for a.example ends in 7 days"]
    (alert,) = bench.alerts
    assert alert.key == "until:a.example"
    assert "Why it exists:  ticket 4711" in alert.text
    assert "Until then:  tls none, dane none, mta_sts false" in alert.text
    assert "Afterwards:  tls required, dane none, mta_sts false (destination_controls.default)" in alert.text
    assert "stricter (required instead of none)" in alert.text
    assert bench.look(6.9) == []
    bench.restart()
    assert bench.look(1.1) == []
    assert bench.look(0.9) == ["warning: Exception for a.example ends in 1 day"]
    bench.restart()
    assert bench.look(0) == ["warning: Exception for a.example has ended"]
    assert "held through 2027-01-31 (UTC)" in bench.alerts[0].text
    bench.restart()
    assert bench.look(-1) == []
    assert bench.look(-400) == []


def test_an_end_that_weakens_what_is_asked_for_says_so(bench: Bench) -> None:
    bench.configure({**ENTRY, "tls": "required-verify"}, tls="preferred")
    assert bench.look(0) == ["warning: Exception for a.example has ended"]
    assert "weaker" in bench.alerts[0].text
    assert "(preferred instead of required-verify)" in bench.alerts[0].text


def test_an_end_that_changes_nothing_is_information(bench: Bench) -> None:
    bench.configure({**ENTRY, "tls": "required", "max_connections": 5})
    assert bench.look(-0.5) == ["information: Exception for a.example has ended"]


def test_an_entry_in_monitor_mode_ends_beside_the_one_that_is_enforced(bench: Bench) -> None:
    proposal = {**ENTRY, "tls": "required-verify", "monitor": True, "reason": "move up"}
    bench.configure(ENTRY, proposal)
    assert bench.look(0.9) == [
        "warning: Exception for a.example ends in 1 day",
        "information: Monitoring for a.example ends in 1 day",
    ]
    text = bench.alerts[1].text
    assert bench.alerts[1].key == "until:a.example:monitor"
    assert "Evaluated:  tls required-verify, dane none, mta_sts false" in text
    assert "Enforced:  tls none, dane none, mta_sts false (destination_controls.destinations[0])" in text
    assert "It is in monitor mode and was never enforced: none goes on." in text


def test_another_day_is_another_end_and_what_is_gone_is_forgotten(bench: Bench) -> None:
    bench.configure(ENTRY)
    assert len(bench.look(0.5)) == 1
    bench.configure({**ENTRY, "until": "2027-02-03"})
    assert bench.look(0.4) == ["information: Exception for a.example ends in 4 days"]
    bench.configure()
    assert bench.look(0.3) == []
    assert bench.store.get_meta(META) is None


def test_the_clock_may_go_back(bench: Bench) -> None:
    bench.configure(ENTRY)
    assert len(bench.look(0.5)) == 1
    assert bench.look(3) == []
    assert bench.look(0.4) == []


@pytest.mark.parametrize("data", [b"x", b"[]", b'{"a": "b"}'])
def test_a_value_that_cannot_be_read_is_begun_anew(bench: Bench, data: bytes) -> None:
    bench.configure(ENTRY)
    bench.store.put_meta(META, data)
    assert len(bench.look(0.5)) == 1
