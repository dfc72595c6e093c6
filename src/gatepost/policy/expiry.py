"""When people are told that something expires: marks before its end, each told once.

Two kinds of marks. *Day marks* are the classic ones: 90, 60, 30, 15, 5, 4, 3, 2, 1 and 0 days before the end, and every day after
it. *Fractions* of the life, a third, a sixth and a twelfth, stand where no day mark is near them, so that a certificate
of six days and one of 398 are both watched in their own measure. No mark lies in the first two thirds of a life: a young certificate never
alarms, whatever its length.

What renews itself is told of only when that is overdue: such a life has an `earliest` mark, and those before it are left out.

`due` gives the last mark that has passed, if it was not told yet: several that passed while nobody looked are told as one. What
was told is remembered as a number of seconds before the end, so a clock that goes a little back tells nothing twice. When the last told
mark lies more than two days in the future, the clock was wrong when it was told; then it does not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal

DAY = 86_400.0
DAY_MARKS = (90, 60, 30, 15, 5, 4, 3, 2, 1, 0)
FRACTIONS = (1 / 3, 1 / 6, 1 / 12)
NEAR = 1 / 4  # a day mark this near a fraction, measured by it, stands for it
CRITICAL_DAYS = 5
CLOCK_WAS_WRONG = 2 * DAY

Severity = Literal["warning", "critical"]


class State(StrEnum):
    """Where in its life something is: `expiring` from its first mark on."""

    VALID = "valid"
    EXPIRING = "expiring"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Life:
    """From when to when something is valid, in seconds since the epoch.

    `earliest` is the first mark that may be told, in seconds before the end: half of what `renews_itself` leaves, 0 for only
    the end; None: a third of the life.
    """

    not_before: float
    not_after: float
    earliest: float | None = None

    @property
    def length(self) -> float:
        return max(0.0, self.not_after - self.not_before)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment to be told: `left` seconds before the end, negative after it."""

    left: float
    severity: Severity

    @property
    def expired(self) -> bool:
        return self.left <= 0


def renews_itself(not_before: float, not_after: float, renewal: float = 0.0) -> Life:
    """The life of what is renewed automatically `renewal` seconds before its end (0: a third of its life).

    It is overdue when half of that time is gone.
    """
    length = max(0.0, not_after - not_before)
    return Life(not_before, not_after, (renewal or length / 3) / 2)


def marks(life: Life) -> tuple[Mark, ...]:
    """All marks up to the end, the first told first."""
    return _marks(life.length, life.earliest)


@lru_cache(maxsize=4096)
def _marks(length: float, earliest: float | None) -> tuple[Mark, ...]:
    """The same for every life of a length, and certificates come in few lengths."""
    first = length / 3
    days = [day * DAY for day in DAY_MARKS if day * DAY <= first]
    parts = [length * part for part in FRACTIONS if length * part <= DAY_MARKS[0] * DAY]
    alone = [part for part in parts if not any(abs(day - part) <= part * NEAR for day in days)]
    latest_start = first if earliest is None else earliest
    chosen = sorted({left for left in (*days, *alone) if left <= latest_start}, reverse=True)
    return tuple(Mark(left, _severity(length, left)) for left in chosen)


def due(life: Life, now: float, last: float | None) -> Mark | None:
    """The mark to be told now, or None. `last` is the `left` of the mark that was told last."""
    passed = _passed(life, now)
    if passed is None:
        return None
    if last is None or life.not_after - last > now + CLOCK_WAS_WRONG:
        return passed
    return passed if passed.left < last else None


def next_at(life: Life, now: float) -> float:
    """When the next mark comes, in seconds since the epoch."""
    if now >= life.not_after:
        return life.not_after + (math.floor((now - life.not_after) / DAY) + 1) * DAY
    left = life.not_after - now
    return life.not_after - next(mark.left for mark in marks(life) if mark.left < left)


def state(life: Life, now: float) -> State:
    """Valid, expiring or expired."""
    if now >= life.not_after:
        return State.EXPIRED
    return State.VALID if _passed(life, now) is None else State.EXPIRING


def _passed(life: Life, now: float) -> Mark | None:
    """The last mark that has passed."""
    if now >= life.not_after:
        days = math.floor((now - life.not_after) / DAY)
        return Mark(-days * DAY, "critical")
    left = life.not_after - now
    if left > life.length / 3:
        return None  # in the first two thirds, the usual case
    passed = [mark for mark in marks(life) if mark.left >= left]
    return passed[-1] if passed else None


def _severity(length: float, left: float) -> Severity:
    """Critical from five days on, and for a short life from its last sixth on."""
    return "critical" if left <= min(CRITICAL_DAYS * DAY, length / 6) else "warning"
