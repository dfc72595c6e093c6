"""A gateway of real processes whose worker and operations do next to nothing; run as a script.

`processes.py start HOME PORT WORKERS STOP_SECONDS` is the supervisor; it starts this script again as `worker` and `desk`.
A worker answers every connection with `INDEX VERSION` and can be told to refuse, crash, or dawdle.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatepost.app.desk import run_desk
from gatepost.app.desk_jobs import Tools
from gatepost.app.hardening import capabilities
from gatepost.app.jobs import Job
from gatepost.app.main import role_arguments, run
from gatepost.app.roles import Assignment, ListenerSocket, SupervisorPort
from gatepost.app.start import StartOptions, say, start
from gatepost.app.worker_main import run_worker
from gatepost.certs.order_challenges import Ports
from gatepost.control.ports import Caller, Gateway
from gatepost.core.errors import OperatorError
from gatepost.core.ids import IdKind
from gatepost.core.ports import Clock
from gatepost.store.beginning import Beginning
from gatepost.store.config_store import ConfigStore, Content
from gatepost.store.home import Home
from gatepost.store.limits import Kind, LimitTable
from gatepost.store.payload import sealed_payload
from gatepost.store.secrets import Keeper

KEY = b"-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n"


def document(*ports: int, challenge: int = 0) -> dict[str, Any]:
    """Listeners on these ports; with `challenge`, an automatic certificate whose challenges are answered there."""
    acme = {"directory": "https://acme.example/", "certificates": [{"name": "x"}], "http_port": challenge}
    return {
        **({"acme": acme} if challenge else {}),
        "interfaces": [{"name": "Loop", "address": "127.0.0.1"}],
        "listeners": [
            {"name": f"In{index}", "interface": "Loop", "port": port, "certificate": "Demo"}
            for index, port in enumerate(ports)
        ],
    }


class TrivialWorker:
    def __init__(self, supervisor: SupervisorPort) -> None:
        self.supervisor = supervisor
        self.heard_of: list[str] = []
        self.servers: dict[tuple[str, int], asyncio.Server] = {}
        self.prepared: tuple[Mapping[str, Any], dict[tuple[str, int], socket.socket]] = ({}, {})

    async def start(self, assignment: Assignment) -> None:
        if assignment.payload["comment"] == "unusable":
            raise OperatorError("the worker does not want to", code=78)  # type: ignore[arg-type]
        self.assignment = assignment
        self.payload = assignment.payload
        self.limits = LimitTable.attach(assignment.limits, assignment.index)
        for listener in assignment.listeners:
            await self.listen(listener.address, listener.port, duplicate(listener.descriptor))

    async def listen(self, address: str, port: int, listening: socket.socket) -> None:
        self.servers[address, port] = await asyncio.start_server(self.serve, sock=listening)

    async def serve(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{self.assignment.index} {self.payload['version']}\n".encode())
        writer.close()

    async def prepare(self, payload: Mapping[str, Any], listeners: Sequence[ListenerSocket]) -> None:
        if payload["comment"] == f"worker {self.assignment.index} refuses":
            raise OperatorError("the worker refuses")
        if payload["comment"] == "crash":
            os._exit(3)
        new = {
            (one.address, one.port): duplicate(one.descriptor)
            for one in listeners
            if (one.address, one.port) not in self.servers
        }
        self.prepared = payload, new
        self.wanted = {(one.address, one.port) for one in listeners}

    def switch(self) -> None:
        self.payload, new = self.prepared
        for place in [place for place in self.servers if place not in self.wanted]:
            self.servers.pop(place).close()
        for (address, port), listening in new.items():
            self.task = asyncio.get_running_loop().create_task(self.listen(address, port, listening))

    def abandon(self) -> None:
        for listening in self.prepared[1].values():
            listening.close()
        self.prepared = {}, {}

    async def stop(self, seconds: float) -> None:
        for server in self.servers.values():
            server.close()
        if self.payload["comment"] == "dawdle":
            await asyncio.Event().wait()

    async def request(self, kind: str, args: Mapping[str, Any]) -> Any:
        match kind:
            case "about":
                return {
                    "index": self.assignment.index,
                    "pid": os.getpid(),
                    "uid": os.getuid(),
                    "shards": self.assignment.shards,
                    "capabilities": capabilities(),
                    "keys": sorted(n for n, p in self.payload["profiles"].items() if p.get("keys")),
                    "version": self.payload["version"],
                    "heard": self.heard_of,
                    "session": os.getsid(0),
                }
            case "claim":
                return self.limits.acquire(Kind.DELIVERY, "", args["limit"])
            case "id":
                return await self.supervisor.grant_ids(IdKind.MID)
            case "broadcast":
                self.supervisor.broadcast("freed", {"what": args["what"]})
            case "fail":
                self.supervisor.fail("the disk is gone")
            case "crash":
                os._exit(3)
            case "bug":
                raise ZeroDivisionError("of the worker")
        return None

    def heard(self, kind: str, args: Mapping[str, Any]) -> None:
        self.heard_of.append(f"{kind} {args['what']}")


def duplicate(descriptor: int) -> socket.socket:
    return socket.socket(fileno=os.dup(descriptor))


class TrivialOperations:
    def __init__(
        self, desk: Desk, store: ConfigStore, keeper: Keeper, gateway: Gateway, clock: Clock
    ) -> None:
        self.desk, self.store, self.keeper, self.gateway, self.clock = desk, store, keeper, gateway, clock

    async def call(self, op: str, args: Mapping[str, Any], caller: Caller) -> Any:
        match op:
            case "status":
                return dict(await self.gateway.status())
            case "whoami":
                return caller.name
            case "ask":
                answers = await self.gateway.ask_workers(
                    args["kind"], args.get("args", {}), args.get("worker")
                )
                return [{"worker": a.worker, "result": a.result, "error": a.error} for a in answers]
            case "commit":
                return await self.commit(args["ports"], args["comment"], caller, args.get("challenge", 0))
            case "open":
                self.desk.held = await self.desk.ports().open(args["kind"])
                return [one.getsockname() for one in self.desk.held]
            case "close":
                for one in self.desk.held:
                    one.close()
                return None
            case "crash":
                os._exit(3)
            case "seal":
                sealed = await self.keeper.seal("gw", 7, b"secret")
                return (await self.keeper.open("gw", 7, sealed)).decode()
            case "scheduling":
                return [os.nice(0), os.sched_getscheduler(0), os.getsid(0), capabilities()]
            case "refuse":
                raise OperatorError("refused", "ask nicely")
            case "bug":
                raise ZeroDivisionError("a secret detail")
        raise OperatorError(f"unknown operation {op}")

    async def commit(self, ports: Sequence[int], comment: str, caller: Caller, challenge: int) -> int:
        latest = self.store.latest()
        assert latest is not None
        content = Content(
            document(*ports, challenge=challenge), latest.content.profiles, "", latest.content.users
        )
        number = latest.number + 1

        def keep() -> None:
            if comment == "store fails":
                raise OperatorError("the store fails")
            self.store.commit(latest.number, content, caller.name, comment, self.clock.now())

        payload = sealed_payload(self.store, content, number, caller.name, comment)
        await self.gateway.activate(payload, keep)
        return number


class Desk:
    """What the desk is built of, and the sockets that it holds for a challenge."""

    def __init__(self) -> None:
        self.tools: Tools | None = None
        self.held: list[socket.socket] = []

    def build(
        self, _home: Home, store: ConfigStore, keeper: Keeper, gateway: Gateway, clock: Clock
    ) -> TrivialOperations:
        return TrivialOperations(self, store, keeper, gateway, clock)

    def make_jobs(self, tools: Tools) -> Sequence[Job]:
        self.tools = tools
        return ()

    def ports(self) -> Ports:
        assert self.tools is not None
        return self.tools.ports


def main(arguments: Sequence[str]) -> int:
    role, *rest = arguments
    if role == "worker":
        return run_worker(*role_arguments(rest), TrivialWorker)
    if role == "desk":
        desk = Desk()
        return run_desk(*role_arguments(rest), desk.build, desk.make_jobs)
    home, port, workers, stop_seconds = rest
    first = Beginning(document(int(port)), "chain", {}, KEY)
    start(
        StartOptions(home, int(workers), "", float(stop_seconds)),
        os.environ,
        say,
        command=(sys.executable, str(Path(__file__).resolve())),
        first=first,
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], main))
