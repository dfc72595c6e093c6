"""Who is told, and what is told again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.alerts import Alerts, AlertSeverity
from gatepost.policy.alert import (
    SEVERITIES,
    Suppression,
    Told,
    cleared,
    mailed,
    may_tell,
    missed,
    notice_due,
    rank,
    recipients_of,
)

ALERTS = Alerts.model_validate(
    {
        "recipients": [
            {"address": "all@example.net"},
            {"address": "grave@example.net", "classes": ["system"], "severities": ["critical"]},
            {"address": "both@example.net", "classes": ["all"], "severities": ["critical", "warning"]},
            {"address": "all@example.net", "severities": ["warning"]},
        ]
    }
)


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        ("critical", ("all", "grave", "both")),
        ("warning", ("all", "both")),
        ("information", ("all",)),
    ],
)
def test_each_takes_the_severities_of_its_entry_once(severity: str, told: tuple[str, ...]) -> None:
    assert recipients_of(ALERTS, severity) == tuple(f"{name}@example.net" for name in told)


def test_a_recipient_of_other_classes_is_not_told() -> None:
    assert recipients_of(ALERTS, "critical", about="hardware") == ("all@example.net", "both@example.net")


def test_the_severities_are_those_of_the_configuration() -> None:
    assert set(SEVERITIES) | {"all"} == {severity.value for severity in AlertSeverity}


RULE = Suppression(300.0, 3_600.0)


@pytest.mark.parametrize(
    ("severity", "after", "before", "expected"),
    [
        ("warning", 10.0, "warning", False),
        ("warning", 299.0, "critical", False),
        ("critical", 10.0, "warning", True),
        ("warning", 300.0, "warning", True),
        ("warning", -10.0, "warning", True),
    ],
)
def test_the_same_is_quiet_unless_it_gets_graver(
    severity: str, after: float, before: str, expected: bool
) -> None:
    told = mailed(None, before, 1000.0, RULE)
    assert may_tell(told, severity, 1000.0 + after) is expected
    assert may_tell(None, severity, 1000.0) is True


def test_the_quiet_doubles_up_to_the_longest_and_begins_anew_after_a_rest() -> None:
    told, now, seen = None, 1000.0, []
    for _ in range(6):
        told = mailed(told, "warning", now, RULE)
        seen.append(told.quiet)
        now = told.until
    assert seen == [300.0, 600.0, 1200.0, 2400.0, 3600.0, 3600.0]
    assert told is not None
    assert mailed(told, "critical", now, RULE).quiet == 300.0
    assert mailed(missed(told, now, 1), "warning", now + 3600.0, RULE).quiet == 3600.0
    assert mailed(missed(told, now, 1), "warning", now + 3601.0, RULE).quiet == 300.0


def test_an_initial_quiet_above_the_longest_is_the_longest() -> None:
    assert mailed(None, "warning", 0.0, Suppression(600.0, 60.0)).quiet == 60.0


def test_what_is_missed_is_counted_and_a_mail_counts_anew() -> None:
    told = missed(missed(mailed(None, "warning", 1000.0, RULE), 1010.0, 3), 1005.0, 1)
    assert (told.missed, told.last) == (4, 1010.0)
    assert mailed(told, "warning", 1300.0, RULE).missed == 0


def test_a_trouble_that_is_over_keeps_its_quiet_until_it_is_mailed_again() -> None:
    told = mailed(None, "warning", 1000.0, RULE)
    over = cleared(told)
    assert over.cleared
    assert over.until == told.until
    assert not may_tell(over, "warning", 1100.0)
    assert mailed(over, "warning", 1300.0, RULE).cleared is False


HAPPENINGS = st.lists(
    st.tuples(st.floats(0.0, 5_000.0), st.sampled_from(SEVERITIES), st.integers(1, 9)), max_size=60
)
RULES = st.tuples(st.floats(1.0, 900.0), st.floats(1.0, 4_000.0)).map(lambda it: Suppression(*it))


@given(HAPPENINGS, RULES)
@settings(max_examples=100, deadline=None)
def test_the_rule_holds_whatever_happens(happenings: list[tuple[float, str, int]], rule: Suppression) -> None:
    """Nothing is lost from the count; no two mails are nearer than the quiet but for a graver one; the quiet is bounded."""
    told: Told | None = None
    now, happened, said = 0.0, 0, 0
    for pause, severity, times in happenings:
        now += pause
        happened += times
        if not may_tell(told, severity, now):
            assert told is not None
            told = missed(told, now, times)
            continue
        said += times + (told.missed if told is not None else 0)
        if told is not None:
            assert now >= told.until or rank(severity) > rank(told.severity)
        after = mailed(told, severity, now, rule)
        assert min(rule.initial, rule.longest) <= after.quiet <= rule.longest
        if told is not None and severity == told.severity:
            assert after.quiet in (min(rule.initial, rule.longest), min(2 * told.quiet, rule.longest))
        told = after
    assert happened == said + (told.missed if told is not None else 0)


@given(st.floats(1.0, 60.0), st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_a_trouble_that_stays_is_a_mail_an_hour_in_the_end(every: float, hours: int) -> None:
    told: Told | None = None
    now, mails = 0.0, 0
    while now < min(hours, 12) * 3_600.0:
        if may_tell(told, "warning", now):
            told = mailed(told, "warning", now, RULE)
            mails += 1
        else:
            assert told is not None
            told = missed(told, now, 1)
        now += every * 10
    assert mails <= 4 + min(hours, 12)


@pytest.mark.parametrize(
    ("received", "last", "due"),
    [
        (100.0, None, True),
        (101.0, None, False),
        (0.0, 1000.0, False),  # it is the very moment of the last one
        (-9000.0, -2599.0, False),
        (-9000.0, -2600.0, True),
        (0.0, 1001.0, True),  # told by a clock that was wrong
    ],
)
def test_a_notice_in_clear_after_a_quarter_of_an_hour_and_once_an_hour(
    received: float, last: float | None, due: bool
) -> None:
    assert notice_due(received, last, 1000.0) is due
