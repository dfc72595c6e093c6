"""The classic text log: each event as the line or lines that administrators and log collectors know (R33).

The forms are those of the reference (`Www Mmm dd hh:mm:ss yyyy Level: text`); where readers expect a
field, it stays where it is and new ones go to the end. Text from outside passes `safe` or `quoted`, so that
it can neither end a line, start one, nor carry a terminal control, nor be longer than 2,000 characters (C24, C25);
the whole text is in the JSON log.

This runs about fifteen times a message: plain templates, one table by type, the time text kept for a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gatepost.core import delivery_events as dv
from gatepost.core import events as ev
from gatepost.core.events import Event, Level
from gatepost.core.record_events import CertificateSeen, OutboundSession
from gatepost.track.auth_lines import AUTH_ROWS
from gatepost.track.certificate_lines import CERTIFICATE_ROWS, Row
from gatepost.track.log_files import LogFile
from gatepost.track.log_text import printable, quoted, safe
from gatepost.track.monitor_lines import MONITOR_ROWS
from gatepost.track.received_report_lines import RECEIVED_REPORT_ROWS
from gatepost.track.rejection_lines import REJECTION_ROWS

LEVELS: tuple[Level, ...] = ("Critical", "Warning", "Info", "Debug", "Trace")


def _texts(texts: Sequence[str]) -> str:
    """`['a', 'b']`, as the classic log prints what a host said."""
    return f"[{', '.join(quoted(text) for text in texts)}]"


# --- the table: one function a type, giving the line's text, or several texts -----------------------------


def _connection_opened(e: ev.ConnectionOpened) -> Row:
    return (
        f"New SMTP ICID {e.icid} interface {safe(e.interface)} ({e.local_address}) address {e.address}"
        f" reverse dns host {safe(e.host)} verified {e.verified}"
    )


def _connection_admitted(e: ev.ConnectionAdmitted) -> Row:
    return f"ICID {e.icid} {e.action} SG {safe(e.group)} match {safe(e.match)} SBRS {e.score}"


def _message_started(e: ev.MessageStarted) -> Row:
    return (f"Start MID {e.mid} ICID {e.icid}", f"MID {e.mid} ICID {e.icid} From: <{safe(e.sender)}>")


def _recipient_accepted(e: ev.RecipientAccepted) -> Row:
    return f"MID {e.mid} ICID {e.icid} RID {e.rid} To: <{safe(e.recipient)}>"


def _recipient_rejected(e: ev.RecipientRejected) -> Row:
    return f"MID {e.mid} ICID {e.icid} To: <{safe(e.recipient)}> {safe(e.reason)}"


def _message_received(e: ev.MessageReceived) -> Row:
    subject = f"MID {e.mid} Subject {quoted(e.subject, chr(34))}"
    ready = f"MID {e.mid} ready {e.size} bytes from <{safe(e.sender)}>"
    if e.message_id:
        return (f"MID {e.mid} Message-ID {quoted(e.message_id)}", subject, ready)
    return (subject, ready)


def _inbound_tls(e: ev.InboundTlsEstablished) -> Row:
    text = f"ICID {e.icid} TLS success protocol {e.protocol} cipher {e.cipher}"
    return f"{text} verified {safe(e.verification)}" if e.verification else text


def _outbound_tls(e: dv.OutboundTlsEstablished) -> Row:
    text = f"DCID {e.dcid} TLS success protocol {e.protocol} cipher {e.cipher}"
    if e.domain:
        text += f" for {safe(e.domain)}"
    if e.verification:
        text += f" verified {safe(e.verification)}"
    return text


def _outbound_tls_failed(e: dv.OutboundTlsFailed) -> Row:
    tail = " - continuing in clear" if e.continues else ""
    return f"DCID {e.dcid} TLS failed: {safe(e.reason)}{tail}"


def _required_tls_failed(e: dv.RequiredTlsFailed) -> Row:
    tail = " (alert)" if e.alert else ""
    return (
        f"Required TLS could not be had: domain: {safe(e.domain)} IP:{e.address}"
        f" level: {e.wanted} reason: {safe(e.reason)}{tail}"
    )


def _delivery_failed(e: dv.DeliveryFailed) -> Row:
    return (
        f"Connection Error: DCID {e.dcid} domain: {safe(e.domain)} IP:{e.address} port: {e.port}"
        f" details: {safe(e.details)} interface: {e.local_address} reason: {e.reason}"
    )


def _delivered(e: dv.Delivered) -> Row:
    return (
        f"Message done DCID {e.dcid} MID {e.mid} to RID {e.rids}",
        f"MID {e.mid} RID {e.rids} Response {quoted(e.response)}",
    )


def _recipient_delayed(e: dv.RecipientDelayed) -> Row:
    return (
        f"Delayed: DCID {e.dcid} MID {e.mid} to RID {e.rid} - {safe(e.status)} - {safe(e.problem)}"
        f" ({quoted(e.code)}, {_texts(e.texts)}) []"
    )


def _recipient_bounced(e: dv.RecipientBounced) -> Row:
    return (
        f"Bounced: DCID {e.dcid} MID {e.mid} to RID {e.rid} - {safe(e.status)} - {safe(e.problem)}"
        f" ({quoted(e.code)}, {_texts(e.texts)})"
    )


def _double_bounce(e: dv.DoubleBounce) -> Row:
    return (
        f"Double bounce: MID {e.mid} to RID {e.rid} - {safe(e.status)} - {safe(e.problem)}"
        f" {safe(e.code)}-{quoted(' '.join(e.texts))}"
    )


def _message_deleted(e: ev.MessageDeleted) -> Row:
    return f"MID {e.mid} RID {e.rids} deleted by {safe(e.by)}"


def _spool_problem(e: ev.SpoolProblem) -> Row:
    about = f"MID {e.mid} " if e.mid else ""
    return f"{about}Spool shard {e.shard}: {safe(e.reason)}"


def _configuration_activated(e: ev.ConfigurationActivated) -> Row:
    comment = f": {safe(e.comment)}" if e.comment else ""
    return f"Configuration version {e.version} by {safe(e.author)} is active{comment}"


def _process(e: ev.ProcessStarted | ev.ProcessEnded, what: str) -> str:
    detail = f": {safe(e.detail)}" if e.detail else ""
    return f"Process {safe(e.role)} (pid {e.pid}) {what}{detail}"


def _internal_error(e: ev.InternalError) -> Row:
    lines = e.traceback.rstrip().splitlines()
    last = f": {safe(lines[-1])}" if lines else ""
    return f"Internal error {safe(e.reference)} in {safe(e.where)}{last}"


_RENDERERS: dict[type[Event], Callable[[Any], Row]] = {
    ev.ConnectionOpened: _connection_opened,
    ev.ConnectionAdmitted: _connection_admitted,
    ev.InboundTlsEstablished: _inbound_tls,
    ev.InboundTlsFailed: lambda e: f"ICID {e.icid} TLS failed: {safe(e.error)}",
    ev.InboundTlsRequired: lambda e: f"ICID {e.icid} TLS was required but remote host did not initiate it",
    ev.ReceivingFailed: lambda e: f"ICID {e.icid} Receiving Failed: {safe(e.reason)}",
    ev.ConnectionLost: lambda e: f"ICID {e.icid} lost",
    ev.ConnectionClosed: lambda e: f"ICID {e.icid} close",
    ev.MessageStarted: _message_started,
    ev.RecipientAccepted: _recipient_accepted,
    ev.RecipientRejected: _recipient_rejected,
    ev.MessageReceived: _message_received,
    ev.MessageQueued: lambda e: f"MID {e.mid} queued for delivery",
    ev.MessageAborted: lambda e: f"MID {e.mid} Message aborted MID {e.mid} {safe(e.reason)}",
    ev.BounceGenerated: lambda e: f"MID {e.mid} was generated for bounce of MID {e.about}",
    ev.BounceDropped: lambda e: f"MID {e.mid} no report was generated: {safe(e.reason)}",
    ev.MessageHeld: lambda e: f"MID {e.mid} held: {safe(e.reason)}",
    ev.MessageReleased: lambda e: f"MID {e.mid} released by {safe(e.by)}",
    ev.MessageDeleted: _message_deleted,
    dv.DeliveryOpened: lambda e: (
        f"New SMTP DCID {e.dcid} interface {e.local_address} address {e.address} port {e.port}"
    ),
    dv.OutboundTlsEstablished: _outbound_tls,
    dv.OutboundTlsFailed: _outbound_tls_failed,
    dv.OutboundTlsRequired: lambda e: (
        f"DCID {e.dcid} IP {e.address} TLS was required but could not be successfully negotiated"
    ),
    dv.RequiredTlsFailed: _required_tls_failed,
    dv.DeliveryFailed: _delivery_failed,
    dv.DeliveryStarted: lambda e: f"Delivery start DCID {e.dcid} MID {e.mid} to RID {e.rids}",
    dv.Delivered: _delivered,
    dv.RecipientDelayed: _recipient_delayed,
    dv.RecipientBounced: _recipient_bounced,
    dv.DoubleBounce: _double_bounce,
    dv.MessageFinished: lambda e: f"Message finished MID {e.mid} done",
    dv.EightBitToSevenBitHop: lambda e: (
        f"DCID {e.dcid} MID {e.mid} 8-bit message sent as it is: the remote host does not offer 8BITMIME"
    ),
    dv.DeliveryClosed: lambda e: f"DCID {e.dcid} close",
    dv.DeliveriesSuspended: lambda e: f"Deliveries are currently suspended [{safe(e.domain)}]",
    ev.SpoolProblem: _spool_problem,
    ev.ConfigurationActivated: _configuration_activated,
    ev.ProcessStarted: lambda e: _process(e, "started"),
    ev.ProcessEnded: lambda e: _process(e, "ended"),
    ev.InternalError: _internal_error,
    ev.Warned: lambda e: safe(e.text),
    ev.Noted: lambda e: safe(e.text),
    OutboundSession: lambda e: (),  # for records: the JSON log has it
    CertificateSeen: lambda e: (),
    **CERTIFICATE_ROWS,
    **MONITOR_ROWS,
    **RECEIVED_REPORT_ROWS,
    **REJECTION_ROWS,
    **AUTH_ROWS,
}


class MailLogFormat:
    """Renders events as whole lines. `level` is the subscription's: what is less severe is left out.

    Times are UTC unless `local`. `version` and `serial` stand at the head of each file.
    """

    def __init__(self, *, version: str, serial: str, level: Level = "Info", local: bool = False) -> None:
        self._version = version
        self._serial = serial
        self._shown = frozenset(LEVELS[: LEVELS.index(level) + 1])
        self._split = time.localtime if local else time.gmtime
        self._second = -1
        self._heads: dict[str, str] = {}

    def render(self, event: Event) -> str:
        """The event's lines, each with its line end; empty when the level leaves it out."""
        level = event.level
        if level not in self._shown:
            return ""
        if int(event.at) != self._second:
            self._turn(int(event.at))
        head = self._heads[level]
        row = _RENDERERS[type(event)](event)
        # Looked at once more as a whole, so that no field can be forgotten.
        if type(row) is str:
            return f"{head}{row}\n" if row.isprintable() else f"{head}{printable(row)}\n"
        return "".join([f"{head}{text if text.isprintable() else printable(text)}\n" for text in row])

    def head(self, at: float) -> bytes:
        """What a new file begins with."""
        offset = self._split(at).tm_gmtoff
        rows = (
            "Begin Logfile",
            f"Version: {safe(self._version)} SN: {safe(self._serial)}",
            f"Time offset from UTC: {offset} seconds",
        )
        return self._info(at, rows)

    def tail(self, at: float) -> bytes:
        """What a file ends with before it is put away."""
        return self._info(at, ("End Logfile",))

    def loss(self, at: float, batches: int, reason: str) -> bytes:
        """Says that lines could not be written for a while."""
        text = f"Log lines of {batches} write{'s' if batches != 1 else ''} were lost: {reason}"
        return self.render(ev.Warned(at, text)).encode("utf-8")

    def _info(self, at: float, rows: tuple[str, ...]) -> bytes:
        self._turn(int(at))
        return "".join(f"{self._heads['Info']}{row}\n" for row in rows).encode("utf-8")

    def _turn(self, second: int) -> None:
        self._second = second
        stamp = time.asctime(self._split(second))  # always English, the day padded with a blank
        self._heads = {level: f"{stamp} {level}: " for level in LEVELS}


class MailLogSink:
    """A sink of the journal: renders at once, writes when told to, so that no single step takes long."""

    def __init__(self, form: MailLogFormat, file: LogFile) -> None:
        self._form = form
        self._file = file
        self._lines: list[str] = []

    def use(self, form: MailLogFormat, *, limit: int, keep: int) -> None:
        """Render and rotate as another subscription says, from the next event on."""
        self._form = form
        self._file.use(form, limit=limit, keep=keep)

    def add(self, batch: Sequence[tuple[Sequence[Event], bytes]]) -> int:
        """Take events; their encoded form is not needed here. Returns roughly the octets that wait for them."""
        render = self._form.render
        text = "".join([render(event) for events, _ in batch for event in events])
        if text:
            self._lines.append(text)
        return len(text)

    def flush(self) -> None:
        if self._lines:
            data = "".join(self._lines).encode("utf-8")
            self._lines.clear()
            self._file.append(data)

    def sync_job(self) -> Callable[[], bool]:
        return self._file.sync_job()

    def close(self) -> None:
        self._file.close()
