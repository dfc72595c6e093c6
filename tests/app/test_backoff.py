"""The waits between lives."""

from gatepost.app.backoff import Backoff


def test_the_wait_doubles_to_a_minute_and_no_further() -> None:
    backoff = Backoff()
    assert [backoff.after(0.1) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_good_life_forgives() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(0.1)
    assert [backoff.after(10.0), backoff.after(0.1)] == [1, 2]
