"""The mail log in memory: a sink of the journal that tests read, wait on, and compare with a transcript."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.fakes.time_travel import Watched

from gatepost.core.events import Event
from gatepost.track.mail_log import MailLogFormat

_HEAD = re.compile(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} (\w+): ")
E = TypeVar("E", bound=Event)


class LogBook(Watched):
    """`lines` are the log's lines without time; those above Info keep their level: `Warning: …`."""

    def __init__(self) -> None:
        super().__init__()
        self._form = MailLogFormat(version="0", serial="0")
        self.events: list[Event] = []
        self.lines: list[str] = []
        self.masks: dict[str, str] = {}  # what differs from run to run (ports), and what stands for it

    # --- track.journal.Sink ------------------------------------------------------------------

    def add(self, batch: Sequence[tuple[Sequence[Event], bytes]], /) -> int:
        for event in (event for events, _ in batch for event in events):
            self.events.append(event)
            for line in self._form.render(event).splitlines():
                head = _HEAD.match(line)
                assert head is not None, line
                level = "" if head[1] == "Info" else f"{head[1]}: "
                self.lines.append(level + self._masked(line[head.end() :]))
        self.changed()
        return 0

    def flush(self) -> None:
        pass

    def sync_job(self) -> Callable[[], bool]:
        return lambda: True

    def close(self) -> None:
        pass

    # --- for tests ---------------------------------------------------------------------------

    def _masked(self, text: str) -> str:
        for original, mask in self.masks.items():
            text = re.sub(rf"\b{original}\b", mask, text)
        return text

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def with_(self, *parts: str) -> list[str]:
        """The lines that hold all of these parts."""
        return [line for line in self.lines if all(part in line for part in parts)]

    def describe(self) -> str:
        return "\n".join(self.lines)

    async def line(self, *parts: str, count: int = 1) -> str:
        """Wait for the `count`th line that holds all of these parts, and return it."""
        await self.until(lambda: len(self.with_(*parts)) >= count)
        return self.with_(*parts)[count - 1]

    def about(self, *names: str) -> list[str]:
        """The lines about any of these (`ICID 1`, `DCID 2`, `MID 3`), in their order."""
        wanted = re.compile("|".join(rf"\b{name}\b" for name in names))
        return [line for line in self.lines if wanted.search(line)]
