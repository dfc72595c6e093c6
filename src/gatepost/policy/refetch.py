"""When a revocation list is fetched next.

After a good fetch: when the operator's interval is over, or some time before the list says that the next one comes, whichever is
first. That margin is a tenth of the list's life, six hours at most. Within it the list is asked for several times, since authorities
publish late. After a failure: five minutes, then twice as long each time, up to six hours, and never longer than the interval.
A list that is out of date is asked for at least once an hour. A server that gives the list we have is no
failure while that list is good, and one when it is out of date.

A clock that was set back counts nothing: what was tried in the future is due now.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE = 300.0
LONGEST_PAUSE = 6 * 3600.0
STALE_PAUSE = 3600.0
LONGEST_MARGIN = 6 * 3600.0
LOOKS_IN_MARGIN = 8
CLOCK_SLACK = 60.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with one list; seconds since the epoch, 0 is never.

    `this_update` and `next_update` are those of the list in use (None without one, or where it does not say). `reached` is when a list
    was last had, `failures` counts the attempts since then that gave none; `wanted` says that somebody asked for it.
    """

    tried: float = 0.0
    reached: float = 0.0
    failures: int = 0
    wanted: bool = False
    this_update: float | None = None
    next_update: float | None = None


@dataclass(frozen=True, slots=True)
class When:
    """The moment, and why then."""

    at: float
    reason: str


def next_fetch(standing: Standing, every: float, now: float) -> When:
    """When to fetch; a moment that is not after `now` means at once."""
    if standing.wanted:
        return When(now, "asked for")
    if not standing.tried:
        return When(now, "never fetched")
    if standing.tried > now + CLOCK_SLACK:
        return When(now, "the clock was set back")
    if standing.failures:
        return When(standing.tried + _pause(standing, every, now), "the last attempt failed")
    interval = When(standing.reached + every, "the interval is over")
    if standing.next_update is None or standing.this_update is None:
        return interval
    margin = _margin(standing.this_update, standing.next_update)
    soonest = standing.reached + max(FIRST_PAUSE, margin / LOOKS_IN_MARGIN)
    update = When(max(standing.next_update - margin, soonest), "its next update is due")
    return min(interval, update, key=lambda when: when.at)


def _pause(standing: Standing, every: float, now: float) -> float:
    longest = min(LONGEST_PAUSE, every)
    if standing.next_update is None or standing.next_update < now:
        longest = min(longest, STALE_PAUSE)
    return min(FIRST_PAUSE * 2.0 ** min(standing.failures - 1, 16), longest)


def _margin(this_update: float, next_update: float) -> float:
    return min(LONGEST_MARGIN, max(0.0, next_update - this_update) / 10)
