"""Due, Hop, TlsPlan -> Outcome: one outgoing SMTP session, opened, secured, used for several messages, closed.

A connection knows the plan under which it was opened, what TLS turned out to be (`outcome`), and how often
and how long it was used. It never decides whether mail may pass: that is asked of `policy.tls_out.judge_tls`
when it is opened and again, by `fits`, before it is used for the next message (architecture 4, Reuse).

Timeouts are those of RFC 5321 §4.5.3.2. After the final dot the peer may own the message: from then until its answer
`dot_sent` is True, and a stopping gateway waits for the answer instead of cutting the connection.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from gatepost.core.delivery_events import DeliveryClosed, DeliveryStarted, EightBitToSevenBitHop
from gatepost.core.envelope import Envelope
from gatepost.core.reply import Reply
from gatepost.core.tls import TlsOutcome, TlsWishes
from gatepost.net.errors import StreamError
from gatepost.net.stream import Stream
from gatepost.policy.bounce_tags import tagged
from gatepost.policy.destinations import NOTICE_PATH
from gatepost.policy.hop import Hop
from gatepost.policy.requiretls import strengthened
from gatepost.policy.tls_out import judge_tls
from gatepost.policy.tls_words import delivery_record, tls_record
from gatepost.relay.dialogue import ConnectionBroken, expect, report_broken
from gatepost.relay.monitoring import report_monitored
from gatepost.relay.outcome import Due, Failure, Outcome, Stage, failed, failure_from_reply
from gatepost.relay.schedule import Destination
from gatepost.relay.secure import expires, plan_for, pool_key
from gatepost.relay.services import Runtime, Services
from gatepost.store.spool import BodyDamaged, StoredMessage
from gatepost.wire.client_commands import UnsendableText
from gatepost.wire.client_events import (
    BodyAnswered,
    Capabilities,
    ClientEvent,
    EnvelopeAnswered,
    ResetDone,
    Transaction,
)
from gatepost.wire.smtp_client import ClientEngine

QUIT_TIMEOUT = 5.0
MAX_AGE = 300.0  # seconds a connection may be used
PIECE = 65_536

Wanted = TypeVar("Wanted", bound=ClientEvent)


class Stale(Exception):
    """A reused connection turned out to be dead before anything of this message was answered."""


class Connection:
    """One open delivery connection (a DCID)."""

    __slots__ = (
        "_capabilities",
        "_record",
        "_services",
        "_times",
        "dcid",
        "destination",
        "dot_sent",
        "engine",
        "expires",
        "hop",
        "idle_since",
        "key",
        "messages",
        "opened",
        "outcome",
        "remote",
        "runtime",
        "stream",
        "usable",
    )

    def __init__(
        self,
        services: Services,
        runtime: Runtime,
        destination: Destination,
        hop: Hop,
        dcid: int,
        stream: Stream,
        engine: ClientEngine,
        outcome: TlsOutcome,
    ) -> None:
        self._services = services
        self.runtime = runtime
        self.destination = destination
        self.hop = hop
        self.remote = str(hop)
        self.dcid = dcid
        self.stream = stream
        self.engine = engine
        self.opened = services.clock.monotonic()
        self.idle_since = self.opened
        self.messages = 0
        self._times = runtime.document.delivery.timeouts
        self.usable = True
        self.dot_sent = False
        self._capabilities: Capabilities = engine.capabilities or Capabilities()
        self._take_outcome(outcome)

    def _take_outcome(self, outcome: TlsOutcome) -> None:
        self.outcome = outcome
        self.expires = expires(outcome)
        self.key = pool_key(self.hop, outcome.plan, self.runtime)
        self._record: dict[str, Any] = delivery_record(tls_record(outcome))

    # --- reuse -------------------------------------------------------------------------------

    def worn(self, max_messages: int) -> bool:
        """True when the connection has done its share: messages, age, or the certificate's end."""
        return (
            self.messages >= max_messages
            or self._services.clock.monotonic() - self.opened > MAX_AGE
            or self._services.clock.now() >= self.expires
        )

    def fits(
        self,
        due: Due,
        destination: Destination,
        hop: Hop | None,
        broken_attempts: int,
        *,
        clear_allowed: bool = True,
    ) -> bool:
        """Whether this connection may carry another message, judged anew; `hop` is how its destination leads here.

        A commit drains the connection: the route that led here, the level or the authorities may be others now.
        """
        runtime = self._services.runtime
        envelope, plan = due.message.envelope, self.outcome.plan
        if runtime is not self.runtime:
            return False
        if envelope.requiretls and not envelope.sender.null and not self._capabilities.requiretls:
            return False
        same = envelope.requiretls is plan.requiretls and envelope.tls_optional is plan.tls_optional
        same = same and due.wishes.in_clear is (plan.rule == NOTICE_PATH)
        # What left TLS out for the broken handshakes of one message is judged anew for each other one.
        same = same and clear_allowed and not plan.deciding.skip_starttls
        if same and destination is self.destination:
            return self.outcome.may_pass
        rule = runtime.destinations.find(due.domain, self._services.today())
        if envelope.requiretls and hop is None and strengthened(rule) is not rule:
            return False  # what was published was not looked up for this connection
        hop = hop or self.hop
        plan = plan_for(
            runtime,
            rule,
            hop,
            clear_allowed=clear_allowed,
            broken_attempts=broken_attempts,
            wishes=due.wishes,
        )
        outcome = judge_tls(plan, self.outcome.facts)
        if not outcome.may_pass or pool_key(hop, plan, runtime) != self.key:
            return False
        self.destination = destination
        self.hop = hop
        self.remote = str(hop)
        self._take_outcome(outcome)
        report_monitored(self._services, self.dcid, outcome)
        return True

    # --- one message -------------------------------------------------------------------------

    async def send(self, due: Due) -> Outcome:
        """One transaction. Raises Stale when a reused connection was dead from the start."""
        message = due.message
        refusal = self._cannot_take(message)
        if refusal is not None:
            outcome = failed(due, refusal, self.dcid)
            outcome.elsewhere = refusal.stage is Stage.REQUIRETLS
            return outcome
        everyone = message.envelope.recipients
        chosen = everyone if len(due.rids) == len(everyone) else tuple(everyone[rid] for rid in due.rids)
        fresh = self.messages == 0
        self.messages += 1
        answered = False
        emit, now = self._services.journal.emit, self._services.clock.now
        try:
            if self.engine.transaction_open:
                await self._reset()
            emit(DeliveryStarted(now(), self.dcid, message.mid, due.rids))
            envelope = await self._envelope(message, chosen)
            answered = True
            if not envelope.go_ahead:
                return self._refused(due, envelope)
            if message.eight_bit and not self._capabilities.eightbitmime:
                emit(EightBitToSevenBitHop(now(), self.dcid, message.mid))
            await self._body(message)
            final = await self._expect(BodyAnswered)
            self.usable = self.dot_sent  # an answer before the dot ends the connection
            self.dot_sent = False
            return self._answered(due, envelope, final.reply)
        except ConnectionBroken as broken:
            self.usable = False
            if not fresh and not answered:
                raise Stale from None
            self._report(broken)
            outcome = failed(due, broken.failure(self.remote), self.dcid)
            outcome.elsewhere = not self.dot_sent
            return outcome
        except UnsendableText as error:
            return failed(due, Failure(Stage.ADDRESS, True, (str(error),)), self.dcid)

    def _cannot_take(self, message: StoredMessage) -> Failure | None:
        """What the peer's capabilities forbid before anything is sent."""
        capabilities = self._capabilities
        if not message.envelope.sender.null and (lacking := self.lacking(message.envelope)) is not None:
            return lacking  # a report goes there all the same, lest it be lost (RFC 8689 §5)
        if message.envelope.smtputf8 and not capabilities.smtputf8:
            text = f"{self.hop.host} does not support internationalised mail (SMTPUTF8)"
            return Failure(Stage.UTF8, True, (text,), remote=self.remote)
        if capabilities.size and message.size > capabilities.size:
            text = f"{self.hop.host} takes messages of at most {capabilities.size} bytes"
            return Failure(Stage.SIZE, True, (text,), remote=self.remote)
        return None

    def lacking(self, wishes: TlsWishes | Envelope) -> Failure | None:
        """What the host does not promise of its next hop, to a message that requires TLS on its whole way."""
        if self._capabilities.requiretls or not wishes.requiretls:
            return None
        text = f"{self.hop.host} does not offer REQUIRETLS, which the message needs"
        return Failure(Stage.REQUIRETLS, True, (text,), remote=self.remote)

    async def _envelope(self, message: StoredMessage, recipients: tuple[Any, ...]) -> EnvelopeAnswered:
        self.stream.set_deadline(self._times.command)
        envelope = message.envelope if self.runtime.tags is None else self._tagged(message.envelope)
        self.engine.begin(Transaction.of(envelope, recipients, message.size))
        self.stream.write(self.engine.take_output())
        return await self._expect(EnvelopeAnswered, self._times.command)

    def _tagged(self, envelope: Envelope) -> Envelope:
        """The envelope as it leaves: a sender of ours has a bounce tag, except towards ourselves and where an entry says no."""
        tags, destination = self.runtime.tags, self.destination
        assert tags is not None
        rule = destination.rule or self.runtime.destinations.find(destination.domain, self._services.today())
        if not rule.bounce_tags or tags.covers(destination.domain):
            return envelope
        sender = tagged(tags, envelope.sender, self._services.clock.now())
        return envelope if sender is envelope.sender else replace(envelope, sender=sender)

    async def _body(self, message: StoredMessage) -> None:
        """The message as it was kept; dots are doubled only where receiving it saw a line that starts with one."""
        stream, engine, stuff = self.stream, self.engine, message.dotted
        stream.set_deadline(self._times.data_block)
        reader = await self._services.spool.open_body(message)
        try:
            if not message.in_file:
                self._finish(engine.body(await reader.read(message.size), stuff=stuff, last=True))
                return
            while piece := await reader.read(PIECE):
                stream.write(engine.body(piece, stuff=stuff, last=False))
                if not await self._drained():
                    return  # the peer hung up on the message; what it said of it is read next
        except BodyDamaged:
            # What was sent so far must not become a message: no dot, the connection ends here.
            self.usable = False
            self.stream.abort()
            raise
        finally:
            reader.close()
        self._finish(engine.body(b"", stuff=stuff, last=True))

    def _finish(self, data: bytes) -> None:
        self.dot_sent = True
        self.stream.write(data)
        self.stream.set_deadline(self._times.data_end)

    def _refused(self, due: Due, envelope: EnvelopeAnswered) -> Outcome:
        """Nothing was sent: MAIL, every RCPT, or DATA was refused."""
        outcome = Outcome(self.dcid, tls=self._record, remote=self.remote)
        stage = Stage.SYSTEM if envelope.mail.code >= 300 else Stage.ADDRESS
        for rid, reply in zip(due.rids, envelope.recipients, strict=True):
            if reply.code >= 300:
                outcome.failures[rid] = failure_from_reply(stage, reply, outcome.remote)
            else:
                answer = envelope.data or Reply(
                    451, "4.3.0", ("the remote host did not ask for the message",)
                )
                outcome.failures[rid] = failure_from_reply(Stage.SYSTEM, answer, outcome.remote)
        return outcome

    def _answered(self, due: Due, envelope: EnvelopeAnswered, final: Reply) -> Outcome:
        outcome = Outcome(self.dcid, response=final, tls=self._record, remote=self.remote)
        outcome.dsn_passed_on = self._capabilities.dsn
        taken = final.code < 300
        for rid, reply in zip(due.rids, envelope.recipients, strict=True):
            if reply.code >= 300:
                outcome.failures[rid] = failure_from_reply(Stage.ADDRESS, reply, outcome.remote)
            elif taken:
                outcome.delivered.append(rid)
            else:
                outcome.failures[rid] = failure_from_reply(Stage.SYSTEM, final, outcome.remote)
        return outcome

    # --- the session -------------------------------------------------------------------------

    async def _expect(self, kind: type[Wanted], seconds: float | None = None) -> Wanted:
        event = await expect(self.stream, self.engine, seconds)
        if not isinstance(event, kind):
            raise ConnectionBroken(f"unexpected {type(event).__name__}")
        return event

    async def _reset(self) -> None:
        self.stream.set_deadline(self._times.command)
        self.engine.reset()
        self.stream.write(self.engine.take_output())
        await self._expect(ResetDone)

    async def _drained(self) -> bool:
        """False when the peer takes no more octets."""
        self.stream.set_deadline(self._times.data_block)
        try:
            await self.stream.drain()
        except StreamError:
            return False
        return True

    def _report(self, broken: ConnectionBroken) -> None:
        local = self.stream.local.host
        report_broken(self._services, self.destination.domain, self.hop, self.dcid, local, broken)

    async def close(self) -> None:
        """QUIT where the protocol allows it, then the connection ends and the log says so."""
        try:
            if self.usable:
                self.usable = False
                self.engine.quit()
                self.stream.set_deadline(QUIT_TIMEOUT)
                self.stream.write(self.engine.take_output())
                await expect(self.stream, self.engine)
                await self.stream.close()
        except (ConnectionBroken, StreamError):
            pass  # the peer was quicker; there is nothing left to say to it
        finally:
            self.abort()

    def abort(self) -> None:
        """End the connection at once; harmless when it has ended already."""
        self.usable = False
        if self.dcid:
            self.stream.abort()
            self._services.counters.connections_out_now -= 1
            self._services.journal.emit(DeliveryClosed(self._services.clock.now(), self.dcid))
            self.dcid = 0
