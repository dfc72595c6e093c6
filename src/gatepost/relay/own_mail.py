"""Mail of the gateway's own (alerts, TLS reports), handed over by the desk: kept like any other, and on its way under the recipient's plan.

The envelope's sender of an alert is the null address, that of a TLS report whoever reports: receivers that check bounces would refuse
it otherwise. In either case nobody is to be told what became of it (`NOTIFY=NEVER`): such a mail can bounce, but no report and no loop comes
of it. TLS reports go whatever the recipient's published policy says, since it may be what they report (RFC 8460 §3, RFC 8689 §5), and the
records of their deliveries say what they were made for, so that no report counts them (case C38). Its events are those of any message, with ICID 0, since no connection brought it; they are committed with it,
so the log does not speak of a mail that was not kept.

An alert does not stand in line: it comes first at its destination, may have one connection above the limits, and half of the disk's reserve. Its
recipients' TLS level holds for it. Only the notice that an alert is kept back by TLS (`app.clear_notice_job`) goes in clear; it has no content, and
nothing but the desk's own request makes one: what kind a message is stands beside its envelope, and no session can say it.

The desk asks again when it did not hear the answer. The last few hand-overs are remembered by their token, and one that
was kept already is not kept twice.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gatepost.core.address import NULL_ADDRESS, Address
from gatepost.core.envelope import Envelope, Notify, Recipient
from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Event, MessageQueued, MessageReceived, MessageStarted, RecipientAccepted
from gatepost.core.ids import OutOfIds
from gatepost.relay.outcome import BY_TLS
from gatepost.relay.schedule import Scheduler
from gatepost.relay.services import Remembered, Services
from gatepost.relay.spool import keep
from gatepost.store.spool import MessageKind, Progress, RecipientState, StoredMessage
from gatepost.wire.received import scan_header
from gatepost.wire.smtp_syntax import SyntaxFault, parse_path

LISTENER = "gatepost"  # what the queue shows as its listener
MAX_OWN_MAIL = 1 << 20
MAX_RECIPIENTS = 1_000
_REMEMBERED = 200
KEPT_BY_TLS = frozenset(f"4.{stage.value[0]}" for stage in BY_TLS)
"""The statuses of attempts that TLS ended: no reply of a peer is kept under them."""


class OwnMail:
    """Answers `mail.*` requests of the desk."""

    def __init__(self, services: Services, scheduler: Scheduler) -> None:
        self._services = services
        self._scheduler = scheduler
        self._kept: Remembered[int] = Remembered(_REMEMBERED)

    async def answer(self, action: str, args: Mapping[str, Any]) -> Any:
        """`submit`: `{"token", "recipients", "content" (base64)}`, for a TLS report also `"sender"`, for a notice
        `"notice": true`; answered by `{"mid"}`. Raises OperatorError when it is not kept.

        `stuck`: the alerts that TLS keeps back, `[{"received", "recipients"}]`.
        """
        if action == "stuck":
            return self._stuck()
        if action != "submit":
            raise OperatorError(f"there is no mail action {action!r}")
        token = str(args["token"])
        known = self._kept.get(token)
        if known is None:
            sender = _address(args["sender"]) if args.get("sender") else NULL_ADDRESS
            kind = MessageKind.OWN if sender.null else MessageKind.REPORT
            kind = MessageKind.NOTICE if args.get("notice") and sender.null else kind
            recipients = [_address(text) for text in args["recipients"]]
            known = await self._keep(sender, recipients, _content(args), kind)
            self._kept.put(token, known)
        return {"mid": known}

    def _stuck(self) -> list[dict[str, Any]]:
        """Of each alert that waits, the recipients whose last attempt ended by TLS or the want of it."""
        messages, own = self._scheduler.messages, self._scheduler.own
        found = []
        for message in (messages[mid] for mid in own):
            if message.kind is not MessageKind.OWN:
                continue
            pairs = zip(message.envelope.recipients, message.progress, strict=True)
            held = [
                recipient.address.text
                for recipient, progress in pairs
                if progress.state is RecipientState.WAITING and progress.status in KEPT_BY_TLS
            ]
            if held:
                found.append({"received": message.received, "recipients": held})
        return found

    async def _keep(
        self, sender: Address, recipients: list[Address], content: bytes, kind: MessageKind
    ) -> int:
        services = self._services
        if not 1 <= len(recipients) <= MAX_RECIPIENTS:
            raise OperatorError(f"a mail has 1 to {MAX_RECIPIENTS} recipients")
        if not services.spool.room_for(len(content), own=kind.urgent):
            raise _not_kept("not enough disk space")
        try:
            mid = services.ids.mid.take()
        except OutOfIds:
            raise _not_kept("no identifiers are left at this moment") from None
        message = replace(_message(mid, services.clock.now(), sender, recipients, content), kind=kind)
        body = services.spool.new_body(mid)
        body.write(content)
        refusal = await keep(services, self._scheduler, message, body, _events(message, content))
        if refusal is not None:
            raise _not_kept(refusal.cause or refusal.text)
        return mid


def _message(
    mid: int, now: float, sender: Address, recipients: list[Address], content: bytes
) -> StoredMessage:
    """Only TLS reports have a sender."""
    envelope = Envelope(
        sender,
        tuple(Recipient(address, frozenset({Notify.NEVER})) for address in recipients),
        body_8bit=not content.isascii(),
        smtputf8=any(address.needs_smtputf8 for address in recipients),
        tls_optional=not sender.null,
    )
    return StoredMessage(
        mid,
        now,
        envelope,
        dotted=b"\r\n." in content,
        eight_bit=not content.isascii(),
        listener=LISTENER,
        progress=[Progress() for _ in recipients],
    )


def _events(message: StoredMessage, content: bytes) -> list[Event]:
    """The lines of a message that came in, with the ICID 0 of one that nobody brought."""
    now, mid, facts = message.received, message.mid, scan_header(content)
    sender = message.envelope.sender.text
    return [
        MessageStarted(now, mid, 0, sender),
        *(
            RecipientAccepted(now, mid, 0, rid, recipient.address.text)
            for rid, recipient in enumerate(message.envelope.recipients)
        ),
        MessageReceived(now, mid, facts.message_id, facts.subject, len(content), sender),
        MessageQueued(now, mid),
    ]


def _address(text: Any) -> Address:
    try:
        return parse_path(f"<{text}>".encode(), allow_utf8=True, allow_null=False)
    except (SyntaxFault, UnicodeEncodeError):
        raise OperatorError(f"{text!r} is no mailbox that mail can be sent to") from None


def _content(args: Mapping[str, Any]) -> bytes:
    content = b64decode(str(args["content"]))
    if not content or len(content) > MAX_OWN_MAIL:
        raise OperatorError(f"a mail has 1 to {MAX_OWN_MAIL} octets")
    return content


def _not_kept(reason: str) -> OperatorError:
    return OperatorError(f"the mail was not kept: {reason}", "it is tried again", code=Exit.TRY_AGAIN)
