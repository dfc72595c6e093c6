"""Alerts that cannot go out now: they wait, over restarts too, within bounds, and are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.alert_bench import Bench, alert, opened, run

from gatepost.app.alerts import (
    AGAIN_SECONDS,
    NO_ROOM,
    TOO_OLD,
)
from gatepost.app.channel import ChannelClosed
from gatepost.app.outbox import MAX_WAITING, Outbox
from gatepost.core.events import Warned


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as it:
        yield it


def test_an_outbox_of_an_older_gateway_is_read() -> None:
    outbox = Outbox.unpacked(
        b'{"waiting":[{"token":"t","key":"k","severity":"warning","subject":"s","text":"x","at":1.0}],"told":{"a":[5.0,"critical"]}}'
    )
    assert (outbox.waiting[0].times, outbox.told["a"].quiet) == (1, 3600.0)


def test_a_worker_that_is_down_is_passed_over(bench: Bench) -> None:
    bench.gateway.refusals[0] = "the worker 0 is not running"
    run(lambda: bench.alerts().tell(alert()))
    assert bench.gateway.asked == [0, 1]
    assert bench.gateway.raised() == [("warning", 1, "")]


def test_without_a_worker_it_waits_over_a_restart_and_is_sent_by_the_job(bench: Bench) -> None:
    async def main() -> None:
        bench.gateway.refusals = ["the mail was not kept: not enough disk space"] * 2
        alerts = bench.alerts()
        await alerts.tell(alert())
        await alerts.run()
        assert [one.key for one in bench.outbox().waiting] == ["k"]
        bench.gateway.refusals = ["", ""]
        again = bench.alerts()
        assert await again.run() > 0
        assert bench.outbox().waiting == []

    run(main)
    reason = "the mail was not kept: not enough disk space; it waits and is tried again"
    assert bench.gateway.raised() == [("warning", 0, reason), ("warning", 1, "")]
    assert len(bench.gateway.mails) == 1


def test_it_is_tried_again_soon_and_then_less_often(bench: Bench) -> None:
    """At a start the desk is often there before a worker."""

    async def main() -> None:
        bench.gateway.refusals = ["the worker 0 is not running"] * 2
        alerts = bench.alerts()
        await alerts.tell(alert())
        pauses = [await alerts.run() for _ in range(12)]
        assert pauses[0] <= 4
        assert pauses == sorted(pauses)
        assert pauses[-1] == AGAIN_SECONDS
        bench.gateway.refusals = ["", ""]
        assert await alerts.run() < pauses[0]
        await alerts.tell(alert("fresh"))
        assert len(bench.gateway.mails) == 2

    run(main)


def test_the_job_sleeps_until_something_waits(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        job = asyncio.ensure_future(alerts.run())
        await asyncio.sleep(0)
        await alerts.tell(alert("fine"))
        assert not job.done()
        bench.gateway.refusals = ["down", "down"]
        await alerts.tell(alert("waits"))
        bench.gateway.refusals = ["", ""]
        await job
        assert len(bench.gateway.mails) == 2

    run(main)


def test_every_attempt_is_of_the_same_token_and_message_id(bench: Bench) -> None:
    async def main() -> None:
        seen: list[str] = []
        alerts = bench.alerts()
        bench.gateway.error = ChannelClosed("gone")  # kept perhaps, but nobody heard
        await alerts.tell(alert())
        seen += [one.token for one in bench.outbox().waiting]
        bench.gateway.error = None
        await bench.alerts().run()
        (mail,) = bench.gateway.mails
        assert mail["token"].startswith(seen[0])
        assert bench.gateway.message()["Message-ID"] == f"<{mail['token']}@gw.example.net>"

    run(main)


@pytest.mark.parametrize("error", [ChannelClosed("x"), TimeoutError(), ZeroDivisionError("secret detail")])
def test_telling_never_fails_and_the_log_says_why_it_waits(bench: Bench, error: Exception) -> None:
    bench.gateway.error = error
    run(lambda: bench.alerts().tell(alert()))
    ((_, recipients, reason),) = bench.gateway.raised()
    assert recipients == 0
    assert "it waits and is tried again" in reason
    assert "secret" not in reason
    assert len(bench.outbox().waiting) == 1


def test_a_store_that_cannot_write_does_not_keep_an_alert_from_being_mailed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(key: str, value: bytes) -> None:
        raise OSError("database or disk is full")

    monkeypatch.setattr(bench.store, "put_meta", full)
    run(lambda: bench.alerts().tell(alert()))
    assert len(bench.gateway.mails) == 1
    assert any(isinstance(event, Warned) for event in bench.gateway.events)


def test_the_outbox_is_bounded_and_the_least_grave_goes_first(bench: Bench) -> None:
    async def main() -> None:
        bench.gateway.refusals = ["down", "down"]
        alerts = bench.alerts()
        await alerts.tell(alert("mild", "information"))
        for number in range(MAX_WAITING):
            await alerts.tell(alert(f"k{number}", "critical"))

    run(main)
    waiting = bench.outbox().waiting
    assert len(waiting) == MAX_WAITING
    assert {one.severity for one in waiting} == {"critical"}
    assert ("information", 0, NO_ROOM) in bench.gateway.raised()


def test_the_same_trouble_waits_once(bench: Bench) -> None:
    async def main() -> None:
        bench.gateway.refusals = ["down", "down"]
        alerts = bench.alerts()
        for severity in ("warning", "warning", "critical", "warning"):
            await alerts.tell(alert(severity=severity))

    run(main)
    assert [one.severity for one in bench.outbox().waiting] == ["critical"]


def test_one_that_waited_for_days_is_given_up(bench: Bench) -> None:
    async def main() -> None:
        bench.gateway.refusals = ["down", "down"]
        alerts = bench.alerts()
        await alerts.tell(alert())
        bench.clock.at += 4 * 86_400
        await alerts.run()

    run(main)
    assert bench.outbox().waiting == []
    assert bench.gateway.raised()[-1] == ("warning", 0, TOO_OLD)


@pytest.mark.parametrize(
    "data", [b"", b"not json", b"[]", b'{"waiting": [1], "told": {}}', b'{"told": {"a": 1}}']
)
def test_an_outbox_that_cannot_be_read_is_an_empty_one(data: bytes) -> None:
    assert Outbox.unpacked(data) == Outbox()
