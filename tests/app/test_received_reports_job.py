"""The job that reads what came in: kept, put aside or left for later, and told once a day."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.dkim_signer import Key, signed
from tests.wire.test_tlsrpt_received import PLAIN, REPORT, mail

from gatepost.app import received_reports_job
from gatepost.app.received_reports_job import AGAIN, DAY, LOOK, META, ReceivedReportsJob
from gatepost.config.model import Document
from gatepost.control.ops.door import read_here
from gatepost.control.tls_report_keys import KeyLookUps
from gatepost.core.event import Event
from gatepost.core.ports import Alert
from gatepost.core.received_report_events import TlsReportJudged, TlsReportReceived, TlsReportRefused
from gatepost.net.dns_answer import DnsAnswer, DnsStatus
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.home import Home
from gatepost.store.tls_reports_incoming import STALE, Came, IncomingReports
from gatepost.store.tls_reports_received import ReceivedReportStore, ReportRow
from gatepost.wire.tlsrpt import MAX_COUNT, MAX_POLICIES

BEGIN = 1_795_392_000.0  # 2026-11-23, the day of the report


KEY = Key.ed25519()
NAME = "s1._domainkey.partner.example"


class Bench:
    """Clock, alert port, log and DNS in one. A text that is None is one that the DNS does not tell."""

    def __init__(self, home: Home, store: ConfigStore) -> None:
        self.opened = 0
        self.texts: dict[str, str | None] = {NAME: KEY.record()}
        self.home = home
        self.store = store
        self.at = BEGIN + 1.5 * DAY
        self.alerts: list[Alert] = []
        self.events: list[Event] = []
        self.incoming = IncomingReports(home.received_tls_reports)
        self.configure()
        self.restart()

    def configure(self, **section: Any) -> None:
        document = {
            "mta_sts_policies": [{"domain": "example.net", "mode": "none"}],
            "tls_reports_received": section,
        }
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.at)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def tell(self, alert: Alert, /) -> None:
        self.alerts.append(alert)

    def emit(self, event: Event, /) -> None:
        self.events.append(event)

    def restart(self) -> None:
        self.job = ReceivedReportsJob(
            self.home, self.store, self, self.emit, self, read=read_here, keys=self.keys
        )

    @asynccontextmanager
    async def keys(self, document: Document) -> AsyncIterator[KeyLookUps]:
        self.opened += 1
        yield KeyLookUps(self)

    async def txt(self, name: str) -> DnsAnswer[str]:
        text = self.texts.get(name, "")
        if text is None:
            return DnsAnswer(DnsStatus.TEMPORARY, detail="no answer within 5 s")
        return DnsAnswer(DnsStatus.FOUND, (text,)) if text else DnsAnswer(DnsStatus.NXDOMAIN)

    def put(self, name: str, content: bytes, way: str = "https") -> None:
        self.incoming.put(name, Came(way, "reports@partner.example", self.at, 7), content)

    def look(self, after: float = 0.0) -> float:
        self.at += after
        self.alerts.clear()
        self.events.clear()
        return asyncio.run(self.job.run())

    def kept(self) -> int:
        return len(self.rows())

    def rows(self) -> list[ReportRow]:
        with ReceivedReportStore.open(self.home.received_tls_reports) as reports:
            return reports.reports(0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = ConfigStore.open(tmp_path / "config.db")
    yield Bench(Home(tmp_path), store)
    store.close()


def report(number: int, failed: int = 3, successful: int = 117) -> bytes:
    made: dict[str, Any] = json.loads(json.dumps(REPORT))
    made["report-id"] = str(number)
    made["policies"] = made["policies"][:1]
    made["policies"][0]["summary"] = {
        "total-successful-session-count": successful,
        "total-failure-session-count": failed,
    }
    return json.dumps(made).encode()


def test_with_nothing_there_it_makes_nothing(bench: Bench) -> None:
    assert bench.look() == LOOK
    assert not bench.home.received_tls_reports.exists()


def test_what_came_is_read_kept_and_removed(bench: Bench) -> None:
    bench.put("7", mail(), "mail")
    bench.put("post-1", PLAIN)
    assert bench.look() == LOOK
    assert bench.incoming.names() == []
    assert bench.kept() == 1  # the same report, twice
    (event,) = bench.events
    assert isinstance(event, TlsReportReceived)
    assert (event.way, event.origin, event.failed) == ("mail", "reports@partner.example", 3)


def test_what_is_no_report_is_put_aside_and_told(bench: Bench) -> None:
    bench.put("7", b"From: x\r\n\r\nhello")
    bench.look()
    (event,) = bench.events
    assert isinstance(event, TlsReportRefused)
    assert event.reason == "there is no TLS report in it"
    assert event.kept == "received-tls-reports/unreadable/7"
    assert (bench.home.root / event.kept).exists()
    assert bench.incoming.names() == []


def test_a_database_that_cannot_be_used_loses_nothing(bench: Bench) -> None:
    bench.put("7", mail())
    (bench.home.received_tls_reports / "reports.db").write_bytes(b"no database" * 100)
    assert bench.look() == AGAIN
    assert bench.incoming.names() == ["7"]
    (bench.home.received_tls_reports / "reports.db").unlink()
    assert bench.look() == LOOK
    assert (bench.incoming.names(), bench.kept()) == ([], 1)


def test_many_are_read_in_portions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received_reports_job, "AT_ONCE", 2)
    for number in range(3):
        bench.put(str(number), report(number))
    assert bench.look() == 0.0
    assert bench.look() == LOOK
    assert bench.kept() == 3


def test_failures_are_told_once_a_day_and_together(bench: Bench) -> None:
    bench.put("1", report(1))
    bench.look()
    (alert,) = bench.alerts
    assert (alert.key, alert.severity) == ("tlsrpt:example.net", "information")
    assert "3 of 120." in alert.text
    assert "Partner Ltd (not verified): 3 of 120 (certificate-expired 2)" in alert.text
    bench.put("2", report(2, failed=60, successful=40))
    bench.look(3600)
    assert bench.alerts == []
    bench.put("3", report(3))
    bench.restart()
    bench.look(DAY)
    (alert,) = bench.alerts
    assert alert.severity == "warning"
    assert "63 of 220." in alert.text
    assert [line for line in alert.text.splitlines() if "report 2," in line or "report 3," in line]
    bench.look(DAY)
    assert bench.alerts == []
    assert bench.store.get_meta(META) is None


def test_a_report_without_failures_is_no_alert(bench: Bench) -> None:
    bench.put("1", report(1, failed=0))
    bench.look()
    assert (bench.alerts, bench.kept()) == ([], 1)


def test_what_was_kept_and_cannot_be_read_is_forgotten(bench: Bench) -> None:
    bench.store.put_metas({META: b'{"example.net": 7}'})
    bench.put("1", report(1))
    bench.look()
    assert len(bench.alerts) == 1


def test_what_is_too_old_goes_also_where_nothing_comes_any_more(bench: Bench) -> None:
    bench.put("1", report(1))
    bench.look()
    bench.look(399 * DAY)
    assert bench.kept() == 1
    bench.look(2 * DAY)
    assert bench.kept() == 0


def test_one_that_ends_the_job_is_put_aside_at_the_next_look(bench: Bench) -> None:
    """A bug of ours that one file can cause must not keep the others from being read."""

    async def read(what: str, args: Any) -> Any:
        if args["file"] == "bad.example":
            raise RuntimeError("a bug")
        return await read_here(what, args)

    bench.job = ReceivedReportsJob(bench.home, bench.store, bench, bench.emit, bench, read=read)
    bench.put("1", b"bad.example")
    with pytest.raises(RuntimeError):
        bench.look()
    assert bench.incoming.names() == ["1"]
    bench.put("2", report(2))
    assert bench.look() == LOOK
    assert bench.incoming.names() == []
    refused, taken = bench.events
    assert isinstance(refused, TlsReportRefused)
    assert refused.reason == "reading it ended with an internal error"
    assert isinstance(taken, TlsReportReceived)


def test_counts_that_no_database_holds_do_not_stop_the_reports_behind_them(bench: Bench) -> None:
    made: dict[str, Any] = json.loads(report(1, failed=1 << 53))
    made["policies"] *= 3_000
    bench.put("1", json.dumps(made).encode())
    bench.look()
    bench.put("2", report(2))
    assert bench.look() == LOOK
    assert bench.incoming.names() == []
    assert bench.kept() == 1


def test_the_largest_counts_that_are_taken_can_be_kept(bench: Bench) -> None:
    made: dict[str, Any] = json.loads(report(1, failed=MAX_COUNT))
    made["policies"] *= MAX_POLICIES
    bench.put("1", json.dumps(made).encode())
    bench.look()
    assert bench.incoming.names() == []
    with ReceivedReportStore.open(bench.home.received_tls_reports) as reports:
        (row,) = reports.reports(0)
    assert sum(one.failed for one in row.domains) == MAX_POLICIES * MAX_COUNT


# --- whom they are from ---------------------------------------------------------------------------------


def signed_report(number: int, **keys: Any) -> bytes:
    return signed(mail("application/tlsrpt+json", report(number, **keys)), KEY)


def test_a_signed_report_is_verified_and_raises_an_alert(bench: Bench) -> None:
    bench.put("7", signed_report(1), "mail")
    bench.look()
    (event,) = bench.events
    assert isinstance(event, TlsReportReceived)
    assert (event.submitter_verified, event.signer) == (True, "partner.example")
    (alert,) = bench.alerts
    assert "Partner Ltd (verified: partner.example): 3 of 120" in alert.text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (mail("application/tlsrpt+json", report(1)), "the mail has no DKIM signature"),
        (signed_report(1).replace(b"A report.", b"A rumour."), "the body is not the one that partner"),
        (signed_report(1).replace(b"s=s1", b"s=s2"), "there is no record"),
        (signed(mail("application/tlsrpt+json", report(1)), KEY, d="evil.example"), "evil.example"),
    ],
)
def test_what_is_not_verified_is_kept_and_raises_no_alert_unless_that_is_wanted(
    bench: Bench, content: bytes, why: str
) -> None:
    bench.texts["s1._domainkey.evil.example"] = KEY.record()
    bench.put("7", content, "mail")
    bench.look()
    (event,) = bench.events
    assert isinstance(event, TlsReportReceived)
    assert not event.submitter_verified
    assert why in event.reason
    assert (bench.alerts, bench.kept()) == ([], 1)
    bench.configure(verified_only=False)
    bench.put("8", content.replace(b'"report-id": "1"', b'"report-id": "2"'), "mail")
    bench.put("9", mail("application/tlsrpt+json", report(3)), "mail")
    bench.look(DAY)
    assert [alert.key for alert in bench.alerts] == ["tlsrpt:example.net"]


def test_a_key_that_is_not_to_be_had_is_asked_for_again(bench: Bench) -> None:
    bench.texts[NAME] = None
    bench.put("7", signed_report(1), "mail")
    bench.look()
    (row,) = bench.rows()
    assert (row.proof.verified, row.proof.result) == (False, "temperror")
    assert row.proof.due == bench.at + 300
    bench.texts[NAME] = KEY.record()
    bench.restart()
    bench.look(299)
    assert bench.rows() == [row]
    bench.look(1)
    (event,) = bench.events
    assert isinstance(event, TlsReportJudged)
    assert (event.report, event.submitter_verified, event.signer) == (1, True, "partner.example")
    assert len(bench.alerts) == 1
    assert bench.rows()[0].proof.verified
    bench.look(DAY)
    assert (bench.events, bench.alerts) == ([], [])


def test_with_nothing_to_do_nothing_is_opened(bench: Bench) -> None:
    """Each look would read the whole configuration, which may be large."""
    bench.put("7", signed_report(1), "mail")
    bench.look()
    assert bench.opened == 1
    bench.look(3600)
    assert bench.opened == 1


def test_after_a_day_a_key_is_given_up_and_the_report_stays_unverified(bench: Bench) -> None:
    bench.texts[NAME] = None
    bench.put("7", signed_report(1), "mail")
    bench.look()
    events: list[Event] = []
    for _ in range(30):
        bench.look(3600)
        events += bench.events
    (event,) = events
    assert isinstance(event, TlsReportJudged)
    assert not event.submitter_verified
    (row,) = bench.rows()
    assert (row.proof.result, row.proof.due) == ("temperror", 0.0)
    bench.texts[NAME] = KEY.record()
    bench.look(DAY)
    assert not bench.rows()[0].proof.verified


def test_a_signature_is_judged_for_the_time_when_the_mail_came(bench: Bench) -> None:
    content = signed(mail("application/tlsrpt+json", report(1)), KEY, x=f"{bench.at + 60:.0f}")
    bench.put("7", content, "mail")
    bench.look(3600)
    assert bench.rows()[0].proof.verified


def test_a_forged_report_before_the_real_one_changes_nothing(bench: Bench) -> None:
    bench.put("1", mail("application/tlsrpt+json", report(1, failed=0)), "mail")
    bench.look()
    bench.put("2", signed_report(1, failed=60), "mail")
    bench.look()
    assert len(bench.alerts) == 1
    assert [(row.proof.verified, row.domains[0].failed) for row in bench.rows()] == [(True, 60), (False, 0)]


def test_what_a_crash_left_half_written_goes(bench: Bench) -> None:
    bench.put("7", mail(), "mail")
    bench.look()
    left = bench.home.received_tls_reports / "incoming" / "8.new"
    left.write_bytes(b"half")
    os.utime(left, (bench.at, bench.at))
    bench.look(STALE)
    assert left.exists()
    bench.look(1)
    assert not left.exists()
