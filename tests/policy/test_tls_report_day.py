"""A day's report is the same whenever it is made, and destinations that fail are tried for a day."""

from __future__ import annotations

from itertools import pairwise

from gatepost.policy.tls_report import DAY, midnight
from gatepost.policy.tls_report_day import (
    LONGEST_PAUSE,
    MAX_LOOK_UPS,
    TRIED_FOR,
    Reporter,
    day_report,
    next_look_up,
    next_try,
)
from gatepost.wire.tlsrpt import PolicyResult, PolicyType, ReportedPolicy

REPORTER = Reporter("Sender Ltd", "c@sender.example", "tls@sender.example", "sender.example", "serial")
ROWS = [PolicyResult(ReportedPolicy(PolicyType.NONE, "a.example"), 1, 0)]


def test_a_whole_day_is_its_first_to_its_last_second() -> None:
    made = day_report(REPORTER, "2026-11-02", "a.example", ROWS)
    report = made.report
    assert (report.begin, report.end) == (midnight("2026-11-02"), midnight("2026-11-03") - 1)
    assert (report.organization, report.contact) == ("Sender Ltd", "c@sender.example")
    assert report.report_id == f"2026-11-02.{made.name}@sender.example"
    assert made.name.isalnum()
    assert made == day_report(REPORTER, "2026-11-02", "a.example", ROWS)


def test_reports_are_told_apart() -> None:
    begin = midnight("2026-11-02")
    names = {
        day_report(REPORTER, "2026-11-02", "a.example", ROWS).name,
        day_report(REPORTER, "2026-11-02", "b.example", ROWS).name,
        day_report(REPORTER, "2026-11-01", "a.example", ROWS).name,
        day_report(REPORTER, "2026-11-02", "a.example", ROWS, begin + 600.5).name,
        day_report(REPORTER, "2026-11-02", "a.example", ROWS, begin + 700.5).name,
    }
    assert len(names) == 5
    part = day_report(REPORTER, "2026-11-02", "a.example", ROWS, begin + 600.5).report
    assert (part.begin, part.end) == (begin, begin + 600)


def _tries() -> list[float]:
    at: float | None = 0.0
    times = []
    while at is not None:
        times.append(at)
        at = next_try(len(times) - 1, 0.0, at)
    return times


def test_a_destination_is_tried_for_a_day_with_growing_pauses() -> None:
    times = _tries()
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert times[-1] == TRIED_FOR
    assert pauses[:3] == [60.0, 120.0, 240.0]
    assert max(pauses) == LONGEST_PAUSE
    assert 12 <= len(times) <= 16


def test_a_record_is_looked_up_for_about_a_day() -> None:
    pauses = [next_look_up(tries, 0.0) for tries in range(MAX_LOOK_UPS)]
    assert next_look_up(MAX_LOOK_UPS, 0.0) is None
    total = sum(pause for pause in pauses if pause is not None)
    assert DAY * 0.8 < total < DAY * 1.2
