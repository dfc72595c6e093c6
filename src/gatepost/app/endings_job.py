"""The job that reminds of destination entries that end, and tells when one has ended (`until` of destination controls).

Each mark of `policy.endings` is one alert, under the key `until:DOMAIN`: information a week before, a warning a day before. That an entry has
ended is a warning too, unless the same holds afterwards. What was told is kept in the store after the outbox has it; a desk that dies in
between tells it again, and the outbox knows the key. The job sleeps until the next mark, an hour at most, and looks again after every commit.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from gatepost.app.newest import NewestConfiguration
from gatepost.core.ports import Alert, AlertPort, Clock
from gatepost.policy.endings import DAY, Change, Ending, due_mark, endings, next_mark, rule_words
from gatepost.store.config_store import ConfigStore

META = "endings"  # in the store: the last mark told, by entry and day
AT_LEAST = 1.0


class EndingsJob:
    """Implements `app.jobs.Job`."""

    name = "endings"

    def __init__(self, store: ConfigStore, alerts: AlertPort, clock: Clock) -> None:
        self._store = store
        self._alerts = alerts
        self._clock = clock
        self._newest = NewestConfiguration(store)
        self._endings: tuple[Ending, ...] = ()

    async def run(self) -> float:
        """Tell what is due; the seconds to the next mark."""
        await self._follow_configuration()
        now, told = self._clock.now(), _told(self._store.get_meta(META))
        left = {name: told[name] for one in self._endings if (name := _name(one)) in told}
        for one in self._endings:
            mark = due_mark(one, left.get(_name(one)), now)
            if mark is not None:
                await self._alerts.tell(ending_alert(one, mark, now))
                left[_name(one)] = mark
        if left != told:
            self._store.put_metas({META: orjson.dumps(left) if left else None})
        return max(AT_LEAST, min((next_mark(one, now) for one in self._endings), default=now + DAY) - now)

    async def _follow_configuration(self) -> None:
        found = await self._newest.take_read()
        if found is not None:
            self._endings = tuple(endings(found[1]))


def _name(one: Ending) -> str:
    """What an entry is remembered by: another day is another end, and a proposal is not the entry that it would replace."""
    return f"{one.domain.lower()} {one.until.isoformat()}{' monitor' if one.monitor else ''}"


def _told(data: bytes | None) -> Mapping[str, int]:
    """What was kept; nothing for what cannot be read."""
    try:
        return {str(name): int(mark) for name, mark in orjson.loads(data or b"{}").items()}
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        return {}


def ending_alert(one: Ending, mark: int, now: float) -> Alert:
    """The reminder of one mark: why the entry exists, and which level holds afterwards."""
    ended = mark == 0
    if ended:
        when, severity = "has ended", "information" if one.change is Change.SAME else "warning"
    else:
        left = max(1, -int((now - one.at) // DAY))  # begun days count
        when, severity = (
            f"ends in {left} day{'s' if left != 1 else ''}",
            "warning" if mark == 1 and not one.monitor else "information",
        )
    holds = "held" if ended else "holds"
    lines = (
        f"The entry {one.path} for {one.domain} {holds} through {one.until.isoformat()} (UTC).",
        "",
        f"  Why it exists:  {one.reason or '(no reason is given)'}",
        *_rules(one),
        "",
        _meaning(one),
        "A later day under `until` prolongs it; what is to stay needs no `until`.",
    )
    key = f"until:{one.domain}{':monitor' if one.monitor else ''}"
    what = "Monitoring" if one.monitor else "Exception"
    return Alert(key, severity, f"{what} for {one.domain} {when}", "\n".join(lines))


def _rules(one: Ending) -> tuple[str, str]:
    """What holds before and after; of an entry in monitor mode, what it evaluates and what is enforced all the time."""
    if one.monitor and one.before.monitored is not None:
        return (
            f"  Evaluated:  {rule_words(one.before.monitored)}",
            f"  Enforced:  {rule_words(one.before)} ({one.before.path})",
        )
    return (
        f"  Until then:  {rule_words(one.before)}",
        f"  Afterwards:  {rule_words(one.after)} ({one.after.path})",
    )


def _meaning(one: Ending) -> str:
    if one.monitor:
        return f"It is in monitor mode and was never enforced: {one.before.level.value} goes on. What it would refuse is not told any more then."
    before, after = one.before.level.value, one.after.level.value
    match one.change:
        case Change.WEAKER:
            return f"What holds then is weaker: mail may go with less than this entry asks for ({after} instead of {before})."
        case Change.STRICTER:
            return (
                f"What holds then is stricter ({after} instead of {before}): mail that passes now may have to wait"
                " if the recipients' servers do not meet it."
            )
        case Change.MIXED:
            return f"What holds then is stricter in one thing and weaker in another ({after} instead of {before})."
    return f"For TLS the same holds then ({after})."
