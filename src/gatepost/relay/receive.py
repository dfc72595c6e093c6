"""MAIL, RCPT, DATA/BDAT -> Message: one transaction of a session, streamed to the spool.

The header section is held back until it is whole (at most `MAX_HEADER` octets), so that `Received` goes in front,
loops are seen and the log has its Message-ID and Subject; everything behind it goes straight to the body writer. A
small message comes in one piece and is handled in one go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gatepost.core.envelope import Envelope, Recipient
from gatepost.core.events import (
    MessageAborted,
    MessageQueued,
    MessageReceived,
    MessageStarted,
    ReceivingFailed,
    RecipientAccepted,
    RecipientRejected,
)
from gatepost.core.reply import Refusal, Reply
from gatepost.policy.admit import check_message, check_messages, check_sender
from gatepost.policy.bounce_tags import HEADER
from gatepost.relay.monitoring import watch_mail
from gatepost.relay.own_lines import received_line, wishes_told
from gatepost.relay.recipients import asked_host, refusal_ahead, refusal_of, routable, without_tag
from gatepost.relay.session_tls import client_refusal
from gatepost.relay.spool import NO_ROOM, keep
from gatepost.store.spool import BodyWriter, Progress, StoredMessage
from gatepost.wire.received import HeaderFacts, scan_header
from gatepost.wire.server_events import (
    Aborted,
    Body,
    BodyEnd,
    ChunkDone,
    Data,
    Mail,
    Rcpt,
    Reset,
    ServerEvent,
)

if TYPE_CHECKING:
    from gatepost.relay.accept import Session

MAX_HEADER = 262_144
DRAIN_ABOVE = 65_536  # a piece after which the body writer's back-pressure is asked

OK = Reply(250, "2.1.0", ("Ok",))
RCPT_OK = Reply(250, "2.1.5", ("Ok",))
GO_AHEAD = Reply(354, "", ("End data with <CR><LF>.<CR><LF>",))
CHUNK_OK = Reply(250, "2.0.0", ("Ok",))
HEADER_TOO_BIG = Refusal(552, "5.3.4", f"Message header larger than {MAX_HEADER} bytes")


class Reception:
    """The transactions of one session, one after another."""

    __slots__ = (
        "_body",
        "_dotted",
        "_eight_bit",
        "_facts",
        "_head",
        "_mail",
        "_mark",
        "_messages",
        "_mid",
        "_recipients",
        "_refusal",
        "_session",
        "_size",
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        self._messages = 0
        self._mid = 0
        self._forget()

    def handlers(self) -> dict[type[ServerEvent], Callable[[Any], Awaitable[None] | None]]:
        return {
            Rcpt: self._rcpt,
            Data: self._data,
            Body: self._piece,
            ChunkDone: self._chunk_done,
            BodyEnd: self._body_end,
            Reset: self._reset,
            Aborted: self._aborted,
        }

    def _forget(self) -> None:
        self._mail: Mail | None = None
        self._recipients: list[Recipient] = []
        self._body: BodyWriter | None = None
        self._head = b""
        self._mark = b""  # a header line of ours about what the envelope showed
        self._facts: HeaderFacts | None = None
        self._refusal: Refusal | None = None
        self._dotted = False
        self._eight_bit = False
        self._size = 0
        self._mid = 0

    def abort(self, reason: str) -> None:
        """Drop the transaction in hand, if there is one; nothing of it was promised."""
        if self._body is not None:
            self._body.abort()
        if self._mid:
            session = self._session
            session.services.journal.emit(MessageAborted(session.services.clock.now(), self._mid, reason))
        self._forget()

    # --- the envelope ------------------------------------------------------------------------

    def mail(self, event: Mail) -> None:
        """MAIL: limits of the connection, room on the disk, what the policy says of the sender."""
        session = self._session
        engine, admission = session.engine, session.admission
        assert engine is not None
        assert admission is not None
        assert admission.policy is not None
        services = session.services
        now = services.clock.now()
        refusal = (
            check_messages(admission, self._messages)
            or check_sender(session.rules, admission, event.sender, tls=session.stream.tls is not None)
            or client_refusal(session)
        )
        if refusal is None and not services.spool.room_for(event.size or 0):
            refusal = NO_ROOM
        if refusal is not None:
            self._refused(refusal, event.sender.text)
            return
        if admission.policy.tls_rule.monitored is not None:
            watch_mail(
                services, session.runtime, session.icid, admission.policy, event.sender, session.stream.tls
            )
        self._messages += 1
        self._mail = event
        self._mid = services.ids.mid.take()
        services.journal.emit(MessageStarted(now, self._mid, session.icid, event.sender.text))
        engine.answer(OK)

    def _refused(self, refusal: Refusal, sender: str) -> None:
        session = self._session
        assert session.engine is not None
        if refusal.cause:
            session.services.journal.emit(
                ReceivingFailed(
                    session.services.clock.now(), session.icid, refusal.cause, sender, refusal.why or ""
                )
            )
        session.engine.answer(refusal.reply())

    def _rcpt(self, event: Rcpt) -> Awaitable[None] | None:
        """RCPT. Returns something to await where another host is asked about the recipient."""
        session, mail = self._session, self._mail
        admission = session.admission
        assert admission is not None
        assert mail is not None
        recipient, refusal, note = event.recipient, None, ""
        if session.runtime.tags is not None:
            verdict = without_tag(
                session, admission, session.runtime.tags, recipient.address, report=mail.sender.null
            )
            refusal, note = verdict.refusal, verdict.note
            if refusal is None:
                recipient = replace(recipient, address=verdict.recipient)
        address = recipient.address
        if refusal is None:
            refusal = refusal_of(session, admission, address, len(self._recipients))
        if refusal is None:
            host = asked_host(session, admission, address)
            if host is not None:
                return self._rcpt_ahead(recipient, host, note)
        self._answer_recipient(recipient, refusal, note)
        return None

    async def _rcpt_ahead(self, recipient: Recipient, host: str, note: str) -> None:
        """The host that would get the mail decides."""
        admission = self._session.admission
        assert admission is not None
        refusal = await refusal_ahead(self._session, admission, recipient.address, host)
        self._answer_recipient(recipient, refusal, note)

    def _answer_recipient(self, recipient: Recipient, refusal: Refusal | None, note: str) -> None:
        """`note` is what the header of the message will say of this recipient's tag, if it becomes one."""
        session = self._session
        assert session.engine is not None
        emit, now = session.services.journal.emit, session.services.clock.now()
        text = recipient.address.text
        if refusal is not None:
            session.services.counters.recipients_refused += 1
            emit(RecipientRejected(now, self._mid, session.icid, text, refusal.cause or refusal.text))
            session.engine.answer(refusal.reply())
            return
        if note:
            self._mark = f"{HEADER}: {note}\r\n".encode("ascii")
        emit(RecipientAccepted(now, self._mid, session.icid, len(self._recipients), text))
        self._recipients.append(routable(recipient, session.rules.hostname))
        session.engine.answer(RCPT_OK)

    def _data(self, event: Data) -> None:
        assert self._session.engine is not None
        self._session.engine.answer(GO_AHEAD)

    # --- the body ----------------------------------------------------------------------------

    def _piece(self, event: Body) -> Awaitable[None] | None:
        """Octets of the message. Returns something to await when the disk is behind."""
        if self._refusal is not None:
            return None
        data = event.data
        self._size += len(data)
        self._dotted = self._dotted or event.dotted
        if not self._eight_bit and not data.isascii():
            self._eight_bit = True
        if self._facts is None:
            self._head = self._head + data if self._head else data
            if self._head.find(b"\r\n\r\n") < 0 and not self._head.startswith(b"\r\n"):
                if len(self._head) > MAX_HEADER:
                    self._refuse(HEADER_TOO_BIG)
                return None
            self._header_done()
            return None
        body = self._body
        assert body is not None
        body.write(data)
        return body.drain() if body.size > DRAIN_ABOVE else None

    def _refuse(self, refusal: Refusal) -> None:
        """The message will be refused at its end; what still comes of it is dropped."""
        self._refusal = refusal
        self._head = b""
        if self._body is not None:
            self._body.abort()
            self._body = None

    def _header_done(self) -> None:
        """The header is whole: look at it, and start the stored message with our Received line."""
        facts = scan_header(self._head)
        self._facts = facts
        session = self._session
        assert session.admission is not None
        assert self._mail is not None
        refusal = check_message(session.rules, session.admission, 0, facts.received_count)
        if refusal is not None:
            self._refuse(refusal)
            session.services.journal.emit(
                ReceivingFailed(session.services.clock.now(), session.icid, refusal.cause)
            )
            return
        self._body = session.services.spool.new_body(self._mid)
        line = received_line(session, self._mid, self._recipients, smtputf8=self._mail.smtputf8)
        self._body.write(line + self._mark + self._head)
        self._head = b""

    def _chunk_done(self, event: ChunkDone) -> None:
        assert self._session.engine is not None
        reply = CHUNK_OK if self._refusal is None else self._refusal.reply()
        if self._refusal is not None:
            self.abort(self._refusal.text)
        self._session.engine.answer(reply)

    async def _body_end(self, event: BodyEnd) -> None:
        """The promise is made here: on disk, then 250."""
        session = self._session
        engine = session.engine
        assert engine is not None
        if self._refusal is None and self._facts is None:
            self._header_done()  # a message without an empty line: all of it is header
        refusal = self._refusal
        if refusal is None:
            session.keeping = True
            try:
                refusal = await self._keep()
            finally:
                session.keeping = False
        if refusal is not None:
            self.abort(refusal.text)
            engine.answer(refusal.reply())
        else:
            engine.answer(Reply(250, "2.0.0", (f"Ok: queued as {self._mid}",)))
            self._forget()

    async def _keep(self) -> Refusal | None:
        session, mail, facts, body = self._session, self._mail, self._facts, self._body
        assert mail is not None
        assert facts is not None
        assert body is not None
        services = session.services
        now = services.clock.now()
        message = StoredMessage(
            self._mid,
            now,
            self._envelope(mail, facts),
            dotted=self._dotted,
            eight_bit=self._eight_bit,
            listener=session.rules.name,
            icid=session.icid,
            progress=[Progress() for _ in self._recipients],
        )
        sender = mail.sender.text
        refusal = await keep(
            services,
            session.scheduler,
            message,
            body,
            [
                MessageReceived(now, self._mid, facts.message_id, facts.subject, self._size, sender),
                *wishes_told(now, self._mid, message.envelope),
                MessageQueued(now, self._mid),
            ],
        )
        if refusal is None:
            self._body = None
            services.counters.messages_accepted += 1
            services.counters.recipients_accepted += len(self._recipients)
        return refusal

    def _envelope(self, mail: Mail, facts: HeaderFacts) -> Envelope:
        """`TLS-Required: No` counts where the listener lets it, and never beside REQUIRETLS (RFC 8689 §4.1)."""
        heeded = facts.tls_optional and self._session.rules.heeds_tls_required_no
        return Envelope(
            mail.sender,
            tuple(self._recipients),
            mail.body_8bit,
            mail.smtputf8,
            mail.ret,
            mail.envelope_id,
            mail.requiretls,
            heeded and not mail.requiretls,
        )

    # --- ends --------------------------------------------------------------------------------

    def _reset(self, event: Reset) -> None:
        self.abort("Receiving aborted by sender")

    def _aborted(self, event: Aborted) -> None:
        self.abort("Receiving aborted by sender")
