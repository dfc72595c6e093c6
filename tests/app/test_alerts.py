"""The outbox of alerts: who is told, what waits and why, what survives, and that telling never fails."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.alerts import MAX_WAITING, META, NO_ROOM, TOLD_ALREADY, TOO_OLD, MailedAlerts, Outbox
from gatepost.app.channel import ChannelClosed
from gatepost.control.ports import WorkerAnswer
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.events import Event, Warned
from gatepost.core.ports import Alert
from gatepost.store.config_store import ConfigStore, Content

HOUR = 3600.0
RECIPIENTS = [
    {"address": "admin@example.net"},
    {"address": "grave@example.org", "classes": ["system"], "severities": ["critical"]},
]


class Clock:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class FakeGateway:
    """Two workers. `refusal` is what they answer; `error` is raised instead; `events` is the log."""

    def __init__(self) -> None:
        self.mails: list[Mapping[str, Any]] = []
        self.asked: list[int | None] = []
        self.refusals = ["", ""]
        self.error: Exception | None = None
        self.events: list[Event] = []

    async def activate(self, payload: Mapping[str, Any], store: Callable[[], None], /) -> None:
        raise NotImplementedError

    async def ask_workers(
        self, kind: str, args: Mapping[str, Any], worker: int | None = None, /
    ) -> Sequence[WorkerAnswer]:
        assert kind == "mail.submit"
        assert worker is not None
        self.asked.append(worker)
        if self.error is not None:
            raise self.error
        if self.refusals[worker]:
            return [WorkerAnswer(worker, None, self.refusals[worker])]
        self.mails.append(args)
        return [WorkerAnswer(worker, {"mid": len(self.mails)})]

    async def status(self) -> Mapping[str, Any]:
        return {"workers": [{"index": index} for index in range(len(self.refusals))]}

    def emit(self, event: Event, /) -> None:
        self.events.append(event)

    def raised(self) -> list[tuple[str, int, str]]:
        return [(e.severity, e.recipients, e.reason) for e in self.events if isinstance(e, AlertRaised)]

    def message(self, number: int = -1) -> Any:
        return message_from_bytes(b64decode(self.mails[number]["content"]), policy=default)


class Bench:
    def __init__(self, store: ConfigStore) -> None:
        self.store = store
        self.clock = Clock()
        self.gateway = FakeGateway()

    def configure(self, **alerts: Any) -> None:
        document = {"system": {"hostname": "gw.example.net"}, "alerts": {"recipients": RECIPIENTS, **alerts}}
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.clock.at)

    def alerts(self) -> MailedAlerts:
        return MailedAlerts(self.store, self.gateway, self.clock)

    def outbox(self) -> Outbox:
        return Outbox.unpacked(self.store.get_meta(META))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = ConfigStore.open(tmp_path / "config.db")
    it = Bench(store)
    it.configure()
    yield it
    store.close()


def alert(key: str = "k", severity: str = "warning", subject: str = "Something") -> Alert:
    return Alert(key, severity, subject, "What it is.\nWhat to do.")


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main(), 20)

    asyncio.run(bounded())


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


def test_the_same_is_mailed_once_an_hour_unless_it_gets_graver(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        await alerts.tell(alert())
        bench.clock.at += HOUR - 1
        await alerts.tell(alert())
        await alerts.tell(alert(severity="critical"))
        await alerts.tell(alert(severity="warning"))
        bench.clock.at += HOUR
        await bench.alerts().tell(alert())  # also after a restart, which remembers

    run(main)
    assert [severity for severity, _, reason in bench.gateway.raised() if not reason] == [
        "warning",
        "critical",
        "warning",
    ]
    assert [reason for _, _, reason in bench.gateway.raised() if reason] == [TOLD_ALREADY] * 2
    assert len(bench.gateway.mails) == 3


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
