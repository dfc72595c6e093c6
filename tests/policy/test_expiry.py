"""Marks before an end: which ones a life has, and that each is told once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.policy.expiry import DAY, Life, Mark, State, due, marks, next_at, renews_itself, state

BORN = 1_800_000_000.0
HOUR = 3_600.0


def life(days: float, earliest: float | None = None) -> Life:
    return Life(BORN, BORN + days * DAY, earliest)


def lefts(of: Life) -> list[float]:
    return [round(mark.left / DAY, 2) for mark in marks(of)]


def told(of: Life, times: list[float]) -> list[Mark]:
    """What is told by somebody who looks at these times and remembers what was told."""
    found: list[Mark] = []
    for now in times:
        mark = due(of, now, found[-1].left if found else None)
        if mark is not None:
            found.append(mark)
    return found


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (6, [2, 1, 0.5, 0]),
        (47, [15, 7.83, 5, 4, 3, 2, 1, 0]),
        (90, [30, 15, 7.5, 5, 4, 3, 2, 1, 0]),
        (200, [60, 30, 15, 5, 4, 3, 2, 1, 0]),
        (398, [90, 60, 30, 15, 5, 4, 3, 2, 1, 0]),
        (3650, [90, 60, 30, 15, 5, 4, 3, 2, 1, 0]),
        (1, [0.33, 0.17, 0.08, 0]),
        (0, [0]),
    ],
)
def test_day_marks_and_fractions_by_the_length_of_a_life(days: float, expected: list[float]) -> None:
    assert lefts(life(days)) == expected


@pytest.mark.parametrize("days", [0.1, 1, 6, 30, 47, 90, 200, 260, 398, 3650])
def test_nothing_is_told_in_the_first_two_thirds(days: float) -> None:
    of = life(days)
    for part in (0.0, 0.3, 0.6, 0.66):
        assert due(of, BORN + part * of.length, None) is None
        assert state(of, BORN + part * of.length) is State.VALID


def test_what_renews_itself_is_told_of_when_that_is_overdue() -> None:
    six = renews_itself(BORN, BORN + 6 * DAY)
    assert lefts(six) == [1, 0.5, 0]
    late = renews_itself(BORN, BORN + 90 * DAY, renewal=10 * DAY)
    assert lefts(late) == [5, 4, 3, 2, 1, 0]
    assert state(late, BORN + 84 * DAY) is State.VALID
    assert state(late, BORN + 86 * DAY) is State.EXPIRING


def test_an_earliest_mark_of_nothing_leaves_only_the_end() -> None:
    assert lefts(life(7, earliest=0.0)) == [0]


def test_it_is_critical_from_five_days_on_and_after() -> None:
    severities = {mark.left / DAY: mark.severity for mark in marks(life(398))}
    assert severities[15] == "warning"
    assert {severities[day] for day in (5, 4, 3, 2, 1, 0)} == {"critical"}
    assert [mark.severity for mark in marks(life(6))] == ["warning", "critical", "critical", "critical"]
    after = due(life(398), BORN + 400 * DAY, None)
    assert after == Mark(-2 * DAY, "critical")
    assert after.expired


def test_marks_that_passed_together_are_told_as_one() -> None:
    of = life(398)
    (only,) = told(of, [of.not_after - 2.5 * DAY, of.not_after - 2.4 * DAY])
    assert only.left == 3 * DAY


def test_after_the_end_it_is_told_once_a_day() -> None:
    of = life(47)
    hours = [of.not_after + hour * HOUR for hour in range(73)]
    assert [mark.left / DAY for mark in told(of, hours)] == [0, -1, -2, -3]


def test_a_clock_that_goes_back_a_day_tells_nothing_twice() -> None:
    of = life(200)
    jumping = []
    for day in range(70):
        now = of.not_after - 65 * DAY + day * DAY
        jumping += [now, now + DAY, now - DAY, now]
    found = [mark.left for mark in told(of, jumping)]
    assert len(found) == len(set(found))
    assert {60 * DAY, 30 * DAY, 15 * DAY, 5 * DAY, 0.0} <= set(found)


def test_a_clock_that_was_far_ahead_does_not_silence_the_marks_that_come() -> None:
    of = life(398)
    wrong, right = of.not_after + 300 * DAY, of.not_after - 50 * DAY
    found = told(of, [wrong, right, right + HOUR, of.not_after - 30 * DAY, of.not_after - 15 * DAY])
    assert [mark.left / DAY for mark in found] == [-300, 60, 30, 15]


@given(
    st.sampled_from([6.0, 47.0, 200.0, 398.0]),
    st.lists(st.floats(0.0, 1.2), min_size=1, max_size=40),
    st.lists(st.floats(-1.0, 1.0), min_size=40, max_size=40),
)
@settings(max_examples=100)
def test_every_mark_is_told_at_most_once_whenever_somebody_looks(
    days: float, looks: list[float], wobbles: list[float]
) -> None:
    of = life(days)
    times = [
        BORN + look * of.length + wobble * DAY for look, wobble in zip(sorted(looks), wobbles, strict=False)
    ]
    found = [mark.left for mark in told(of, times)]
    assert len(found) == len(set(found))
    assert found == sorted(found, reverse=True)
    if max(times) >= of.not_after:
        assert found[-1] <= 0


@given(st.floats(0.5, 4000.0), st.floats(-0.2, 1.5))
@settings(max_examples=100)
def test_the_next_mark_is_in_the_future_and_is_due_then(days: float, part: float) -> None:
    of = life(days)
    now = BORN + part * of.length
    at = next_at(of, now)
    assert at > now
    before = due(of, now, None)
    assert due(of, at + 0.001, before.left if before else None) is not None
