"""The desk: serves the control socket (`control_server`), runs the operations, owns `config.db` while the gateway runs.

It has no key of its own: sealing and opening, activation, and questions to workers go to the supervisor over
the channel. It runs at low priority in the workers' scheduling group, so that no report or search takes their time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import traceback
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gatepost.app.alerts import MailedAlerts
from gatepost.app.challenge_ports import ChallengePorts
from gatepost.app.channel import Channel, DescriptorInbox
from gatepost.app.control_server import ControlServer
from gatepost.app.desk_jobs import Tools, make_jobs
from gatepost.app.hardening import (
    become_background,
    die_with_parent,
    drop_child_capabilities,
    protect_memory,
    raise_file_limit,
)
from gatepost.app.jobs import Job, Jobs
from gatepost.app.public_web import PublicWeb
from gatepost.control.ops.tls_reports_received import JOB as RECEIVED_REPORTS
from gatepost.control.ports import Gateway, Operations, WorkerAnswer
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Event
from gatepost.core.ports import Clock, Emit
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.payload import version_payload
from gatepost.store.secrets import Keeper
from gatepost.store.tls_reports_incoming import IncomingReports
from gatepost.track.process_log import ProcessLog, SystemClock

MAX_CONNECTIONS = 64
FRAME_SECONDS = 60.0  # from the first byte of a frame to its last
IDLE_SECONDS = 600.0
GONE = 1

BuildOperations = Callable[[Home, ConfigStore, Keeper, Gateway, Clock], Operations]
MakeJobs = Callable[[Tools], Iterable[Job]]
_CREDENTIALS = struct.Struct("3i")


def run_desk(
    channel: int, descriptors: int, parent: int, build: BuildOperations, make_jobs: MakeJobs = make_jobs
) -> int:
    """Be the desk until told to stop. The numbers are inherited descriptors; returns the exit code."""
    die_with_parent(parent)
    protect_memory()
    raise_file_limit()
    become_background()
    os.umask(0o027)
    inbox = DescriptorInbox(socket.socket(fileno=descriptors))
    return asyncio.run(DeskRole(socket.socket(fileno=channel), inbox, build, make_jobs).run())


class RemoteKeeper:
    """The supervisor as keeper of the keys."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def seal(self, name: str, revision: int, secret: bytes, /) -> bytes:
        args = {"name": name, "revision": revision, "secret": b64encode(secret).decode("ascii")}
        return b64decode(await self._channel.request("seal", args))

    async def open(self, name: str, revision: int, sealed: bytes, /) -> bytes:
        args = {"name": name, "revision": revision, "sealed": b64encode(sealed).decode("ascii")}
        return b64decode(await self._channel.request("open", args))


class RemoteGateway:
    """The running gateway, behind the channel (`control.ports.Gateway`)."""

    def __init__(
        self,
        channel: Channel,
        emit: Emit,
        activated: Callable[[], None],
        look: Callable[[str], Awaitable[None]],
        web: PublicWeb,
    ) -> None:
        self._channel = channel
        self._emit = emit
        self._activated = activated
        self._look = look
        self._web = web

    async def activate(self, payload: Mapping[str, Any], store: Callable[[], None], /) -> None:
        shown = await self._web.prepare(payload)
        await self._channel.request("prepare", {"payload": payload})
        try:
            store()
        except BaseException:
            await self._channel.request("abandon", {})
            raise
        await self._channel.request("switch", {})
        await self._web.take_up(shown)
        self._activated()

    async def ask_workers(
        self, kind: str, args: Mapping[str, Any], worker: int | None = None, /
    ) -> Sequence[WorkerAnswer]:
        answers = await self._channel.request("ask", {"kind": kind, "args": args, "worker": worker})
        return [WorkerAnswer(a["worker"], a.get("result"), a.get("error", "")) for a in answers]

    async def status(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._channel.request("status", {})
        return found

    def look(self, job: str, /) -> Awaitable[None]:
        return self._look(job)

    def emit(self, event: Event, /) -> None:
        self._emit(event)


class DeskRole:
    """The desk's process: channel, store, operations, control socket."""

    def __init__(
        self, channel: socket.socket, inbox: DescriptorInbox, build: BuildOperations, make_jobs: MakeJobs
    ) -> None:
        self._end = channel
        self._inbox = inbox
        self._build = build
        self._make_jobs = make_jobs
        self._jobs: Jobs | None = None
        self._clock = SystemClock()
        self._log: ProcessLog | None = None
        self._store: ConfigStore | None = None
        self._channel = Channel(self._handle, self._bug)
        self._server: ControlServer | None = None
        self._web: PublicWeb | None = None
        self._done = asyncio.Event()
        self._stopping = False

    async def run(self) -> int:
        """Serve until told to stop, or until the supervisor is gone."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, _nothing)
        loop.add_signal_handler(signal.SIGTERM, self._done.set)
        await self._channel.open(self._end)
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(self._until_gone(), name="supervisor")
            await self._done.wait()
            self._stopping = True
            gone.cancel()
        await self._close_web()
        if self._jobs is not None:
            await self._jobs.close()
        if self._server is not None:
            await self._server.close()
        if self._store is not None:
            self._store.close()
        self._channel.close()
        self._inbox.close()
        return 0

    async def _close_web(self) -> None:
        if self._web is not None:
            await self._web.close()

    async def _until_gone(self) -> None:
        await self._channel.closed.wait()
        if not self._stopping:
            os._exit(GONE)

    async def _handle(self, kind: str, args: Mapping[str, Any]) -> Any:
        match kind:
            case "start":
                await self._start(Home(Path(args["home"])), int(args["version"]))
            case "quiet":
                await self._close_web()
            case "stop":
                self._done.set()
            case _:
                raise OperatorError(f"unknown request {kind}")
        return None

    async def _start(self, home: Home, active: int) -> None:
        drop_child_capabilities(home)
        log = self._log = ProcessLog(home, self._clock)
        store = self._store = ConfigStore.open(home.config_db)
        keeper = RemoteKeeper(self._channel)
        web = self._web = PublicWeb(
            self._channel,
            self._inbox,
            keeper,
            log.emit,
            self._clock,
            self._bug,
            IncomingReports(home.received_tls_reports),
            self._report_came,
        )
        gateway = RemoteGateway(self._channel, log.emit, self._activated, self._look, web)
        await self._take_up(store, gateway, active)
        await web.start(store)
        operations = self._build(home, store, keeper, gateway, self._clock)
        self._server = ControlServer(home, operations, self._bug)
        await self._server.open()
        alerts = MailedAlerts(store, gateway, self._clock)
        ports = ChallengePorts(self._channel, self._inbox)
        tools = Tools(home, store, keeper, gateway, operations, self._clock, alerts, ports)
        self._jobs = Jobs((*self._make_jobs(tools), alerts), self._bug)
        self._jobs.start()

    def _activated(self) -> None:
        """Another configuration is in force: every job looks again at what is due."""
        if self._jobs is not None:
            self._jobs.wake()

    def _report_came(self) -> None:
        if self._jobs is not None:
            self._jobs.wake(RECEIVED_REPORTS)

    def _look(self, job: str) -> Awaitable[None]:
        if self._jobs is None:
            raise OperatorError("the gateway is starting", "try again", code=Exit.TRY_AGAIN)
        return self._jobs.look(job)

    async def _take_up(self, store: ConfigStore, gateway: Gateway, active: int) -> None:
        """Activate a version that was stored when the desk before us died, just before the switch."""
        latest = store.latest()
        if latest is not None and latest.number > active:
            await gateway.activate(version_payload(store, latest), _stored_already)

    def _bug(self, where: str, error: BaseException) -> str:
        if self._log is None:
            traceback.print_exception(error)
            os._exit(Exit.BUG)
        return self._log.bug(where, error)


def _stored_already() -> None:
    """The version is in the store; only its activation was missing."""


def _nothing() -> None:
    """The supervisor decides what Ctrl-C and a hang-up mean."""
