"""tlsrpt.*: what is shown of sums, what a report will be, and what asking for it does."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, NOW, Bench

from gatepost.control.tls_reporter import JOB
from gatepost.core.errors import Exit, OperatorError
from gatepost.policy.tls_report import day_before, day_of, send_time
from gatepost.store.tls_report_rows import Count, State
from gatepost.store.tls_reports import TlsReportStore
from gatepost.wire.tlsrpt import FailureDetails, PolicyType, ReportedPolicy, ResultType

ON = CONTRACT_LIKE + "tls_reports: {send: true, from: tls@sender.example}\n"
TODAY = day_of(NOW)
YESTERDAY = day_before(TODAY)
POLICY = ReportedPolicy(PolicyType.NONE, "a.example")
FAILURE = FailureDetails(ResultType.STARTTLS_NOT_SUPPORTED, 1, receiving_host="mx.a.example")


def _counted(bench: Bench, day: str = YESTERDAY, domain: str = "a.example") -> TlsReportStore:
    store = TlsReportStore.open(bench.home.tls_reports_db)
    due = send_time(day, domain, "x")
    store.add([Count(day, domain, due, POLICY, None, 3), Count(day, domain, due, POLICY, FAILURE, 1)], {})
    return store


def test_without_any_sums_nothing_is_listed_and_no_file_made(bench: Bench) -> None:
    assert bench.call("tlsrpt.list") == {"send": False, "days": []}
    assert not bench.home.tls_reports_db.exists()


def test_days_are_listed_newest_first_and_the_job_looks_before(bench: Bench) -> None:
    bench.apply(ON)
    gateway = bench.start()
    _counted(bench).close()
    _counted(bench, TODAY).close()
    found = bench.call("tlsrpt.list")
    assert gateway.looked == [JOB]
    assert [(row["day"], row["sessions"], row["failed"]) for row in found["days"]] == [
        (TODAY, 4, 1),
        (YESTERDAY, 4, 1),
    ]
    assert found["days"][0]["state"] == "counted"
    assert found["days"][0]["due"] > TODAY
    assert len(bench.call("tlsrpt.list", day=YESTERDAY)["days"]) == 1
    assert bench.call("tlsrpt.list", domain="b.example")["days"] == []


def test_the_report_is_shown_as_it_would_be(bench: Bench) -> None:
    bench.apply(ON)
    _counted(bench).close()
    found = bench.call("tlsrpt.show", domain="A.Example")
    assert (found["day"], found["made"]) == (YESTERDAY, False)
    report = found["report"]
    assert report["organization-name"] == "gw.example.net"
    assert report["contact-info"] == "tls@sender.example"
    (row,) = report["policies"]
    assert row["summary"]["total-failure-session-count"] == 1
    assert row["failure-details"][0]["result-type"] == "starttls-not-supported"


def test_a_report_that_went_out_is_shown_as_it_went(bench: Bench) -> None:
    from gatepost.policy.tls_report_day import Reporter, day_report
    from gatepost.wire.tlsrpt_mail import packed_report

    bench.apply(ON)
    store = _counted(bench)
    standing = store.standing(YESTERDAY, "a.example")
    assert standing is not None
    who = Reporter("As it was", "c@sender.example", "t@sender.example", "sender.example", "x")
    made = day_report(who, YESTERDAY, "a.example", store.results(YESTERDAY, "a.example"))
    store.keep_report(
        standing, made.name, packed_report(made.report), ["mailto:r@a.example"], NOW, whole=True
    )
    store.close()
    found = bench.call("tlsrpt.show", domain="a.example", day=YESTERDAY)
    assert found["made"] is True
    assert found["report"]["organization-name"] == "As it was"
    assert [one["uri"] for one in found["destinations"]] == ["mailto:r@a.example"]


def test_asking_marks_what_is_asked_for_and_waits_for_the_job(bench: Bench) -> None:
    bench.apply(ON)
    gateway = bench.start()
    _counted(bench).close()
    asked: list[Any] = []

    async def job() -> None:
        with TlsReportStore.open(bench.home.tls_reports_db) as store:
            asked.append([one.domain for one in store.due_days(0.0, "2000-01-01", 10)])
            if asked[-1]:
                store.stand(YESTERDAY, "a.example", State.NO_RECORD, "it asks for no reports")

    gateway.jobs[JOB] = job
    found = bench.call("tlsrpt.send", domain="a.example")
    assert asked == [[], ["a.example"]]
    assert (found["day"], [row["state"] for row in found["days"]]) == (YESTERDAY, ["no record"])


def test_what_was_not_counted_cannot_be_sent(bench: Bench) -> None:
    bench.apply(ON)
    bench.start()
    _counted(bench).close()
    with pytest.raises(OperatorError, match=f"no session for b.example was counted on {YESTERDAY}"):
        bench.call("tlsrpt.send", domain="b.example")
    with pytest.raises(OperatorError, match=f"no sessions were counted on {TODAY}"):
        bench.call("tlsrpt.send", day=TODAY)


def test_sending_needs_a_gateway_that_sends(bench: Bench) -> None:
    with pytest.raises(OperatorError) as refusal:
        bench.call("tlsrpt.send")
    assert refusal.value.code is Exit.NOT_RUNNING
    bench.start()
    with pytest.raises(OperatorError, match="TLS reports are off"):
        bench.call("tlsrpt.send")


@pytest.mark.parametrize("day", ["yesterday", "2027-02-30", "2030-01-01", "20270101x"])
def test_what_is_no_day_yet_is_a_wrong_use(bench: Bench, day: str) -> None:
    for operation in ("tlsrpt.list", "tlsrpt.show"):
        args = {"domain": "a.example"} if operation == "tlsrpt.show" else {}
        with pytest.raises(OperatorError) as refusal:
            bench.call(operation, day=day, **args)
        assert refusal.value.code is Exit.USAGE


def test_a_domain_is_needed_and_has_to_be_one(bench: Bench) -> None:
    for domain in ("", "a..b"):
        with pytest.raises(OperatorError) as refusal:
            bench.call("tlsrpt.show", domain=domain)
        assert refusal.value.code is Exit.USAGE
