"""The job that tells of what expires (issue of certificates' lives, R1 to R18): an event for each mark, and an alert for all of them.

It sleeps until the next mark, an hour at most, and looks again after every commit. What is due in one run is one mail for each
severity. A mark counts as told when its alert is in the outbox and the mark is in the store; a gateway that dies in between tells the
same alert again, and the outbox knows it by its key.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable, Sequence

from gatepost.certs.expiry import (
    AUTHORITY,
    CERTIFICATE,
    INTERMEDIATE,
    Due,
    Item,
    Told,
    Watch,
    next_mark,
)
from gatepost.core.certificate_events import CertificateExpired, CertificateExpires
from gatepost.core.ports import Alert, AlertPort, Clock, Emit
from gatepost.policy.expiry import DAY
from gatepost.store.config_store import ConfigStore

AT_LEAST = 1.0  # seconds between two looks
MANY = 50  # items that one mail writes out


class ExpiryJob:
    """Implements `app.jobs.Job`."""

    name = "expiry"

    def __init__(self, store: ConfigStore, alerts: AlertPort, emit: Emit, clock: Clock) -> None:
        self._store = store
        self._alerts = alerts
        self._emit = emit
        self._clock = clock
        self._watch = Watch(store)
        self._told = Told(store)

    async def run(self) -> float:
        """Tell what is due; returns the seconds to the next mark."""
        version = self._store.latest()
        if version is None:
            return DAY
        now = self._clock.now()
        items = await asyncio.to_thread(self._watch.items, version.content)
        found = self._told.due(items, now)
        if found:
            await self._tell(found, now)
            self._told.keep(found, items, now)
        return max(AT_LEAST, next_mark(items, now) - now)

    async def _tell(self, found: Sequence[Due], now: float) -> None:
        for severity in ("critical", "warning", "information"):
            group = [one for one in found if one.severity == severity]
            if not group:
                continue
            if severity != "information":
                for one in group:
                    self._emit(_event(one, now))
            await self._alerts.tell(expiry_alert(severity, group))


def _event(one: Due, now: float) -> CertificateExpires | CertificateExpired:
    kind = CertificateExpired if one.expired else CertificateExpires
    item = one.item
    return kind(now, item.what, item.name, item.subject, item.life.not_after, one.days)


def expiry_alert(severity: str, group: Sequence[Due]) -> Alert:
    """One alert for all marks of one severity; the same marks have the same key."""
    digest = hashlib.sha256()
    for one in group:
        digest.update(f"{one.item.fingerprint}/{one.mark.left}\n".encode())
    return Alert(f"expiry/{digest.hexdigest()[:32]}", severity, _subject(group), _text(group))


def _subject(group: Sequence[Due]) -> str:
    if len(group) == 1:
        return f"{_title(group[0].item)} {_when(group[0])}"
    expired = sum(one.expired for one in group)
    soon = len(group) - expired
    parts = []
    if soon:
        parts.append(f"{soon} {'expires' if soon == 1 else 'expire'} soon")
    if expired:
        parts.append(f"{expired} {'has' if expired == 1 else 'have'} expired")
    what = (
        "Certificates"
        if any(one.item.what in (CERTIFICATE, INTERMEDIATE) for one in group)
        else "Authorities"
    )
    return f"{what}: {', '.join(parts)}"


def _title(item: Item) -> str:
    if item.what == INTERMEDIATE:
        return f"Intermediate of certificate {item.name}"
    return f"{item.what.capitalize()} {item.name}"


def _when(one: Due) -> str:
    days = f"{one.days} day{'s' if one.days != 1 else ''}"
    if one.expired:
        return f"expired {days} ago" if one.days else "has expired"
    return f"expires in {days}" if one.days else "expires within a day"


def _text(group: Sequence[Due]) -> str:
    pieces = [_paragraph(one) for one in group[:MANY]]
    if len(group) > MANY:
        pieces.append(f"And {len(group) - MANY} more; `gatepost cert list` and `gatepost status` show them.")
    return "\n\n".join(pieces)


def _paragraph(one: Due) -> str:
    item = one.item
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(item.life.not_after))
    lines = [
        f"{_title(item)} {_when(one)}.",
        f"  Subject:  {item.subject}",
        f"  Valid until:  {until}",
        *(f"  {line}" for line in _advice(one)),
    ]
    return "\n".join(lines)


def _advice(one: Due) -> Iterable[str]:
    """What it means and what is to be done."""
    item = one.item
    if not item.used:
        yield "Nothing uses it. Renew it before it is used again, or delete it."
    elif item.what == CERTIFICATE and item.automatic:
        yield "It renews itself, and that is overdue: the log says why (`Renewal of certificate`)."
        yield f"`gatepost cert renew {item.names[0]}` tries at once."
    elif item.what == CERTIFICATE:
        yield "From then on, peers that verify it send no mail over it."
        yield f"Renew it: `gatepost cert renew {item.names[0]}`, or import its successor with --replace."
    elif item.what == INTERMEDIATE:
        yield "It is sent with the certificate; once it has expired, peers may not find a way to a root."
        yield f"`gatepost cert check {item.names[0]} --repair`, or import the present one of your authority."
    elif item.what == AUTHORITY:
        yield "It stands in the custom list; what it signed is not trusted from then on."
        yield "`gatepost ca import FILE --replace` brings a list without it."
    else:
        yield "What was revoked since then is not noticed (`certificate_authorities.crl_stale` says what follows)."
        yield (
            "The log says how fetching goes."
            if item.automatic
            else "Import the present list of the authority."
        )
