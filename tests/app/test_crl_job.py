"""The job that fetches revocation lists, against a local HTTP server and the real operations."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench, FakeGateway, b64, new_home
from tests.fakes.ca import TestAuthority

from gatepost.app.crl_job import SOON, CrlJob
from gatepost.core.certificate_events import RevocationListFailed, RevocationListFetched
from gatepost.core.errors import OperatorError
from gatepost.core.ports import Alert
from gatepost.store.revocations import fetching, keep_list, kept_list, known_sources, put_fetching, untold

AT = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
HOUR, DAY = 3_600.0, 86_400.0
CA = TestAuthority("Lists CA", at=AT)


class Web:
    """Answers by path; `answers[path]` is a body, a status, or None to stay silent."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | int | None] = {}
        self.asked: list[str] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b" ")
        path = line[1].decode()
        self.asked.append(path)
        answer = self.answers.get(path, 404)
        if answer is None:
            await reader.read()
        else:
            status, body = (answer, b"") if isinstance(answer, int) else (200, answer)
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        writer.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class Alerts:
    def __init__(self) -> None:
        self.told: list[Alert] = []

    async def tell(self, alert: Alert, /) -> None:
        self.told.append(alert)


class Scene:
    """A running gateway made of values, its job, and the server that it fetches from."""

    def __init__(self, bench: Bench, web: Web) -> None:
        self.bench, self.web, self.alerts = bench, web, Alerts()
        self.gateway: FakeGateway = bench.start()
        self.job = CrlJob(bench.store, self.gateway, bench.operations, self.alerts, bench.clock, timeout=0.5)

    async def configure(self, *paths: str, rule: str = "warn", **more: Any) -> None:
        entries = [{"url": self.web.url(path), **more} for path in paths]
        text = CONTRACT_LIKE + f"certificate_authorities: {{crl: {entries!r}, crl_stale: {rule}}}\n"
        await self.bench._call("config.apply", {"text": b64(text)}, 1000)

    def lists(self) -> list[str]:
        return [one["der"] for one in self.gateway.active.get("crls", [])]

    def events(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.gateway.events if isinstance(event, kind)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(new_home(tmp_path / "home"))
    bench.call("ca.import", file=b64(CA.root_pem))
    yield bench
    bench.store.close()


def play(bench: Bench, act: Callable[[Scene], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        web = Web()
        server = await asyncio.start_server(web.handle, "127.0.0.1", 0)
        web.port = server.sockets[0].getsockname()[1]
        try:
            async with asyncio.timeout(20):
                await act(Scene(bench, web))
        finally:
            server.close()

    asyncio.run(main())


def younger(days: float, **choices: Any) -> bytes:
    moved = TestAuthority("Lists CA", key=CA.key, at=AT + datetime.timedelta(days=days))
    return moved.revocation_list(**choices)


def test_a_new_source_is_fetched_at_once_and_then_on_schedule(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        it.web.answers["/a"] = CA.revocation_list()
        assert await it.job.run() == HOUR
        await it.configure("/a")
        assert await it.job.run() == pytest.approx(DAY)
        assert it.lists() == [b64(it.web.answers["/a"])]  # type: ignore[arg-type]
        assert [event.url for event in it.events(RevocationListFetched)] == [it.web.url("/a")]
        await it.job.run()
        assert it.web.asked == ["/a"]
        bench.clock.at += DAY
        assert await it.job.run() == pytest.approx(DAY)
        assert it.web.asked == ["/a", "/a"]
        assert len(it.events(RevocationListFetched)) == 1
        newer = it.web.answers["/a"] = younger(1)
        bench.clock.at += DAY
        await it.job.run()
        assert it.lists() == [b64(newer)]
        assert len(it.events(RevocationListFetched)) == 2

    play(bench, act)


def test_a_failure_keeps_the_last_good_list_backs_off_and_is_told_once(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        it.web.answers["/a"] = CA.revocation_list()
        await it.configure("/a")
        await it.job.run()
        good = it.lists()
        it.web.answers["/a"] = 503
        pauses = []
        for pause in (DAY, 300, 600):
            bench.clock.at += pause
            pauses.append(await it.job.run())
        assert pauses == [300, 600, 1_200]
        assert it.lists() == good
        failed = it.events(RevocationListFailed)
        assert [event.reason for event in failed] == ["the server answered 503"] * 3
        assert failed[-1].again == bench.clock.at + 1_200
        (alert,) = it.alerts.told
        assert (alert.key, alert.severity) == (f"crl:{it.web.url('/a')}", "warning")
        assert "stays in use" in alert.text
        it.web.answers["/a"] = CA.revocation_list()
        bench.clock.at += 1_200
        await it.job.run()
        assert fetching(bench.store, it.web.url("/a")).failures == 0

    play(bench, act)


@pytest.mark.parametrize(("rule", "severity"), [("warn", "warning"), ("refuse", "critical")])
def test_a_list_that_grows_stale_is_a_failure_even_when_the_server_answers(
    bench: Bench, rule: str, severity: str
) -> None:
    async def act(it: Scene) -> None:
        it.web.answers["/a"] = CA.revocation_list()
        await it.configure("/a", rule=rule)
        await it.job.run()
        assert not it.alerts.told
        bench.clock.at += 11 * DAY
        assert await it.job.run() == 300
        (alert,) = it.alerts.told
        assert alert.severity == severity
        assert f"crl_stale: {rule}" in alert.text
        assert "out of date since" in it.events(RevocationListFailed)[0].reason
        assert len(it.lists()) == 1

    play(bench, act)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (404, "the server answered 404"),
        (302, "not followed"),
        (b"", "empty"),
        (b"<html>", "no revocation list"),
        (None, "no answer within 0.5 s"),
        (TestAuthority("Lists CA", at=AT).revocation_list(), "signature"),
    ],
    ids=["missing", "redirect", "empty", "html", "silent", "forged"],
)
def test_what_a_server_may_do(bench: Bench, answer: bytes | int | None, words: str) -> None:
    async def act(it: Scene) -> None:
        it.web.answers["/a"] = answer
        await it.configure("/a")
        assert await it.job.run() == pytest.approx(300)
        assert words in it.events(RevocationListFailed)[0].reason
        assert "No list of this source is in use" in it.alerts.told[0].text
        assert it.lists() == []

    play(bench, act)


def test_an_older_list_is_refused(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        it.web.answers["/a"] = CA.revocation_list()
        await it.configure("/a")
        await it.job.run()
        it.web.answers["/a"] = younger(-1)
        bench.clock.at += DAY
        await it.job.run()
        assert "older than the one in use" in it.events(RevocationListFailed)[0].reason
        assert len(it.lists()) == 1

    play(bench, act)


def test_the_second_url_is_asked_when_the_first_does_not_answer(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        it.web.answers |= {"/a": 500, "/b": CA.revocation_list()}
        await it.configure("/a", secondary=it.web.url("/b"))
        await it.job.run()
        assert it.web.asked == ["/a", "/b"]
        assert len(it.lists()) == 1
        it.web.answers["/b"] = 404
        bench.clock.at += DAY
        await it.job.run()
        (failed,) = it.events(RevocationListFailed)
        assert failed.reason == "the server answered 500; the second URL: the server answered 404"

    play(bench, act)


def test_an_administrator_who_asks_does_not_wait_for_the_back_off(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        await it.configure("/a")
        await it.job.run()
        it.web.answers["/a"] = CA.revocation_list()
        await it.job.run()
        assert it.lists() == []
        await bench._call("ca.crl.fetch", {}, 1000)
        await it.job.run()
        assert len(it.lists()) == 1
        await it.job.run()
        assert it.web.asked == ["/a", "/a"]

    play(bench, act)


def test_a_restart_forgets_no_failure_and_makes_up_for_what_was_not_told(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        it.web.answers["/a"] = CA.revocation_list()
        await it.configure("/a")
        await it.job.run()
        kept = kept_list(bench.store, it.web.url("/a"))
        assert kept is not None
        keep_list(bench.store, kept, told=False)
        it.gateway.active = {**it.gateway.active, "crls": []}
        it.gateway.refuses = "another change is being made active"
        again = CrlJob(bench.store, it.gateway, bench.operations, it.alerts, bench.clock)
        assert await again.run() == SOON
        it.gateway.refuses = ""
        await again.run()
        assert len(it.lists()) == 1
        assert not untold(bench.store)
        assert it.web.asked == ["/a"]

    play(bench, act)


def test_what_the_configuration_no_longer_names_is_forgotten(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        it.web.answers |= {"/a": CA.revocation_list(), "/b": 404}
        await it.configure("/a", "/b")
        await it.job.run()
        assert len(known_sources(bench.store)) == 2
        await it.configure()
        assert it.lists() == []
        await it.job.run()
        assert not known_sources(bench.store)

    play(bench, act)


def test_a_clock_that_was_wrong_holds_nothing_up(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        it.web.answers["/a"] = CA.revocation_list()
        await it.configure("/a")
        state = fetching(bench.store, it.web.url("/a"))
        put_fetching(bench.store, it.web.url("/a"), type(state)(tried=NOW + 400 * DAY, failures=3))
        await it.job.run()
        assert len(it.lists()) == 1

    play(bench, act)


def test_a_slow_server_does_not_hold_up_the_others(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        other = TestAuthority("Other CA", at=AT)
        await bench._call("ca.import", {"file": b64(other.root_pem)}, 1000)
        it.web.answers |= {"/slow": None, "/a": CA.revocation_list(), "/b": other.revocation_list()}
        await it.configure("/slow", "/a", "/b")
        await it.job.run()
        assert len(it.lists()) == 2

    play(bench, act)


def test_an_operation_that_fails_for_another_reason_is_a_failure_too(bench: Bench) -> None:
    async def act(it: Scene) -> None:
        it.web.answers["/a"] = CA.revocation_list()
        await it.configure("/a")
        it.gateway.refuses = "the worker refuses"
        await it.job.run()
        assert it.events(RevocationListFailed)[0].reason == "the worker refuses"
        with pytest.raises(OperatorError):
            await bench._call("ca.crl.activate", {}, 1000)

    play(bench, act)
