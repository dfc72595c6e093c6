"""Sums of TLS reports: added up, kept over restarts with the position, bounded without becoming untrue, and what became of each report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from gatepost.core.errors import Exit, OperatorError
from gatepost.store import tls_reports
from gatepost.store.tls_report_rows import Count, SendingState, State
from gatepost.store.tls_reports import TlsReportStore
from gatepost.wire.tlsrpt import FailureDetails, PolicyType, ReportedPolicy, ResultType

DAY, NEXT = "2026-11-02", "2026-11-03"
DUE = 1_793_670_000.0
NONE = ReportedPolicy(PolicyType.NONE, "a.example")
STS = ReportedPolicy(PolicyType.STS, "a.example", ("version: STSv1", "mode: testing"), ("*.a.example",))
BROKEN = FailureDetails(ResultType.VALIDATION_FAILURE, 1, "192.0.2.9", "mx.a.example", reason_code="why")


def count(
    policy: ReportedPolicy = NONE,
    failure: FailureDetails | None = None,
    sessions: int = 1,
    *,
    domain: str = "a.example",
    day: str = DAY,
) -> Count:
    return Count(day, domain, DUE, policy, failure, sessions)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TlsReportStore]:
    with TlsReportStore.open(tmp_path / "sums.db") as store:
        yield store


def test_sessions_add_up_by_policy_and_failure(store: TlsReportStore) -> None:
    assert store.add([count(sessions=3), count(STS, BROKEN, 2)], {}) == 0
    store.add([count(STS), count(STS, BROKEN), count(STS, replace(BROKEN, reason_code="other"), 5)], {})
    sts, none = store.results(DAY, "a.example")
    assert (none.policy, none.successful, none.failed, none.details) == (NONE, 3, 0, ())
    assert (sts.policy, sts.successful, sts.failed) == (STS, 1, 8)
    assert sts.details == (
        replace(BROKEN, sessions=5, reason_code="other"),
        replace(BROKEN, sessions=3),
    )
    assert store.results(NEXT, "a.example") == ()


def test_sums_and_position_are_there_after_a_restart_or_neither(tmp_path: Path) -> None:
    path = tmp_path / "sums.db"
    with TlsReportStore.open(path) as store:
        store.add([count()], {"position": b"1"})
        with pytest.raises(OverflowError):
            store.add([count(), replace(count(), sessions=1 << 70)], {"position": b"2"})
    with TlsReportStore.open(path) as store:
        assert store.get_meta("position") == b"1"
        assert store.overview()[0].successful == 1
        store.add((), {"position": None})
        assert store.get_meta("position") is None


def test_what_is_too_much_counts_under_less(store: TlsReportStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_reports, "MAX_DETAILS", 2)
    monkeypatch.setattr(tls_reports, "MAX_POLICIES", 2)
    store.add([count(STS, replace(BROKEN, reason_code=str(number))) for number in range(5)], {})
    (row,) = store.results(DAY, "a.example")
    assert row.failed == sum(detail.sessions for detail in row.details) == 5
    assert row.details[0] == FailureDetails(ResultType.VALIDATION_FAILURE, 3)
    store.add(
        [count(ReportedPolicy(PolicyType.TLSA, f"mx{n}.a.example", ("3 1 1 ab",))) for n in range(5)], {}
    )
    rows = store.results(DAY, "a.example")
    assert sum(row.successful for row in rows) == 5
    assert ReportedPolicy(PolicyType.TLSA, "a.example") in [row.policy for row in rows]
    assert len(rows) == 3


def test_domains_beyond_the_limit_are_told(store: TlsReportStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_reports, "MAX_DOMAINS", 1)
    assert store.add([count(), count(domain="b.example", sessions=7), count()], {}) == 7
    assert [row.standing.domain for row in store.overview()] == ["a.example"]


def test_what_is_due_is_what_is_over_and_what_was_asked_for(store: TlsReportStore) -> None:
    store.add([count(), count(domain="b.example"), count(day=NEXT)], {})
    assert store.due_days(DUE - 1, NEXT, 10) == []
    assert [one.domain for one in store.due_days(DUE, NEXT, 10)] == ["a.example", "b.example"]
    assert store.next_due(NEXT) == DUE
    store.stand(DAY, "a.example", State.NO_RECORD, "it asks for none")
    store.stand(DAY, "b.example", State.UNKNOWN, "no answer", due=DUE + 60, tries=1)
    assert store.due_days(DUE, NEXT, 10) == []
    assert store.next_due(NEXT) == DUE + 60
    assert store.ask(NEXT) == 1
    assert store.ask(DAY, "c.example") == 0
    (asked,) = store.due_days(DUE, NEXT, 10)
    assert (asked.day, asked.asked) == (NEXT, True)


def test_a_report_goes_to_each_destination_by_itself(store: TlsReportStore) -> None:
    store.add([count()], {})
    standing = store.standing(DAY, "a.example")
    assert standing is not None
    store.keep_report(standing, "n1", b"body", ["mailto:a@b.example", "https://b.example/"], DUE, whole=True)
    web, mail = sorted(store.due_sendings(DUE, 10), key=lambda one: one.uri)
    assert (web.day, web.domain, web.name, store.body(web.report)) == (DAY, "a.example", "n1", b"body")
    assert store.last_body(DAY, "a.example") == b"body"
    store.put_sending(replace(web, state=SendingState.SENT, tries=1, detail="answered 201"))
    store.put_sending(replace(mail, due=DUE + 60, tries=1, detail="no worker"))
    assert store.due_sendings(DUE, 10) == []
    assert store.next_due(NEXT) == DUE + 60
    (row,) = store.overview(DAY, "a.example")
    assert row.standing.state is State.REPORTED
    assert [(one.state, one.detail) for one in row.sendings] == [
        (SendingState.SENT, "answered 201"),
        (SendingState.WAITING, "no worker"),
    ]
    assert store.send_again(DAY, "a.example", DUE + 100)
    assert [(one.tries, one.since) for one in store.due_sendings(DUE + 100, 10)] == [(0, DUE + 100)] * 2
    assert not store.send_again(NEXT, "a.example", DUE)


def test_a_report_of_the_first_hours_leaves_the_day_as_it_is(store: TlsReportStore) -> None:
    store.add([count()], {})
    store.ask(DAY)
    (standing,) = store.due_days(0.0, DAY, 10)
    store.keep_report(standing, "n1", b"part", ["https://b.example/"], DUE, whole=False)
    found = store.standing(DAY, "a.example")
    assert found is not None
    assert (found.state, found.due, found.asked) == (State.COUNTED, DUE, False)
    assert store.last_body(DAY, "a.example") is None


def test_old_days_go_with_all_that_belongs_to_them(store: TlsReportStore) -> None:
    store.add([count(STS, BROKEN), count(day=NEXT)], {})
    standing = store.standing(DAY, "a.example")
    assert standing is not None
    store.keep_report(standing, "n1", b"body", ["https://b.example/"], DUE, whole=True)
    store.prune(NEXT)
    assert [row.standing.day for row in store.overview()] == [NEXT]
    assert store.due_sendings(DUE, 10) == []
    assert store.results(DAY, "a.example") == ()


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sums.db"
    TlsReportStore.open(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(OperatorError, match="newer Gatepost") as refusal:
        TlsReportStore.open(path)
    assert refusal.value.code is Exit.FAULTY_CONFIGURATION
