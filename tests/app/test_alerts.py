"""The outbox of alerts: who is told, what waits and why, what survives, and that telling never fails."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.alerts import (
    AGAIN_SECONDS,
    CAME_BACK,
    META,
    NO_ROOM,
    SINGLE_MAILS,
    SPAN,
    TOLD_ALREADY,
    TOO_OLD,
    MailedAlerts,
)
from gatepost.app.channel import ChannelClosed
from gatepost.app.outbox import MAX_WAITING, Outbox
from gatepost.control.alert_hooks import postings
from gatepost.control.ports import WorkerAnswer
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.events import Event, Warned
from gatepost.core.ports import Alert
from gatepost.store.config_store import ConfigStore, Content

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
        self.looks: list[str] = []

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

    def look(self, job: str, /) -> Awaitable[None]:
        self.looks.append(job)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return done

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


def clear(key: str = "k") -> Alert:
    return Alert(key, "information", "It works again", "Since then.", clears=True)


def subjects(bench: Bench) -> list[str]:
    return [bench.gateway.message(n)["Subject"].partition(": ")[2] for n in range(len(bench.gateway.mails))]


def test_the_end_of_a_trouble_is_told_once_to_those_who_were_told_of_it(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        await alerts.tell(clear())
        assert bench.gateway.mails == []
        await alerts.tell(alert())
        await bench.alerts().tell(clear())  # also after a restart
        await bench.alerts().tell(clear())

    run(main)
    assert subjects(bench) == ["Something", "It works again"]


def test_a_trouble_that_comes_and_goes_is_two_mails_in_each_quiet(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        for _ in range(30):  # five minutes
            await alerts.tell(alert())
            bench.clock.at += 5
            await alerts.tell(clear())
            bench.clock.at += 5
        assert subjects(bench) == ["Something", "It works again"]
        assert alerts._outbox.waiting == []
        await alerts.tell(alert())

    run(main)
    assert subjects(bench) == ["Something", "It works again", "Something"]
    assert "this happened 30 times" in bench.gateway.message().get_content()


def test_a_trouble_that_came_back_in_its_quiet_is_told_when_that_is_over(bench: Bench) -> None:
    async def main() -> None:
        alerts = bench.alerts()
        await alerts.tell(alert())
        await alerts.tell(clear())
        bench.clock.at += 10
        await alerts.tell(alert())
        await alerts.tell(alert())
        assert len(bench.gateway.mails) == 2
        bench.clock.at += 300
        again = bench.alerts()
        await again.run()
        await again.tell(clear())

    run(main)
    assert subjects(bench) == ["Something", "It works again", "Something", "It works again"]
    assert ("warning", 0, CAME_BACK) in bench.gateway.raised()


def test_a_trouble_that_never_got_out_is_told_with_its_end(bench: Bench) -> None:
    async def main() -> None:
        bench.gateway.refusals = ["down", "down"]
        alerts = bench.alerts()
        await alerts.tell(alert())
        await alerts.tell(clear())
        assert [one.clears for one in bench.outbox().waiting] == [True]
        await alerts.tell(alert())  # and it was not the end
        assert [one.clears for one in bench.outbox().waiting] == [False]
        bench.gateway.refusals = ["", ""]
        await alerts.run()

    run(main)
    assert subjects(bench) == ["Something"]


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


HOOK = {"url": "https://alerts.example/hook"}


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
