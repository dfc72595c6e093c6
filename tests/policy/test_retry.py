"""The retry schedule of the contract: doubling, ceiling, jitter, both ends, and the delay warning."""

from __future__ import annotations

from itertools import cycle, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.policy.retry import (
    GiveUp,
    Retry,
    RetrySchedule,
    after_failure,
    wait_before_retry,
    warning_at,
    warning_due,
)

DEFAULT = RetrySchedule()


@pytest.mark.parametrize(
    ("number", "wait"), [(1, 60), (2, 120), (3, 240), (6, 1920), (7, 3600), (100, 3600), (10**6, 3600)]
)
def test_waits_double_up_to_the_ceiling(number: int, wait: float) -> None:
    assert wait_before_retry(DEFAULT, number, 0.0) == wait


@pytest.mark.parametrize(("jitter", "wait"), [(-1.0, 54.0), (1.0, 66.0), (0.5, 63.0)])
def test_jitter_spans_ten_per_cent(jitter: float, wait: float) -> None:
    assert wait_before_retry(DEFAULT, 1, jitter) == pytest.approx(wait)


def test_the_first_end_reached_counts() -> None:
    few = RetrySchedule(max_attempts=3, max_age=1000)
    assert after_failure(few, received=0, attempts=2, now=10, jitter=0) == Retry(130)
    assert after_failure(few, received=0, attempts=3, now=10, jitter=0) == GiveUp("given up after 3 attempts")
    old = after_failure(DEFAULT, received=0, attempts=5, now=72 * 3600.0, jitter=0)
    assert old == GiveUp("given up after 3 days")


def test_the_last_attempt_falls_on_the_maximum_age() -> None:
    assert after_failure(DEFAULT, received=0, attempts=50, now=72 * 3600.0 - 100, jitter=1) == Retry(
        72 * 3600.0
    )


@settings(max_examples=60)
@given(jitters=st.lists(st.floats(-1, 1), min_size=1, max_size=8), age=st.integers(1, 400_000))
def test_every_message_ends_and_never_lives_longer_than_allowed(jitters: list[float], age: int) -> None:
    schedule = RetrySchedule(max_age=age)
    now = 0.0
    for attempts, jitter in enumerate(islice(cycle(jitters), 120), start=1):
        step = after_failure(schedule, received=0, attempts=attempts, now=now, jitter=jitter)
        if isinstance(step, GiveUp):
            break
        assert now < step.at <= age
        now = step.at
    else:
        pytest.fail("the schedule has no end")
    assert attempts == schedule.max_attempts or now == age


def test_the_delay_warning_comes_once_and_not_after_the_bounce() -> None:
    assert warning_at(DEFAULT, 100.0) == 100.0 + 4 * 3600
    assert not warning_due(DEFAULT, received=0, now=14399, warned=False)
    assert warning_due(DEFAULT, received=0, now=14400, warned=False)
    assert not warning_due(DEFAULT, received=0, now=14400, warned=True)
    assert warning_at(RetrySchedule(delay_warning=0), 0) is None
    assert warning_at(RetrySchedule(delay_warning=3600, max_age=3600), 0) is None
