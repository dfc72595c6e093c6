"""Every act that the log knows, as a typed event.

Events are the source of the mail log, the JSON log and all that is counted later; a text line is one
rendering of an event, never its source (`reference/mail-log`, R33). They are plain slots dataclasses because
a message makes about ten of them. `at` is seconds since the epoch, UTC. Text that came from
outside is kept raw here and escaped where it is rendered. Those of a delivery are in `delivery_events`, those of a certificate's life in
`certificate_events`, those that only records are made of in `record_events`, those of SMTP AUTH in `auth_events`.
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
    """A connection or message refused for a breach of limits or of the protocol; `sender` is that of a refused MAIL.

    `reason_code` says what TLS lacked (`core.reasons`), and is empty where something else was refused.
    """

    icid: int
    reason: str
    sender: str = ""
    reason_code: str = ""


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
