"""connection -> Session: who connects, may it speak, over TLS or not, and the conversation itself.

A session is one coroutine: it reads, gives the octets to the engine of `wire`, and answers the engine's
events; the transaction in hand is `receive.Reception`. Every gate asks `policy.admit`: the connection (HAT), the
sender, each recipient, the size.

Configuration. A session keeps the configuration it began with; the first MAIL after a commit asks again. Where the
listener, the TLS level or the access rule changed, that MAIL gets 421; otherwise the session goes on under
the new policy (architecture 3, Commit). What the policy asks of the client's certificate is judged before every MAIL.

This is one of the named boundaries that catch everything: a bug ends the session with 451 and an id
that is in the log; what was acknowledged before is safe on disk.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from gatepost.core.events import (
    ConnectionClosed,
    ConnectionLost,
    InboundTlsRequired,
    ReceivingFailed,
)
from gatepost.core.ids import OutOfIds
from gatepost.core.rejection_events import DelayedRejectionBegun
from gatepost.core.reply import Reply
from gatepost.net.dns_answer import PtrAnswer
from gatepost.net.errors import StreamError, StreamTimeout, TlsFailure
from gatepost.net.socket_address import SocketAddress
from gatepost.net.stream import Stream
from gatepost.policy.admit import Action, Admission, ListenerRules
from gatepost.policy.tls_in import ClientOutcome
from gatepost.relay.arrival import (
    NOT_ASKED,
    Arrived,
    Places,
    admission_of,
    admitted_event,
    arrive,
    name_of,
    opened_event,
)
from gatepost.relay.authenticate import Authentication
from gatepost.relay.delayed import DelayedRejection
from gatepost.relay.receive import Reception
from gatepost.relay.schedule import Scheduler
from gatepost.relay.services import Runtime, Services
from gatepost.relay.session_rules import follow_commit, make_engine
from gatepost.relay.session_tls import handshake, starttls
from gatepost.wire.server_events import (
    Abuse,
    Auth,
    Hello,
    Mail,
    Quit,
    ServerEvent,
    StartTls,
    TlsRequiredMissing,
)
from gatepost.wire.server_replies import greeting
from gatepost.wire.smtp_server import ServerEngine

SHUTTING_DOWN = Reply(421, "4.3.2", ("Service shutting down, please try again later",))
CHANGED = Reply(421, "4.3.2", ("The configuration changed, please connect again",))
TIMEOUT = Reply(421, "4.4.2", ("Timeout, closing connection",))
TOO_LONG = Reply(421, "4.4.2", ("This connection has lasted long enough, please connect again",))
REFUSED_GRACE = 30.0  # seconds for a refused sender to say QUIT

Handler = Callable[[Any], Awaitable[None] | None]


class Session:
    """One incoming connection."""

    def __init__(self, services: Services, scheduler: Scheduler, listener: str, stream: Stream) -> None:
        self.services = services
        self.scheduler = scheduler
        self.stream = stream
        self.runtime: Runtime = services.runtime
        self.rules: ListenerRules = self.runtime.rules.listeners[listener]
        self.icid = 0
        self.host: PtrAnswer = NOT_ASKED
        self.admission: Admission | None = None
        self.engine: ServerEngine | None = None
        self.reception: Reception | DelayedRejection | None = None
        self.client: ClientOutcome | None = None  # who the peer is by its certificate, where that is asked
        self.auth: Authentication | None = None  # AUTH, once there was one
        self.shaking_hands = False  # nothing may be said in clear
        self.keeping = False  # a message is being put on disk: wait for it before closing
        self._places = Places(services)
        self._task = asyncio.current_task()
        self._stopping = False
        self._farewell_reply = SHUTTING_DOWN
        self._quit = False
        self._turned_away = False  # told that there are too many connections
        self._peer_gone = False
        self._last_words = b""
        timeouts = self.rules.timeouts
        self._patience: float = timeouts.command
        lasts = float("inf") if timeouts.session is None else timeouts.session
        self._ends = asyncio.get_running_loop().time() + lasts

    # --- the whole of it -----------------------------------------------------------------------

    async def run(self) -> None:
        """The session from the first octet to the last log line."""
        self.services.counters.connections_in += 1
        self.services.counters.connections_in_now += 1
        lost = True
        try:
            lost = await self._converse() if await self._admitted() else not self._turned_away
        except StreamError as error:
            lost = True
            self._note_end(error)
        except asyncio.CancelledError:
            lost = False
            self._farewell()
        except OutOfIds:
            self.stream.write(Reply(421, "4.3.2", ("Busy, please try again later",)).encode())
            lost = False
        except Exception as error:  # noqa: BLE001 - the named boundary: a bug never takes the worker down
            reference = self.services.on_bug(f"session ICID {self.icid}", error)
            if not self.shaking_hands:  # else it would stand in clear between the records
                self.stream.write(Reply(451, "4.3.0", (f"Internal error, reference {reference}",)).encode())
            lost = False
        finally:
            await self._end(lost)

    async def _end(self, lost: bool) -> None:
        if self.reception is not None:
            self.reception.abort("Receiving aborted by sender")
            # They and the session refer to each other: all go now, not when the collector comes by.
            self.reception = self.auth = None
        if not self.stream.unsent:
            self._places.give_back()
        self.services.counters.connections_in_now -= 1
        if self.icid:
            if lost:
                self._emit(ConnectionLost(self._now(), self.icid))
            self._emit(ConnectionClosed(self._now(), self.icid, self._hello_name()))
        try:
            await self.stream.close(self._last_words)
        finally:
            self._places.give_back()  # only now where a peer does not take what it was told: it stays a while (C27)

    def stop(self, why: Reply = SHUTTING_DOWN) -> None:
        """The gateway stops, or this session's configuration is too old: end when idle, else after the message in hand."""
        self._stopping = True
        self._farewell_reply = why
        if self._task is not None and not self.keeping and not self._in_message():
            self._task.cancel()

    def _in_message(self) -> bool:
        return self.engine is not None and self.engine.in_message

    def _farewell(self) -> None:
        """421 between commands (RFC 5321 §3.8)."""
        if not self._in_message() and not self.shaking_hands:
            self.stream.write(self._farewell_reply.encode())

    def _hello_name(self) -> str:
        return self.engine.hello_name if self.engine is not None else ""

    def _now(self) -> float:
        return self.services.clock.now()

    def _emit(self, event: Any) -> None:
        self.services.journal.emit(event)

    def _note_end(self, error: StreamError) -> None:
        """Tell the peer that it was too slow; any other end speaks for itself."""
        if isinstance(error, StreamTimeout):
            lasts = asyncio.get_running_loop().time() < self._ends
            self.stream.write((TIMEOUT if lasts else TOO_LONG).encode())
            self._emit(ReceivingFailed(self._now(), self.icid, "Timeout"))
        elif self.stream.tls is None and isinstance(error, TlsFailure):
            pass  # `TLS failed` was logged where the handshake was made

    # --- the gates before the conversation -----------------------------------------------------

    async def _admitted(self) -> bool:
        """Connection limits, HAT, implicit TLS, greeting. False when the connection is over."""
        arrived = await arrive(self.services, self.runtime.scores, self.rules, self.stream, self._places)
        self.host, standing = arrived.host, arrived.standing
        peer, name = self.stream.peer.host, name_of(arrived.host)
        admission = admission_of(self.services, self.rules, peer, name, standing.score)
        self.admission = admission
        if admission.action is Action.TCPREFUSE:
            self._emit(admitted_event(self._now(), 0, admission, standing))
            self.stream.abort()
            return False
        self.icid = self.services.ids.icid.take()
        self._emit(opened_event(self._now(), self.icid, self.rules, self.stream, self.host))
        self._emit(admitted_event(self._now(), self.icid, admission, standing))
        if arrived.gone or not self._let_in(arrived, admission):
            return False
        self.stream.set_deadline(self.rules.timeouts.command)
        if self.rules.implicit_tls and not await handshake(self):
            return False
        self.engine = make_engine(self, admission)
        self.engine.greet(self._greeting(admission))
        return True

    def _let_in(self, arrived: Arrived, admission: Admission) -> bool:
        """A place for the session. Without one it is told so, and False."""
        if admission.policy is None and arrived.certain:
            if self._places.turn_away(self.rules):
                return True
            assert admission.refusal is not None
            return self._dismiss(admission.refusal.reply())
        refusal = arrived.refusal or self._places.take(self.rules, admission)
        if refusal is None:
            return True
        self._emit(ReceivingFailed(self._now(), self.icid, "Connection limit exceeded"))
        return self._dismiss(refusal, lingers=self._places.turn_away(self.rules))

    def _dismiss(self, refusal: Reply, *, lingers: bool = False) -> bool:
        """The last word to a connection without a place; unless it has one to linger, it is not waited for."""
        self.stream.write(refusal.encode())
        self._turned_away = True
        if not lingers:
            self.stream.abort()
        return False

    def _greeting(self, admission: Admission) -> Reply:
        if admission.refusal is not None:
            if admission.policy is None:
                self._patience = REFUSED_GRACE
                return admission.refusal.reply()
            self._emit(DelayedRejectionBegun(self._now(), self.icid, self.stream.peer.host))
        return greeting(self.rules.hostname, admission.banner)

    # --- the conversation ----------------------------------------------------------------------

    async def _converse(self) -> bool:
        """Read and answer until one side ends it. True when the peer just vanished."""
        engine, stream = self.engine, self.stream
        assert engine is not None
        handlers = self._handlers()
        clock, times = asyncio.get_running_loop().time, self.rules.timeouts
        while True:
            event = engine.next_event()
            if event is not None:
                handler = handlers.get(type(event))
                if handler is not None:
                    pending = handler(event)
                    if pending is not None:
                        await pending
                continue
            output = engine.take_output()
            if engine.closed:
                self._last_words = output  # they go with the end of the connection, in one piece
                return self._peer_gone and not self._quit
            if output:
                stream.write(output)
            if self._stopping and not engine.in_message:
                self._farewell()
                return False
            if self._peer_gone:
                return not self._quit
            patience = times.data if engine.in_message else self._patience
            stream.set_deadline_at(min(clock() + patience, self._ends))
            if stream.unsent:
                await stream.drain()  # a peer that does not read its answers is not read either (C27)
            data = await stream.read()
            if data:
                engine.receive(data)
            else:
                self._peer_gone = True  # what it sent before is worked off once more
                engine.peer_closed()

    def _handlers(self) -> dict[type[ServerEvent], Handler]:
        assert self.admission is not None
        reception = Reception(self) if self.admission.refusal is None else DelayedRejection(self)
        self.reception = reception
        return {
            Hello: self._hello,
            StartTls: self._starttls,
            Mail: self._mail,
            Auth: self._authenticate,
            Quit: self._quitting,
            Abuse: self._abuse,
            TlsRequiredMissing: self._tls_missing,
            **reception.handlers(),
        }

    def _hello(self, event: Hello) -> None:
        assert self.engine is not None
        self.engine.answer(Reply(250, "", (self.rules.hostname,)))

    async def _authenticate(self, event: Auth) -> None:
        self.auth = self.auth or Authentication(self)
        await self.auth.take(event)

    def _quitting(self, event: Quit) -> None:
        self._quit = True

    def _abuse(self, event: Abuse) -> None:
        self._emit(ReceivingFailed(self._now(), self.icid, event.reason))
        assert self.reception is not None
        self.reception.abort(event.reason)

    def _tls_missing(self, event: TlsRequiredMissing) -> None:
        self._emit(InboundTlsRequired(self._now(), self.icid))

    def _starttls(self, event: StartTls) -> Awaitable[None]:
        return starttls(self)

    # --- MAIL: the configuration may have changed ----------------------------------------------

    async def _mail(self, event: Mail) -> None:
        assert self.engine is not None
        assert self.reception is not None
        if self.services.runtime is not self.runtime and not follow_commit(self):
            self.engine.answer(CHANGED)
            return
        if self._stopping:
            self.engine.answer(self._farewell_reply)
            return
        self.reception.mail(event)


async def serve(
    services: Services,
    scheduler: Scheduler,
    sessions: set[Session],
    listener: str,
    sock: socket.socket,
    peer: SocketAddress,
) -> None:
    """Run one session on an accepted socket; it stands in `sessions` while it lives."""
    stream = Stream(services.reactor, sock, peer)
    if listener not in services.runtime.rules.listeners:
        stream.abort()  # the listener was removed while this connection stood in its backlog
        return
    session = Session(services, scheduler, listener, stream)
    sessions.add(session)
    try:
        await session.run()
    finally:
        sessions.discard(session)
