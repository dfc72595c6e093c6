"""When a delayed recipient is tried again, when its sender is warned, and when we give up.

Retry n waits `min(initial_retry * 2^(n-1), max_retry)`, varied by up to 10 % either way so that what failed
together is not tried together, until `max_age` or `max_attempts`, whichever is first (contract, Values).
The last wait is cut so that the last attempt falls on `max_age` and not behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

JITTER = 0.1
MAX_DOUBLINGS = 40  # beyond any max_retry; keeps 2^n a small number


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The times of a bounce profile, in seconds. `delay_warning` 0 means that no sender is warned."""

    initial_retry: float = 60.0
    max_retry: float = 3600.0
    max_age: float = 72 * 3600.0
    max_attempts: int = 100
    delay_warning: float = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at `at` (seconds since the epoch)."""

    at: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Bounce now; `reason` goes into the report."""

    reason: str


def wait_before_retry(schedule: RetrySchedule, number: int, jitter: float) -> float:
    """Seconds before retry `number` (1, 2, …); `jitter` from -1 to 1 spans the 10 % either way."""
    doubled = schedule.initial_retry * 2.0 ** min(number - 1, MAX_DOUBLINGS)
    return min(doubled, schedule.max_retry) * (1.0 + JITTER * jitter)


def after_failure(
    schedule: RetrySchedule, *, received: float, attempts: int, now: float, jitter: float
) -> Retry | GiveUp:
    """What follows temporary failure number `attempts` of a recipient of a message received at `received`."""
    if attempts >= schedule.max_attempts:
        return GiveUp(f"given up after {attempts} attempt{'s' if attempts != 1 else ''}")
    expires = received + schedule.max_age
    if now >= expires:
        return GiveUp(f"given up after {_spoken(schedule.max_age)}")
    return Retry(min(now + wait_before_retry(schedule, attempts, jitter), expires))


def warning_at(schedule: RetrySchedule, received: float) -> float | None:
    """When the sender is told of the delay; None where no one is, or where the bounce comes first."""
    if not 0 < schedule.delay_warning < schedule.max_age:
        return None
    return received + schedule.delay_warning


def warning_due(schedule: RetrySchedule, *, received: float, now: float, warned: bool) -> bool:
    """True once for a recipient, when it has waited for `delay_warning`."""
    moment = warning_at(schedule, received)
    return not warned and moment is not None and now >= moment


def _spoken(seconds: float) -> str:
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds:g} seconds"
