"""The supervisor: keeps the processes, the keys, the ports and the numbers; parses nothing from the network.

    supervisor ── channel ── worker 0 … N-1      accept, spool, deliver
              └── channel ── desk               control socket, config.db

It holds the home's lock and the master key, binds the listening sockets, owns the limits table and the
identifiers, and starts workers and desk, again with back-off when one dies. A successor gets the same shards.

A commit is made active everywhere or nowhere: `activation`.

*Stop*: listening sockets close at once, workers get the stop time, then whoever is left is killed.
Its own death needs no code here: the children's parent-death signal and the end of their channels see to it.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatepost.app.activation import Activation
from gatepost.app.channel import ChannelClosed, OnBug, PeerBug
from gatepost.app.child import Child, State
from gatepost.app.notify import Notifier
from gatepost.app.shards import assign_shards, shards_on_disk
from gatepost.app.sockets import (
    ChallengeKind,
    Service,
    Sockets,
    bind_challenge,
    endpoint_json,
    endpoints,
)
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Noted, Warned
from gatepost.core.ids import IdKind
from gatepost.core.ports import Clock, Emit
from gatepost.store.home import Home
from gatepost.store.ids import IdSource
from gatepost.store.limits import LimitTable
from gatepost.store.payload import Payload
from gatepost.store.secrets import MasterKey, SealBroken

START_SECONDS = 120.0  # a worker may wait 10 s for its shards and recover a long queue
ASK_SECONDS = 60.0
EXPLAIN_SECONDS = 150.0  # of one kind of question: the worker asks strangers before it answers
GRACE = 1.0  # after the stop time, before the rest is killed; the contract allows 2 s in all


@dataclass(frozen=True, slots=True)
class Options:
    """What `gatepost start` was told."""

    workers: int
    stop_seconds: float
    command: Sequence[str]  # starts a child; the role is appended


class Supervisor:
    """One run of the gateway, from bind to the end of the last child."""

    def __init__(
        self,
        home: Home,
        key: MasterKey,
        payload: Payload,
        options: Options,
        *,
        notifier: Notifier,
        emit: Emit,
        on_bug: OnBug,
        clock: Clock,
        ready: Callable[[str], None],
    ) -> None:
        self._ready = ready
        self._home = home
        self._key = key
        self._options = options
        self._notifier = notifier
        self._emit = emit
        self._on_bug = on_bug
        self._clock = clock
        self._boot = uuid.uuid4().hex
        self._started = clock.now()
        self._sockets = Sockets()
        self._ids = IdSource(home.ids)
        self._limits = LimitTable.attach(LimitTable.create(options.workers), None)
        self._shards = assign_shards(shards_on_disk(home.spool), options.workers)
        self._workers = [self._child("worker", index) for index in range(options.workers)]
        self._desk = self._child("desk", 0)
        self._activation = Activation(payload, key, self._sockets, self._workers, emit=emit, clock=clock)
        self._stopping = False
        self._stop = asyncio.Event()
        self._stop_seconds = options.stop_seconds
        self._group = asyncio.TaskGroup()

    def _child(self, role: str, index: int) -> Child:
        return Child(
            role,
            index,
            command=self._options.command,
            answer=self._answer_worker if role == "worker" else self._answer_desk,
            bring_up=self._bring_up_worker if role == "worker" else self._bring_up_desk,
            cleared=self._worker_gone if role == "worker" else self._desk_gone,
            emit=self._emit,
            on_bug=self._on_bug,
            clock=self._clock,
        )

    # --- the run -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Start everything, serve until told to stop, stop everything.

        Raises OperatorError when the start fails: a port, or a process that refuses.
        """
        plan = self._sockets.plan(endpoints(self._activation.active["document"]))
        self._sockets.switch(plan)
        self._listen_to_signals()
        children = [*self._workers, self._desk]
        async with self._group:
            lives = [self._group.create_task(child.live(), name=child.name) for child in children]
            await self._until_up(children)
            refused = next((child.refused for child in children if child.refused is not None), None)
            if refused is None and not self._stop.is_set():
                self._announce()
                await self._serve()
            await self._end(0.0 if refused is not None else self._stop_seconds)
            for life in lives:
                life.cancel()
        self._sockets.close()
        self._limits.close()
        self._ids.close()
        if refused is not None:
            raise refused

    async def _until_up(self, children: list[Child]) -> None:
        """Wait for the first life of every child, or for the order to stop."""
        stop = self._group.create_task(self._stop.wait(), name="stop")
        ups = self._group.create_task(_all_up(children), name="up")
        await asyncio.wait((stop, ups), return_when=asyncio.FIRST_COMPLETED)
        ups.cancel()
        stop.cancel()

    def _announce(self) -> None:
        self._activation.announce()
        self._notifier.ready(self._summary())
        self._ready(self._summary())

    def _summary(self) -> str:
        where = ", ".join(f"{e.name} on {e.address} port {e.port}" for e in self._sockets.endpoints)
        return f"version {self._activation.active['version']}; {where or 'no listeners'}"

    async def _serve(self) -> None:
        """Until the order to stop comes; signs of life for the service manager in between."""
        interval = self._notifier.watchdog_seconds or None
        while not self._stop.is_set():
            try:
                async with asyncio.timeout(interval):
                    await self._stop.wait()
            except TimeoutError:
                self._notifier.alive()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hangup)

    def stop(self) -> None:
        """Begin to stop; a second order (Ctrl-C again) cuts the stop time to nothing."""
        if self._stopping or self._stop.is_set():
            for child in (*self._workers, self._desk):
                child.kill()
        self._stop.set()

    def _hangup(self) -> None:
        if not self._stopping:
            self._group.create_task(self._reload(), name="reload")

    async def _end(self, seconds: float) -> None:
        """Stop the children within `seconds` and a grace; nothing is left behind."""
        self._stopping = True
        self._notifier.stopping(seconds)
        self._sockets.close()
        self._desk.notify("quiet", {})
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds + GRACE
        await self._stop_children(self._workers, seconds, deadline)
        await self._stop_children([self._desk], 0.5, max(deadline, loop.time() + 0.5))

    async def _stop_children(self, children: list[Child], seconds: float, deadline: float) -> None:
        for child in children:
            child.no_more()
            if child.state is State.RUNNING:
                child.state = State.STOPPING
                child.notify("stop", {"seconds": seconds})
            else:
                child.kill()  # what is not up has promised nothing
        try:
            async with asyncio.timeout_at(deadline):
                for child in children:
                    await child.gone.wait()
        except TimeoutError:
            for child in children:
                child.kill()
            for child in children:
                await child.gone.wait()

    # --- bringing up, and deaths -------------------------------------------------------------

    async def _bring_up_worker(self, child: Child) -> None:
        """Give a fresh worker its assignment, then whatever was activated meanwhile."""
        payload, listening = self._activation.active, self._sockets.endpoints
        child.pass_descriptors({"limits": self._limits.fileno(), **self._sockets.descriptors()})
        assignment = {
            "index": child.index,
            "workers": self._options.workers,
            "shards": self._shards[child.index],
            "home": str(self._home.root),
            "boot": self._boot,
            "stop_seconds": self._options.stop_seconds,
            "payload": self._activation.opened(payload),
            "listeners": endpoint_json(listening),
        }
        await child.request("start", assignment, START_SECONDS)
        child.seen = payload
        await self._activation.catch_up(child)

    async def _bring_up_desk(self, child: Child) -> None:
        await child.request(
            "start",
            {"home": str(self._home.root), "version": self._activation.active["version"]},
            START_SECONDS,
        )

    def _worker_gone(self, child: Child) -> None:
        self._limits.clear_worker(child.index)

    def _desk_gone(self, _child: Child) -> None:
        # A preparation whose asker died is of no more use; the next desk compares the versions.
        self._activation.abandon()

    # --- requests of workers -----------------------------------------------------------------

    async def _answer_worker(self, child: Child, kind: str, args: Mapping[str, Any]) -> Any:
        match kind:
            case "ids":
                return self._ids.grant(IdKind(args["kind"]))
            case "broadcast":
                for other in self._workers:
                    if other is not child and other.state is State.RUNNING:
                        other.notify("heard", args)
                return None
            case "fail":
                self._emit(Warned(self._clock.now(), f"{child.name} cannot go on: {args.get('reason', '')}"))
                child.kill()
                return None
        raise OperatorError(f"unknown request {kind}")

    # --- requests of the desk ----------------------------------------------------------------

    async def _answer_desk(self, child: Child, kind: str, args: Mapping[str, Any]) -> Any:
        match kind:
            case "prepare":
                self._refuse_when_stopping()
                await self._activation.prepare(args["payload"])
                return None
            case "switch":
                # Not to be cut short by the death of the desk that asked: some would switch and some not.
                await asyncio.shield(self._group.create_task(self._activation.switch(), name="switch"))
                return None
            case "abandon":
                self._activation.abandon()
                return None
            case "ask":
                return await self._ask(args["kind"], args["args"], args.get("worker"))
            case "status":
                return self._status()
            case "public-ports":
                return self._hand_over_public_ports(child)
            case "challenge-ports":
                return self._open_challenge_ports(child, ChallengeKind(args["kind"]))
            case "seal":
                sealed = self._key.seal(args["name"], args["revision"], b64decode(args["secret"]))
                return b64encode(sealed).decode("ascii")
            case "open":
                try:
                    secret = self._key.open(args["name"], args["revision"], b64decode(args["sealed"]))
                except SealBroken as error:
                    raise OperatorError(str(error), code=Exit.FAULTY_CONFIGURATION) from None
                return b64encode(secret).decode("ascii")
        raise OperatorError(f"unknown request {kind}")

    def _open_challenge_ports(self, desk: Child, kind: ChallengeKind) -> list[str]:
        """Bind the ports that an ACME challenge is answered on, and hand them over.

        Which they are the configuration in force says, not the desk. No copy is kept: they close when the desk closes
        them, or ends.
        """
        self._refuse_when_stopping()
        opened = bind_challenge(self._activation.active["document"], kind)
        try:
            desk.pass_descriptors({label: listening.fileno() for label, listening in opened.items()})
        except ChannelClosed:
            return []
        finally:
            for listening in opened.values():
                listening.close()
        return list(opened)

    def _hand_over_public_ports(self, desk: Child) -> list[str]:
        """Pass the sockets of the public port in force; ours stay open, since a commit and the next desk need them."""
        found = self._sockets.descriptors(service=Service.WEB)
        try:
            desk.pass_descriptors(found)
        except ChannelClosed:
            return []
        return list(found)

    def _refuse_when_stopping(self) -> None:
        if self._stopping:
            raise OperatorError("the gateway is stopping", "start it again", code=Exit.TRY_AGAIN)

    async def _ask(self, kind: str, args: Mapping[str, Any], index: int | None) -> list[dict[str, Any]]:
        """One worker's answer, or that of all that run."""
        if index is not None and not 0 <= index < len(self._workers):
            raise OperatorError(f"there is no worker {index}")
        chosen = self._workers if index is None else [self._workers[index]]
        asked = [child for child in chosen if child.state is State.RUNNING]
        answers = await asyncio.gather(*(self._ask_one(child, kind, args) for child in asked))
        down = [
            {"worker": child.index, "error": f"the {child.name} is not running"}
            for child in chosen
            if child not in asked
        ]
        return sorted([*answers, *down], key=lambda answer: answer["worker"])

    async def _ask_one(self, child: Child, kind: str, args: Mapping[str, Any]) -> dict[str, Any]:
        seconds = EXPLAIN_SECONDS if kind == "explain" else ASK_SECONDS
        try:
            result = await child.request("ask", {"kind": kind, "args": args}, seconds)
        except OperatorError as error:
            return {"worker": child.index, "error": error.message}
        except PeerBug as error:
            return {"worker": child.index, "error": f"internal error, reference {error}"}
        except (ChannelClosed, TimeoutError):
            return {"worker": child.index, "error": f"the {child.name} did not answer"}
        return {"worker": child.index, "result": result}

    def _status(self) -> dict[str, Any]:
        def one(child: Child) -> dict[str, Any]:
            return {
                "pid": child.pid,
                "state": child.state.value,
                "restarts": child.restarts,
                "started": child.started,
            }

        return {
            "version": self._activation.active["version"],
            "started": self._started,
            "stopping": self._stopping,
            "workers": [
                {"index": child.index, "shards": list(self._shards[child.index]), **one(child)}
                for child in self._workers
            ],
            "desk": one(self._desk),
            "listeners": [
                {"name": e.name, "address": e.address, "port": e.port}
                for e in self._sockets.endpoints
                if e.service is Service.MAIL
            ],
            "public_web": [
                {"address": e.address, "port": e.port}
                for e in self._sockets.endpoints
                if e.service is Service.WEB
            ],
        }

    async def _reload(self) -> None:
        """SIGHUP: read again what lies outside the store (the system's authorities, the log files)."""
        self._notifier.reloading()
        self._emit(Noted(self._clock.now(), "reload"))
        try:
            await self._activation.prepare(dict(self._activation.active))
            await self._activation.switch()
        except OperatorError as error:
            self._emit(Warned(self._clock.now(), f"reload: {error.message}"))
        self._notifier.ready(self._summary())


async def _all_up(children: list[Child]) -> None:
    for child in children:
        await child.up.wait()
