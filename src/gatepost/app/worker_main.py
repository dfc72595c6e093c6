"""The worker role: a hardened process with an event loop, a channel to the supervisor, and one mail worker.

It does what the channel says, one thing at a time: `start` with an assignment, `prepare`, `switch`, `abandon`, `stop`;
questions of the desk (`ask`) and broadcasts (`heard`) may come beside them. When the channel ends the supervisor
is gone, and the process ends at once: what matters is on disk.

Signals: Ctrl-C reaches the whole group and is the supervisor's to handle; SIGTERM stops this worker in good
order (the supervisor starts another).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gatepost.app.channel import Channel, ChannelClosed, DescriptorInbox
from gatepost.app.hardening import (
    die_with_parent,
    drop_child_capabilities,
    protect_memory,
    raise_file_limit,
)
from gatepost.app.roles import Assignment, ListenerSocket, MailWorker, SupervisorPort
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.ids import IdKind
from gatepost.store.home import Home
from gatepost.track.process_log import ProcessLog, SystemClock

WorkerFactory = Callable[[SupervisorPort], MailWorker]
COLLECT_AFTER = 20_000  # new container objects between two looks of the cyclic garbage collector
GONE = 1  # exit code when the supervisor is gone


def run_worker(channel: int, descriptors: int, parent: int, factory: WorkerFactory) -> int:
    """Be a worker until told to stop. The two numbers are inherited descriptors; returns the exit code."""
    import uvloop  # only workers pay for it

    die_with_parent(parent)
    protect_memory()
    raise_file_limit()
    os.umask(0o027)
    role = WorkerRole(socket.socket(fileno=channel), socket.socket(fileno=descriptors), factory)
    main: Coroutine[Any, Any, int] = role.run()
    return uvloop.run(main)


def _calm_collector() -> None:
    """The collector need not look at what a worker is made of, nor at every few messages: little of them is cyclic."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


class Supervisor:
    """The supervisor as the mail worker sees it (`SupervisorPort`)."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def grant_ids(self, kind: IdKind, /) -> int:
        return int(await self._channel.request("ids", {"kind": kind.value}))

    def broadcast(self, kind: str, args: Mapping[str, Any], /) -> None:
        self._channel.notify("broadcast", {"kind": kind, "args": args})

    def fail(self, reason: str, /) -> None:
        self._channel.notify("fail", {"reason": reason})


class Descriptors:
    """The inherited listening sockets, by label, and those that a preparation added."""

    def __init__(self, inbox: DescriptorInbox) -> None:
        self._inbox = inbox
        self._active: dict[str, int] = {}
        self._prepared: dict[str, int] = {}

    def take(self, label: str) -> int:
        return self._inbox.take(label)

    def prepare(self, listeners: Sequence[Mapping[str, Any]]) -> tuple[ListenerSocket, ...]:
        """The sockets of a configuration: known ones as they are, new ones from the inbox."""
        self.abandon()
        found = []
        for entry in listeners:
            label = entry["label"]
            try:
                descriptor = self._inbox.take(label)
            except KeyError:
                descriptor = self._active[label]
            self._prepared[label] = descriptor
            found.append(ListenerSocket(entry["name"], entry["address"], entry["port"], descriptor))
        return tuple(found)

    def switch(self) -> None:
        """The prepared ones count from now on; the others are closed."""
        old, self._active, self._prepared = self._active, self._prepared, {}
        _close_all(set(old.values()) - set(self._active.values()))

    def abandon(self) -> None:
        prepared, self._prepared = self._prepared, {}
        _close_all(set(prepared.values()) - set(self._active.values()))

    def close(self) -> None:
        self.abandon()
        active, self._active = self._active, {}
        _close_all(active.values())


class WorkerRole:
    """Turns messages of the channel into calls of a `MailWorker`."""

    def __init__(self, channel: socket.socket, descriptors: socket.socket, factory: WorkerFactory) -> None:
        self._end = channel
        self._descriptors = Descriptors(DescriptorInbox(descriptors))
        self._factory = factory
        self._clock = SystemClock()
        self._log: ProcessLog | None = None
        self._worker: MailWorker | None = None
        self._stop_seconds = 10.0
        self._turn = asyncio.Lock()
        self._stopping = False
        self._done = asyncio.Event()

    async def run(self) -> int:
        """Serve the channel until the worker has stopped, or the supervisor is gone."""
        loop = asyncio.get_running_loop()
        channel = Channel(self._handle, self._bug)
        self._worker = self._factory(Supervisor(channel))
        await channel.open(self._end)
        loop.add_signal_handler(signal.SIGINT, _nothing)
        loop.add_signal_handler(signal.SIGHUP, _nothing)
        async with asyncio.TaskGroup() as group:
            loop.add_signal_handler(signal.SIGTERM, lambda: group.create_task(self._stop(self._stop_seconds)))
            gone = group.create_task(self._until_gone(channel), name="supervisor")
            await self._done.wait()
            gone.cancel()
        await channel.flush()
        channel.close()
        return 0

    async def _until_gone(self, channel: Channel) -> None:
        await channel.closed.wait()
        if not self._stopping:
            # Nothing in order can be done without the supervisor; what was promised is on disk.
            os._exit(GONE)

    async def _handle(self, kind: str, args: Mapping[str, Any]) -> Any:
        worker = self._worker
        if worker is None:
            raise ChannelClosed
        match kind:
            case "ask":
                return await worker.request(args["kind"], args["args"])
            case "heard":
                worker.heard(args["kind"], args["args"])
                return None
            case "stop":
                await self._stop(float(args["seconds"]))
                return None
        async with self._turn:
            match kind:
                case "start":
                    await self._start(worker, args)
                case "prepare":
                    await worker.prepare(args["payload"], self._descriptors.prepare(args["listeners"]))
                case "switch":
                    worker.switch()
                    self._descriptors.switch()
                case "abandon":
                    worker.abandon()
                    self._descriptors.abandon()
                case _:
                    raise OperatorError(f"unknown request {kind}")
        return None

    async def _start(self, worker: MailWorker, args: Mapping[str, Any]) -> None:
        home = Home(Path(args["home"]))
        drop_child_capabilities(home)
        self._log = ProcessLog(home, self._clock)
        self._stop_seconds = float(args["stop_seconds"])
        assignment = Assignment(
            index=args["index"],
            workers=args["workers"],
            shards=tuple(args["shards"]),
            home=home.root,
            boot=args["boot"],
            stop_seconds=self._stop_seconds,
            limits=self._descriptors.take("limits"),
            payload=args["payload"],
            listeners=self._descriptors.prepare(args["listeners"]),
        )
        await worker.start(assignment)
        self._descriptors.switch()
        _calm_collector()

    async def _stop(self, seconds: float) -> None:
        """Stop once; later orders change nothing (the supervisor kills when it has waited long enough)."""
        if self._stopping or self._worker is None:
            return
        self._stopping = True
        self._descriptors.close()
        await self._worker.stop(seconds)
        self._done.set()

    def _bug(self, where: str, error: BaseException) -> str:
        if self._log is None:
            # Before the assignment there is no log to write to; the supervisor sees the exit code.
            traceback.print_exception(error)
            os._exit(Exit.BUG)
        return self._log.bug(where, error)


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _nothing() -> None:
    """The supervisor decides what Ctrl-C and a hang-up mean."""
