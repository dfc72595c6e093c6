"""Each way in which a policy file cannot be had has its code."""

from __future__ import annotations

import asyncio

import pytest

from gatepost.core.reasons import AskedBy, ReasonCode
from gatepost.net import http
from gatepost.net.http import HttpAnswer, HttpFailed
from gatepost.pki.anchors import Anchors
from gatepost.relay.sts_fetch import PolicyFetcher
from gatepost.wire.mta_sts import StsFault


class Web:
    """Stands for `PublicHttp`: one answer to every request."""

    answer: HttpAnswer | HttpFailed

    async def get(self, url: str, *, max_body: int) -> HttpAnswer:
        assert url == "https://mta-sts.partner.example/.well-known/mta-sts.txt"
        if isinstance(self.answer, HttpFailed):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        """Nothing is open."""


def fetch(monkeypatch: pytest.MonkeyPatch, answer: HttpAnswer | HttpFailed) -> bytes:
    web = Web()
    web.answer = answer
    monkeypatch.setattr(http, "PublicHttp", lambda *_, **__: web)
    fetcher = PolicyFetcher(lambda: None, lambda: Anchors([]), lambda: False)  # type: ignore[arg-type,return-value]
    return asyncio.run(fetcher("partner.example"))


TEXT = {"content-type": "text/plain; charset=utf-8"}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (HttpFailed("connection refused"), ReasonCode.STS_FETCH_FAILED),
        (HttpFailed("certificate has expired", unproven=True), ReasonCode.STS_WEB_TLS),
        (HttpAnswer(404, TEXT, b""), ReasonCode.STS_FETCH_FAILED),
        (HttpAnswer(301, {"location": "https://elsewhere.example/"}, b""), ReasonCode.STS_FETCH_FAILED),
        (HttpAnswer(200, {"content-type": "text/html"}, b""), ReasonCode.STS_FETCH_FAILED),
        (HttpAnswer(200, {}, b""), ReasonCode.STS_FETCH_FAILED),
    ],
)
def test_what_cannot_be_had_has_a_code(
    monkeypatch: pytest.MonkeyPatch, answer: HttpAnswer | HttpFailed, code: ReasonCode
) -> None:
    with pytest.raises(StsFault) as fault:
        fetch(monkeypatch, answer)
    assert (fault.value.reason.code, fault.value.reason.asked_by) == (code, AskedBy.MTA_STS)
    assert fault.value.reason.text == str(fault.value)


def test_the_file_comes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch(monkeypatch, HttpAnswer(200, TEXT, b"version: STSv1\n")) == b"version: STSv1\n"
