"""What the public port serves and takes: policies, and reports that are posted (RFC 8460 §5.4)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatepost.app import public_site
from gatepost.app.public_site import PublicSite, ReportPost
from gatepost.config.load import load_plain
from gatepost.store import tls_reports_incoming
from gatepost.store.tls_reports_incoming import IncomingReports
from gatepost.wire.http_server import Answer, Request
from gatepost.wire.tlsrpt_received import MAX_MAIL

DOCUMENT = {
    "mta_sts_policies": [
        {"domain": "Example.NET", "mode": "testing", "mx": ["MX.example.net"], "max_age": "1d"}
    ],
    "tls_reports_received": {"https": [{"host": "Reports.example.net", "path": "/v1/tlsrpt"}]},
}


class Bench:
    """Clock and site."""

    def __init__(self, folder: Path) -> None:
        self.at = 1_000_000.0
        self.rung = 0
        self.incoming = IncomingReports(folder)
        self.post = ReportPost(self.incoming, self, self.ring)
        self.site = PublicSite.of(load_plain(DOCUMENT), self.post)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def ring(self) -> None:
        self.rung += 1

    def offer(self, peer: str = "192.0.2.7", **changes: str) -> int | Answer:
        given = {"method": "POST", "host": "reports.example.net", "path": "/v1/tlsrpt"} | changes
        kind = given.pop("kind", "application/tlsrpt+gzip")
        return self.site.wants(Request(**given, fields={"content-type": kind}, length=5), peer)  # type: ignore[arg-type]

    def take(self, body: bytes = b"report") -> int:
        request = Request("POST", "reports.example.net", "/v1/tlsrpt", {}, len(body))
        return asyncio.run(self.site.take(request, body, "192.0.2.7")).status


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "received-tls-reports")


def test_a_policy_is_there_for_its_host(bench: Bench) -> None:
    asked = Request("GET", "mta-sts.example.net", "/.well-known/mta-sts.txt", {})
    page = bench.site.answer(asked)
    assert (page.status, page.content_type) == (200, "text/plain")
    assert page.body == b"version: STSv1\r\nmode: testing\r\nmx: mx.example.net\r\nmax_age: 86400\r\n"
    assert bench.site.answer(Request("POST", asked.host, asked.path, {})).status == 404
    assert bench.site.answer(Request("GET", "reports.example.net", asked.path, {})).status == 404
    assert bench.site.answer(Request("GET", "reports.example.net", "/v1/tlsrpt", {})).status == 404


def test_a_report_is_written_down_before_it_is_answered(bench: Bench) -> None:
    assert bench.offer() == MAX_MAIL
    assert bench.take() == 201
    assert bench.rung == 1
    (name,) = bench.incoming.names()
    came, content = bench.incoming.get(name)
    assert (came.way, came.origin, content) == ("https", "192.0.2.7", b"report")
    assert bench.take(b"") == 400


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"method": "PUT"}, 404),
        ({"host": "mta-sts.example.net"}, 404),
        ({"path": "/v1/tlsrpt/"}, 404),
        ({"kind": "application/json"}, 415),
        ({"kind": ""}, 415),
    ],
)
def test_what_is_not_taken(bench: Bench, changes: dict[str, str], status: int) -> None:
    found = bench.offer(**changes)
    assert isinstance(found, Answer)
    assert found.status == status


def test_one_address_may_post_so_often_an_hour_and_others_go_on(bench: Bench) -> None:
    for _ in range(public_site.MAX_OF_ADDRESS):
        assert bench.offer(kind="application/tlsrpt+json; charset=utf-8") == MAX_MAIL
    assert bench.offer() == Answer(429)
    assert bench.offer("192.0.2.8") == MAX_MAIL
    bench.at += 3600
    assert bench.offer() == MAX_MAIL


def test_where_too_much_waits_the_sender_is_to_come_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_reports_incoming, "MAX_WAITING", 0)
    assert bench.take() == 503
    assert bench.rung == 0


def test_a_site_that_takes_no_reports_has_no_such_place() -> None:
    site = PublicSite.of(load_plain({**DOCUMENT, "tls_reports_received": {}}))
    request = Request("POST", "reports.example.net", "/v1/tlsrpt", {}, 5)
    assert site.wants(request, "192.0.2.7") == Answer(404)
