"""The job that looks at our published TLSA records: `certs.dane_watch` on the desk."""

from __future__ import annotations

from gatepost.certs.dane_watch import DaneWatch
from gatepost.core.ports import AlertPort, Clock
from gatepost.store.config_store import ConfigStore


class DaneJob:
    """Implements `app.jobs.Job`."""

    name = "dane"

    def __init__(self, store: ConfigStore, alerts: AlertPort, clock: Clock) -> None:
        self._watch = DaneWatch(store, alerts, clock)

    async def run(self) -> float:
        """One look; the seconds until the next."""
        return await self._watch.run()
