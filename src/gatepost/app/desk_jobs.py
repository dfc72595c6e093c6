"""Which jobs the desk has, made from what it works with."""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.app.jobs import Job
from gatepost.control.ports import Gateway, Operations
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.ports import Alert, AlertPort, Clock, Emit
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.secrets import Keeper


class LoggedAlerts:
    """Alerts as lines of the log."""

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self._emit = emit
        self._clock = clock

    async def tell(self, alert: Alert, /) -> None:
        self._emit(AlertRaised(self._clock.now(), alert.severity, alert.subject, 0))


@dataclass(frozen=True, slots=True)
class Tools:
    """What a job may use: it changes nothing but through `operations`, as `Caller.gateway()`."""

    home: Home
    store: ConfigStore
    keeper: Keeper
    gateway: Gateway
    operations: Operations
    clock: Clock
    alerts: AlertPort


def make_jobs(tools: Tools) -> tuple[Job, ...]:
    """All of them."""
    return ()
