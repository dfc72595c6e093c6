"""Alerts to webhooks, beside their mails and without any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.alert_bench import HOOK, Bench, alert, clear, opened, run

from gatepost.app.alerts import (
    SINGLE_MAILS,
)
from gatepost.control.alert_hooks import postings


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as it:
        yield it


def test_a_webhook_gets_each_alert_once_whatever_becomes_of_its_mail(bench: Bench) -> None:
    bench.configure(webhooks=[HOOK])

    async def main() -> None:
        bench.gateway.refusals = ["down", "down"]
        alerts = bench.alerts()
        await alerts.tell(alert())
        await alerts.run()
        again = bench.alerts()
        await again.tell(alert())
        bench.gateway.refusals = ["", ""]
        await again.run()

    run(main)
    (one,) = postings(bench.store)
    assert (one.url, one.subject) == (HOOK["url"], "Something")
    assert bench.gateway.looks == ["webhooks"]
    assert len(bench.gateway.mails) == 1


def test_with_webhooks_only_the_same_is_quiet_and_its_end_is_posted_too(bench: Bench) -> None:
    bench.configure(webhooks=[HOOK], recipients=[])

    async def main() -> None:
        alerts = bench.alerts()
        await alerts.tell(alert())
        await alerts.tell(alert())
        await alerts.tell(clear())

    run(main)
    assert [one.subject for one in postings(bench.store)] == ["Something", "It works again"]
    assert bench.gateway.mails == []


def test_many_alerts_in_one_mail_are_posted_one_by_one(bench: Bench) -> None:
    bench.configure(webhooks=[HOOK])

    async def main() -> None:
        bench.gateway.refusals = ["down", "down"]
        alerts = bench.alerts()
        for number in range(SINGLE_MAILS + 5):
            await alerts.tell(alert(f"k{number}", subject=f"Trouble {number}"))
        bench.gateway.refusals = ["", ""]
        await alerts.run()

    run(main)
    assert len(bench.gateway.mails) == 1
    assert [one.subject for one in postings(bench.store)] == [f"Trouble {n}" for n in range(SINGLE_MAILS + 5)]
