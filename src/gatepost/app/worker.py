"""A mail worker: the objects of one process, put together, and the whole way of a message on one event loop.

It owns the shards that it was assigned and accepts on the sockets that it inherited. A new configuration is
built in a thread by `prepare` and taken up by `switch` in one step: sessions and connections look at `services.runtime` at
their next message. It ends by `stop`, or by the supervisor's death.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gatepost import __version__
from gatepost.app.caches import cache_states
from gatepost.app.explaining import Explaining, asks_otherwise
from gatepost.app.roles import Assignment, ListenerSocket, SupervisorPort
from gatepost.app.runtime import build_runtime
from gatepost.core.errors import OperatorError
from gatepost.core.events import InternalError, Noted, SpoolProblem, Warned
from gatepost.core.ids import IdKind, IdPool
from gatepost.net.dns_client import DnsClient, parse_name_server, system_name_servers
from gatepost.net.dns_trust import DnsTrust, ProbeNames, Validation
from gatepost.net.hosts_file import read_hosts
from gatepost.net.listener import Listener
from gatepost.net.reactor import Reactor
from gatepost.net.resolver import Resolver
from gatepost.net.socket_address import SocketAddress
from gatepost.pki.judge import Judge
from gatepost.pki.revocation import NO_CRLS, Crls
from gatepost.policy.dnssec import wants_dnssec
from gatepost.relay.accept import CHANGED, Session, serve
from gatepost.relay.call_ahead import CallAheads
from gatepost.relay.courier import Couriers
from gatepost.relay.own_mail import OwnMail
from gatepost.relay.proof import ProofRequests, serve_proof
from gatepost.relay.queue import QueueRequests
from gatepost.relay.report_mail import ReportMail
from gatepost.relay.services import Ids, Runtime, Services
from gatepost.relay.sts import StsPolicies
from gatepost.relay.sts_fetch import PolicyFetcher
from gatepost.relay.tasks import Tasks
from gatepost.store.home import Home
from gatepost.store.limits import LimitTable
from gatepost.store.spool import ExportPoint, Spool, SpoolSettings
from gatepost.store.sts_cache import StsCache
from gatepost.store.tls_reports_incoming import IncomingReports
from gatepost.track.journal import LoopScheduler, WorkerJournal
from gatepost.track.json_log import JsonLogFormat, JsonLogSink, not_yet_logged
from gatepost.track.log_files import LogFile
from gatepost.track.mail_log import MailLogFormat, MailLogSink
from gatepost.track.process_log import SystemClock

OLDEST_CONFIGURATION = 600.0  # seconds that a session may keep a configuration that is no longer in force
EXPORT_SECONDS = 1.0  # between marks that tell the spool what the log has

Build = Callable[[Mapping[str, Any], Crls], Runtime]


class Worker:
    """Implements `app.roles.MailWorker`. `build` compiles a configuration; it blocks, and runs in a thread."""

    def __init__(
        self,
        supervisor: SupervisorPort,
        *,
        oldest_configuration: float = OLDEST_CONFIGURATION,
        build: Build = build_runtime,
    ) -> None:
        self._supervisor = supervisor
        self._build = build
        self._oldest_configuration = oldest_configuration
        self._loop = asyncio.get_running_loop()
        self._clock = SystemClock()
        self._tasks = Tasks("worker", self._bug)
        self._sessions: set[Session] = set()
        self._session_tasks = Tasks("session", self._bug)
        self._listeners: dict[tuple[str, str, int], Listener] = {}
        self._proofs = ProofRequests(lambda: self._services.runtime, self._loop.time)
        self._explaining = Explaining(
            lambda: self._services,
            build,
            self._lent_resolver,
            lambda: StsCache(self._home.sts_policies, keeps=False),
        )
        self._prepared: tuple[Runtime, tuple[ListenerSocket, ...]] | None = None
        self._marking: asyncio.TimerHandle | None = None
        self._spool: Spool | None = None

    # --- starting ----------------------------------------------------------------------------

    async def start(self, assignment: Assignment) -> None:
        """Open the shards, take up the queue and accept. Raises OperatorError when it cannot."""
        self._home = Home(assignment.home)
        self._index = assignment.index
        runtime = await self._loop.run_in_executor(None, self._build, assignment.payload, NO_CRLS)
        self._journal = self._open_journal(runtime)
        self._reactor = Reactor(self._loop)
        spool = await Spool.open(
            self._home.spool,
            assignment.shards,
            SpoolSettings(),
            boot=assignment.boot,
            now=time.monotonic,
            on_problem=self._spool_problem,
            activity=lambda: self._reactor.activity,
        )
        self._spool = spool
        left_over = not_yet_logged(self._home.logs, self._home.event_log.name, spool.left_over_events())
        self._journal.replay(left_over)
        self._services = Services(
            clock=self._clock,
            journal=self._journal,
            spool=spool,
            limits=LimitTable.attach(assignment.limits, assignment.index),
            ids=Ids(*(self._pool(kind) for kind in (IdKind.ICID, IdKind.DCID, IdKind.MID))),
            resolver=self._make_resolver(runtime),
            reactor=self._reactor,
            judge=Judge(),
            sts=self._make_sts(),
            runtime=runtime,
            on_bug=self._bug,
        )
        await self._fill_pools()
        incoming = IncomingReports(self._home.received_tls_reports)
        self._couriers = Couriers(self._services, ReportMail(self._services, incoming))
        self._call_aheads = self._services.call_aheads = CallAheads()
        self._requests = QueueRequests(self._services, self._couriers)
        self._own_mail = OwnMail(self._services, self._couriers.scheduler)
        for message in await spool.recovered():
            self._couriers.scheduler.add(message)
        self._mark()
        self._accept(assignment.listeners)

    def _open_journal(self, runtime: Runtime) -> WorkerJournal:
        """The sinks of the log: the mail log as its subscription says, and every event as a JSON line."""
        form, limit, keep = self._subscription(runtime)
        directory, mail, events = self._home.logs, self._home.mail_log.name, self._home.event_log.name
        self._mail_log = MailLogSink(
            form, LogFile(directory, mail, form, self._clock, limit=limit, keep=keep)
        )
        self._event_log = JsonLogSink(
            LogFile(directory, events, JsonLogFormat(), self._clock, limit=limit, keep=keep)
        )
        return WorkerJournal((self._mail_log, self._event_log), LoopScheduler(self._loop), self._logged)

    def _subscription(self, runtime: Runtime) -> tuple[MailLogFormat, int, int]:
        """The mail log's format, the size at which a file is put away, and how many are kept."""
        settings = runtime.document.log_subscriptions[0] if runtime.document.log_subscriptions else None
        form = MailLogFormat(
            version=__version__,
            serial=self._home.serial(),
            level=settings.level.value.capitalize() if settings else "Info",  # type: ignore[arg-type]
            local=settings is not None and settings.time.value == "local",
        )
        return (form, settings.rotate, settings.keep) if settings else (form, 100 << 20, 10)

    def _follow_subscription(self, runtime: Runtime) -> None:
        form, limit, keep = self._subscription(runtime)
        self._mail_log.use(form, limit=limit, keep=keep)
        self._event_log.use(JsonLogFormat(), limit=limit, keep=keep)

    def _make_resolver(self, runtime: Runtime) -> Resolver:
        """The resolver of a configuration that is in force, or about to be."""
        return self._resolver(runtime, self._dns_judged)

    def _lent_resolver(self, runtime: Runtime) -> Resolver:
        """One for a look at a configuration that is not in force."""
        return self._resolver(runtime, lambda verdicts: None)

    def _resolver(self, runtime: Runtime, judged: Callable[[Sequence[Validation]], None]) -> Resolver:
        dns = runtime.document.dns
        servers = tuple(parse_name_server(text) for text in dns.servers)
        client = DnsClient(servers or system_name_servers())
        trust = None
        if dns.validate_dnssec:
            trust = DnsTrust(client, ProbeNames(dns.probe.signed, dns.probe.bogus), judged)
            if wants_dnssec(runtime.document, runtime.destinations):
                trust.start()  # else the first message that requires TLS does
        return Resolver(self._loop, client, hosts=read_hosts(), trust=trust)

    def _make_sts(self) -> StsPolicies:
        fetcher = PolicyFetcher(
            lambda: self._services.resolver,
            lambda: self._services.runtime.anchors,
            lambda: self._services.runtime.document.dns.allow_private_mx,
        )

        def note(text: str) -> None:
            self._journal.emit(Warned(self._clock.now(), text))

        return StsPolicies(
            lambda: self._services.resolver, fetcher, StsCache(self._home.sts_policies), self._clock, note
        )

    def _dns_judged(self, verdicts: Sequence[Validation]) -> None:
        """Say which name servers are believed about DNSSEC, once for the gateway; nothing known before counts any more.

        That none validates is nothing to warn of where no destination asks for DANE.
        """
        self._services.resolver.forget()
        if self._index:
            return
        warns = self._services.runtime.destinations.asks_dane
        for verdict in verdicts:
            text = f"Name server {verdict.server} is believed about DNSSEC"
            if not verdict.validates:
                text = f"Name server {verdict.server} is not believed about DNSSEC: it {verdict.reason}"
            at = self._clock.now()
            sound = verdict.validates or not warns
            self._journal.emit(Noted(at, text) if sound else Warned(at, text))

    # --- identifiers -------------------------------------------------------------------------

    def _pool(self, kind: IdKind) -> IdPool:
        return IdPool(kind, self._ask_for_ids)

    def _ask_for_ids(self, kind: IdKind) -> None:
        self._tasks.spawn(self._granted(kind))

    async def _granted(self, kind: IdKind) -> None:
        first = await self._supervisor.grant_ids(kind)
        pool: IdPool = getattr(self._services.ids, kind.value)
        pool.grant(first)

    async def _fill_pools(self) -> None:
        """The first blocks, before anything needs a number."""
        for kind in IdKind:
            pool: IdPool = getattr(self._services.ids, kind.value)
            pool.top_up()
        await self._tasks.wait(30.0)

    # --- listening ---------------------------------------------------------------------------

    def _accept(self, sockets: Sequence[ListenerSocket]) -> None:
        """Accept under the configuration in force; its DNS lists are tried before somebody comes."""
        services = self._services
        services.scores.check(services.resolver, services.runtime.scores)
        self._listen(sockets)

    def _listen(self, sockets: Sequence[ListenerSocket]) -> None:
        """Accept on these sockets and on no others."""
        wanted = {(item.name, item.address, item.port): item for item in sockets}
        for key in [key for key in self._listeners if key not in wanted]:
            self._listeners.pop(key).stop()
        for key, item in wanted.items():
            if key in self._listeners:
                continue
            sock = socket.socket(fileno=socket.dup(item.descriptor))
            listener = Listener(self._loop, sock, self._acceptor(item.name), self._listener_problem)
            self._listeners[key] = listener
            listener.resume()

    def _acceptor(self, name: str) -> Any:
        def on_connection(sock: socket.socket, peer: SocketAddress) -> None:
            if self._proofs and self._proofs.take(sock, peer):
                self._session_tasks.spawn(serve_proof(self._services, name, sock, peer))
                return
            self._session_tasks.spawn(
                serve(self._services, self._couriers.scheduler, self._sessions, name, sock, peer)
            )

        return on_connection

    # --- configuration -----------------------------------------------------------------------

    async def prepare(self, payload: Mapping[str, Any], listeners: Sequence[ListenerSocket]) -> None:
        """Build what a new configuration needs, without using it. Raises OperatorError to refuse it."""
        before = self._services.runtime.crls
        runtime = await self._loop.run_in_executor(None, self._build, payload, before)
        self._prepared = (runtime, tuple(listeners))

    def switch(self) -> None:
        """Use what was prepared: one assignment, so every step sees either the old or the new whole."""
        assert self._prepared is not None
        (runtime, listeners), self._prepared = self._prepared, None
        before = self._services.runtime
        if asks_otherwise(runtime, before):
            old = self._services.resolver
            self._services.resolver = self._make_resolver(runtime)
            self._tasks.spawn(old.close())
        if runtime.document.log_subscriptions != before.document.log_subscriptions:
            self._follow_subscription(runtime)
        self._services.runtime = runtime
        self._accept(listeners)
        self._loop.call_later(self._oldest_configuration, self._retire, before)

    def _retire(self, runtime: Runtime) -> None:
        """Ask sessions that still hold this configuration to come again: they have not sent mail since."""
        for session in list(self._sessions):
            if session.runtime is runtime:
                session.stop(CHANGED)

    def abandon(self) -> None:
        """Forget what was prepared."""
        self._prepared = None

    # --- stopping ----------------------------------------------------------------------------

    async def stop(self, seconds: float) -> None:
        """Close listeners, let sessions and deliveries end within `seconds`, close the spool and the log."""
        deadline = time.monotonic() + seconds
        for listener in self._listeners.values():
            listener.stop()
        self._listeners.clear()
        for session in list(self._sessions):
            session.stop()
        left = max(0.0, deadline - time.monotonic())
        await asyncio.gather(self._session_tasks.wait(left), self._couriers.stop(left))
        await self._session_tasks.cancel()
        await self._tasks.cancel()
        if self._marking is not None:
            self._marking.cancel()
        await self._services.spool.close()
        await asyncio.sleep(0)  # futures of the last commits tell the journal before it closes
        self._journal.mark(self._services.spool.export_point())
        self._journal.close()
        await self._services.scores.close()
        await self._call_aheads.close()
        await self._services.resolver.close()
        self._services.checks.close()
        self._reactor.close()

    # --- the log and the spool ---------------------------------------------------------------

    def _mark(self) -> None:
        """Put a mark into the log's stream: when it is safe, the spool need not keep those events any more."""
        self._journal.mark(self._services.spool.export_point())
        self._marking = self._loop.call_later(EXPORT_SECONDS, self._mark)

    def _logged(self, marks: list[ExportPoint]) -> None:
        self._services.spool.exported(marks[-1])

    def _spool_problem(self, shard: int, reason: str, mid: int) -> None:
        """Tell of it. A shard that has become read-only is read anew by another worker (architecture 5)."""
        self._journal.emit(SpoolProblem(self._clock.now(), shard, reason, mid))
        if self._spool is not None and any(figures.failed for figures in self._spool.statistics().shards):
            self._supervisor.fail(f"shard {shard} of the spool is read-only: {reason}")

    def _listener_problem(self, reason: str) -> None:
        self._journal.emit(Warned(self._clock.now(), f"accepting rests for a moment: {reason}"))

    def _bug(self, where: str, error: BaseException) -> str:
        """Note our own bug in the log; returns the id that may be quoted to a peer."""
        reference = secrets.token_hex(4)
        text = "".join(traceback.format_exception(error))
        self._journal.emit(InternalError(self._clock.now(), reference, where, text))
        return reference

    # --- the desk ----------------------------------------------------------------------------

    async def request(self, kind: str, args: Mapping[str, Any]) -> Any:
        """Answer the desk. Raises OperatorError for a kind that is not known."""
        if kind == "status":
            return self._status()
        if kind.startswith("queue."):
            return await self._requests.answer(kind.removeprefix("queue."), args)
        if kind.startswith("mail."):
            return await self._own_mail.answer(kind.removeprefix("mail."), args)
        if kind.startswith("proof."):
            return await self._proofs.answer(kind.removeprefix("proof."), args)
        if kind == "explain":
            return await self._explaining.answer(args)
        if kind == "look-up":
            return await self._explaining.look_up(args)
        raise OperatorError(f"a worker does not know {kind!r}")

    def _status(self) -> dict[str, Any]:
        scheduler = self._couriers.scheduler
        return {
            "version": self._services.runtime.version,
            "counters": asdict(self._services.counters),
            "messages": len(scheduler.messages),
            "held": sum(1 for message in scheduler.messages.values() if message.held),
            "destinations": len(scheduler.destinations),
            "deliveries": len(self._couriers.tasks),
            "sessions": len(self._sessions),
            "caches": cache_states(self._services),
            "spool": asdict(self._services.spool.statistics()),
        }

    def heard(self, kind: str, args: Mapping[str, Any]) -> None:
        """A broadcast of another worker; none is needed yet beyond the configuration."""
