"""The desk as the operations see it: what is activated, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from gatepost.app.desk import RemoteGateway
from gatepost.core.errors import OperatorError


class Recorder:
    """A channel that remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def request(self, kind: str, _args: Mapping[str, Any], _timeout: float | None = None) -> Any:
        self.asked.append(kind)
        if kind == "refuse":
            raise OperatorError("no")
        return None


async def no_job(name: str) -> None:
    raise AssertionError(name)


class Web:
    """The public port, which builds before anything is asked and shows it behind the switch."""

    def __init__(self, recorder: Recorder, refuses: bool) -> None:
        self._recorder = recorder
        self._refuses = refuses

    async def prepare(self, payload: Mapping[str, Any]) -> int:
        if self._refuses:
            raise OperatorError("no such key")
        return int(payload["version"])

    async def take_up(self, shown: int) -> None:
        self._recorder.asked.append(f"show {shown}")


def activate(store: Callable[[], None], *, refuses: bool = False) -> list[str]:
    recorder = Recorder()
    gateway = RemoteGateway(
        recorder,  # type: ignore[arg-type]
        lambda _event: None,
        lambda: None,
        no_job,
        Web(recorder, refuses),  # type: ignore[arg-type]
    )

    def go() -> Coroutine[Any, Any, None]:
        return gateway.activate({"version": 2}, store)

    with suppress(OperatorError):
        asyncio.run(go())
    return recorder.asked


def test_a_version_is_stored_between_preparation_and_switch() -> None:
    order: list[str] = []
    assert activate(lambda: order.append("stored")) == ["prepare", "switch", "show 2"]
    assert order == ["stored"]


def test_what_cannot_be_stored_is_abandoned() -> None:
    def fails() -> None:
        raise OperatorError("the disk is full")

    assert activate(fails) == ["prepare", "abandon"]


def test_what_the_public_port_cannot_show_is_not_activated() -> None:
    def never() -> None:
        raise AssertionError("stored")

    assert activate(never, refuses=True) == []
