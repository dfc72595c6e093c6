"""What the operations need from the process they run in, and what the faces need from the operations.

The same operations run in the desk of a running gateway and in an offline command: in the desk `gateway` is
the supervisor behind a channel, offline it is None and a commit only stores. Both give them a
`ConfigStore`, a `Keeper` and the caller. `app.desk` builds them as

    Operations = gatepost.control.ops.build(home, store, keeper, gateway, now)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gatepost.core.events import Event


def _unheard(told: Mapping[str, Any]) -> None:
    """Nobody wants to know how far it is."""


def _stays(hang_up: Callable[[], None]) -> None:
    """This caller waits to the end."""


@dataclass(frozen=True, slots=True)
class Line:
    """The caller's end while an operation runs. `tell` says how far it is; `on_hang_up` takes what is called once, when nobody waits for the
    answer any more."""

    tell: Callable[[Mapping[str, Any]], None] = _unheard
    on_hang_up: Callable[[Callable[[], None]], None] = _stays


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `name` is the author of versions and candidates and what the audit says, `local:1000`."""

    name: str
    uid: int
    line: Line = field(default=Line(), compare=False, repr=False)

    @classmethod
    def local(cls, uid: int, line: Line = Line()) -> Caller:
        return cls(f"local:{uid}", uid, line)

    @classmethod
    def gateway(cls) -> Caller:
        """The gateway itself: what it does unasked stands under its own name in versions and audit."""
        return cls("gatepost", 0)


@dataclass(frozen=True, slots=True)
class WorkerAnswer:
    """One worker's answer to a request: its result, or the sentence of what went wrong."""

    worker: int
    result: Any = None
    error: str = ""


class Gateway(Protocol):
    """The running gateway as the operations see it."""

    async def activate(self, payload: Mapping[str, Any], store: Callable[[], None], /) -> None:
        """Make a configuration active in all processes, or nowhere.

        Every worker prepares `payload` (store.payload) and new ports are bound; then `store` makes the
        version durable; then all switch. Raises OperatorError when a port cannot be bound or a worker
        refuses, and whatever `store` raises; nothing has changed then.
        """
        ...

    async def ask_workers(
        self, kind: str, args: Mapping[str, Any], worker: int | None = None, /
    ) -> Sequence[WorkerAnswer]:
        """Ask one worker, or all that are up (`queue.list`, `status`, …); answers in worker order."""
        ...

    async def status(self) -> Mapping[str, Any]:
        """The processes: `{"version": 7, "started": 1.7e9, "workers": [{"index": 0, "pid": 9, "state": "running",
        "shards": [0], "restarts": 0}], "desk": {…}, "listeners": [{"name": …, "address": …, "port": …}]}`."""
        ...

    def look(self, job: str, /) -> Awaitable[None]:
        """Let one of the desk's jobs look at once at what is due. Whoever wants to know awaits: it has looked then."""
        ...

    def emit(self, event: Event, /) -> None:
        """One event for the log of the running gateway (audit, warnings)."""
        ...


class Operations(Protocol):
    """All operations behind one door; names are `config.apply`, `queue.list`, ….

    Arguments and results are JSON values (bytes as base64 text). Raises OperatorError for what the caller can mend.
    """

    async def call(self, op: str, args: Mapping[str, Any], caller: Caller, /) -> Any: ...
