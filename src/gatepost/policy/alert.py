"""Who is told of an alert, and whether the same trouble is told again.

A recipient takes the classes and severities that its entry names; all alerts so far are of class System.

The same trouble (an alert's key) is mailed once; then it is quiet for `initial` seconds, after the next mail for twice as long, and so
on up to `longest`. What happens in the quiet is counted, and the next mail says how often it was. A trouble that has become graver is
mailed at once; one that rested for longer than `longest` begins anew, and so does one that was last told by a clock in the future.

A trouble that is over is told as *cleared*, if a mail had told of it and none has told of its end. If it comes back while it is still
quiet, its mail waits for the end of the quiet: what comes and goes all the time is two mails in each of these spans, not two each time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatepost.config.alerts import Alerts

SEVERITIES = ("information", "warning", "critical")  # of `config.model.AlertSeverity`, the gravest last
SYSTEM = "system"
ALL = "all"
KEPT_BACK = 900.0  # seconds that TLS may keep an alert before a notice goes in clear
NOTICE_QUIET = 3_600.0  # between two notices to one domain


def recipients_of(alerts: Alerts, severity: str, about: str = SYSTEM) -> tuple[str, ...]:
    """The addresses that take alerts of this class and severity, each once, in the order of the configuration."""
    found = (
        recipient.address
        for recipient in alerts.recipients
        if _takes(recipient.classes, about) and _takes(recipient.severities, severity)
    )
    return tuple(dict.fromkeys(found))


def webhooks_of(alerts: Alerts, severity: str, about: str = SYSTEM) -> tuple[str, ...]:
    """The URLs of the services that take alerts of this class and severity."""
    return tuple(
        hook.url
        for hook in alerts.webhooks
        if _takes(hook.classes, about) and _takes(hook.severities, severity)
    )


def _takes(chosen: Collection[str], one: str) -> bool:
    return ALL in chosen or one in chosen


def rank(severity: str) -> int:
    """The higher, the graver; a word that is not known counts as the gravest."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


@dataclass(frozen=True, slots=True)
class Suppression:
    """How long the same trouble is quiet: after its first mail, and at most. Seconds; an `initial` above `longest` counts as that."""

    initial: float = 300.0
    longest: float = 3_600.0


@dataclass(frozen=True, slots=True)
class Told:
    """What is remembered of one trouble that was mailed.

    `at` is the time of that mail and `quiet` the seconds behind it; `missed` counts what happened since and was not mailed, `last` is
    when it happened last. `cleared` says that its end was mailed since.
    """

    at: float
    severity: str
    quiet: float = 3_600.0
    missed: int = 0
    last: float = 0.0
    cleared: bool = False

    @property
    def until(self) -> float:
        """The end of the quiet."""
        return self.at + self.quiet


def may_tell(told: Told | None, severity: str, now: float) -> bool:
    """The trouble may be mailed now: it is new, graver than what was told, or the quiet is over."""
    if told is None or rank(severity) > rank(told.severity):
        return True
    return not told.at <= now < told.until


def missed(told: Told, now: float, times: int) -> Told:
    """It happened again, so many times, and nobody is told."""
    return replace(told, missed=told.missed + times, last=max(told.last, now))


def mailed(told: Told | None, severity: str, now: float, rule: Suppression) -> Told:
    """It is mailed now."""
    quiet = min(rule.initial, rule.longest)
    if told is not None and rank(severity) <= rank(told.severity):
        rested = now - max(told.at, told.last)
        if 0 <= rested <= rule.longest:
            quiet = min(max(2 * told.quiet, quiet), rule.longest)
    return Told(now, severity, quiet, last=now)


def cleared(told: Told) -> Told:
    """Its end is mailed now. The quiet goes on as it was, for the case that it comes back."""
    return replace(told, cleared=True)


def notice_due(received: float, last: float | None, now: float) -> bool:
    """A domain is told in clear that an alert waits: TLS has kept one for 15 minutes, and the last notice is an hour old.

    `received` is when the oldest of these alerts began to wait. A last notice in the future was told by a wrong clock.
    """
    if now - received < KEPT_BACK:
        return False
    return last is None or not last <= now < last + NOTICE_QUIET
