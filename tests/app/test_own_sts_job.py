"""The job that watches our own MTA-STS policies: whom it tells, when, how often, and when it is well again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.own_sts_job import DAY, HOUR, META, OwnStsJob
from gatepost.control.ports import Caller
from gatepost.core.errors import OperatorError
from gatepost.core.ports import Alert
from gatepost.store.config_store import ConfigStore, Content

NOW = 1_800_000_000.0


def finding(code: str, severity: str = "error") -> dict[str, str]:
    return {"code": code, "severity": severity, "text": f"about {code}", "repair": "do it"}


class Bench:
    """Clock, alert port and operations in one."""

    def __init__(self, store: ConfigStore) -> None:
        self.store = store
        self.at = NOW
        self.alerts: list[Alert] = []
        self.findings: list[dict[str, str]] = []
        self.status = "well"
        self.asked = 0
        self.refusal: OperatorError | None = None
        self.restart()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    async def call(self, op: str, args: Mapping[str, Any], caller: Caller, /) -> Any:
        assert (op, caller) == ("sts.check", Caller.gateway())
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return [{"domain": "a.example", "mode": "enforce", "status": self.status, "findings": self.findings}]

    def restart(self) -> None:
        self.job = OwnStsJob(self.store, self, self, self)

    def configure(self, *domains: str) -> None:
        document = {"mta_sts_policies": [{"domain": domain, "mode": "none"} for domain in domains]}
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.at)

    def look(self, after: float = 0.0) -> list[str]:
        self.at += after
        self.alerts.clear()
        self.pause = asyncio.run(self.job.run())
        return [f"{one.severity}{' cleared' if one.clears else ''}: {one.subject}" for one in self.alerts]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = ConfigStore.open(tmp_path / "config.db")
    made = Bench(store)
    made.configure("a.example")
    yield made
    store.close()


TROUBLE = ["critical: MTA-STS policy of a.example does not fit"]
WELL = ["information cleared: MTA-STS policy of a.example: all agrees"]


def test_while_all_is_well_it_looks_once_a_day_and_after_a_commit(bench: Bench) -> None:
    assert bench.look() == []
    assert bench.pause == DAY
    bench.look(HOUR)
    assert (bench.asked, bench.pause) == (1, DAY - HOUR)
    bench.configure("a.example", "b.example")
    bench.look()
    assert bench.asked == 2


def test_what_keeps_mail_away_is_told_at_once_and_again_after_a_day(bench: Bench) -> None:
    bench.findings = [finding("mx-not-listed")]
    assert bench.look() == TROUBLE
    assert bench.alerts[0].key == "mta-sts:a.example"
    assert "about mx-not-listed" in bench.alerts[0].text
    assert bench.pause == HOUR
    assert bench.look(HOUR) == []
    bench.restart()
    assert bench.look(HOUR) == []
    assert bench.look(DAY) == TROUBLE
    bench.findings = []
    assert bench.look(HOUR) == WELL
    assert bench.look(HOUR) == []
    assert bench.store.get_meta(META) is None


def test_what_a_person_may_be_about_to_do_has_an_hour(bench: Bench) -> None:
    bench.findings = [finding("record-differs", "warning")]
    assert bench.look() == []
    assert bench.look(HOUR) == ["warning: MTA-STS policy of a.example does not fit"]


def test_another_trouble_is_told_though_one_was(bench: Bench) -> None:
    bench.findings = [finding("certificate-name")]
    assert bench.look() == TROUBLE
    bench.findings.append(finding("mx-not-listed"))
    assert bench.look(HOUR) == TROUBLE


def test_what_only_explains_is_no_trouble(bench: Bench) -> None:
    bench.findings = [finding("no-reports", "info")]
    assert bench.look() == []


def test_not_to_know_neither_tells_nor_clears(bench: Bench) -> None:
    bench.findings = [finding("mx-not-listed")]
    assert bench.look() == TROUBLE
    bench.findings, bench.status = [finding("mx-unknown", "info")], "unknown"
    assert bench.look(HOUR) == []
    bench.findings, bench.status = [], "well"
    assert bench.look(HOUR) == WELL


def test_a_policy_that_is_taken_away_clears_its_trouble(bench: Bench) -> None:
    bench.findings = [finding("mx-not-listed")]
    bench.look()
    bench.configure()
    assert bench.look() == WELL
    assert bench.asked == 1


def test_a_check_that_is_refused_is_tried_again(bench: Bench) -> None:
    bench.refusal = OperatorError("no")
    assert bench.look() == []
    assert bench.pause == HOUR


def test_a_record_that_cannot_be_read_is_forgotten(bench: Bench) -> None:
    bench.store.put_metas({META: b'{"a.example": 7}'})
    bench.findings = [finding("mx-not-listed")]
    assert bench.look() == TROUBLE
