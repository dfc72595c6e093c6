"""DNS lists that do not behave: told of, cleared, and asked again in time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.reputation_job import AGAIN, AGAIN_FAILED, ReputationJob
from gatepost.core.ports import Alert
from gatepost.policy.reputation import Health, ScoredList
from gatepost.store.config_store import ConfigStore, Content


class Bench:
    """Lists that behave as `health` says (else sound)."""

    def __init__(self, store: ConfigStore) -> None:
        self.store = store
        self.at = 1_800_000_000.0
        self.alerts: list[Alert] = []
        self.health: dict[str, Health] = {}
        self.asked: list[str] = []
        self.job = ReputationJob(store, self, self, ask=self.ask)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    async def ask(self, servers: Sequence[str], one: ScoredList) -> Health:
        self.asked.append(one.zone)
        return self.health.get(one.zone, Health.SOUND)

    def configure(self, *zones: str, entry: str = "sbrs[none]", **sections: Any) -> None:
        listener = {
            "name": "In",
            "interface": "Data 1",
            "port": 25,
            "host_access": [{"group": "A", "senders": [entry], "policy": "ACCEPTED"}],
        }
        document = {
            "interfaces": [{"name": "Data 1", "address": "127.0.0.1"}],
            "listeners": [listener],
            "reputation": {"lists": [{"zone": zone, "weight": -4} for zone in zones]},
            **sections,
        }
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.at)

    def look(self) -> float:
        self.alerts.clear()
        self.asked.clear()
        return asyncio.run(self.job.run())

    def subjects(self) -> list[str]:
        return [alert.subject for alert in self.alerts if not alert.clears]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield Bench(store)
    store.close()


def test_nothing_is_tried_that_nobody_uses(bench: Bench) -> None:
    bench.configure()
    bench.look()
    bench.configure("a.example", entry="192.0.2.1")
    bench.look()
    assert bench.asked == []


def test_lists_are_tried_daily_and_after_a_commit_that_changes_them(bench: Bench) -> None:
    bench.configure("a.example")
    assert bench.look() == AGAIN
    assert bench.asked == ["a.example"]
    bench.at += 3600
    assert bench.look() == AGAIN - 3600
    assert bench.asked == []
    bench.configure("a.example", system={"hostname": "other.example"})
    bench.look()
    assert bench.asked == []
    bench.configure("a.example", "b.example")
    bench.look()
    assert bench.asked == ["a.example", "b.example"]


def test_a_list_that_lists_everything_is_told_of_and_cleared(bench: Bench) -> None:
    bench.configure("a.example", "b.example")
    bench.health["b.example"] = Health.LISTS_ALL
    assert bench.look() == AGAIN_FAILED
    assert bench.subjects() == ["The DNS list b.example lists everything"]
    bench.at += AGAIN_FAILED
    bench.health.clear()
    assert bench.look() == AGAIN
    assert bench.subjects() == []
    assert [alert.key for alert in bench.alerts if alert.clears] == [
        "dns-list:a.example",
        "dns-list:b.example",
    ]


def test_silence_is_told_of_the_second_time(bench: Bench) -> None:
    bench.configure("a.example")
    bench.health["a.example"] = Health.UNKNOWN
    assert bench.look() == AGAIN_FAILED
    assert bench.alerts == []
    bench.at += AGAIN_FAILED
    bench.look()
    assert bench.subjects() == ["The DNS list a.example could not be asked"]


def test_a_list_without_its_test_point_is_told_of_and_asked_all_the_same(bench: Bench) -> None:
    bench.configure("a.example")
    bench.health["a.example"] = Health.LISTS_NONE
    assert bench.look() == AGAIN
    [alert] = bench.alerts
    assert "It is asked all the same" in alert.text
