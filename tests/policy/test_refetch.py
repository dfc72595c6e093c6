"""When a revocation list is fetched next."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.policy.refetch import Standing, next_fetch

NOW = 1_800_000_000.0
HOUR, DAY = 3_600.0, 86_400.0
GOOD = Standing(NOW, NOW, 0, False, NOW - DAY, NOW + 6 * DAY)


def after(standing: Standing, every: float = DAY, now: float = NOW) -> float:
    return next_fetch(standing, every, now).at - now


def test_a_list_that_was_never_fetched_is_due_at_once() -> None:
    assert next_fetch(Standing(), DAY, NOW).at == NOW


def test_after_a_good_fetch_the_interval_or_the_next_update_decides() -> None:
    assert after(GOOD) == DAY
    assert after(GOOD, 30 * DAY) == 6 * DAY - 6 * HOUR
    assert after(replace(GOOD, next_update=None), 30 * DAY) == 30 * DAY


def test_a_list_of_one_hour_is_fetched_before_it_ends() -> None:
    short = replace(GOOD, this_update=NOW, next_update=NOW + HOUR)
    assert after(short) == pytest.approx(0.9 * HOUR)


def test_an_authority_that_publishes_late_is_asked_several_times_without_a_loop() -> None:
    late = replace(GOOD, this_update=NOW - 6 * DAY, next_update=NOW + HOUR)
    assert after(late) == 6 * HOUR / 8
    tiny = replace(GOOD, this_update=NOW - 590, next_update=NOW + 10)
    assert after(tiny) == 300


def test_failures_back_off() -> None:
    pauses = [after(replace(GOOD, failures=number)) for number in (1, 2, 3, 7, 8, 100)]
    assert pauses == [300, 600, 1_200, 19_200, 6 * HOUR, 6 * HOUR]
    assert after(replace(GOOD, failures=50), 400) == 400


@pytest.mark.parametrize("end", [None, NOW - 1])
def test_without_a_good_list_an_hour_is_the_longest_pause(end: float | None) -> None:
    assert after(replace(GOOD, failures=50, next_update=end)) == HOUR


def test_who_asks_for_it_gets_it_at_once() -> None:
    assert after(replace(GOOD, failures=9, wanted=True)) == 0


def test_a_clock_that_was_set_back_does_not_hold_it_up() -> None:
    assert after(replace(GOOD, tried=NOW + 30 * DAY, reached=NOW + 30 * DAY)) == 0


moments = st.floats(NOW - 40 * DAY, NOW + 40 * DAY)


@given(
    st.builds(
        Standing,
        tried=st.just(NOW),
        reached=st.floats(NOW - 40 * DAY, NOW),
        failures=st.integers(0, 1_000),
        wanted=st.just(False),
        this_update=st.none() | moments,
        next_update=st.none() | moments,
    ),
    st.floats(300, 365 * DAY),
)
@settings(max_examples=100)
def test_it_never_runs_in_a_loop_and_never_sleeps_past_the_interval(standing: Standing, every: float) -> None:
    """Right after an attempt there is a pause of five minutes at least, and the interval is the longest."""
    standing = standing if standing.failures else replace(standing, reached=NOW)
    assert 299.999 <= after(standing, every) <= every + 0.001  # floats of this size have no more places
