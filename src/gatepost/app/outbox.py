"""The outbox of alerts: what waits to be mailed, and what was told of each trouble. A value; it does nothing by itself.

What waits has one entry for each trouble (by its key) and one for its end. An entry may have a time before which it is not mailed: a
trouble that came back in its quiet (`policy.alert`).

Limits. 100 alerts wait at most, then the least grave and oldest goes. 500 keys are remembered, those mailed last.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, field

import orjson

from gatepost.core.ports import Alert
from gatepost.policy.alert import Suppression, Told, cleared, mailed, missed, rank

MAX_WAITING = 100
MAX_TOLD = 500


@dataclass(slots=True)
class Waiting:
    """An alert in the outbox; `token` is its name for ever, `at` when it was raised, `times` how often it happened since it waits.

    It is not mailed before `due`. `services` is for how many webhooks it waits, or waited; None before that is known.
    """

    token: str
    key: str
    severity: str
    subject: str
    text: str
    at: float
    times: int = 1
    clears: bool = False
    due: float = 0.0
    services: int | None = None

    def alert(self) -> Alert:
        return Alert(self.key, self.severity, self.subject, self.text, self.times, clears=self.clears)


@dataclass(slots=True)
class Outbox:
    """What waits, oldest first, and what was told when and how gravely."""

    waiting: list[Waiting] = field(default_factory=list)
    told: dict[str, Told] = field(default_factory=dict)

    def find(self, key: str, *, clears: bool = False) -> Waiting | None:
        """What waits of a trouble, or of its end."""
        return next((one for one in self.waiting if (one.key, one.clears) == (key, clears)), None)

    def put(self, new: Waiting) -> Waiting | None:
        """Take an alert in; returns the one that had to make room, which may be the new one."""
        if (same := self.find(new.key, clears=new.clears)) is not None:
            self.waiting.remove(same)
        self.waiting.append(new)
        if len(self.waiting) <= MAX_WAITING:
            return None
        least = min(self.waiting, key=lambda one: (rank(one.severity), one.at))
        self.waiting.remove(least)
        return least

    def postpone(self, one: Waiting) -> None:
        """Let the others have their turn first."""
        self.waiting.remove(one)
        self.waiting.append(one)

    def miss(self, key: str, now: float, times: int) -> None:
        """It happened so many times more, and nobody is told."""
        self.told[key] = missed(self.told[key], now, times)

    def done(self, one: Waiting, now: float, rule: Suppression) -> None:
        """It was mailed."""
        self.waiting.remove(one)
        before = self.told.pop(one.key, None)
        if one.clears:
            if before is not None:
                self.told[one.key] = cleared(before)
            return
        self.told[one.key] = mailed(before, one.severity, now, rule)
        while len(self.told) > MAX_TOLD:
            del self.told[next(iter(self.told))]

    def packed(self) -> bytes:
        told = {key: astuple(one) for key, one in self.told.items()}
        return orjson.dumps({"waiting": [asdict(one) for one in self.waiting], "told": told})

    @classmethod
    def unpacked(cls, data: bytes | None) -> Outbox:
        """What `packed` wrote; an empty one for what cannot be read."""
        try:
            raw = orjson.loads(data or b"{}")
            told = {str(key): _told(values) for key, values in raw["told"].items()}
            return cls([Waiting(**one) for one in raw["waiting"]], told)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            return cls()


def _told(values: list[object]) -> Told:
    at, severity, *rest = values
    if not isinstance(at, int | float) or not isinstance(severity, str):
        raise TypeError("not what was written")
    return Told(float(at), severity, *rest)  # type: ignore[arg-type]
