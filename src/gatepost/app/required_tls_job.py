"""The job that tells of required TLS that failed, and of its end (R30). It reads the log of events; the mail path knows nothing of it.

How it works. Every two seconds it reads what `events.jsonl` got since the last look (`track.event_reader`), 16 MiB at most, at once
again where more is there. What it looks for is rare: failures at a mandatory level, and, only while some domain fails, which
connection goes where and which has TLS. `policy.required_tls` decides what fails and what works again; each domain's failures of one look
are one alert with their number, and the outbox decides what of it is mailed (`policy.alert`).

With the global switch off and nothing failing the log is not read at all. When it is switched on, reading begins near the end of the log, with
what happened since that commit.

The position and the domains that fail are one value of the store, written after the outbox has the alerts: a desk that dies in between
reads the same again, and the outbox knows the trouble by its key. Looks that found nothing, or only more of the same, are written seconds
apart (decision 0033).

Limits. A log that is removed, or put away and pruned before it was read, loses what it told; the log gets a Warning. A domain of which all
alert recipients are is told of once until it works again: each more would wait in the same queue. Which address a connection has is
known for 10,000 of them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from gatepost.app.newest import NewestConfiguration
from gatepost.core.address import normalise_domain
from gatepost.core.delivery_events import DeliveryOpened, OutboundTlsEstablished, RequiredTlsFailed
from gatepost.core.events import Event, Warned
from gatepost.core.ports import AlertPort, Clock, Emit
from gatepost.policy.required_tls import Failing, FailingDomains, Failure, cleared, trouble
from gatepost.store.config_store import ConfigStore, Version
from gatepost.track.event_reader import EventReader, Position, Read

META = "required-tls"  # in the store: how far the log was read, and which domains fail
LOOK = 2.0
AT_ONCE = 0.05
IDLE = 3_600.0
LIMIT = 16 << 20  # octets a look
FIRST_BACK = 16 << 20  # octets before the end of the log, where reading begins for the first time
FIRST_SECONDS = 3_600.0  # and what is older than this is not told any more then
KEEP_COUNTS, KEEP_POSITION = 10.0, 60.0  # seconds between two writes
MAX_CONNECTIONS = 10_000

LOST = "log files were gone before they were read for alerts: required TLS that failed may not have been told"


class RequiredTlsJob:
    """Implements `app.jobs.Job`."""

    name = "required-tls"

    def __init__(
        self,
        store: ConfigStore,
        reader: EventReader,
        alerts: AlertPort,
        emit: Emit,
        clock: Clock,
        *,
        limit: int = LIMIT,
    ) -> None:
        self._store = store
        self._reader = reader
        self._alerts = alerts
        self._emit = emit
        self._clock = clock
        self._limit = limit
        self._position, self._failing = _unpacked(store.get_meta(META))
        self._since = 0.0  # what happened before is not told
        self._newest = NewestConfiguration(store)
        self._switched_on = False
        self._administrators: frozenset[str] = frozenset()
        self._connections: OrderedDict[int, str] = OrderedDict()  # DCID -> address, while something fails
        self._kept = clock.now()

    async def run(self) -> float:
        """One look at the log; the seconds to the next."""
        self._follow_configuration()
        if not self._switched_on and not self._failing:
            if self._position is not None:
                self._position = None
                self._keep()
            return IDLE
        if self._position is None:
            self._position = await asyncio.to_thread(self._reader.near_end, FIRST_BACK)
        kinds: list[type[Event]] = [RequiredTlsFailed]
        if self._failing:
            kinds += [DeliveryOpened, OutboundTlsEstablished]
        read = await asyncio.to_thread(self._reader.read, self._position, kinds, self._limit)
        if not self._failing and any(isinstance(event, RequiredTlsFailed) for event in read.events):
            # Something began to fail within these lines: what worked behind it counts too.
            kinds = [RequiredTlsFailed, DeliveryOpened, OutboundTlsEstablished]
            read = await asyncio.to_thread(self._reader.read, self._position, kinds, self._limit)
        await self._take(read)
        return AT_ONCE if read.more else LOOK

    def _follow_configuration(self) -> None:
        version = self._newest.take()
        if version is None:
            return
        was_on = self._switched_on
        self._switched_on = _switch(version.content.document)
        self._administrators = _domains_of_recipients(version)
        if self._switched_on and not was_on and self._position is None:
            self._since = max(version.at, self._clock.now() - FIRST_SECONDS)

    # --- one look --------------------------------------------------------------------------------

    async def _take(self, read: Read) -> None:
        if read.lost:
            self._emit(Warned(self._clock.now(), LOST))
        told = await self._follow(read.events)
        self._failing.forget(self._clock.now())
        if not self._failing:
            self._connections.clear()
        moved, self._position = read.position != self._position, read.position
        pause = 0.0 if told else KEEP_COUNTS if read.events else KEEP_POSITION
        if moved and not 0 <= self._clock.now() - self._kept < pause:
            self._keep()

    async def _follow(self, events: tuple[Event, ...]) -> bool:
        """Go through the events. True when something began to fail, or works again."""
        fresh: dict[str, int] = {}  # failures of this look that were not told yet, by domain
        changed = False
        for event in events:
            match event:
                case RequiredTlsFailed() if event.alert and event.at >= self._since:
                    changed |= event.domain not in self._failing
                    self._failing.failed(
                        Failure(event.at, event.domain, event.address, event.wanted, event.reason)
                    )
                    fresh[event.domain] = fresh.get(event.domain, 0) + 1
                case DeliveryOpened() if self._failing:
                    self._connections[event.dcid] = event.address
                    if len(self._connections) > MAX_CONNECTIONS:
                        self._connections.popitem(last=False)
                case OutboundTlsEstablished() if self._failing:
                    changed |= await self._worked(event, fresh)
        for domain, times in fresh.items():
            if (known := self._failing.get(domain)) is not None:
                await self._tell(domain, known, times)
        return changed

    async def _worked(self, event: OutboundTlsEstablished, fresh: dict[str, int]) -> bool:
        domain = str(event.tls.get("domain", ""))
        address = self._connections.get(event.dcid, "")
        known = self._failing.worked(domain, address, event.at)
        if known is None:
            return False
        if times := fresh.pop(domain, 0):
            await self._tell(domain, known, times)
        achieved = f"{event.protocol} {event.cipher}"
        if event.verification:
            achieved += f", verified {event.verification}"
        await self._alerts.tell(cleared(domain, known, event.at, achieved))
        return True

    async def _tell(self, domain: str, known: Failing, times: int) -> None:
        first = known.count == times
        if first or self._administrators != {domain}:
            await self._alerts.tell(trouble(domain, known, times))

    def _keep(self) -> None:
        self._kept = self._clock.now()
        position = asdict(self._position) if self._position is not None else None
        self._store.put_meta(META, orjson.dumps({"position": position, "failing": self._failing.plain()}))


def _unpacked(data: bytes | None) -> tuple[Position | None, FailingDomains]:
    """What was kept; nothing for what cannot be read."""
    try:
        raw = orjson.loads(data or b"{}")
        position = Position(**raw["position"]) if raw["position"] is not None else None
        return position, FailingDomains.of_plain(raw["failing"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None, FailingDomains()


def _switch(document: Mapping[str, Any]) -> bool:
    """R30's switch. The document was checked when it was stored; it is not read whole for one value."""
    controls = document.get("destination_controls") or {}
    return bool((controls.get("global") or {}).get("alert_on_required_tls_failure", False))


def _domains_of_recipients(version: Version) -> frozenset[str]:
    recipients = (version.content.document.get("alerts") or {}).get("recipients") or ()
    return frozenset(normalise_domain(one["address"].rpartition("@")[2]) for one in recipients)
