"""Alerts by mail: who gets them, how long the same is quiet, what many at once become."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.alert_bench import Bench, alert, opened, run

from gatepost.app.alerts import (
    SINGLE_MAILS,
    SPAN,
    TOLD_ALREADY,
)
from gatepost.app.outbox import Outbox
from gatepost.core.events import Warned
from gatepost.core.ports import Alert


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with opened(tmp_path) as it:
        yield it


def test_one_mail_goes_to_those_who_take_the_severity(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        await alerts.tell(alert())
        await alerts.tell(alert("k2", "critical"))

    run(main)
    first, second = bench.gateway.mails
    assert first["recipients"] == ["admin@example.net"]
    assert second["recipients"] == ["admin@example.net", "grave@example.org"]
    assert bench.gateway.raised() == [("warning", 1, ""), ("critical", 2, "")]
    message = bench.gateway.message(0)
    assert message["From"] == "Gatepost <alert@gw.example.net>"
    assert message["Subject"] == "Warning <System> gw.example.net: Something"
    assert message["Auto-Submitted"] == "auto-generated"
    assert "What it is." in message.get_content()
    assert bench.outbox().waiting == []


def test_the_sender_may_be_another(bench: Bench) -> None:
    bench.configure(**{"from": "Gateway@Bücher.example"})
    run(lambda: bench.alerts().tell(alert()))
    assert bench.gateway.message()["From"] == "Gatepost <Gateway@xn--bcher-kva.example>"


def test_a_recipient_who_needs_smtputf8_gets_a_mail_of_its_own(bench: Bench) -> None:
    recipients = [{"address": "a@bücher.example"}, {"address": "jürgen@example.net"}]
    bench.configure(recipients=recipients)
    run(lambda: bench.alerts().tell(alert()))
    assert [mail["recipients"] for mail in bench.gateway.mails] == [
        ["a@xn--bcher-kva.example"],
        ["jürgen@example.net"],
    ]
    assert bench.gateway.raised() == [("warning", 2, "")]


def test_where_nobody_subscribed_it_is_only_logged(bench: Bench) -> None:
    bench.configure(recipients=[])
    run(lambda: bench.alerts().tell(alert()))
    assert bench.gateway.mails == []
    assert bench.gateway.raised() == [("warning", 0, "")]
    assert bench.outbox() == Outbox()


def test_the_same_is_quiet_for_longer_each_time_unless_it_gets_graver(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        await alerts.tell(alert())
        bench.clock.at += 299
        await alerts.tell(alert())
        await alerts.tell(alert())
        await alerts.tell(alert(severity="critical"))
        await alerts.tell(alert(severity="warning"))
        bench.clock.at += 300
        await bench.alerts().tell(alert())  # also after a restart, which remembers
        bench.clock.at += 599
        await bench.alerts().tell(alert())

    run(main)
    assert [severity for severity, _, reason in bench.gateway.raised() if not reason] == [
        "warning",
        "critical",
        "warning",
    ]
    assert [reason for _, _, reason in bench.gateway.raised() if reason] == [TOLD_ALREADY] * 3
    assert len(bench.gateway.mails) == 3


def test_the_next_mail_says_how_often_it_happened_meanwhile(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        await alerts.tell(Alert("k", "warning", "s", "t", times=3))
        for _ in range(4):
            bench.clock.at += 20
            await alerts.tell(Alert("k", "warning", "s", "t", times=2))
        bench.clock.at += 300
        await bench.alerts().tell(alert())
        bench.clock.at += 10_000
        await bench.alerts().tell(alert())

    run(main)
    first, second, third = (bench.gateway.message(number).get_content() for number in range(3))
    assert "This happened 3 times." in first
    assert "Since the mail of 2027-01-15 08:00 UTC this happened 9 times." in second
    assert "happened" not in third


def test_the_time_of_the_quiet_is_configured(bench: Bench) -> None:
    bench.configure(suppression={"initial": "5s", "longest": "10s"})

    async def main() -> None:
        alerts = bench.alerts()
        for pause in (5, 10, 10, 9):
            await alerts.tell(alert())
            bench.clock.at += pause
        await alerts.tell(alert())

    run(main)
    assert len(bench.gateway.mails) == 4


def test_many_at_once_are_a_few_mails_and_none_is_lost(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        for number in range(SINGLE_MAILS + 50):
            await alerts.tell(alert(f"k{number}", subject=f"Trouble {number}."))
        assert len(bench.gateway.mails) == SINGLE_MAILS
        await alerts.tell(alert("grave", "critical"))  # these have room of their own
        assert len(bench.gateway.mails) == SINGLE_MAILS + 1
        await alerts.run()
        assert len(bench.gateway.mails) == SINGLE_MAILS + 1
        job = asyncio.ensure_future(alerts.run())
        await asyncio.sleep(0)
        assert not job.done()  # it sleeps until there is room again
        job.cancel()
        bench.clock.at += SPAN
        await alerts.run()
        assert alerts._outbox.waiting == []

    run(main)
    assert len(bench.gateway.mails) == SINGLE_MAILS + 2
    together = bench.gateway.message()
    assert together["Subject"].endswith(f"Trouble {SINGLE_MAILS}., and 49 more")
    text = together.get_content()
    assert all(f"Trouble {number}." in text for number in range(SINGLE_MAILS, SINGLE_MAILS + 50))


def test_what_one_mail_does_not_hold_is_said(bench: Bench) -> None:
    async def main() -> None:
        bench.gateway.refusals = ["down", "down"]
        alerts = bench.alerts()
        for number in range(SINGLE_MAILS + 5):
            await alerts.tell(Alert(f"k{number}", "warning", f"Trouble {number}", "x " * 3_000))
        bench.gateway.refusals = ["", ""]
        await alerts.run()

    run(main)
    assert len(bench.gateway.mails) == 1
    assert "more; the log has them" in bench.gateway.message().get_content()


def test_only_so_many_troubles_are_remembered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.app.outbox.MAX_TOLD", 20)

    async def main() -> None:
        alerts = bench.alerts()
        for number in range(23):
            await alerts.tell(alert(f"k{number}"))
            bench.clock.at += SPAN

    run(main)
    assert list(bench.outbox().told) == [f"k{number}" for number in range(3, 23)]


@pytest.mark.parametrize(
    "evil", ["gw\r\nBcc: x@evil.example\r\n\r\nbody", "a\0b", "%s<script>" * 5000, "\ud800", "x" * 200_000]
)
def test_a_name_from_a_certificate_gives_the_mail_no_header(bench: Bench, evil: str) -> None:
    run(lambda: bench.alerts().tell(Alert(evil, "warning", evil, evil)))
    content = b64decode(bench.gateway.mails[0]["content"])
    head = content.split(b"\r\n\r\n", 1)[0]
    assert b"\nBcc" not in head
    assert b"\0" not in content
    assert len(content) < 100_000
    assert not any(isinstance(event, Warned) for event in bench.gateway.events)
    assert bench.gateway.raised() == [("warning", 1, "")]
