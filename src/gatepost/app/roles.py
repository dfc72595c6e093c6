"""The parts of the processes as they see each other: what a worker role is told, and what it must be able to do.

The supervisor speaks JSON over a channel; `worker_main` turns that into calls of a `MailWorker`. Descriptors of
listeners belong to the role: a worker duplicates (`os.dup`) those that it accepts on and closes only its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gatepost.core.ids import IdKind


@dataclass(frozen=True, slots=True)
class ListenerSocket:
    """One bound and listening socket of the configuration, as inherited (non-blocking)."""

    name: str
    address: str
    port: int
    descriptor: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is, from its start to its end, and the configuration that it starts with."""

    index: int  # 0 … workers-1; also its columns in the limits table
    workers: int
    shards: tuple[int, ...]
    home: Path
    boot: str  # this start of the gateway; a restarted worker has the same
    stop_seconds: float
    limits: int  # descriptor of the limits table (LimitTable.attach)
    payload: Mapping[str, Any] = field(repr=False)  # store.payload, with the keys that are needed
    listeners: tuple[ListenerSocket, ...] = ()


class SupervisorPort(Protocol):
    """What a worker can ask of the supervisor."""

    async def grant_ids(self, kind: IdKind, /) -> int:
        """The first identifier of a fresh block of 256."""
        ...

    def broadcast(self, kind: str, args: Mapping[str, Any], /) -> None:
        """Tell all other workers (a freed place under a limit, a host that is down); it may be lost."""
        ...

    def fail(self, reason: str, /) -> None:
        """The worker cannot go on (its shard went read-only): stop and restart it."""
        ...


class MailWorker(Protocol):
    """A mail worker as `worker_main` drives it. All methods are called on the worker's loop, one at a time,
    except `request` and `heard`, which may run beside any other.
    """

    async def start(self, assignment: Assignment, /) -> None:
        """Open the shards, take up the queue and accept. Raises OperatorError when it cannot."""
        ...

    async def prepare(self, payload: Mapping[str, Any], listeners: Sequence[ListenerSocket], /) -> None:
        """Build all that the new configuration needs, off the loop, without using it.

        Raises OperatorError to refuse it. A second call replaces what the first prepared.
        """
        ...

    def switch(self) -> None:
        """Use what was prepared, at once and without fail; listeners that are gone stop accepting."""
        ...

    def abandon(self) -> None:
        """Forget what was prepared."""
        ...

    async def stop(self, seconds: float, /) -> None:
        """Close listeners at once, let sessions and deliveries end within `seconds`, close the spool."""
        ...

    async def request(self, kind: str, args: Mapping[str, Any], /) -> Any:
        """Answer the desk (`queue.list`, `status`, …) with a JSON value. Raises OperatorError."""
        ...

    def heard(self, kind: str, args: Mapping[str, Any], /) -> None:
        """A broadcast of another worker."""
        ...


WorkerFactory = Callable[[SupervisorPort], Awaitable[MailWorker]]
