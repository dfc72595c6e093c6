"""The job that says in clear that an alert could not be delivered over TLS, when that has lasted for 15 minutes.

How it works. Alerts are delivered under the TLS level of their recipients' domain, also when it is that level which cannot be met. Twice a
minute the workers are asked which alerts TLS keeps back; only mail that the gateway itself made as an alert is among them, so no other mail can bring this
about. Each domain concerned gets one notice an hour (`policy.alert.notice_due`): the gateway's name and the time, never a word of the alert. The
alert stays in the queue and comes when TLS works.

A notice is no alert: none is raised about it, and one that cannot be delivered is not told of. When a domain had its last notice is one value of the
store, written after a worker has the notice; the same notice asked for twice is kept once.

`alerts.clear_notice: false` stops it. Without recipients of alerts nobody is asked anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from gatepost.app.newest import NewestConfiguration
from gatepost.control.alert_mail import send_notice
from gatepost.control.ports import Gateway
from gatepost.core.address import normalise_domain
from gatepost.core.errors import OperatorError
from gatepost.core.events import Noted
from gatepost.core.ports import Clock
from gatepost.policy.alert import NOTICE_QUIET, notice_due
from gatepost.store.config_store import ConfigStore

if TYPE_CHECKING:
    from gatepost.config.model import Document

META = "clear-notices"  # in the store: when each domain had its last notice
LOOK = 30.0
IDLE = 3_600.0


class ClearNoticeJob:
    """Implements `app.jobs.Job`."""

    name = "clear-notices"

    def __init__(self, store: ConfigStore, gateway: Gateway, clock: Clock) -> None:
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._newest = NewestConfiguration(store)
        self._document: Document | None = None
        self._last = _read(store.get_meta(META))

    async def run(self) -> float:
        """Look once; the seconds to the next look."""
        await self._follow_configuration()
        document = self._document
        if document is None or not document.alerts.recipients or not document.alerts.clear_notice:
            return IDLE
        answers = await self._gateway.ask_workers("mail.stuck", {})
        stuck = [one for answer in answers if not answer.error for one in answer.result]
        for domain, (since, recipients) in sorted(_by_domain(stuck).items()):
            if notice_due(since, self._last.get(domain), self._clock.now()):
                await self._tell(document, domain, since, recipients)
        return LOOK

    async def _follow_configuration(self) -> None:
        found = await self._newest.take_read()
        if found is not None:
            self._document = found[1]

    async def _tell(self, document: Document, domain: str, since: float, recipients: Sequence[str]) -> None:
        now = self._clock.now()
        token = hashlib.sha256(f"{domain} {self._last.get(domain, since)}".encode()).hexdigest()[:24]
        try:
            await send_notice(self._gateway, document, recipients, f"notice.{token}", now)
        except OperatorError:
            return  # no worker keeps it at this moment: the next look tries again
        kept = {one: at for one, at in self._last.items() if 0 <= now - at < NOTICE_QUIET}
        self._last = {**kept, domain: now}
        self._store.put_meta(META, orjson.dumps(self._last))
        text = f"Alerts to {domain} are kept back by TLS: a notice without their content goes there in clear"
        self._gateway.emit(Noted(now, text, {"domain": domain}))


def _by_domain(stuck: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, list[str]]]:
    """For each domain since when the oldest alert waits, and all who wait there."""
    found: dict[str, tuple[float, list[str]]] = {}
    for one in stuck:
        for recipient in one["recipients"]:
            domain = normalise_domain(recipient.rpartition("@")[2])
            since, known = found.get(domain, (one["received"], []))
            if recipient not in known:
                known.append(recipient)
            found[domain] = (min(since, one["received"]), known)
    return found


def _read(data: bytes | None) -> dict[str, float]:
    """What was kept; nothing for what cannot be read."""
    try:
        return {str(domain): float(at) for domain, at in orjson.loads(data or b"{}").items()}
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        return {}
