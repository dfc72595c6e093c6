"""The job that tells of addresses and users that are locked because SMTP AUTH failed too often for them. It reads the log of events.

Every ten seconds it reads what `events.jsonl` got since the last look (`track.event_reader`). All locks of one look are one alert, and all alerts of
this kind are one trouble: whoever is attacked from a thousand addresses is mailed as the outbox sees fit (`policy.alert`), not a thousand times.
While no policy has `smtp_auth` nothing is read.

The position is a value of the store, written after the outbox has the alert. A log that was put away and pruned before it was read loses its locks; the
counters of `gatepost metrics` have them. For the first time reading begins with the last hour, at most 16 MiB back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import orjson

from gatepost.core.auth_events import SmtpAuthLocked
from gatepost.core.ports import Alert, AlertPort, Clock
from gatepost.store.config_store import ConfigStore
from gatepost.store.payload import asks_users
from gatepost.track.event_reader import EventReader, Position

META = "auth-locks"  # in the store: how far the log was read
LOOK, AT_ONCE, IDLE = 10.0, 0.05, 3_600.0  # seconds to the next look
LIMIT = 16 << 20  # octets a look, and before the end where reading begins for the first time
FIRST_SECONDS = 3_600.0
KEEP_POSITION = 60.0  # seconds between two writes when nothing was found
NAMED = 20  # in one alert


class AuthJob:
    """Implements `app.jobs.Job`."""

    name = "auth-locks"

    def __init__(self, store: ConfigStore, reader: EventReader, alerts: AlertPort, clock: Clock) -> None:
        self._store = store
        self._reader = reader
        self._alerts = alerts
        self._clock = clock
        self._position = _unpacked(store.get_meta(META))
        self._since = 0.0  # what happened before is not told
        self._kept = clock.now()

    async def run(self) -> float:
        """One look at the log; the seconds to the next."""
        version = self._store.latest()
        if version is None or not asks_users(version.content.document):
            if self._position is not None:
                self._position = None
                self._store.put_metas({META: None})
            return IDLE
        if self._position is None:
            self._since = self._clock.now() - FIRST_SECONDS
            self._position = await asyncio.to_thread(self._reader.near_end, LIMIT)
        read = await asyncio.to_thread(self._reader.read, self._position, (SmtpAuthLocked,), LIMIT)
        found = [e for e in read.events if isinstance(e, SmtpAuthLocked) and e.at >= self._since]
        if found:
            await self._alerts.tell(locked_alert(found))
        moved, self._position = read.position != self._position, read.position
        if moved and (found or not 0 <= self._clock.now() - self._kept < KEEP_POSITION):
            self._kept = self._clock.now()
            self._store.put_meta(META, orjson.dumps(asdict(read.position)))
        return AT_ONCE if read.more else LOOK


def locked_alert(found: Sequence[SmtpAuthLocked]) -> Alert:
    """One alert for all of them."""
    names = list(dict.fromkeys(f"{one.locked} {one.name} ({one.failures} failures)" for one in found))
    shown = [f"  {name}" for name in names[:NAMED]]
    if len(names) > NAMED:
        shown.append(f"  and {len(names) - NAMED} more")
    lines = (
        "SMTP AUTH failed too often within an hour. For these nothing is tried until the hour is over:",
        "",
        *shown,
        "",
        "An address that fails guesses pass-phrases, or holds an old one. A user who is locked cannot send until then, whoever",
        "it was that failed. `grep 'SMTP Auth' logs/mail_logs` shows the attempts, `gatepost user disable NAME` keeps a user out.",
    )
    first = names[0].partition(" (")[0]
    subject = f"SMTP AUTH: {first} is locked" + (f", and {len(names) - 1} more" if len(names) > 1 else "")
    return Alert("smtp-auth-locked", "warning", subject, "\n".join(lines), len(found))


def _unpacked(data: bytes | None) -> Position | None:
    """What was kept; nothing for what cannot be read."""
    try:
        return Position(**orjson.loads(data)) if data else None
    except (orjson.JSONDecodeError, TypeError):
        return None
