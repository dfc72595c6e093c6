"""Who is told of an alert, and whether the same trouble is told again.

A recipient takes the classes and severities that its entry names; all alerts so far are of class System. The same
trouble (an alert's key) is mailed once an hour, unless it has become graver meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatepost.config.model import Alerts

QUIET_SECONDS = 3_600.0
SEVERITIES = ("information", "warning", "critical")  # of `config.model.AlertSeverity`, the gravest last
SYSTEM = "system"
ALL = "all"


def recipients_of(alerts: Alerts, severity: str, about: str = SYSTEM) -> tuple[str, ...]:
    """The addresses that take alerts of this class and severity, each once, in the order of the configuration."""
    found = (
        recipient.address
        for recipient in alerts.recipients
        if _takes(recipient.classes, about) and _takes(recipient.severities, severity)
    )
    return tuple(dict.fromkeys(found))


def _takes(chosen: Collection[str], one: str) -> bool:
    return ALL in chosen or one in chosen


def told_already(severity: str, now: float, told: tuple[float, str] | None) -> bool:
    """The same was told (at a time, with a severity) less than an hour ago, and not as something lesser.

    A time in the future is of a clock that was wrong, and does not count.
    """
    if told is None:
        return False
    at, before = told
    return 0 <= now - at < QUIET_SECONDS and rank(before) >= rank(severity)


def rank(severity: str) -> int:
    """The higher, the graver; a word that is not known counts as the gravest."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
