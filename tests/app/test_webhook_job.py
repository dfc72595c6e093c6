"""Posting alerts to services: signed, in order, tried again with growing rests, over restarts, and nothing secret in the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.webhook_job import FIRST_REST, IDLE, LONGEST_REST, MAX_AGE, NO_SECRET, WebhookJob
from gatepost.control.alert_hooks import SECRET, enqueue, postings, signed_headers
from gatepost.core.event import Event
from gatepost.core.events import Noted, Warned
from gatepost.core.ports import Alert
from gatepost.net.http import HttpAnswer, HttpFailed
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.secrets import SealBroken

ONE, TWO = "https://one.example/hook/s3cret", "https://two.example/x"
KEY = b"the secret of the test"


class Bench:
    """A store, a keeper that adds one octet, and services that answer as `answers` says."""

    def __init__(self, store: ConfigStore) -> None:
        self.store = store
        self.at = 1_800_000_000.0
        self.events: list[Event] = []
        self.answers: dict[str, int | str] = {}
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.closed = 0
        self.restart()

    def restart(self) -> None:
        self.job = WebhookJob(self.store, self, self.events.append, self, make_http=lambda trust: self)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def seal(self, name: str, revision: int, secret: bytes, /) -> bytes:
        return b"!" + secret

    async def open(self, name: str, revision: int, sealed: bytes, /) -> bytes:
        if not sealed.startswith(b"!"):
            raise SealBroken
        return sealed[1:]

    async def request(
        self, method: str, url: str, *, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> HttpAnswer:
        assert method == "POST"
        await asyncio.sleep(0)
        answer = self.answers.get(url, 204)
        if isinstance(answer, str):
            raise HttpFailed(answer)
        self.posted.append((url, headers or {}, body))
        return HttpAnswer(answer, {}, b"")

    async def close(self) -> None:
        self.closed += 1

    def configure(self, *urls: str) -> None:
        document: dict[str, Any] = {"alerts": {"webhooks": [{"url": url} for url in urls]}}
        self.document = document
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.at)

    def raised(self, *tokens: str) -> None:
        for token in tokens:
            enqueue(self.store, self.document, Alert("k", "warning", f"About {token}", "t"), token, self.at)

    def look(self) -> list[str]:
        self.posted.clear()
        self.pause = asyncio.run(self.job.run())
        return [
            f"{url.partition('.')[0].removeprefix('https://')} {json.loads(body)['id']}"
            for url, _, body in self.posted
        ]

    def said(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Noted | Warned)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = ConfigStore.open(tmp_path / "config.db")
    it = Bench(store)
    it.configure(ONE, TWO)
    store.put_meta(SECRET, b"!" + KEY)
    yield it
    store.close()


def test_each_service_gets_each_alert_once_and_in_order(bench: Bench) -> None:
    assert bench.look() == []
    assert bench.pause == IDLE
    bench.raised("a1", "a2")
    assert sorted(bench.look()) == ["one a1", "one a2", "two a1", "two a2"]
    assert [body for url, _, body in bench.posted if url == ONE] == [
        body for url, _, body in bench.posted if url == TWO
    ]
    assert bench.look() == []
    assert postings(bench.store) == []
    assert bench.closed == 1


def test_it_is_signed_with_the_time_of_the_attempt(bench: Bench) -> None:
    bench.raised("a1")
    bench.at += 50
    bench.look()
    for _, headers, body in bench.posted:
        assert headers == signed_headers(KEY, body, bench.at)


def test_one_that_fails_rests_for_longer_each_time_and_holds_up_nobody_else(bench: Bench) -> None:
    bench.raised("a1", "a2")
    bench.answers[ONE] = "connection refused"
    assert bench.look() == ["two a1", "two a2"]
    assert bench.pause == FIRST_REST
    rests = []
    for _ in range(9):
        bench.at += bench.pause
        bench.restart()
        assert bench.look() == []
        rests.append(bench.pause)
    assert rests[:3] == [60.0, 120.0, 240.0]
    assert max(rests) == LONGEST_REST
    bench.answers.clear()
    bench.at += bench.pause - 1
    assert bench.look() == []
    bench.at += 1
    assert bench.look() == ["one a1", "one a2"]
    failures = [text for text in bench.said() if "cannot be posted" in text]
    assert failures == [
        "Alert cannot be posted to https://one.example: connection refused; it waits and is tried again: About a1"
    ]
    assert not any("s3cret" in text for text in bench.said())


@pytest.mark.parametrize("status", [199, 301, 401, 410, 500])
def test_only_a_success_is_one(bench: Bench, status: int) -> None:
    bench.raised("a1")
    bench.answers |= {ONE: status, TWO: 202}
    bench.look()
    assert [one.url for one in postings(bench.store)] == [ONE]
    assert any(f"it answered {status}" in text for text in bench.said())


@pytest.mark.parametrize("sealed", [None, b"of another master key"])
def test_without_a_secret_nothing_is_posted_and_nothing_is_lost(bench: Bench, sealed: bytes | None) -> None:
    bench.store.put_metas({SECRET: sealed})
    bench.raised("a1")
    assert bench.look() == []
    assert any(NO_SECRET in text for text in bench.said())
    bench.store.put_meta(SECRET, b"!" + KEY)
    bench.at += bench.pause
    assert sorted(bench.look()) == ["one a1", "two a1"]


def test_what_nobody_wants_any_more_is_given_up_and_said(bench: Bench) -> None:
    bench.answers |= {ONE: "down", TWO: "down"}
    bench.raised("a1")
    bench.look()
    bench.configure(ONE)
    bench.look()
    assert [one.url for one in postings(bench.store)] == [ONE]
    bench.at += MAX_AGE + 1
    bench.look()
    assert postings(bench.store) == []
    assert [text.partition(": ")[2] for text in bench.said() if "was not posted" in text] == [
        "the configuration does not name it any more: About a1",
        "it waited for three days: About a1",
    ]


def test_a_clock_that_was_set_back_holds_nothing_up(bench: Bench) -> None:
    bench.answers[ONE] = "down"
    bench.raised("a1")
    bench.look()
    bench.answers.clear()
    bench.at -= 10 * LONGEST_REST
    assert bench.look() == ["one a1"]


def test_an_alert_that_comes_while_another_is_posted_is_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.raised("a1")
    plain = bench.request

    async def request(*args: Any, **options: Any) -> HttpAnswer:
        if not bench.posted:
            bench.raised("a2")
        return await plain(*args, **options)

    monkeypatch.setattr(bench, "request", request)
    assert sorted(bench.look()) == ["one a1", "two a1"]
    assert bench.pause == 0
    assert sorted(bench.look()) == ["one a2", "two a2"]
