"""The events of a delivery: its connections, their TLS, and what became of each message and recipient.

Plain slots dataclasses like all others (`core.events`); the log keeps them under the names of their classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gatepost.core.event import Event, Level

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
    reason_code: str = ""  # of `core.reasons`


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
