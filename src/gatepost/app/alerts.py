"""Alerts as mail: whoever subscribed is told through the gateway's own queue (R30's class and severity words).

How it works. `tell` puts an alert into the outbox (`app.outbox`, a small value of the store) and tries at once to hand it to a mail
worker. What no worker takes (none is up, the disk is full) stays there and is tried again by the job of this module, also after a
restart. From the worker on it is a message like any other.

The same trouble, by the alert's key, is quiet for a while after its mail, and the longer the more often it was mailed; its end is told to
those who were told of it (`policy.alert` has the rule). The next mail says how often it happened meanwhile. Every alert that is
mailed, waits or begins to be kept quiet leaves an `AlertRaised` in the log; when a mail has to wait, that is said once, with the reason.

Many alerts at once (a name server that fails may concern a thousand domains) are not as many mails: of each severity 20 within five
minutes go out by themselves, and what comes above that waits and goes out together.

What is mailed is also put into the queue of webhooks (`control.alert_hooks`), each alert by itself; neither way waits for the other.

Limits. 100 alerts wait at most, then the least grave and oldest goes; none waits longer than three days. 500 keys are remembered. The
counts of what was kept quiet are written ten seconds apart: a crash may forget some, never an alert. An alert of the gateway's own
trouble is as good as its queue: it is no substitute for watching from outside.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from gatepost.app.channel import ChannelClosed, PeerBug
from gatepost.app.outbox import Outbox, Waiting
from gatepost.control.alert_hooks import JOB as WEBHOOKS
from gatepost.control.alert_hooks import enqueue
from gatepost.control.alert_mail import send_alert
from gatepost.control.ports import Gateway
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.errors import OperatorError
from gatepost.core.events import Warned
from gatepost.core.ports import Alert, Clock
from gatepost.policy.alert import SEVERITIES, Told, may_tell, rank
from gatepost.store.config_store import ConfigStore

META = "alerts"  # in the store: the outbox, and what was told when
MAX_AGE = 3 * 86_400.0
FIRST_AGAIN, AGAIN_SECONDS = 1.0, 30.0  # at a start the desk is often there before a worker
AT_LEAST = 1.0  # seconds between two looks of the job
LONGEST_WAIT = 3_600.0  # a clock that jumps is noticed within an hour
KEEP_COUNTS = 10.0
SINGLE_MAILS, SPAN = 20, 300.0  # of each severity: so many by themselves in so many seconds
MAX_KEY, MAX_SUBJECT, MAX_TEXT = 300, 300, 20_000

TOLD_ALREADY = "the same was mailed a short while ago; from now on it is counted"
CAME_BACK = "it came back soon after its end was mailed, and waits a while"
NO_ROOM = "too many alerts wait already"
TOO_OLD = "it waited for three days"


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
        self._mails: dict[str, deque[float]] = {severity: deque() for severity in SEVERITIES}
        self._kept = 0.0
        self._stuck = 0  # times in a row that no worker took one

    async def tell(self, alert: Alert, /) -> None:
        """Take an alert. Never fails; returns when it is in the queue, or waits in the outbox."""
        async with self._turn:
            new = self._cleared(alert) if alert.clears else self._taken(alert)
            if new is None:
                self._keep_counts()
                return
            dropped = self._outbox.put(new)
            self._keep()
            if dropped is not None:
                self._raised(dropped, 0, NO_ROOM)
            if dropped is not new:
                now = self._clock.now()
                if new.due <= now and self._room(new.severity, now) > 0:
                    await self._try([new])
                if new in self._outbox.waiting:
                    self._work.set()

    async def run(self) -> float:
        """The job: sleep until something waits that may go, then try what waits."""
        if not self._stuck:
            await self._sleep()
        async with self._turn:
            self._work.clear()
            for batch in self._batches(self._clock.now()):
                if not await self._try(batch):
                    break
        return min(FIRST_AGAIN * 2.0 ** min(self._stuck, 9), AGAIN_SECONDS) if self._stuck else AT_LEAST

    async def _sleep(self) -> None:
        """Until something new waits, or until what waits may go."""
        now = self._clock.now()
        times = [self._ready_at(one, now) for one in self._outbox.waiting]
        pause = min([LONGEST_WAIT, *(at - now for at in times)])
        if pause <= 0:
            return
        try:
            async with asyncio.timeout(pause):
                await self._work.wait()
        except TimeoutError:
            pass

    # --- which alerts, and how many mails -------------------------------------------------------

    def _taken(self, alert: Alert) -> Waiting | None:
        """The alert for the outbox; None where the same was told already, or waits to be."""
        new, now = self._waiting(alert), self._clock.now()
        if (end := self._outbox.find(new.key, clears=True)) is not None:
            self._outbox.waiting.remove(end)  # it is not over
        told = self._outbox.told.get(new.key)
        if (same := self._outbox.find(new.key)) is not None:
            if rank(same.severity) >= rank(new.severity):
                same.times += new.times
                return None
            new.times += same.times
        if told is None or may_tell(told, new.severity, now):
            return new
        if told.cleared:
            new.due = told.until
            self._raised(new, 0, CAME_BACK)
            return new
        if not told.missed:
            self._raised(new, 0, TOLD_ALREADY)
        self._outbox.miss(new.key, now, new.times)
        return None

    def _cleared(self, alert: Alert) -> Waiting | None:
        """The end of a trouble for the outbox; None where nobody was told of the trouble."""
        new = self._waiting(alert)
        told, same = self._outbox.told.get(new.key), self._outbox.find(new.key)
        if same is not None:
            self._outbox.waiting.remove(same)
            if told is not None and told.cleared:  # it had come back, and nobody knows
                self._outbox.miss(new.key, self._clock.now(), same.times)
                return None
            return new  # what waited is told with its end, in one
        return None if told is None or told.cleared else new

    def _waiting(self, alert: Alert) -> Waiting:
        return Waiting(
            token=f"alert.{secrets.token_hex(12)}",
            key=_text(alert.key, MAX_KEY),
            severity=alert.severity if alert.severity in SEVERITIES else SEVERITIES[-1],
            subject=_text(alert.subject, MAX_SUBJECT),
            text=_text(alert.text, MAX_TEXT),
            at=self._clock.now(),
            times=alert.times,
            clears=alert.clears,
        )

    def _room(self, severity: str, now: float) -> int:
        """How many mails of a severity may still go out by themselves."""
        mails = self._mails[severity]
        while mails and not now - SPAN < mails[0] <= now:
            mails.popleft()
        return SINGLE_MAILS - len(mails)

    def _ready_at(self, one: Waiting, now: float) -> float:
        return max(one.due, now if self._room(one.severity, now) > 0 else self._mails[one.severity][0] + SPAN)

    def _batches(self, now: float) -> list[list[Waiting]]:
        """What may go now, the gravest first: each by itself, or together where there are too many of a severity."""
        batches = []
        for severity in reversed(SEVERITIES):
            ready = [one for one in self._outbox.waiting if one.severity == severity and one.due <= now]
            room = self._room(severity, now)
            if len(ready) <= room:
                batches += [[one] for one in ready]
            elif room > 0:
                batches.append(ready)
        return batches

    # --- one mail --------------------------------------------------------------------------------

    async def _try(self, batch: Sequence[Waiting]) -> bool:
        """Hand a mail to a worker; False when none takes it, so that it has to wait."""
        now = self._clock.now()
        batch = self._without_old(batch, now)
        if not batch:
            return True
        told = self._outbox.told
        texts = [(one, _counted(one, told.get(one.key))) for one in batch]
        self._post(texts, now)
        alert = _one_mail(texts)
        try:
            sent = await send_alert(self._gateway, self._document(), alert, _token(batch), now)
        except Exception as error:  # noqa: BLE001 - the boundary of an alert: whatever is in its way, it waits
            self._wait(batch, _reason(error))
            return False
        self._stuck = 0
        self._mails[alert.severity].append(now)
        for one in batch:
            self._complained.discard(one.token)
            self._outbox.done(one, now, sent.suppression)
            if not (sent.recipients or one.services or one.clears):
                del told[one.key]  # who subscribes meanwhile shall be told
        self._keep()
        for one in batch:
            self._raised(one, len(sent.recipients), "")
        return True

    def _post(self, batch: Sequence[tuple[Waiting, str]], now: float) -> None:
        """Let the alerts wait for the services that take them, each once."""
        fresh = [(one, text) for one, text in batch if one.services is None]
        try:
            for one, text in fresh:
                alert = Alert(one.key, one.severity, one.subject, text, one.times, clears=one.clears)
                one.services = enqueue(self._store, self._document(), alert, one.token, now)
            if any(one.services for one, _ in fresh):
                self._keep()
                self._gateway.look(WEBHOOKS)
        except Exception as error:  # noqa: BLE001 - the boundary of an alert: it is mailed all the same
            text = f"an alert could not be queued for its webhooks ({type(error).__name__}); the next try of its mail tries that too"
            self._gateway.emit(Warned(now, text))

    def _without_old(self, batch: Sequence[Waiting], now: float) -> list[Waiting]:
        """Give up what waited for too long."""
        old = [one for one in batch if now - one.at > MAX_AGE]
        for one in old:
            self._outbox.waiting.remove(one)
            self._raised(one, 0, TOO_OLD)
        if old:
            self._keep()
        return [one for one in batch if one not in old]

    def _wait(self, batch: Sequence[Waiting], reason: str) -> None:
        self._stuck += 1
        self._work.set()
        for one in batch:
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

    # --- keeping ---------------------------------------------------------------------------------

    def _keep_counts(self) -> None:
        """Make mere counts durable now and then: they come with every message that fails."""
        if not 0 <= self._clock.now() - self._kept < KEEP_COUNTS:
            self._keep()

    def _keep(self) -> None:
        """Make the outbox durable. Where that fails it lives on in memory: an alert is not lost for a full disk."""
        self._kept = self._clock.now()
        try:
            self._store.put_meta(META, self._outbox.packed())
        except Exception as error:  # noqa: BLE001 - the boundary of an alert: whoever tells one is not to fail with it
            text = f"alerts that wait could not be stored ({type(error).__name__}); they are lost when the desk ends"
            self._gateway.emit(Warned(self._clock.now(), text))


def _token(batch: Sequence[Waiting]) -> str:
    """The same for the same alerts: a worker that has kept this mail already does not keep it twice."""
    if len(batch) == 1:
        return batch[0].token
    return f"alerts.{hashlib.sha256(' '.join(one.token for one in batch).encode()).hexdigest()[:24]}"


def _counted(one: Waiting, told: Told | None) -> str:
    """The alert's text, and how often it happened where that is more than once."""
    since = told.missed if told is not None else 0
    total = since if one.clears else since + one.times
    if total <= (0 if one.clears else 1):
        return one.text
    times = "once" if total == 1 else f"{total:,} times"
    if told is None:
        return f"{one.text}\n\nThis happened {times}."
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(told.at))
    return f"{one.text}\n\nSince the mail of {when} this happened {times}."


def _one_mail(batch: Sequence[tuple[Waiting, str]]) -> Alert:
    """What is mailed: the alert, or all of them together, as many as a mail holds."""
    first, text = batch[0]
    if len(batch) == 1:
        return Alert(first.key, first.severity, first.subject, text, clears=first.clears)
    pieces: list[str] = []
    room = MAX_TEXT
    for one, text in batch:
        piece = f"{one.subject}\n\n{text.strip()}"
        if len(piece) > room:
            pieces.append(f"And {len(batch) - len(pieces)} more; the log has them (`Alert`).")
            break
        pieces.append(piece)
        room -= len(piece)
    subject = f"{first.subject}, and {len(batch) - 1} more"
    return Alert(first.key, first.severity, subject, "\n\n\n".join(pieces))


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
