"""Destination entries that end: when somebody is reminded, and which rule holds then (`until` of destination controls).

An entry holds through its day, UTC. Seven days and one day before it ends its administrators are reminded, and they are told when it has
ended. What holds afterwards is asked of the table itself, for the day behind the last: another entry or the default. The two are
compared part by part, so that an end that lowers what is asked for is never silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from gatepost.config.model import Document
from gatepost.config.outbound import Dane
from gatepost.core.address import normalise_domain
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.outbound import compile_destinations
from gatepost.policy.tls_out import LEVELS_BY_STRICTNESS

DAY = 86_400.0
MARKS = (7, 1, 0)  # days before the end
LONG_AGO = 7 * DAY  # what ended longer ago and was never seen before is not told
_DANE = (Dane.NONE, Dane.OPPORTUNISTIC, Dane.MANDATORY)


class Change(StrEnum):
    """What the end of an entry does to what a delivery must be like."""

    WEAKER = "weaker"
    STRICTER = "stricter"
    MIXED = "mixed"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Ending:
    """One entry that ends: `at` is the first moment in which it does not hold any more.

    With `monitor` it is one that is only evaluated, so that what is enforced stays as it is.
    """

    domain: str
    path: str
    reason: str
    until: date
    before: DestinationRule
    after: DestinationRule
    monitor: bool = False

    @property
    def at(self) -> float:
        day = datetime.combine(self.until + timedelta(days=1), time.min, UTC)
        return day.timestamp()

    @property
    def change(self) -> Change:
        return compare(self.before, self.after)


def endings(document: Document) -> Iterator[Ending]:
    """Every entry with an end, past ones too, in the order of the configuration."""
    table = compile_destinations(document)
    for index, item in enumerate(document.destination_controls.destinations):
        if item.until is None or item.until == date.max:
            continue
        name = _name_inside(item.domain)
        before = table.find(name, item.until)
        path = f"destination_controls.destinations[{index}]"
        watched = before.monitored.path if before.monitored is not None else ""
        if path in (before.path, watched):
            after = table.find(name, item.until + timedelta(days=1))
            yield Ending(item.domain, path, item.reason or "", item.until, before, after, item.monitor)


def _name_inside(domain: str) -> str:
    """A name for which the entry holds, and no exact entry of a name below it."""
    if domain.startswith("."):
        return f"*.{normalise_domain(domain[1:])}"
    return normalise_domain(domain)


def compare(before: DestinationRule, after: DestinationRule) -> Change:
    """Whether `after` asks for less or more than `before` in what concerns TLS."""
    weaker = stricter = False
    for old, new in zip(_demands(before), _demands(after), strict=True):
        weaker |= new < old
        stricter |= new > old
    if weaker and stricter:
        return Change.MIXED
    return Change.WEAKER if weaker else Change.STRICTER if stricter else Change.SAME


def _demands(rule: DestinationRule) -> tuple[float, ...]:
    """The more, the stricter, part by part. A level of None asks for nothing else either (R23)."""
    never = float("inf")
    clear_after = never if rule.preferred_clear_after is None else float(rule.preferred_clear_after)
    return (
        LEVELS_BY_STRICTNESS.index(rule.level),
        _DANE.index(rule.dane) if rule.asks_dane else 0,
        int(rule.asks_sts),
        int(not rule.insecure_names) if rule.level.verifies else 0,
        clear_after if rule.level.tries and not rule.level.mandatory else never,
    )


def due_mark(ending: Ending, told: int | None, now: float) -> int | None:
    """The mark (days before the end) that is due and was not told yet; `told` is the last one that was."""
    passed = [mark for mark in MARKS if now >= ending.at - mark * DAY]
    if not passed:
        return None
    mark = min(passed)
    if told is not None and told <= mark:
        return None
    if mark == 0 and told is None and now - ending.at > LONG_AGO:
        return None
    return mark


def next_mark(ending: Ending, now: float) -> float:
    """When there is something to tell again; infinity when all is past."""
    later = (ending.at - mark * DAY for mark in MARKS)
    return min((at for at in later if at > now), default=float("inf"))


def rule_words(rule: DestinationRule) -> str:
    """`tls required-verify, dane none, mta_sts false`, and what else loosens it."""
    words = [f"tls {rule.level.value}", f"dane {rule.dane.value}", f"mta_sts {str(rule.mta_sts).lower()}"]
    if rule.insecure_names:
        words.append("insecure_names allow")
    if rule.preferred_clear_after is not None:
        words.append(f"preferred_clear_after {rule.preferred_clear_after}")
    return ", ".join(words)
