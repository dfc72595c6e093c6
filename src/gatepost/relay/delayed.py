"""A rejected sender that is let talk: what stands in place of `receive.Reception` in its session.

It is greeted, may say STARTTLS where its policy offers TLS, and names sender and recipients, so that the log shows whom it wanted to
reach. Every recipient is refused with the policy's refusal, so that there is never a message: DATA and BDAT have no recipient, and the engine
refuses them. Nothing is counted as a message, and no MID is spent.

Limits. `MAX_HEARD` MAILs and RCPTs, then 421; the connection has a place under the connection limits, as any other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from gatepost.core.events import ReceivingFailed
from gatepost.core.rejection_events import DelayedRejectionRecipient, DelayedRejectionSender
from gatepost.core.reply import Reply
from gatepost.wire.server_events import Mail, Rcpt, ServerEvent

if TYPE_CHECKING:
    from gatepost.relay.accept import Session

MAX_HEARD = 100

OK = Reply(250, "2.1.0", ("Ok",))
ENOUGH = Reply(421, "4.7.0", ("Too many refused commands",))


class DelayedRejection:
    """Listens to one session whose every recipient is refused."""

    __slots__ = ("_heard", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._heard = 0

    def handlers(self) -> dict[type[ServerEvent], Callable[[Any], Awaitable[None] | None]]:
        return {Rcpt: self._rcpt}

    def abort(self, reason: str) -> None:
        """There is no transaction to drop."""

    def mail(self, event: Mail) -> None:
        """MAIL is taken, and written down."""
        session = self._session
        at, address = session.services.clock.now(), session.stream.peer.host
        session.services.journal.emit(DelayedRejectionSender(at, session.icid, event.sender.text, address))
        self._answer(OK)

    def _rcpt(self, event: Rcpt) -> None:
        session = self._session
        assert session.admission is not None
        assert session.admission.refusal is not None
        at, address = session.services.clock.now(), session.stream.peer.host
        recipient = event.recipient.address.text
        session.services.journal.emit(DelayedRejectionRecipient(at, session.icid, recipient, address))
        session.services.counters.recipients_refused += 1
        self._answer(session.admission.refusal.reply())

    def _answer(self, reply: Reply) -> None:
        session = self._session
        assert session.engine is not None
        self._heard += 1
        if self._heard > MAX_HEARD:
            at = session.services.clock.now()
            session.services.journal.emit(ReceivingFailed(at, session.icid, "Too many refused commands"))
            reply = ENOUGH
        session.engine.answer(reply)
