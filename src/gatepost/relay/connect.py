"""Hop -> Connection: dial, greet, STARTTLS under the plan. What TLS came to is told by `tls_told`.

What R24 asks is kept here by construction: a failure after the 220 of STARTTLS ends in `HopFailed` with
`handshake_broken`, and the courier then plans the other hosts of this attempt without clear text.

A client certificate is offered when the peer asks for one. If the handshake fails after it was asked for, one
reconnect goes without it at the same level; where that helped it is remembered for a day (architecture 4, Client certificate).

Each connection leaves a `Trail` of what was seen, for whoever explains a delivery by making its calls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gatepost.core.delivery_events import (
    DeliveryClosed,
    DeliveryOpened,
)
from gatepost.core.events import Noted, Warned
from gatepost.core.reply import Reply
from gatepost.core.tls import NO_WISHES, TlsFacts, TlsOutcome, TlsPlan, TlsStage, TlsWishes
from gatepost.net.dialer import dial, source_towards
from gatepost.net.errors import DialFailed, StreamError, TlsFailure
from gatepost.net.stream import Stream
from gatepost.net.trail import Trail
from gatepost.policy.hop import Hop
from gatepost.policy.tls_out import (
    DestinationRule,
    judge_tls,
)
from gatepost.relay.deliver import Connection
from gatepost.relay.dialogue import ConnectionBroken, expect, report_broken
from gatepost.relay.outcome import Failure
from gatepost.relay.schedule import Destination
from gatepost.relay.secure import observe_session, plan_for, pool_key
from gatepost.relay.services import Runtime, Services
from gatepost.relay.session_record import Turn, outbound_session, tell_certificates
from gatepost.relay.tls_told import refusal, tell_outcome, tell_required
from gatepost.wire.client_events import Greeting, HelloDone, StartTlsAnswered
from gatepost.wire.smtp_client import BEHIND_STARTTLS, ClientEngine

REMEMBER_NO_CERTIFICATE = 86_400.0


class HopFailed(Exception):
    """This address cannot be used in this attempt; the next one may be.

    `handshake_broken` says that TLS failed behind the 220, so that the attempt may not go in clear any more.
    """

    def __init__(self, failure: Failure, dcid: int, *, handshake_broken: bool = False) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.dcid = dcid
        self.handshake_broken = handshake_broken


class _CertificateUnwelcome(Exception):
    """The handshake failed after the peer asked for our certificate: once more without it."""


class Opener:
    """Opens connections to one hop for one destination."""

    def __init__(
        self,
        services: Services,
        runtime: Runtime,
        destination: Destination,
        rule: DestinationRule,
        hop: Hop,
        turn: Turn = Turn(),
        wishes: TlsWishes = NO_WISHES,
    ) -> None:
        self._services = services
        self._runtime = runtime
        self._destination = destination
        self._rule = rule
        self._hop = hop
        self._turn = turn
        self._wishes = wishes
        self._times = runtime.document.delivery.timeouts
        self._dcid = 0
        self._stream: Stream | None = None
        self._certificate_shown = False
        self._behind_220 = False  # STARTTLS was accepted: what fails from now on is a broken handshake (R24)
        self.trails: list[Trail] = []  # one for each connection that was tried, at most two

    def key(self, *, clear_allowed: bool, broken_attempts: int) -> tuple[Any, ...]:
        """The pool key of a connection that would do (architecture 4, Reuse)."""
        plan = self.plan(clear_allowed=clear_allowed, broken_attempts=broken_attempts)
        return pool_key(self._hop, plan, self._runtime)

    def plan(self, *, clear_allowed: bool, broken_attempts: int) -> TlsPlan:
        """The plan, without the client certificate where this hop did not stand it."""
        plan = plan_for(
            self._runtime,
            self._rule,
            self._hop,
            clear_allowed=clear_allowed,
            broken_attempts=broken_attempts,
            wishes=self._wishes,
        )
        until = self._services.unwelcome_certificates.get(self._memory(plan))
        if plan.certificate and until is not None and until > self._services.clock.monotonic():
            return _changed(plan, certificate="")
        return plan

    def _memory(self, plan: TlsPlan) -> tuple[Any, ...]:
        return (self._hop.address, self._hop.port, plan.certificate)

    async def open(self, *, clear_allowed: bool, broken_attempts: int) -> Connection:
        """A connection on which mail may pass. Raises HopFailed."""
        plan = self.plan(clear_allowed=clear_allowed, broken_attempts=broken_attempts)
        if plan.uncalled:
            raise self._uncalled(plan)
        try:
            return await self._attempt(plan)
        except _CertificateUnwelcome:
            text = f"{self._hop} broke the handshake after asking for a client certificate: trying without it"
            self._services.journal.emit(Noted(self._now(), text, {"dcid": self._dcid}))
            # It failed behind the 220 (R24): neither this connection nor another host may be in clear now.
            again = _changed(plan, certificate="", clear_allowed=False)
            try:
                connection = await self._attempt(again)
            except HopFailed as error:
                error.handshake_broken = True
                raise
            # Only what helped is remembered: a host that fails either way may have had a mishap.
            until = self._services.clock.monotonic() + REMEMBER_NO_CERTIFICATE
            self._services.unwelcome_certificates.put(self._memory(plan), until)
            return connection

    def _now(self) -> float:
        return self._services.clock.now()

    async def _attempt(self, plan: TlsPlan) -> Connection:
        """One TCP connection, and the record of what it came to."""
        self.trails.append(Trail(plan))
        try:
            connection = await self._connect(plan)
        except (HopFailed, _CertificateUnwelcome):
            self._keep_record()
            raise
        self._keep_record()
        return connection

    def _keep_record(self) -> None:
        services, trail = self._services, self._trail
        if trail.session is not None:
            tell_certificates(services, trail.session.peer_chain)
        services.journal.emit(
            outbound_session(services, self._rule, self._hop, self._dcid, self._turn, trail)
        )

    async def _connect(self, plan: TlsPlan) -> Connection:
        """Whatever ends the connection early also closes it and logs the close."""
        self._dcid = self._services.ids.dcid.take()
        self._certificate_shown = self._behind_220 = False
        self._stream = None
        stream = await self._dial()
        self._stream = stream
        self._trail.local = stream.local.host
        engine = ClientEngine(self._runtime.hello(stream.local.host))
        connection = None
        try:
            await self._greet(engine)
            outcome = await self._secure(engine, plan)
            connection = Connection(
                self._services,
                self._runtime,
                self._destination,
                self._hop,
                self._dcid,
                stream,
                engine,
                outcome,
            )
            return connection
        except ConnectionBroken as broken:
            self._trail.broken = broken.text
            self._report(broken)
            raise HopFailed(
                broken.failure(str(self._hop)), self._dcid, handshake_broken=self._behind_220
            ) from None
        finally:
            if connection is None:
                stream.abort()
                self._services.counters.connections_out_now -= 1
                self._services.journal.emit(DeliveryClosed(self._now(), self._dcid))

    async def _dial(self) -> Stream:
        services, hop = self._services, self._hop
        try:
            stream = await dial(
                services.reactor,
                hop.address,
                hop.port,
                source=self._runtime.sources.get(hop.address.version),
                timeout=self._times.connect,
            )
        except DialFailed as error:
            broken = ConnectionBroken(str(error))
            self._trail.broken = broken.text
            self._report(broken)
            raise HopFailed(broken.failure(str(hop)), self._dcid) from None
        services.counters.connections_out += 1
        services.counters.connections_out_now += 1
        services.journal.emit(
            DeliveryOpened(self._now(), self._dcid, stream.local.host, str(hop.address), hop.port)
        )
        return stream

    async def _greet(self, engine: ClientEngine) -> None:
        stream = self._live()
        stream.set_deadline(self._times.greeting)
        event = await expect(stream, engine)
        if isinstance(event, Greeting):
            self._trail.greeting = event.reply
        if not isinstance(event, Greeting) or event.reply.code != 220:
            raise _unwelcome(event)
        self._trail.hello = await self._hello(engine)

    async def _hello(self, engine: ClientEngine) -> HelloDone:
        stream = self._live()
        stream.set_deadline(self._times.command)
        engine.hello()
        stream.write(engine.take_output())
        event = await expect(stream, engine, self._times.command)
        if not isinstance(event, HelloDone):
            raise _unwelcome(event)
        return event

    # --- TLS ---------------------------------------------------------------------------------

    async def _secure(self, engine: ClientEngine, plan: TlsPlan) -> TlsOutcome:
        """Bring the connection to what the plan wants, or raise HopFailed."""
        capabilities = engine.capabilities
        assert capabilities is not None
        if not plan.level.tries or plan.deciding.skip_starttls:
            facts = TlsFacts(TlsStage.NOT_TRIED)
        elif not capabilities.esmtp:
            facts = TlsFacts(TlsStage.NO_ESMTP)
        elif not capabilities.starttls:
            facts = TlsFacts(TlsStage.NOT_OFFERED)
            if capabilities.masked:
                self._suspect()
        else:
            facts = await self._starttls(engine, plan)
        outcome = self._trail.outcome = judge_tls(plan, facts)
        if not outcome.may_pass and facts.stage is TlsStage.REFUSED and facts.reply is not None:
            self._report(ConnectionBroken("STARTTLS refused", facts.reply))
        tell_outcome(self._services, self._hop, self._dcid, outcome)
        if not outcome.may_pass:
            raise self._refused(outcome)
        if facts.stage is TlsStage.ESTABLISHED:
            engine.tls_started()
            await self._hello_inside(engine)
        return outcome

    async def _hello_inside(self, engine: ClientEngine) -> None:
        """EHLO again. With TLS 1.3 a peer's dislike of our certificate shows only now, by an alert or a hang-up; silence says nothing of it."""
        try:
            self._trail.hello_inside = await self._hello(engine)
        except ConnectionBroken as broken:
            if self._certificate_shown and broken.reply is None and not broken.silent:
                self._trail.broken = broken.text
                raise _CertificateUnwelcome from None
            raise

    def _suspect(self) -> None:
        """Somebody between us and the host may have taken STARTTLS out (C11); the level decides what follows."""
        text = f"DCID {self._dcid} IP {self._hop.address} offers something crossed out, and no STARTTLS: is it being held back on the way?"
        self._services.journal.emit(Warned(self._now(), text))

    async def _starttls(self, engine: ClientEngine, plan: TlsPlan) -> TlsFacts:
        stream = self._live()
        stream.set_deadline(self._times.command)
        engine.starttls()
        stream.write(engine.take_output())
        try:
            event = await expect(stream, engine)
        except ConnectionBroken as broken:
            if not broken.injected:
                raise
            return TlsFacts(TlsStage.HANDSHAKE_FAILED, error=broken.text)
        if not isinstance(event, StartTlsAnswered):
            raise ConnectionBroken("the answer to STARTTLS was not understood")
        self._trail.starttls = event.reply
        if not event.accepted:
            return TlsFacts(TlsStage.REFUSED, reply=event.reply)
        self._behind_220 = True
        if stream.unread:
            return TlsFacts(TlsStage.HANDSHAKE_FAILED, error=BEHIND_STARTTLS)
        context = self._runtime.client_contexts[plan.certificate, plan.client_hello]
        stream.set_deadline(self._times.handshake)
        try:
            session = await stream.start_tls(context, sni=plan.sni)
        except TlsFailure as failure:
            if plan.certificate and failure.certificate_requested:
                self._trail.broken = str(failure)
                raise _CertificateUnwelcome from None
            return TlsFacts(TlsStage.HANDSHAKE_FAILED, error=str(failure))
        except StreamError as error:
            return TlsFacts(TlsStage.HANDSHAKE_FAILED, error=str(error))
        self._trail.session = session
        self._certificate_shown = bool(plan.certificate) and session.certificate_requested
        return observe_session(self._services, self._runtime, plan, session)

    def _uncalled(self, plan: TlsPlan) -> HopFailed:
        """The host is not even called: what its domain published could not be learnt, or asks for what it cannot give."""
        outcome = judge_tls(plan, TlsFacts(TlsStage.NOT_TRIED))
        self.trails.append(Trail(plan, outcome=outcome))
        self._keep_record()
        tell_required(self._services, self._hop, outcome)
        return self._refused(outcome)

    def _refused(self, outcome: TlsOutcome) -> HopFailed:
        failure = refusal(outcome, self._hop)
        return HopFailed(failure, self._dcid, handshake_broken=failure.broken)

    # --- small parts -------------------------------------------------------------------------

    @property
    def _trail(self) -> Trail:
        """That of the connection at hand."""
        return self.trails[-1]

    def _live(self) -> Stream:
        assert self._stream is not None
        return self._stream

    def _report(self, broken: ConnectionBroken) -> None:
        local = self._stream.local.host if self._stream is not None else self._source()
        report_broken(self._services, self._destination.domain, self._hop, self._dcid, local, broken)

    def _source(self) -> str:
        """The address we called from in vain: the fixed one, or the kernel's choice."""
        hop = self._hop
        fixed = self._runtime.sources.get(hop.address.version)
        return str(fixed) if fixed is not None else source_towards(hop.address, hop.port)


def _changed(plan: TlsPlan, **changes: Any) -> TlsPlan:
    """The plan with these changes, and the one that decides in its place, if any."""
    relaxed = plan.relaxed and replace(plan.relaxed, **changes)
    return replace(plan, relaxed=relaxed, **changes)


def _unwelcome(event: object) -> ConnectionBroken:
    """A greeting or EHLO that was refused."""
    reply = getattr(event, "reply", None)
    if not isinstance(reply, Reply):
        return ConnectionBroken("the remote host did not greet")
    return ConnectionBroken(f"{reply.code} {reply.text}", reply)
