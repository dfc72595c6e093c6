"""When a certificate is renewed, and when a renewal that failed is tried again.

When. At a fraction of the life that a certificate had when we got it, two thirds by default, so that one of six days
and one of 398 days are both renewed in time. Where the CA suggests a window (RFC 9773 §4.2), at a point in it that the
caller's `jitter` chooses, always the same for one certificate; at once when that point has passed. Whatever a CA
suggests, 95 % of the life are the latest moment.

Never a loop. Life is counted from when the certificate was obtained, or from its first moment where that is later: a CA that
dates its certificates back cannot make a new one due. And a certificate is never due in its first hours (a
twentieth of its life, six hours at most), whatever window comes with it.

Again. After a failure the wait doubles from five minutes, up to a twentieth of what is left of the certificate (a minute
at least, a day at most). A CA's Retry-After is waited for, but not beyond half of what is left, since an hour too early costs a
refusal and an hour too late the certificate. All times are seconds since the epoch, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FRACTION = 2 / 3
LATEST = 0.95  # of the life, whatever a configuration or a CA says
REST_SHARE = 1 / 20  # of the life, in which a new certificate is never due …
MAX_REST = 6 * 3600.0  # … and at most this

FIRST_WAIT = 300.0  # CAs count failed validations an hour; doubling makes four of them in the first one
MIN_WAIT = 60.0
MAX_WAIT = 86_400.0
EXPIRED_WAIT = 3600.0  # the longest wait when there is nothing left to lose
WAIT_SHARE = 1 / 20
PERMANENT_SHARE = 1 / 4
RETRY_AFTER_SHARE = 1 / 2
MAX_RETRY_AFTER = 7 * 86_400.0
MAX_DOUBLINGS = 30
JITTER = 0.1


class Cause(StrEnum):
    """What the moment comes from."""

    FRACTION = "fraction"
    WINDOW = "window"
    WINDOW_PASSED = "window-passed"


@dataclass(frozen=True, slots=True)
class Window:
    """When the CA would like the renewal to be, and after how many seconds it wants to be asked again."""

    start: float
    end: float
    retry_after: float
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class When:
    """The renewal is due at `at`; `reason` is for people."""

    at: float
    cause: Cause
    reason: str

    def due(self, now: float) -> bool:
        return now >= self.at


def when_to_renew(
    not_before: float,
    not_after: float,
    now: float,
    window: Window | None = None,
    fraction: float = FRACTION,
    *,
    obtained: float | None = None,
    jitter: float = 0.5,
) -> When:
    """When to renew a certificate that we have had since `obtained` (unknown: since its first moment).

    `jitter`, 0 to 1, is the place in the window: derive it from the certificate, so that it stays the same.
    """
    # A stored moment from a clock that was ahead must not push the renewal behind the end.
    since = not_before if obtained is None else min(max(obtained, not_before), max(now, not_before))
    life = max(0.0, not_after - since)
    earliest = since + min(life * REST_SHARE, MAX_REST)
    share = min(max(fraction, 0.0), LATEST)
    by_life = max(since + life * share, earliest)
    if window is None or window.end <= window.start:
        return When(by_life, Cause.FRACTION, f"{share:.0%} of its life")
    chosen = window.start + (window.end - window.start) * min(max(jitter, 0.0), 1.0)
    latest = max(since + life * LATEST, earliest)
    if chosen > latest:
        return When(latest, Cause.FRACTION, f"{LATEST:.0%} of its life; the CA suggests a later moment")
    if chosen <= now:
        return When(
            max(now, earliest), Cause.WINDOW_PASSED, _with("the window that the CA suggests has come", window)
        )
    return When(max(chosen, earliest), Cause.WINDOW, _with("in the window that the CA suggests", window))


def next_try(
    failures: int,
    not_after: float,
    now: float,
    retry_after: float | None = None,
    *,
    permanent: bool = False,
    jitter: float = 0.5,
) -> float:
    """The moment of the next try after `failures` failed ones (1, 2, …) to replace a certificate that ends at `not_after`.

    `permanent`: the CA will say the same until somebody changes something; it is asked more rarely, but asked.
    A profile without any certificate passes `now` as `not_after`.
    """
    left = not_after - now
    longest = min(max(left * WAIT_SHARE, MIN_WAIT), MAX_WAIT) if left > 0 else EXPIRED_WAIT
    doubled = FIRST_WAIT * 2.0 ** min(max(failures - 1, 0), MAX_DOUBLINGS)
    if permanent:
        doubled = max(doubled, EXPIRED_WAIT)
        longest = max(longest, min(left * PERMANENT_SHARE, MAX_WAIT))
    wait = min(doubled, longest) * (1.0 + JITTER * (2.0 * min(max(jitter, 0.0), 1.0) - 1.0))
    if retry_after is not None and retry_after > wait:
        reasonable = min(max(left * RETRY_AFTER_SHARE, EXPIRED_WAIT), MAX_RETRY_AFTER)
        wait = max(wait, min(retry_after, reasonable))
    return now + wait


def _with(text: str, window: Window) -> str:
    return f"{text} ({window.explanation})" if window.explanation else text
