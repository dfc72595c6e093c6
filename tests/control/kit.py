"""A home with its operations, and a running gateway made of values, for the tests of this room."""

from __future__ import annotations

import asyncio
import copy
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.fakes.ca import Issued

from gatepost.control.ops import build
from gatepost.control.ops.door import Door, read_here
from gatepost.control.ports import Caller, Operations, WorkerAnswer
from gatepost.core.errors import OperatorError
from gatepost.core.events import Event
from gatepost.store.beginning import begin
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.payload import open_payload, used_profiles, version_payload
from gatepost.store.secrets import LocalKeeper, MasterKey, read_master_key

NOW = 1_800_000_000.0  # 2027-01-15
CONTRACT_LIKE = """
system: {hostname: gw.example.net}
interfaces:
  - {name: Data 1, address: 127.0.0.1, hostname: mx.example.net}
listeners:
  - name: IncomingMail
    type: public
    interface: Data 1
    port: 2525
    tls: starttls
    certificate: Demo
    host_access:
      - {group: ALL, policy: ACCEPTED}
    recipient_access:
      - {recipient: example.net, action: accept}
      - {recipient: ALL, action: reject}
destination_controls:
  default: {tls: preferred, bounce_profile: Default}
"""


def b64(data: bytes | str) -> str:
    return b64encode(data.encode() if isinstance(data, str) else data).decode("ascii")


def pem_of(issued: Issued) -> bytes:
    """Key and chain in one file."""
    return issued.key_pem + issued.chain_pem


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class FakeWorker:
    """One worker's queue as the desk sees it: the answers of `relay.queue`."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = {message["mid"]: message for message in messages}
        self.busy: set[int] = set()
        self.down = ""
        self.counters = {"messages_accepted": 2, "tls_in": 1}

    def answer(self, kind: str, args: Mapping[str, Any]) -> Any:
        if kind == "status":
            return self._status()
        action = kind.removeprefix("queue.")
        chosen = self._chosen(args)
        if action in ("list", "show"):
            return [copy.deepcopy(message) for message in chosen]
        busy = [message["mid"] for message in chosen if message["mid"] in self.busy]
        done = [m["mid"] for m in chosen if m["mid"] not in busy and self._act(action, m)]
        return {"done": done, "busy": busy}

    def _status(self) -> dict[str, Any]:
        held = sum(message["state"] == "held" for message in self.messages.values())
        shard = {"shard": 0, "failed": ""}
        return {
            "version": 1,
            "counters": dict(self.counters),
            "messages": len(self.messages),
            "held": held,
            "destinations": 1,
            "deliveries": 0,
            "sessions": 3,
            "caches": {"dns": {"hits": 3, "misses": 1, "size": 1, "limit": 10_000}},
            "spool": {"shards": [shard], "set_aside": []},
        }

    def _chosen(self, args: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "mid" in args:
            return [m for m in self.messages.values() if m["mid"] == args["mid"]]
        if "domain" in args:
            suffix = "@" + args["domain"]
            return [m for m in self.messages.values() if any(suffix in str(r) for r in m["recipients"])]
        return list(self.messages.values()) if args.get("all") else []

    def _act(self, action: str, message: dict[str, Any]) -> bool:
        held = message["state"] == "held"
        match action:
            case "hold" if not held:
                message["state"] = "held"
            case "release" if held:
                message["state"] = "queued"
            case "retry" if not held:
                message["attempts"] += 1
            case "delete" | "bounce":
                del self.messages[message["mid"]]
            case _:
                return False
        return True


def message(mid: int, *recipients: str, received: float = NOW, state: str = "deferred") -> dict[str, Any]:
    """A queued message as a worker tells of it."""
    return {
        "mid": mid,
        "received": received,
        "sender": "a@example.net",
        "recipients": list(recipients),
        "size": 2048,
        "state": state,
        "attempts": 1,
        "next_attempt": received + 60,
        "reason": "connection refused",
        "requiretls": False,
        "tls_optional": False,
        "kind": "ordinary",
    }


class FakeGateway:
    """A gateway that activates all or nothing, opens the keys like the supervisor, and has workers with queues."""

    def __init__(self, key: MasterKey, payload: Mapping[str, Any]) -> None:
        self._key = key
        self.active = payload
        self.refuses = ""
        self.before_store: Callable[[], None] = lambda: None
        self.workers = [FakeWorker(), FakeWorker()]
        self.events: list[Event] = []
        self.looked: list[str] = []
        self.jobs: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}

    async def activate(self, payload: Mapping[str, Any], store: Callable[[], None], /) -> None:
        open_payload(dict(payload), self._key, used_profiles(payload["document"]))
        if self.refuses:
            raise OperatorError(self.refuses)
        self.before_store()
        store()
        self.active = payload

    async def ask_workers(
        self, kind: str, args: Mapping[str, Any], worker: int | None = None, /
    ) -> Sequence[WorkerAnswer]:
        return [
            WorkerAnswer(index, None, one.down) if one.down else WorkerAnswer(index, one.answer(kind, args))
            for index, one in enumerate(self.workers)
            if worker in (None, index)
        ]

    async def status(self) -> Mapping[str, Any]:
        process = {"pid": 10, "state": "running", "restarts": 0, "started": NOW}
        return {
            "version": self.active["version"],
            "started": NOW - 90_000,
            "stopping": False,
            "workers": [{"index": i, "shards": [i], **process} for i in range(len(self.workers))],
            "desk": process,
            "listeners": [{"name": "IncomingMail", "address": "127.0.0.1", "port": 2525}],
        }

    def look(self, job: str, /) -> asyncio.Future[None]:
        self.looked.append(job)
        if job in self.jobs:
            return asyncio.ensure_future(self.jobs[job]())
        looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        looked.set_result(None)
        return looked

    def emit(self, event: Event, /) -> None:
        self.events.append(event)


def new_home(root: Path) -> Home:
    """A home with version 1."""
    home = Home(root)
    home.initialise({})
    store = ConfigStore.open(home.config_db)
    begin(home, store, read_master_key(home, {}), NOW)
    store.close()
    return home


class Bench:
    """Operations over one home, on a stopped gateway or (after `start`) on a running one."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.clock = Clock()
        self.store = ConfigStore.open(home.config_db)
        self.key = read_master_key(home, {})
        self.gateway: FakeGateway | None = None
        self.operations: Operations = build(home, self.store, LocalKeeper(self.key), None, self.clock)

    def start(self) -> FakeGateway:
        version = self.store.latest()
        assert version is not None
        self.gateway = FakeGateway(self.key, version_payload(self.store, version))
        keeper = LocalKeeper(self.key)
        # Without the confined child, which has tests of its own and costs a third of a second.
        self.operations = Door(self.home, self.store, keeper, self.gateway, self.clock, read=read_here)
        return self.gateway

    def call(self, op: str, *, uid: int = 1000, **args: Any) -> Any:
        return asyncio.run(self._call(op, args, uid))

    async def _call(self, op: str, args: Mapping[str, Any], uid: int) -> Any:
        return await self.operations.call(op, args, Caller.local(uid))

    def apply(self, text: str, *, uid: int = 1000, **args: Any) -> Any:
        return self.call("config.apply", uid=uid, text=b64(text), **args)

    def document(self) -> Any:
        return self.call("config.show")["document"]

    def versions(self) -> int:
        return self.store.latest_number()

    def opens(self, name: str) -> bytes:
        """The private key of a certificate in force."""
        version = self.store.latest()
        assert version is not None
        stored = self.store.profile(version.content.profiles[name])
        assert stored is not None
        return self.key.open(name, stored.revision, stored.sealed)
