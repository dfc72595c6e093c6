"""Every act that the log knows, as a typed event.

Events are the source of the mail log, the JSON log and all that is counted later; a text line is one
rendering of an event, never its source (`reference/mail-log`, R33). They are plain slots dataclasses because
a message makes about ten of them. `at` is seconds since the epoch, UTC. Text that came from
outside is kept raw here and escaped where it is rendered. Those of a certificate's life are in `certificate_events`,
those that only records are made of in `record_events`, those of SMTP AUTH in `auth_events`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from gatepost.core.event import Event as Event
from gatepost.core.event import Level as Level

# --- an incoming connection ---------------------------------------------------------------------


@dataclass(slots=True)
class ConnectionOpened(Event):
    """A peer connected. `verified` is `yes`, `no` (no PTR, or not confirmed) or `None` (could not be looked up)."""

    icid: int
    interface: str
    local_address: str
    address: str
    host: str  # `unknown` without a confirmed PTR
    verified: str
    listener: str = ""


@dataclass(slots=True)
class ConnectionAdmitted(Event):
    """The HAT's decision; `action` is ACCEPT, RELAY, REJECT or TCPREFUSE (then `icid` is 0).

    `lists` is what each DNS list that knows the peer, or could not be heard, said of it (JSON log).
    """

    icid: int
    action: str
    group: str
    match: str
    score: str  # `not enabled`, `None`, or one decimal
    policy: str = ""  # empty where nothing may be done
    lists: list[Any] | None = None
    tls: str = ""  # the policy's level: off, preferred or required


@dataclass(slots=True)
class InboundTlsEstablished(Event):
    """`group` is the key exchange's, empty where the library cannot say.

    Where the policy asks for the client's certificate, `verification` reads `yes: NAME` or `no: why`, and `client` is the whole
    verdict (names, reason, subject, issuer, fingerprint, key, chain) for the JSON log. `hello` is what was said before TLS.
    """

    icid: int
    protocol: str
    cipher: str
    group: str = ""
    verification: str = ""
    client: dict[str, Any] | None = None
    hello: str = ""


@dataclass(slots=True)
class InboundTlsFailed(Event):
    """`error` is the text after `TLS failed: `; a library error is already in its classic form."""

    icid: int
    error: str


@dataclass(slots=True)
class InboundTlsRequired(Event):
    """The policy wants TLS and the peer sent a mail command without it."""

    icid: int


@dataclass(slots=True)
class ReceivingFailed(Event):
    """A connection or message refused for a breach of limits or of the protocol; `sender` is that of a refused MAIL."""

    icid: int
    reason: str
    sender: str = ""


@dataclass(slots=True)
class ConnectionLost(Event):
    icid: int


@dataclass(slots=True)
class ConnectionClosed(Event):
    """`hello` is what was said last: inside TLS, where there was any."""

    icid: int
    hello: str = ""


# --- a message -----------------------------------------------------------------------------------


@dataclass(slots=True)
class MessageStarted(Event):
    """MAIL was accepted: the lines `Start MID` and `From:`."""

    mid: int
    icid: int
    sender: str


@dataclass(slots=True)
class RecipientAccepted(Event):
    mid: int
    icid: int
    rid: int
    recipient: str


@dataclass(slots=True)
class RecipientRejected(Event):
    """`reason` is the log's phrase, for example `Rejected by RAT`."""

    mid: int
    icid: int
    recipient: str
    reason: str


@dataclass(slots=True)
class MessageReceived(Event):
    """The body is whole: the lines `Message-ID`, `Subject` and `ready`. Header values are raw text."""

    mid: int
    message_id: str
    subject: str
    size: int
    sender: str


@dataclass(slots=True)
class MessageQueued(Event):
    """The message is on disk; this event is committed with it."""

    mid: int


@dataclass(slots=True)
class MessageAborted(Event):
    mid: int
    reason: str


@dataclass(slots=True)
class BounceGenerated(Event):
    """`mid` is the report (a DSN of any kind), `about` the message it reports on."""

    mid: int
    about: int


@dataclass(slots=True)
class BounceDropped(Event):
    """A report that was not made: `reason` says whether it would be a double bounce or over the hourly cap."""

    level: ClassVar[Level] = "Warning"
    mid: int
    reason: str


@dataclass(slots=True)
class MessageHeld(Event):
    """A message that is not tried any more until an administrator releases it."""

    level: ClassVar[Level] = "Warning"
    mid: int
    reason: str


@dataclass(slots=True)
class MessageReleased(Event):
    mid: int
    by: str


@dataclass(slots=True)
class MessageDeleted(Event):
    mid: int
    rids: list[int]
    by: str


# --- a delivery ----------------------------------------------------------------------------------


@dataclass(slots=True)
class DeliveryOpened(Event):
    dcid: int
    local_address: str
    address: str
    port: int


@dataclass(slots=True)
class OutboundTlsEstablished(Event):
    """`domain` and `verification` are empty unless the level verifies.

    `verification` reads `yes: NAME`, `yes: NAME (from unsigned DNS)` or `no: why`; `tls` is the delivery's
    whole TLS record (wanted, rule, achieved, matched) for the JSON log.
    """

    dcid: int
    protocol: str
    cipher: str
    domain: str
    verification: str
    tls: dict[str, Any]


@dataclass(slots=True)
class OutboundTlsFailed(Event):
    """`continues` is True when the delivery goes on in clear on the same connection."""

    dcid: int
    reason: str
    continues: bool
    tls: dict[str, Any]


@dataclass(slots=True)
class OutboundTlsRequired(Event):
    """TLS was mandatory and could not be had (or not verified) with this address."""

    dcid: int
    address: str


@dataclass(slots=True)
class RequiredTlsFailed(Event):
    """R30: the material of an alert, one for each failed connection at a mandatory level."""

    level: ClassVar[Level] = "Warning"
    domain: str
    address: str
    wanted: str
    reason: str
    alert: bool  # the global switch at that time


@dataclass(slots=True)
class DeliveryFailed(Event):
    """`Connection Error`: a reply or the network ended the connection. `reason` is `network error` or
    `unexpected SMTP response`; `dcid` is 0 when no connection came up at all."""

    dcid: int
    domain: str
    address: str
    port: int
    details: str
    local_address: str
    reason: str


@dataclass(slots=True)
class DeliveryStarted(Event):
    dcid: int
    mid: int
    rids: list[int]


@dataclass(slots=True)
class Delivered(Event):
    """The lines `Message done` and `Response`. `tls` answers why this was (not) encrypted: wanted level, rule,
    verdict and reason, what was achieved, the name that matched; the DCID's own events have the whole record.
    `domain` is the recipients', `sender_domain` the envelope sender's (empty for the null sender)."""

    dcid: int
    mid: int
    rids: list[int]
    response: str
    tls: dict[str, Any] | None
    domain: str = ""
    sender_domain: str = ""


@dataclass(slots=True)
class RecipientDelayed(Event):
    """`status` is the enhanced code and `problem` its classic phrase; `code` is `000` without a reply."""

    dcid: int
    mid: int
    rid: int
    status: str
    problem: str
    code: str
    texts: list[str]
    domain: str = ""
    sender_domain: str = ""


@dataclass(slots=True)
class RecipientBounced(Event):
    dcid: int
    mid: int
    rid: int
    status: str
    problem: str
    code: str
    texts: list[str]
    domain: str = ""
    sender_domain: str = ""


@dataclass(slots=True)
class DoubleBounce(Event):
    """A report that could not be delivered: logged and dropped."""

    mid: int
    rid: int
    status: str
    problem: str
    code: str
    texts: list[str]
    dcid: int = 0
    domain: str = ""


@dataclass(slots=True)
class MessageFinished(Event):
    mid: int


@dataclass(slots=True)
class EightBitToSevenBitHop(Event):
    """An 8-bit message went as it is to a host that does not offer 8BITMIME (we never convert)."""

    level: ClassVar[Level] = "Warning"
    dcid: int
    mid: int


@dataclass(slots=True)
class DeliveryClosed(Event):
    dcid: int


@dataclass(slots=True)
class DeliveriesSuspended(Event):
    domain: str


# --- the gateway itself ---------------------------------------------------------------------------


@dataclass(slots=True)
class SpoolProblem(Event):
    """A shard that is full, read-only or damaged; `mid` is 0 unless one message is meant."""

    level: ClassVar[Level] = "Critical"
    shard: int
    reason: str
    mid: int = 0


@dataclass(slots=True)
class ConfigurationActivated(Event):
    version: int
    author: str
    comment: str


@dataclass(slots=True)
class ProcessStarted(Event):
    role: str
    pid: int
    detail: str = ""


@dataclass(slots=True)
class ProcessEnded(Event):
    """A child ended; `detail` says how, and when it is started again."""

    level: ClassVar[Level] = "Warning"
    role: str
    pid: int
    detail: str = ""


@dataclass(slots=True)
class InternalError(Event):
    """Our own bug, with the id that the peer was quoted."""

    level: ClassVar[Level] = "Critical"
    reference: str
    where: str
    traceback: str


@dataclass(slots=True)
class Warned(Event):
    """A warning to the administrator that has no type of its own yet."""

    level: ClassVar[Level] = "Warning"
    text: str


@dataclass(slots=True)
class Noted(Event):
    """Something worth a line that has no type of its own yet."""

    text: str
    fields: dict[str, Any] = field(default_factory=dict)
