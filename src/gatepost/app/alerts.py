"""Alerts as mail: whoever subscribed is told through the gateway's own queue (R30's class and severity words).

How it works. `tell` puts an alert into the outbox, a small value of the store, and tries at once to hand it to a mail worker. What no
worker takes (none is up, the disk is full) stays there and is tried again by the job of this module, also after a restart. From
the worker on it is a message like any other.

The same trouble, by the alert's key, is mailed once an hour, unless it has become graver. Every alert leaves an `AlertRaised` in the log,
whatever becomes of its mail; when a mail has to wait, that is said once, with the reason.

Limits. 100 alerts wait at most, then the least grave and oldest goes; none waits longer than three days. 500 keys are remembered. An
alert of the gateway's own trouble is as good as its queue: it is no substitute for watching from outside.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from gatepost.app.channel import ChannelClosed, PeerBug
from gatepost.control.alert_mail import send_alert
from gatepost.control.ports import Gateway
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.errors import OperatorError
from gatepost.core.events import Warned
from gatepost.core.ports import Alert, Clock
from gatepost.policy.alert import SEVERITIES, rank, told_already
from gatepost.store.config_store import ConfigStore

META = "alerts"  # in the store: the outbox, and what was told when
MAX_WAITING = 100
MAX_TOLD = 500
MAX_AGE = 3 * 86_400.0
AGAIN_SECONDS = 30.0
MAX_KEY, MAX_SUBJECT, MAX_TEXT = 300, 300, 20_000

TOLD_ALREADY = "the same was mailed less than an hour ago"
NO_ROOM = "too many alerts wait already"
TOO_OLD = "it waited for three days"


@dataclass(slots=True)
class Waiting:
    """An alert in the outbox; `token` is its name for ever, `at` when it was raised."""

    token: str
    key: str
    severity: str
    subject: str
    text: str
    at: float

    def alert(self) -> Alert:
        return Alert(self.key, self.severity, self.subject, self.text)


@dataclass(slots=True)
class Outbox:
    """What waits, oldest first, and what was told when and how gravely."""

    waiting: list[Waiting] = field(default_factory=list)
    told: dict[str, tuple[float, str]] = field(default_factory=dict)

    def waits(self, key: str, severity: str) -> bool:
        """The same trouble waits already, and no less grave."""
        return any(one.key == key and rank(one.severity) >= rank(severity) for one in self.waiting)

    def put(self, new: Waiting) -> Waiting | None:
        """Take an alert in; returns the one that had to make room, which may be the new one."""
        self.waiting = [one for one in self.waiting if one.key != new.key] + [new]
        if len(self.waiting) <= MAX_WAITING:
            return None
        least = min(self.waiting, key=lambda one: (rank(one.severity), one.at))
        self.waiting.remove(least)
        return least

    def postpone(self, one: Waiting) -> None:
        """Let the others have their turn first."""
        self.waiting.remove(one)
        self.waiting.append(one)

    def done(self, one: Waiting, now: float) -> None:
        """It was mailed."""
        self.waiting.remove(one)
        self.told.pop(one.key, None)
        self.told[one.key] = (now, one.severity)
        while len(self.told) > MAX_TOLD:
            del self.told[next(iter(self.told))]

    def packed(self) -> bytes:
        return orjson.dumps({"waiting": [asdict(one) for one in self.waiting], "told": self.told})

    @classmethod
    def unpacked(cls, data: bytes | None) -> Outbox:
        """What `packed` wrote; an empty one for what cannot be read."""
        try:
            raw = orjson.loads(data or b"{}")
            told = {str(key): (float(at), str(severity)) for key, (at, severity) in raw["told"].items()}
            return cls([Waiting(**one) for one in raw["waiting"]], told)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            return cls()


class MailedAlerts:
    """Implements `core.ports.AlertPort`, and is the job (`app.jobs.Job`) that tries again."""

    name = "alerts"

    def __init__(self, store: ConfigStore, gateway: Gateway, clock: Clock) -> None:
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._outbox = Outbox.unpacked(store.get_meta(META))
        self._turn = asyncio.Lock()
        self._work = asyncio.Event()
        self._complained: set[str] = set()  # tokens of what waits and was told of

    async def tell(self, alert: Alert, /) -> None:
        """Take an alert. Never fails; returns when it is in the queue, or waits in the outbox."""
        async with self._turn:
            new = self._taken(alert)
            if new is None:
                return
            dropped = self._outbox.put(new)
            self._keep()
            if dropped is not None:
                self._raised(dropped, 0, NO_ROOM)
            if dropped is not new:
                await self._try(new)

    async def run(self) -> float:
        """The job: sleep until something waits, then try what waits."""
        if self._outbox.waiting:
            self._work.set()
        await self._work.wait()
        async with self._turn:
            self._work.clear()
            for one in list(self._outbox.waiting):
                if not await self._try(one):
                    break
        return AGAIN_SECONDS

    # --- one alert ---------------------------------------------------------------------------

    def _taken(self, alert: Alert) -> Waiting | None:
        """The alert for the outbox; None where the same was told already, or waits to be."""
        now = self._clock.now()
        severity = alert.severity if alert.severity in SEVERITIES else SEVERITIES[-1]
        key, subject, text = (
            _text(alert.key, MAX_KEY),
            _text(alert.subject, MAX_SUBJECT),
            _text(alert.text, MAX_TEXT),
        )
        new = Waiting(f"alert.{secrets.token_hex(12)}", key, severity, subject, text, now)
        if told_already(severity, now, self._outbox.told.get(key)):
            self._raised(new, 0, TOLD_ALREADY)
            return None
        return None if self._outbox.waits(key, severity) else new

    async def _try(self, one: Waiting) -> bool:
        """Hand it to a worker; False when none takes it, so that it has to wait."""
        now = self._clock.now()
        if now - one.at > MAX_AGE:
            self._outbox.waiting.remove(one)
            self._raised(one, 0, TOO_OLD)
            self._keep()
            return True
        try:
            sent = await send_alert(self._gateway, self._document(), one.alert(), one.token, now)
        except Exception as error:  # noqa: BLE001 - the boundary of an alert: whatever is in its way, it waits
            self._wait(one, _reason(error))
            return False
        self._complained.discard(one.token)
        self._outbox.done(one, now)
        if not sent.recipients:
            del self._outbox.told[one.key]  # who subscribes within the hour shall be told
        self._keep()
        self._raised(one, len(sent.recipients), "")
        return True

    def _wait(self, one: Waiting, reason: str) -> None:
        self._work.set()
        self._outbox.postpone(one)
        if one.token not in self._complained:
            self._complained.add(one.token)
            self._raised(one, 0, f"{reason}; it waits and is tried again")
        self._complained &= {waiting.token for waiting in self._outbox.waiting}

    def _document(self) -> Mapping[str, Any]:
        version = self._store.latest()
        return version.content.document if version is not None else {}

    def _raised(self, one: Waiting, recipients: int, reason: str) -> None:
        self._gateway.emit(AlertRaised(self._clock.now(), one.severity, one.subject, recipients, reason))

    def _keep(self) -> None:
        """Make the outbox durable. Where that fails it lives on in memory: an alert is not lost for a full disk."""
        try:
            self._store.put_meta(META, self._outbox.packed())
        except Exception as error:  # noqa: BLE001 - the boundary of an alert: whoever tells one is not to fail with it
            text = f"alerts that wait could not be stored ({type(error).__name__}); they are lost when the desk ends"
            self._gateway.emit(Warned(self._clock.now(), text))


def _text(text: str, limit: int) -> str:
    """Bounded, and without the half characters that no file can hold."""
    return text[:limit].encode("utf-8", "backslashreplace").decode("utf-8")


def _reason(error: Exception) -> str:
    match error:
        case OperatorError():
            return error.message
        case PeerBug():
            return f"internal error, reference {error}"
        case ChannelClosed() | TimeoutError():
            return "the mail workers did not answer"
    return f"internal error ({type(error).__name__})"
