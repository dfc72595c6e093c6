"""Time that tests move by hand: a clock, and an event loop whose timers follow it.

`FakeClock.advance` moves the wall clock, the monotonic clock and the loop's own time together, so a timer
that was set an hour ahead fires at once, a deadline of five minutes passes, and no test ever sleeps.
The wall clock stands still otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 10.0  # seconds that anything may take before the test is said to hang


class TravelLoop(asyncio.SelectorEventLoop):
    """A loop whose `time` can be set forward."""

    def __init__(self) -> None:
        self.offset = 0.0
        super().__init__()

    def time(self) -> float:
        return super().time() + self.offset


class FakeClock:
    """Implements `core.ports.Clock` for a `TravelLoop`; it starts at the real time, on a whole second."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: float | None = None) -> None:
        assert isinstance(loop, TravelLoop)
        self._loop = loop
        self.start = float(int(time.time())) if start is None else start

    def now(self) -> float:
        return self.start + self._loop.offset

    def monotonic(self) -> float:
        return self._loop.offset

    def advance(self, seconds: float) -> None:
        """Move all time forward; timers fire when the test next awaits."""
        self._loop.offset += seconds


class Watched:
    """Something that changes, and on which tests wait without polling."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], object], asyncio.Future[None]]] = []

    def changed(self) -> None:
        for predicate, future in list(self._waiting):
            if not future.done() and predicate():
                future.set_result(None)

    def describe(self) -> str:
        """What a test that waited in vain is shown."""
        return ""

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait until the predicate holds. AssertionError when it takes too long."""
        if predicate():
            return
        entry = (predicate, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await asyncio.wait_for(entry[1], PATIENCE)
        except TimeoutError:
            raise AssertionError(f"waited in vain; so far:\n{self.describe()}") from None
        finally:
            self._waiting.remove(entry)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run one test's coroutine on a loop of its own."""
    with asyncio.Runner(loop_factory=TravelLoop) as runner:
        return runner.run(main())
