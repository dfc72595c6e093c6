"""Reports to senders (RFC 3461, RFC 3464): which are wanted after an attempt, and each as a new message of ours.

A report goes out with the null sender, so none is ever made about it. Reports per hour are capped over all workers,
since the sender of a message that bounces may be forged, and then somebody else gets the report (backscatter).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gatepost.config.values import limit_number
from gatepost.core.envelope import Recipient
from gatepost.core.events import BounceDropped, BounceGenerated, Event, MessageQueued
from gatepost.relay.outcome import BY_TLS, Decision, Failure, Outcome
from gatepost.relay.services import Services
from gatepost.store.spool import BodyDamaged, BodyWriter, Progress, StoredMessage
from gatepost.wire.dsn import Kind, RecipientReport, Report, make_report, returns_full, wants

HEADERS_READ = 65_536
REPORTS = "reports"  # the key of the hourly counter

Wanted = list[tuple[Kind, list[int]]]


@dataclass(frozen=True, slots=True)
class Made:
    """A report as a message that is not stored yet."""

    message: StoredMessage
    body: BodyWriter
    events: list[Event]


def wanted_reports(message: StoredMessage, outcome: Outcome, decision: Decision) -> Wanted:
    """The kinds of reports that the sender wants of this attempt, each with its recipients."""
    recipients = message.envelope.recipients
    if message.envelope.sender.null:
        return []
    if not outcome.failures and not any(recipients[rid].notify for rid in outcome.delivered):
        return []  # the usual case: all delivered, and nobody asked for a receipt
    groups = [
        (Kind.FAILED, list(decision.bounced)),
        (Kind.DELAYED, decision.warn),
        (Kind.RELAYED, [] if outcome.dsn_passed_on else outcome.delivered),
    ]
    chosen = [(kind, [rid for rid in rids if wants(recipients[rid], kind)]) for kind, rids in groups]
    return [(kind, rids) for kind, rids in chosen if rids]


async def read_original(services: Services, message: StoredMessage) -> bytes:
    """As much of the original as a report may carry; empty when it cannot be read."""
    envelope = message.envelope
    full = returns_full(Kind.FAILED, envelope.ret, message.size, requiretls=envelope.requiretls)
    wanted = message.size if full else min(message.size, HEADERS_READ)
    pieces: list[bytes] = []
    try:
        reader = await services.spool.open_body(message)
        try:
            while wanted > 0 and (piece := await reader.read(wanted)):
                pieces.append(piece)
                wanted -= len(piece)
        finally:
            reader.close()
    except BodyDamaged:
        return b""
    return b"".join(pieces)


class Reporter:
    """Makes reports about the recipients of one attempt."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def make(
        self,
        message: StoredMessage,
        kind: Kind,
        rids: list[int],
        outcome: Outcome,
        decision: Decision,
        original: bytes,
    ) -> Made | None:
        """One report, or None when this hour's reports are used up."""
        services, runtime = self._services, self._services.runtime
        now = services.clock.now()
        cap = runtime.document.bounces.max_per_hour
        if not services.limits.count_recipients(REPORTS, 1, limit_number(cap)):
            text = f"more than {cap} reports in this hour (bounces.max_per_hour)"
            services.journal.emit(BounceDropped(now, message.mid, text))
            return None
        report = self._report(message, kind, rids, outcome, decision, original)
        dsn = make_report(report, now=now, boundary=secrets.token_hex(16))
        mid = services.ids.mid.take()
        stored = StoredMessage(
            mid,
            now,
            dsn.envelope,
            dotted=b"\r\n." in dsn.content,
            eight_bit=not dsn.content.isascii(),
            about=message.mid,
            progress=[Progress() for _ in dsn.envelope.recipients],
        )
        body = services.spool.new_body(mid, shard=message.shard)
        body.write(dsn.content)
        return Made(stored, body, [BounceGenerated(now, mid, message.mid), MessageQueued(now, mid)])

    def _report(
        self,
        message: StoredMessage,
        kind: Kind,
        rids: list[int],
        outcome: Outcome,
        decision: Decision,
        original: bytes,
    ) -> Report:
        envelope, now = message.envelope, self._services.clock.now()
        failures = decision.bounced if kind is Kind.FAILED else outcome.failures
        return Report(
            kind,
            self._services.runtime.hostname,
            envelope.sender,
            tuple(
                _about(envelope.recipients[rid], failures.get(rid), outcome, now, decision.retry_until)
                for rid in rids
            ),
            message.received,
            original,
            message.size,
            envelope.ret,
            envelope.envelope_id,
            envelope.smtputf8,
            requiretls=envelope.requiretls,
        )


def _about(
    recipient: Recipient, failure: Failure | None, outcome: Outcome, now: float, retry_until: float
) -> RecipientReport:
    """What a report says of one recipient; without a failure it went on to a host that sends no reports."""
    if failure is None:
        response = outcome.response
        return RecipientReport(
            recipient,
            status="2.0.0",
            code=str(response.code) if response else "",
            text=response.text if response else "",
            remote=outcome.remote,
            last_attempt=now,
        )
    return RecipientReport(
        recipient,
        status=failure.report_status,
        code=failure.code,
        text=failure.text,
        remote=failure.remote,
        by_tls=failure.stage in BY_TLS,
        last_attempt=now,
        retry_until=retry_until,
    )
