"""Mail for our report mailboxes: TLS reports are taken out of it and handed to the desk (RFC 8460 §5.3).

It happens where a courier begins with recipients of a message, before it asks where they live: the report needs no next hop, and its
recipient may well exist nowhere else. A message whose header says that it is a report is read from the spool, written where the desk finds
it (`store.tls_reports_incoming`), flushed, and then counts as delivered; until that moment it stays in the queue like any mail and is tried
again. Whatever does not say so, or is longer than any report, goes on as if the mailbox were not named, so that nobody's question to
it is lost. With `deliver` a report goes on too.

Nothing of the message is parsed here but a few fields of its header. One message at a time is read in each worker: hundreds of deliveries to
one domain may begin at once, and whoever sends reports of the full length must not take the memory of the mail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gatepost.config.tls_reports_received import mailbox_key
from gatepost.config.values import Fault
from gatepost.core.address import Address
from gatepost.core.events import Warned
from gatepost.core.reply import Reply
from gatepost.relay.outcome import Due, Failure, Outcome, Stage, failed
from gatepost.relay.services import Remembered, Runtime, Services
from gatepost.store.spool import BodyDamaged, StoredMessage
from gatepost.store.tls_reports_incoming import Came, IncomingReports
from gatepost.wire.tlsrpt_received import MAX_MAIL, is_report_mail

HEADER = 64 * 1024  # octets that are looked at
PIECE = 256 * 1024
TAKEN = Reply(250, "2.0.0", ("taken as a TLS report",))
_REMEMBERED = 1_000


class ReportMail:
    """Takes reports out of the mail of one worker."""

    def __init__(self, services: Services, incoming: IncomingReports) -> None:
        self._services = services
        self._incoming = incoming
        self._turn = asyncio.Lock()
        self._handed: Remembered[bool] = Remembered(_REMEMBERED)  # those that go on as well: once is enough

    async def take(self, due: Due) -> tuple[Due, Outcome] | None:
        """The part of a due that is settled here, and how; it is taken out of the due. None: the due stays as it is."""
        settings = self._services.runtime.document.tls_reports_received
        mailboxes = self._services.runtime.report_mailboxes
        recipients = due.message.envelope.recipients
        mine = [rid for rid in due.rids if _key(recipients[rid].address) in mailboxes]
        if not mine or self._handed.get(due.message.mid):
            return None
        came = self._came(due.message, recipients[mine[0]].address)
        try:
            if not await self._keep(due.message, came):
                return None
        except BodyDamaged:
            return None  # the delivery meets it too, and holds the message
        except OSError as error:
            text = f"the TLS report cannot be kept: {error.strerror or error}"
            return self._part(due, mine, Failure(Stage.SYSTEM, False, (text,)))
        if settings.deliver:
            self._handed.put(due.message.mid, True)
            return None
        return self._part(due, mine, None)

    def _part(self, due: Due, mine: Sequence[int], failure: Failure | None) -> tuple[Due, Outcome]:
        """These recipients of the due, and what became of them."""
        part = due
        if len(mine) < len(due.rids):
            part = Due(due.message, due.domain, list(mine))
            due.rids = [rid for rid in due.rids if rid not in mine]
        if failure is not None:
            return part, failed(part, failure)
        return part, Outcome(0, delivered=list(mine), response=TAKEN)

    async def _keep(self, message: StoredMessage, came: Came) -> bool:
        """Write the message where the desk finds it, if it says that it is a report. Raises BodyDamaged and OSError."""
        body = await self._services.spool.open_body(message)
        try:
            head = await body.read(HEADER)
            if not is_report_mail(head):
                return False
            if message.size > MAX_MAIL:
                text = f"MID {message.mid} is longer than a TLS report may be, and goes on as ordinary mail"
                self._services.journal.emit(Warned(self._services.clock.now(), text))
                return False
            async with self._turn:
                pieces = [head]
                while piece := await body.read(PIECE):
                    pieces.append(piece)
                await asyncio.to_thread(self._incoming.put, str(message.mid), came, b"".join(pieces))
        finally:
            body.close()
        return True

    def _came(self, message: StoredMessage, recipient: Address) -> Came:
        sender = message.envelope.sender.text
        return Came("mail", sender, message.received, message.mid, recipient.text)


def is_for_reports(runtime: Runtime, address: Address) -> bool:
    """Whether the address is a mailbox of ours for TLS reports: it need not exist anywhere, and reports come to it without a sender."""
    return bool(runtime.report_mailboxes) and _key(address) in runtime.report_mailboxes


def _key(address: Address) -> tuple[str, str]:
    try:
        return mailbox_key(address.local, address.domain)
    except Fault:
        return "", ""
