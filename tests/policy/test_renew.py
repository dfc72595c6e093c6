"""Renewal in time for every length of life, never a loop, and tries that back off but do not give up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.policy.renew import (
    EXPIRED_WAIT,
    MAX_RETRY_AFTER,
    MIN_WAIT,
    Cause,
    Window,
    next_try,
    when_to_renew,
)

HOUR, DAY = 3600.0, 86_400.0
TEN_YEARS = 3650 * DAY
START = 1_800_000_000.0
LIVES = st.floats(HOUR, TEN_YEARS)


@pytest.mark.parametrize(
    ("days", "after"), [(6, 4.0), (47, 47 * 2 / 3), (90, 60.0), (398, 398 * 2 / 3), (3650, 3650 * 2 / 3)]
)
def test_two_thirds_of_any_life(days: int, after: float) -> None:
    when = when_to_renew(START, START + days * DAY, START)
    assert when.at == pytest.approx(START + after * DAY)
    assert when.cause is Cause.FRACTION
    assert when.reason == "67% of its life"
    assert not when.due(when.at - 1)
    assert when.due(when.at)


def test_another_fraction() -> None:
    assert when_to_renew(START, START + 90 * DAY, START, None, 0.5).at == START + 45 * DAY
    assert when_to_renew(START, START + 90 * DAY, START, None, 7.0).at == START + 85.5 * DAY


def test_the_place_in_the_window_is_the_callers() -> None:
    window = Window(START + 50 * DAY, START + 54 * DAY, 6 * HOUR)
    moments = [
        when_to_renew(START, START + 90 * DAY, START, window, jitter=jitter).at for jitter in (0.0, 0.25, 1.0)
    ]
    assert moments == [START + 50 * DAY, START + 51 * DAY, START + 54 * DAY]


def test_a_window_in_the_past_is_now() -> None:
    now = START + 10 * DAY
    window = Window(START + 8 * DAY, START + 9 * DAY, 6 * HOUR, "https://ca.example/why")
    when = when_to_renew(START, START + 90 * DAY, now, window)
    assert (when.at, when.cause) == (now, Cause.WINDOW_PASSED)
    assert "https://ca.example/why" in when.reason


def test_a_window_behind_the_end_does_not_let_the_certificate_expire() -> None:
    window = Window(START + 95 * DAY, START + 96 * DAY, 6 * HOUR)
    assert when_to_renew(START, START + 90 * DAY, START, window).at == START + 85.5 * DAY


def test_a_window_that_ends_before_it_starts_does_not_count() -> None:
    window = Window(START + 9 * DAY, START + 8 * DAY, 6 * HOUR)
    assert when_to_renew(START, START + 90 * DAY, START, window).at == START + 60 * DAY


def test_a_certificate_that_is_dated_back_is_not_due_when_it_comes() -> None:
    """Sixty of its ninety days are over when the CA issues it: renewing at once would never end."""
    now = START + 60 * DAY
    when = when_to_renew(START, START + 90 * DAY, now, obtained=now)
    assert when.at == pytest.approx(now + 20 * DAY)


@settings(max_examples=100)
@given(
    life=LIVES,
    back=st.floats(0.0, 0.95),
    fraction=st.floats(-1.0, 2.0),
    jitter=st.floats(-1.0, 2.0),
    window=st.none() | st.tuples(st.floats(-TEN_YEARS, TEN_YEARS), st.floats(-DAY, TEN_YEARS)),
)
def test_a_fresh_certificate_is_never_due_at_once_and_always_before_its_end(
    life: float, back: float, fraction: float, jitter: float, window: tuple[float, float] | None
) -> None:
    """Whatever the CA suggests, and however far it dates back: between 5 % and 95 % of what is left."""
    not_after = START + life
    now = START + life * back
    suggested = None if window is None else Window(now + window[0], now + window[0] + window[1], HOUR)
    when = when_to_renew(START, not_after, now, suggested, fraction, obtained=now, jitter=jitter)
    left = not_after - now
    assert when.at >= now + min(left / 20, 6 * HOUR) * 0.999
    assert when.at <= now + left * 0.951


@settings(max_examples=100)
@given(life=LIVES, window=st.none() | st.floats(-0.5, 1.5))
def test_renewals_of_renewals_are_few(life: float, window: float | None) -> None:
    """A CA that issues at once, and suggests whatever it likes: each renewal still takes its time."""
    now = START
    for _ in range(20):
        suggested = (
            None if window is None else Window(now + window * life, now + window * life + life / 50, HOUR)
        )
        when = when_to_renew(now, now + life, now, suggested, obtained=now)
        assert not when.due(now)
        now = when.at
    assert now >= START + 20 * min(life / 20, 6 * HOUR) * 0.999


def test_a_moment_from_a_clock_that_was_ahead_does_not_delay_the_renewal() -> None:
    now = START + DAY
    when = when_to_renew(START, START + 6 * DAY, now, obtained=START + 5 * DAY)
    assert when.at <= now + 5 * DAY * 2 / 3


# --- again -----------------------------------------------------------------------------------------------


def test_waits_double_and_end_at_a_share_of_what_is_left() -> None:
    waits = [next_try(n, START + 30 * DAY, START) - START for n in range(1, 12)]
    assert waits[:5] == [300, 600, 1200, 2400, 4800]
    assert waits[-1] == DAY  # the longest
    assert [next_try(n, START + 2 * DAY, START) - START for n in (1, 9)] == [300, 2 * DAY / 20]


def test_a_six_day_certificate_is_tried_often_before_it_ends() -> None:
    now, not_after, tries = START + 4 * DAY, START + 6 * DAY, 0
    while now < not_after:
        tries += 1
        now = next_try(tries, not_after, now)
    assert 20 < tries < 200


def test_the_first_hour_has_few_tries() -> None:
    """CAs block a name after five failed validations an hour."""
    now, failures = START, 0
    while now < START + HOUR:
        failures += 1
        now = next_try(failures, START + 30 * DAY, now, jitter=0.0)
    assert failures <= 5


def test_an_expired_certificate_is_tried_every_hour_at_least() -> None:
    for failures in (1, 5, 50, 10**9):
        assert MIN_WAIT <= next_try(failures, START - DAY, START) - START <= EXPIRED_WAIT


def test_retry_after_counts_within_reason() -> None:
    month = START + 30 * DAY
    assert next_try(1, month, START, 2 * HOUR) == START + 2 * HOUR
    assert next_try(1, month, START, 10.0) == START + 300
    assert next_try(1, month, START, 60 * DAY) == START + MAX_RETRY_AFTER
    assert next_try(1, START + 2 * DAY, START, 7 * DAY) == START + DAY
    assert next_try(1, START, START, 7 * DAY) == START + EXPIRED_WAIT


def test_what_only_people_can_mend_is_asked_more_rarely() -> None:
    assert next_try(1, START + 30 * DAY, START, permanent=True) - START == HOUR
    assert next_try(20, START + 2 * DAY, START, permanent=True) - START == DAY / 2
    assert next_try(20, START - DAY, START, permanent=True) - START == EXPIRED_WAIT


@settings(max_examples=100)
@given(
    failures=st.integers(0, 10**6),
    left=st.floats(-TEN_YEARS, TEN_YEARS),
    retry_after=st.none() | st.floats(0, 1e9),
    permanent=st.booleans(),
    jitter=st.floats(0, 1),
)
def test_a_try_is_never_at_once_and_never_given_up(
    failures: int, left: float, retry_after: float | None, permanent: bool, jitter: float
) -> None:
    wait = next_try(failures, START + left, START, retry_after, permanent=permanent, jitter=jitter) - START
    assert MIN_WAIT * 0.89 <= wait <= MAX_RETRY_AFTER
    if left > 2 * HOUR:
        assert wait <= left * 0.51
