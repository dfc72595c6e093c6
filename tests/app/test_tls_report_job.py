"""From the log of events to reports that went out: counted once, sent in their time, over restarts; refusals tried again, and given up."""

from __future__ import annotations

import asyncio
import gzip
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.dkim_verifier import verdicts
from tests.policy.test_tls_report import session

from gatepost.app.tls_report_job import IDLE, LOOK, LOST, NO_RECORD, TlsReportJob
from gatepost.certs.dkim_vault import DkimVault, dkim_keys
from gatepost.control.ports import WorkerAnswer
from gatepost.core.codec import encode_events
from gatepost.core.event import Event
from gatepost.core.events import Noted, Warned
from gatepost.net.dns_answer import DnsAnswer, DnsStatus
from gatepost.net.http import HttpAnswer, HttpFailed
from gatepost.pki.dkim import DkimKind
from gatepost.policy.tls_report import DAY, SPREAD, midnight
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.home import Home
from gatepost.store.secrets import LocalKeeper, MasterKey
from gatepost.store.tls_report_rows import SendingState, State, Sum
from gatepost.store.tls_reports import TlsReportStore
from gatepost.track.event_reader import EventReader
from gatepost.track.json_log import JsonLogFormat
from gatepost.track.log_files import LogFile

TODAY = "2026-11-02"
NOON = midnight(TODAY) + DAY / 2
SECTION = {"send": True, "from": "tls@sender.example", "organization": "Sender Ltd"}
MAIL, WEB = "mailto:r@reports.example", "https://reports.example/tls"


class Bench:
    """A home with its log, workers that keep mail, a DNS and a web that answer as they are told. `restart` is a new desk."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.home.logs.mkdir(parents=True)
        self.home.serial_file.write_text("0123")
        self.at = NOON
        self.log = LogFile(self.home.logs, self.home.event_log.name, JsonLogFormat(), self, keep=2)
        self.store = ConfigStore.open(self.home.config_db)
        self.keeper = LocalKeeper(MasterKey(b"k" * 32))
        self.records: dict[str, str] = {}
        self.dns_fails = ""
        self.web: int | str = 201
        self.posted: list[tuple[str, bytes]] = []
        self.mails: list[Mapping[str, Any]] = []
        self.worker_fails = ""
        self.events: list[Event] = []
        self.configure(SECTION)
        asyncio.run(DkimVault(self.store, self.keeper, self).make("sender.example", "s1", DkimKind.ED25519))
        self.restart()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def configure(self, section: dict[str, Any]) -> None:
        content = Content({"system": {"hostname": "gw.sender.example"}, "tls_reports": section})
        self.store.commit(self.store.latest_number(), content, "test", "", self.at)

    def restart(self, **options: Any) -> None:
        reader = EventReader(self.home.logs, self.home.event_log.name)
        self.job = TlsReportJob(
            self.home, self.store, self.keeper, self, reader, self, links=self.links, **options
        )

    # What the job asks

    @asynccontextmanager
    async def links(self, document: object, content: object) -> AsyncIterator[Bench]:
        yield self

    @property
    def http(self) -> Bench:
        return self

    async def txt(self, name: str) -> DnsAnswer[str]:
        if self.dns_fails:
            return DnsAnswer(DnsStatus.TEMPORARY, detail=self.dns_fails)
        text = self.records.get(name.removeprefix("_smtp._tls."))
        return DnsAnswer(DnsStatus.FOUND, (text,)) if text else DnsAnswer(DnsStatus.NXDOMAIN)

    async def post(self, url: str, body: bytes, content_type: str, *, max_body: int = 0) -> HttpAnswer:
        assert content_type == "application/tlsrpt+gzip"
        if isinstance(self.web, str):
            raise HttpFailed(self.web)
        self.posted.append((url, body))
        return HttpAnswer(self.web, {}, b"")

    async def status(self) -> Mapping[str, Any]:
        return {"workers": [{"index": 0}]}

    async def ask_workers(
        self, kind: str, args: Mapping[str, Any], worker: int | None = None, /
    ) -> Sequence[WorkerAnswer]:
        assert kind == "mail.submit"
        if self.worker_fails:
            return [WorkerAnswer(0, None, self.worker_fails)]
        self.mails.append(args)
        return [WorkerAnswer(0, {"mid": len(self.mails)})]

    async def activate(self, payload: object, store: object, /) -> None:
        raise NotImplementedError

    def look(self, job: str, /) -> asyncio.Future[None]:
        raise NotImplementedError

    def emit(self, event: Event, /) -> None:
        self.events.append(event)

    # What the tests do

    def run(self) -> float:
        return asyncio.run(self.job.run())

    def sessions(self, domain: str = "example.org", times: int = 1, **tls: Any) -> None:
        hop = {"domain": domain, "route_host": "", "literal": False}
        event = replace(session(tls), at=self.at, domain=domain, hop=hop)
        for _ in range(times):
            assert self.log.append(encode_events([event, Noted(self.at, "something else")]))

    def wants(self, *uris: str, domain: str = "example.org") -> None:
        self.records[domain] = f"v=TLSRPTv1; rua={','.join(uris)}"

    def night(self) -> None:
        self.at = float(midnight(TODAY) + DAY + SPREAD)

    def rows(self) -> dict[str, Sum]:
        with TlsReportStore.open(self.home.tls_reports_db) as sums:
            return {row.standing.domain: row for row in sums.overview(TODAY)}

    def row(self) -> Sum:
        (row,) = self.rows().values()
        return row

    def told(self, kind: type[Event]) -> list[str]:
        return [event.text for event in self.events if isinstance(event, kind)]  # type: ignore[attr-defined]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "home")
    bench.run()
    yield bench
    bench.store.close()


def report_of(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(body))
    return found


# --- counting ---------------------------------------------------------------------------------------------


def test_sessions_are_counted_once_whatever_happens_to_the_desk(bench: Bench) -> None:
    bench.sessions(times=3)
    assert bench.run() == LOOK
    bench.restart()
    bench.run()
    bench.sessions(times=2, stage="not-offered")
    bench.restart(limit=100)
    bench.run()
    row = bench.row()
    assert (row.successful, row.failed, row.standing.state) == (3, 2, State.COUNTED)
    assert bench.told(Warned) == []


def test_what_was_there_before_it_was_switched_on_does_not_count(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "home")
    bench.at -= 5
    bench.sessions()
    bench.at += 5
    bench.run()
    assert bench.rows() == {}
    bench.store.close()


def test_while_it_is_off_nothing_is_read(bench: Bench) -> None:
    bench.configure({"send": False})
    bench.sessions()
    assert bench.run() == IDLE
    bench.at += 1
    bench.configure(SECTION)
    bench.run()
    assert bench.rows() == {}
    bench.sessions()
    bench.run()
    assert bench.row().successful == 1


def test_off_from_the_start_leaves_no_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "home")
    bench.configure({"send": False})
    assert bench.run() == IDLE
    assert not bench.home.tls_reports_db.exists()
    bench.store.close()


def test_own_reports_are_not_counted(bench: Bench) -> None:
    assert bench.log.append(encode_events([replace(session(tls_report=True), at=bench.at)]))
    bench.run()
    assert bench.rows() == {}


def test_a_log_that_is_gone_is_told(bench: Bench) -> None:
    bench.sessions()
    bench.run()
    bench.home.event_log.unlink()
    bench.at += 1
    bench.sessions()
    bench.run()
    assert bench.told(Warned) == [LOST]


# --- in the night -----------------------------------------------------------------------------------------


def test_a_report_waits_for_its_time_and_goes_once(bench: Bench) -> None:
    bench.wants(WEB)
    bench.sessions(times=2)
    bench.at = float(midnight(TODAY) + DAY - 1)
    bench.run()
    due = bench.row().standing.due
    bench.at = due - 1
    assert bench.run() == pytest.approx(1.0)
    assert bench.posted == []
    bench.at = due
    bench.run()
    bench.restart()
    bench.night()
    bench.run()
    ((url, body),) = bench.posted
    assert url == WEB
    report = report_of(body)
    assert report["organization-name"] == "Sender Ltd"
    assert report["contact-info"] == "tls@sender.example"
    assert report["date-range"] == {
        "start-datetime": "2026-11-02T00:00:00Z",
        "end-datetime": "2026-11-02T23:59:59Z",
    }
    assert report["policies"][0]["summary"]["total-successful-session-count"] == 2
    assert bench.told(Noted) == [f"TLS report of {TODAY} for example.org was sent to {WEB}"]


def test_the_mail_is_signed_and_goes_to_whom_the_record_names(bench: Bench) -> None:
    bench.wants(MAIL)
    bench.sessions()
    bench.run()
    bench.night()
    bench.run()
    (mail,) = bench.mails
    assert (mail["sender"], mail["recipients"]) == ("tls@sender.example", ["r@reports.example"])
    content = b64decode(mail["content"])
    published = {key.record_name: key.record for key in dkim_keys(bench.store)}
    assert verdicts(content, published) == ["good"]
    assert b"TLS-Report-Domain: example.org\r\nTLS-Report-Submitter: sender.example\r\n" in content
    assert bench.row().sendings[0].detail == "MID 1"


def test_who_asks_for_nothing_gets_nothing(bench: Bench) -> None:
    bench.records["bad.example"] = "v=TLSRPTv1;"
    bench.wants("http://x.example/", domain="old.example")
    for domain in ("example.org", "bad.example", "old.example"):
        bench.sessions(domain)
    bench.run()
    bench.night()
    bench.run()
    states = {domain: (row.standing.state, row.standing.detail) for domain, row in bench.rows().items()}
    assert states == {
        "example.org": (State.NO_RECORD, NO_RECORD),
        "bad.example": (
            State.FAILED,
            "its record does not count: the record names no destination (rua)",
        ),
        "old.example": (State.FAILED, "no report can go to http://x.example/"),
    }
    assert (bench.posted, bench.mails) == ([], [])


def test_a_record_without_an_answer_is_looked_up_again_and_given_up(bench: Bench) -> None:
    bench.wants(WEB)
    bench.sessions()
    bench.run()
    bench.night()
    bench.dns_fails = "SERVFAIL"
    bench.run()
    standing = bench.row().standing
    assert (standing.state, standing.detail) == (
        State.UNKNOWN,
        "its record cannot be looked up: SERVFAIL",
    )
    assert standing.due == bench.at + 60
    looks = 1
    while bench.row().standing.state is State.UNKNOWN:
        bench.at = bench.row().standing.due
        bench.run()
        looks += 1
    assert bench.row().standing.state is State.FAILED
    assert looks == 14
    assert bench.posted == []


def test_a_record_that_comes_back_is_heeded(bench: Bench) -> None:
    bench.wants(WEB)
    bench.sessions()
    bench.run()
    bench.night()
    bench.dns_fails = "SERVFAIL"
    bench.run()
    bench.dns_fails = ""
    bench.at += 60
    bench.run()
    assert len(bench.posted) == 1


@pytest.mark.parametrize(("answer", "problem"), [(503, "it answered 503"), ("connection refused",) * 2])
def test_a_server_that_refuses_is_tried_for_a_day_and_told_of_once(
    bench: Bench, answer: int | str, problem: str
) -> None:
    bench.wants(WEB, MAIL)
    bench.sessions()
    bench.run()
    bench.night()
    bench.web = answer
    began = bench.at
    bench.run()
    assert len(bench.mails) == 1
    while (left := _sending(bench, WEB)).state is SendingState.WAITING:
        assert left.detail == problem
        bench.at = left.due
        bench.run()
    assert left.state is SendingState.FAILED
    assert bench.at - began == DAY
    assert len(bench.mails) == 1
    assert bench.told(Warned) == [
        f"TLS report of {TODAY} for example.org was not taken by {WEB} within a day: {problem}"
    ]


def _sending(bench: Bench, uri: str) -> Any:
    (found,) = [one for one in bench.row().sendings if one.uri == uri]
    return found


def test_a_mail_that_no_worker_keeps_goes_later(bench: Bench) -> None:
    bench.wants(MAIL)
    bench.sessions()
    bench.run()
    bench.night()
    bench.worker_fails = "not enough disk space"
    bench.run()
    assert _sending(bench, MAIL).detail == "not enough disk space"
    bench.worker_fails = ""
    bench.at += 60
    bench.run()
    assert _sending(bench, MAIL).state is SendingState.SENT


def test_without_a_key_no_mail_goes_and_it_is_said(bench: Bench) -> None:
    vault = DkimVault(bench.store, bench.keeper, bench)
    for key in dkim_keys(bench.store):
        vault.forget(key)
    bench.wants(MAIL, WEB)
    bench.sessions()
    bench.run()
    bench.night()
    bench.run()
    assert bench.mails == []
    assert _sending(bench, MAIL).detail.startswith("no key of sender.example is stored to sign it")
    assert _sending(bench, WEB).state is SendingState.SENT


def test_keys_that_do_not_open_are_said(bench: Bench) -> None:
    bench.keeper = LocalKeeper(MasterKey(b"x" * 32))
    bench.restart()
    bench.wants(MAIL)
    bench.sessions()
    bench.run()
    bench.night()
    bench.run()
    assert bench.mails == []
    assert _sending(bench, MAIL).detail.startswith("no key of sender.example opens")


# --- asked for --------------------------------------------------------------------------------------------


def _ask(bench: Bench, day: str = TODAY) -> None:
    with TlsReportStore.open(bench.home.tls_reports_db) as sums:
        assert sums.ask(day)
    bench.run()


def test_a_day_that_is_not_over_is_reported_until_now_and_again_when_it_is(bench: Bench) -> None:
    bench.wants(WEB)
    bench.sessions()
    bench.run()
    _ask(bench)
    bench.sessions()
    bench.run()
    bench.night()
    bench.run()
    first, second = (report_of(body) for _, body in bench.posted)
    assert first["date-range"]["end-datetime"] == "2026-11-02T12:00:00Z"
    assert second["date-range"]["end-datetime"] == "2026-11-02T23:59:59Z"
    assert first["report-id"] != second["report-id"]
    sums = [one["policies"][0]["summary"]["total-successful-session-count"] for one in (first, second)]
    assert sums == [1, 2]


def test_what_went_out_goes_again_unchanged(bench: Bench) -> None:
    bench.wants(WEB, MAIL)
    bench.sessions()
    bench.run()
    bench.night()
    bench.run()
    bench.at += 1
    _ask(bench)
    assert [body for _, body in bench.posted] == [bench.posted[0][1]] * 2
    first, second = bench.mails
    assert first["token"] != second["token"]


def test_old_days_are_forgotten(bench: Bench) -> None:
    bench.sessions()
    bench.run()
    bench.at += 31 * DAY
    bench.run()
    assert bench.rows() == {}
