"""What the SMTP client engine says and is told: its events, the peer's capabilities, a transaction.

All of them are values without behaviour beyond reading themselves. `ClientEvent` is the closed union
of what `ClientEngine.next_event` returns.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatepost.core.address import Address
from gatepost.core.envelope import Envelope, Recipient, Ret
from gatepost.core.reply import Reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the peer's last answer to EHLO offered (RFC 5321 §4.1.1.1); with HELO only `greeting_name`.

    `size` is None when SIZE was not offered, 0 when no limit was named (RFC 1870 §4). `masked` says that a
    keyword was crossed out with X, as some firewalls do to STARTTLS (C11).
    """

    esmtp: bool = False
    starttls: bool = False
    pipelining: bool = False
    size: int | None = None
    eightbitmime: bool = False
    smtputf8: bool = False
    chunking: bool = False
    dsn: bool = False
    enhanced: bool = False
    requiretls: bool = False
    greeting_name: str = ""
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """One MAIL, its RCPTs and DATA. `size` in octets is announced where the peer offers SIZE.

    The caller has checked before that the peer may have the message at all: its size limit, and
    SMTPUTF8 where addresses or headers need it. `use_dsn` False keeps RFC 3461 parameters back. A `probe` ends before DATA:
    it only asks whether the recipients would be taken.
    """

    sender: Address
    recipients: tuple[Recipient, ...]
    size: int = 0
    body_8bit: bool = False
    smtputf8: bool = False
    ret: Ret = Ret.UNSET
    envelope_id: str = ""
    use_dsn: bool = True
    requiretls: bool = False
    probe: bool = False

    @classmethod
    def of(cls, envelope: Envelope, recipients: tuple[Recipient, ...], size: int) -> Transaction:
        """The transaction that carries `recipients` of an envelope."""
        return cls(
            envelope.sender,
            recipients,
            size,
            envelope.body_8bit,
            envelope.smtputf8,
            envelope.ret,
            envelope.envelope_id,
            requiretls=envelope.requiretls,
        )


@dataclass(frozen=True, slots=True)
class Greeting:
    """The peer's first reply. Only 220 lets the session go on; otherwise `quit` is all that is left."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class HelloDone:
    capabilities: Capabilities
    reply: Reply


@dataclass(frozen=True, slots=True)
class HelloRefused:
    """Neither EHLO nor, where it was tried, HELO was accepted."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class StartTlsAnswered:
    """With `accepted` the caller does the handshake and calls `tls_started`; otherwise TLS was refused."""

    reply: Reply

    @property
    def accepted(self) -> bool:
        return self.reply.code == 220


@dataclass(frozen=True, slots=True)
class EnvelopeAnswered:
    """The answers to one transaction up to DATA.

    `recipients` has one reply for each recipient, in order; when MAIL was refused, MAIL's reply each
    time. `data` is None when DATA was not sent or nobody was accepted: nothing will be delivered then.
    `body` may be called exactly when `go_ahead` is True.
    """

    mail: Reply
    recipients: tuple[Reply, ...]
    data: Reply | None

    @property
    def accepted(self) -> tuple[int, ...]:
        """The positions of the accepted recipients."""
        return tuple(i for i, reply in enumerate(self.recipients) if reply.code < 300)

    @property
    def go_ahead(self) -> bool:
        return self.data is not None and self.data.code == 354


@dataclass(frozen=True, slots=True)
class BodyAnswered:
    """The answer to the final dot: with 2yz the peer owns the message."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class ResetDone:
    pass


@dataclass(frozen=True, slots=True)
class QuitAnswered:
    reply: Reply


@dataclass(frozen=True, slots=True)
class ProtocolFault:
    """The peer broke the protocol; nothing more may be read from or sent on this connection.

    `injected`: there were bytes behind the 220 of STARTTLS, in clear, which anybody on the way may have put there.
    """

    reason: str
    injected: bool = False


@dataclass(frozen=True, slots=True)
class ClosedByPeer421:
    """The peer said 421 (RFC 5321 §3.8): it closes the connection, whatever was asked of it."""

    reply: Reply


ClientEvent = (
    Greeting
    | HelloDone
    | HelloRefused
    | StartTlsAnswered
    | EnvelopeAnswered
    | BodyAnswered
    | ResetDone
    | QuitAnswered
    | ProtocolFault
    | ClosedByPeer421
)
