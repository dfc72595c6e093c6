"""The desk: serves the control socket, runs the operations, owns `config.db` while the gateway runs.

It has no key of its own: sealing and opening, activation, and questions to workers go to the supervisor over
the channel. It runs at low priority in the workers' scheduling group, so that no report or search takes their time.

A caller is known by the kernel's word (peer credentials) and must be root or the gateway's own user; `run/` is
0700 before the socket exists. A frame that is too long, malformed or of another version ends its
connection, and nothing else. Requests of one connection are answered in order, at most 64 connections at once.
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
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatepost.app.alerts import MailedAlerts
from gatepost.app.challenge_ports import ChallengePorts
from gatepost.app.channel import Channel, DescriptorInbox
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
from gatepost.control.ports import Caller, Gateway, Operations, WorkerAnswer
from gatepost.control.protocol import (
    LENGTH,
    VERSION,
    BadFrame,
    decode_body,
    decode_length,
    encode_frame,
    error_to_json,
    short_address,
)
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Event
from gatepost.core.ports import Clock, Emit
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.payload import version_payload
from gatepost.store.room import full_disk, no_room
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


class ControlServer:
    """`run/control.sock`: frames in, operations, frames out."""

    def __init__(
        self, home: Home, operations: Operations, on_bug: Callable[[str, BaseException], str]
    ) -> None:
        self._home = home
        self._operations = operations
        self._on_bug = on_bug
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()
        self._closing = False

    async def open(self) -> None:
        """Listen; a socket that a dead gateway left is replaced (the home's lock says that it is dead)."""
        path = self._home.control_socket
        path.parent.chmod(0o700)
        with suppress(FileNotFoundError):
            path.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_address(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening)

    async def close(self) -> None:
        """Stop listening, cut what is open, and take the socket away."""
        if self._server is None:
            return
        self._closing = True
        self._server.close()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        with suppress(FileNotFoundError):
            self._home.control_socket.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        uid = _peer(writer)
        if task is None or uid not in (0, os.geteuid()) or len(self._busy) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._busy.add(task)
        try:
            while await self._one_request(reader, writer, Caller.local(uid)):
                continue
        except (BadFrame, asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # whatever it was, it concerns this connection only
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            self._busy.discard(task)
            writer.close()

    async def _one_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, caller: Caller
    ) -> bool:
        async with asyncio.timeout(IDLE_SECONDS):
            first = await reader.read(1)
        if not first:
            return False
        async with asyncio.timeout(FRAME_SECONDS):
            length = decode_length(first + await reader.readexactly(LENGTH.size - 1))
            frame = decode_body(await reader.readexactly(length))
        answer = {"v": VERSION, "id": frame.get("id"), **await self._dispatch(frame, caller)}
        try:
            writer.write(encode_frame(answer))
        except BadFrame:
            error = error_to_json(OperatorError("the answer is too long", "ask for less at a time"))
            writer.write(encode_frame({"v": VERSION, "id": frame.get("id"), "error": error}))
        async with asyncio.timeout(FRAME_SECONDS):
            await writer.drain()
        return True

    async def _dispatch(self, frame: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        op, args = frame.get("op"), frame.get("args", {})
        if not isinstance(op, str) or not isinstance(args, dict):
            raise BadFrame("a request has an operation and arguments")
        try:
            return {"result": await self._operations.call(op, args, caller)}
        except OperatorError as error:
            return {"error": error_to_json(error)}
        except Exception as error:  # noqa: BLE001 - the boundary of the control socket: the desk goes on
            if no_room(error):
                return {"error": error_to_json(full_disk())}
            reference = self._on_bug(f"operation {op}", error)
            return {"error": error_to_json(internal_error(reference))}


def internal_error(reference: str) -> OperatorError:
    """What a caller is told of a bug: nothing but where to look."""
    return OperatorError(
        f"internal error, reference {reference}", "the gateway's log holds the details", code=Exit.BUG
    )


def _peer(writer: asyncio.StreamWriter) -> int:
    """The user at the other end, as the kernel knows it (unix(7), SO_PEERCRED)."""
    connection = writer.get_extra_info("socket")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return int(uid)


def _stored_already() -> None:
    """The version is in the store; only its activation was missing."""


def _nothing() -> None:
    """The supervisor decides what Ctrl-C and a hang-up mean."""
