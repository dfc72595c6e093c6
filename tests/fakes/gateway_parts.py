"""The way of a message in one process: real listeners, spool, scheduler and couriers, around a fake clock and resolver.

    async with gateway(tmp_path, routes={"partner.example": peer.port}) as it:
        client = await it.connect()              # speaks SMTP to the listener "In"
        mid = await it.inject("a@x.example", "b@partner.example")     # or puts a message in without SMTP
        await it.log.line("Message finished")
        it.clock.advance(60)
        it.commit(smtp_routes=[…])               # sections of a configuration document

The configuration is a small document; sections that are given replace those of `DOCUMENT`. Deliveries go to loopback
ports by smtp routes, since nothing else may lead there.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.fakes.ca import Issued, TestAuthority
from tests.fakes.log_book import LogBook
from tests.fakes.resolver import FakePolicies, FakeResolver
from tests.fakes.smtp_client import Client
from tests.fakes.time_travel import FakeClock

from gatepost.app.runtime import build_runtime
from gatepost.config.load import load_plain, to_plain
from gatepost.core.address import NULL_ADDRESS, Address, normalise_domain
from gatepost.core.envelope import Envelope, Recipient
from gatepost.core.events import InternalError, MessageQueued, SpoolProblem
from gatepost.core.ids import IdKind, IdPool
from gatepost.net.listener import Listener
from gatepost.net.reactor import Reactor
from gatepost.net.socket_address import SocketAddress
from gatepost.pki.judge import Judge
from gatepost.relay.accept import Session, serve
from gatepost.relay.call_ahead import CallAheads
from gatepost.relay.courier import Couriers
from gatepost.relay.queue import QueueRequests
from gatepost.relay.report_mail import ReportMail
from gatepost.relay.services import Ids, Runtime, Services
from gatepost.relay.spool import keep
from gatepost.relay.tasks import Tasks
from gatepost.store.limits import LimitTable
from gatepost.store.spool import Files, Spool, SpoolSettings, StoredMessage
from gatepost.store.tls_reports_incoming import IncomingReports
from gatepost.track.journal import LoopScheduler, WorkerJournal

DOCUMENT: dict[str, Any] = {
    "system": {"hostname": "gw.example.net"},
    "interfaces": [{"name": "Data 1", "address": "127.0.0.1", "hostname": "mx.example.net"}],
    "listeners": [
        {
            "name": "In",
            "interface": "Data 1",
            "port": 2525,
            "certificate": "gw",
            "host_access": [{"group": "ALL", "policy": "ACCEPTED"}],
            "recipient_access": [{"recipient": "example.net", "action": "accept"}],
        }
    ],
    "mail_flow_policies": [
        {"name": "ACCEPTED", "action": "accept", "tls": "preferred"},
        {"name": "BLOCKED", "action": "reject"},
    ],
    "bounce_profiles": [{"name": "Default"}],
}
BODY = b"From: a@sender.example\r\nSubject: Testing\r\n\r\nHello\r\n"


@cache
def authority() -> TestAuthority:
    """The authority that the gateway trusts."""
    return TestAuthority("Example CA")


@cache
def own_certificate() -> Issued:
    """What the gateway itself presents, as server and as client."""
    return authority().issue(["mx.example.net"])


def listener(name: str = "In", **changes: Any) -> dict[str, Any]:
    """The listener of `DOCUMENT` with other settings."""
    return {**DOCUMENT["listeners"][0], "name": name, **changes}


def policy(name: str = "ACCEPTED", action: str = "accept", **choices: Any) -> dict[str, Any]:
    return {"name": name, "action": action, "tls": "preferred", **choices}


def controls(level: str = "preferred", *entries: Mapping[str, Any], **default: Any) -> dict[str, Any]:
    """Destination controls with this default level."""
    return {"default": {"tls": level, **default}, "destinations": list(entries)}


def route(domain: str, *hosts: str | int) -> dict[str, Any]:
    """An smtp route; a number is a port on loopback."""
    written = [f"[127.0.0.1]:{host}" if isinstance(host, int) else host for host in hosts]
    return {"domain": domain, "hosts": written}


def to_address(text: str) -> Address:
    if not text:
        return NULL_ADDRESS
    local, _, domain = text.rpartition("@")
    return Address(text, local, normalise_domain(domain))


class Gateway:
    """One worker's parts, put together for a test. Made by `gateway`."""

    def __init__(self, root: Path, clock: FakeClock, log: LogBook, document: dict[str, Any]) -> None:
        self.clock = clock
        self.log = log
        self.resolver = FakeResolver()
        self.policies = FakePolicies()
        self.sessions: set[Session] = set()
        self.bugs: list[BaseException] = []
        self.users: dict[str, str] = {}  # who may send; taken up by the next commit
        self.crls: tuple[bytes, ...] = ()  # taken up by the next commit
        self.bounce_keys: dict[int, bytes] = {}  # the same; the first one is in use
        self.ports: dict[str, int] = {}
        self._root = root
        self._loop = asyncio.get_running_loop()
        self._version = 0
        self._document = document
        self._listeners: list[Listener] = []
        self._clients: list[Client] = []
        self._tasks = Tasks("session", self._bug)

    async def start(self, descriptor: int, index: int, files: Files | None, settings: SpoolSettings) -> None:
        self._journal = WorkerJournal((self.log,), LoopScheduler(self._loop), gathered_events=1)
        self._reactor = Reactor(self._loop)
        spool = await Spool.open(
            self._root / f"spool{index}",
            (index,),
            settings,
            boot="boot",
            now=self.clock.monotonic,
            on_problem=self._spool_problem,
            files=files,
        )
        self.services = Services(
            clock=self.clock,
            journal=self._journal,
            spool=spool,
            limits=LimitTable.attach(os.dup(descriptor), index, clock=self.clock.monotonic),
            ids=Ids(*(self._pool(kind, 1 + index * 100_000) for kind in IdKind)),
            resolver=self.resolver,  # type: ignore[arg-type]
            reactor=self._reactor,
            judge=Judge(),
            sts=self.policies,  # type: ignore[arg-type]
            runtime=self._compile(),
            on_bug=self._bug,
            rng=random.Random(7),
        )
        self.incoming = IncomingReports(self._root / "received-tls-reports")
        self.couriers = Couriers(self.services, ReportMail(self.services, self.incoming))
        self.call_aheads = self.services.call_aheads = CallAheads()
        self.queue = QueueRequests(self.services, self.couriers)
        for message in await spool.recovered():
            self.couriers.scheduler.add(message)
        for name in self.services.runtime.rules.listeners:
            self._listen(name)

    def _spool_problem(self, shard: int, reason: str, mid: int) -> None:
        self._journal.emit(SpoolProblem(self.clock.now(), shard, reason, mid))

    @staticmethod
    def _pool(kind: IdKind, first: int) -> IdPool:
        numbers = iter(range(first, first + 100_000, 256))
        pool = IdPool(kind, lambda _: pool.grant(next(numbers)))
        pool.top_up()
        return pool

    def _bug(self, where: str, error: BaseException) -> str:
        self.bugs.append(error)
        self._journal.emit(InternalError(self.clock.now(), "ref1", where, f"Traceback\n{error!r}"))
        return "ref1"

    # --- configuration -----------------------------------------------------------------------

    def _compile(self) -> Runtime:
        self._version += 1
        own = own_certificate()
        profile = {"chains": [own.chain_pem.decode()], "keys": [own.key_pem.decode()]}
        authorities = {"system": False, "custom_pem": authority().root_pem.decode()}
        document = to_plain(load_plain(self._document))
        return build_runtime(
            {
                "version": self._version,
                "document": document,
                "profiles": {"gw": profile},
                "authorities": authorities,
                "users": self.users,
                "nobody": b64encode(b"nobody" * 6).decode(),
                "bounce_keys": [
                    {"number": number, "key": b64encode(key).decode("ascii")}
                    for number, key in self.bounce_keys.items()
                ],
                "crls": [{"der": b64encode(crl).decode("ascii"), "signer": ""} for crl in self.crls],
            }
        )

    def commit(self, **sections: Any) -> None:
        """Activate the configuration with these sections replaced."""
        self._document = {**self._document, **sections}
        self.services.runtime = self._compile()

    # --- in ----------------------------------------------------------------------------------

    def _listen(self, name: str) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.ports[name] = sock.getsockname()[1]

        def on_connection(connection: socket.socket, peer: SocketAddress) -> None:
            self._tasks.spawn(
                serve(self.services, self.couriers.scheduler, self.sessions, name, connection, peer)
            )

        it = Listener(self._loop, sock, on_connection, lambda reason: None)
        self._listeners.append(it)
        it.resume()

    async def connect(self, name: str = "In", source: str = "127.0.0.1") -> Client:
        client = await Client.connect(self._reactor, self.ports[name], source)
        self._clients.append(client)
        return client

    async def inject(
        self,
        sender: str,
        *recipients: str | Recipient,
        body: bytes = BODY,
        eight_bit: bool = False,
        **envelope: Any,
    ) -> int:
        """Put a message into the spool and the queue as `receive` does; returns its MID."""
        mid = self.services.ids.mid.take()
        to = tuple(r if isinstance(r, Recipient) else Recipient(to_address(r)) for r in recipients)
        now = self.clock.now()
        stored = StoredMessage(
            mid,
            now,
            Envelope(to_address(sender), to, **envelope),
            dotted=b"\r\n." in body or body.startswith(b"."),
            eight_bit=eight_bit,
        )
        writer = self.services.spool.new_body(mid)
        writer.write(body)
        refusal = await keep(
            self.services, self.couriers.scheduler, stored, writer, [MessageQueued(now, mid)]
        )
        assert refusal is None
        return mid

    # --- looking -----------------------------------------------------------------------------

    def stored(self, mid: int) -> StoredMessage:
        return self.couriers.scheduler.messages[mid]

    async def quiet(self) -> None:
        """Wait until no courier works any more."""
        while not await self.couriers.tasks.wait(10.0):
            raise AssertionError(f"a courier hangs:\n{self.log.describe()}")

    async def ended(self) -> bool:
        """Wait until no session is left."""
        return await self._tasks.wait(10.0)

    async def delayed(self, mid: int, count: int = 1) -> None:
        """Wait for the `count`th `Delayed` of the message."""
        await self.log.line("Delayed:", f"MID {mid} ", count=count)

    def to_next_attempt(self, mid: int) -> None:
        """Move time to the moment when the message is due again."""
        due = min(p.next_attempt for p in self.stored(mid).progress if p.state == "waiting")
        self.clock.advance(due - self.clock.now() + 0.001)

    # --- the end -----------------------------------------------------------------------------

    async def stop(self, seconds: float = 5.0) -> None:
        """What a worker does when it is told to stop."""
        for it in self._listeners:
            it.stop()
        self._listeners.clear()
        for session in list(self.sessions):
            session.stop()
        await asyncio.gather(self._tasks.wait(seconds), self.couriers.stop(seconds))
        await self._tasks.cancel()

    async def close(self) -> None:
        for client in self._clients:
            client.stream.abort()
        await self.stop(0.0)
        await self.call_aheads.close()
        await self.services.spool.close()
        await asyncio.sleep(0)
        self._journal.close()
        self.services.checks.close()
        self._reactor.close()
        self.services.limits.close()


@asynccontextmanager
async def gateway(
    root: Path,
    *,
    routes: Mapping[str, Any] | None = None,
    descriptor: int | None = None,
    index: int = 0,
    clock: FakeClock | None = None,
    log: LogBook | None = None,
    files: Files | None = None,
    settings: SpoolSettings | None = None,
    resolver: FakeResolver | None = None,
    users: Mapping[str, str] | None = None,
    bounce_keys: Mapping[int, bytes] | None = None,
    **sections: Any,
) -> AsyncIterator[Gateway]:
    """A gateway that is closed at the end. `routes` maps domains to a port, or to a sequence of hosts."""
    document = {**DOCUMENT, **sections}
    if routes is not None:
        document["smtp_routes"] = [
            route(
                domain, *(hosts if isinstance(hosts, Sequence) and not isinstance(hosts, str) else (hosts,))
            )
            for domain, hosts in routes.items()
        ]
    own = LimitTable.create(2) if descriptor is None else -1
    it = Gateway(root, clock or FakeClock(asyncio.get_running_loop()), log or LogBook(), document)
    it.users.update(users or {})
    if resolver is not None:
        it.resolver = resolver
    it.bounce_keys = dict(bounce_keys or {})
    try:
        await it.start(
            own if descriptor is None else descriptor,
            index,
            files,
            settings or SpoolSettings(lazy_delay=0.005),
        )
        yield it
    finally:
        if hasattr(it, "queue"):
            await it.close()
        if own >= 0:
            os.close(own)
