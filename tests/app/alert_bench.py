"""Alerts on a store of their own: a gateway that takes their mails, and a clock."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

from gatepost.app.alerts import (
    META,
    MailedAlerts,
)
from gatepost.app.outbox import Outbox
from gatepost.control.ports import WorkerAnswer
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.events import Event
from gatepost.core.ports import Alert
from gatepost.store.config_store import ConfigStore, Content

RECIPIENTS = [
    {"address": "admin@example.net"},
    {"address": "grave@example.org", "classes": ["system"], "severities": ["critical"]},
]


class Clock:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class FakeGateway:
    """Two workers. `refusal` is what they answer; `error` is raised instead; `events` is the log."""

    def __init__(self) -> None:
        self.mails: list[Mapping[str, Any]] = []
        self.asked: list[int | None] = []
        self.refusals = ["", ""]
        self.error: Exception | None = None
        self.events: list[Event] = []
        self.looks: list[str] = []

    async def activate(self, payload: Mapping[str, Any], store: Callable[[], None], /) -> None:
        raise NotImplementedError

    async def ask_workers(
        self, kind: str, args: Mapping[str, Any], worker: int | None = None, /
    ) -> Sequence[WorkerAnswer]:
        assert kind == "mail.submit"
        assert worker is not None
        self.asked.append(worker)
        if self.error is not None:
            raise self.error
        if self.refusals[worker]:
            return [WorkerAnswer(worker, None, self.refusals[worker])]
        self.mails.append(args)
        return [WorkerAnswer(worker, {"mid": len(self.mails)})]

    async def status(self) -> Mapping[str, Any]:
        return {"workers": [{"index": index} for index in range(len(self.refusals))]}

    def look(self, job: str, /) -> Awaitable[None]:
        self.looks.append(job)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return done

    def emit(self, event: Event, /) -> None:
        self.events.append(event)

    def raised(self) -> list[tuple[str, int, str]]:
        return [(e.severity, e.recipients, e.reason) for e in self.events if isinstance(e, AlertRaised)]

    def message(self, number: int = -1) -> Any:
        return message_from_bytes(b64decode(self.mails[number]["content"]), policy=default)


class Bench:
    def __init__(self, store: ConfigStore) -> None:
        self.store = store
        self.clock = Clock()
        self.gateway = FakeGateway()

    def configure(self, **alerts: Any) -> None:
        document = {"system": {"hostname": "gw.example.net"}, "alerts": {"recipients": RECIPIENTS, **alerts}}
        self.store.commit(self.store.latest_number(), Content(document), "test", "", self.clock.at)

    def alerts(self) -> MailedAlerts:
        return MailedAlerts(self.store, self.gateway, self.clock)

    def outbox(self) -> Outbox:
        return Outbox.unpacked(self.store.get_meta(META))


def alert(key: str = "k", severity: str = "warning", subject: str = "Something") -> Alert:
    return Alert(key, severity, subject, "What it is.\nWhat to do.")


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main(), 20)

    asyncio.run(bounded())


def clear(key: str = "k") -> Alert:
    return Alert(key, "information", "It works again", "Since then.", clears=True)


def subjects(bench: Bench) -> list[str]:
    return [bench.gateway.message(n)["Subject"].partition(": ")[2] for n in range(len(bench.gateway.mails))]


HOOK = {"url": "https://alerts.example/hook"}


@contextmanager
def opened(folder: Path) -> Iterator[Bench]:
    """A configured bench on a new store in the folder."""
    store = ConfigStore.open(folder / "config.db")
    it = Bench(store)
    it.configure()
    yield it
    store.close()
