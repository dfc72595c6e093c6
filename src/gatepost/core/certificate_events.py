"""The events of certificates' lives, of revocation lists, and of alerts.

`name` is a profile of the configuration; fingerprints are SHA-256, lower-case hex; `not_after` and `again` are seconds since
the epoch, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gatepost.core.event import Event, Level

# --- certificates -----------------------------------------------------------------------------------


@dataclass(slots=True)
class CertificateIssued(Event):
    """A profile has a new certificate, in force with its version. `how` is an origin: `signed`, `automatic`, …"""

    name: str
    how: str
    subject: str
    not_after: float
    fingerprint: str


@dataclass(slots=True)
class CertificateRenewalFailed(Event):
    """No new certificate could be had; the old one stays. `again` is when it is tried next, 0 for never by itself."""

    level: ClassVar[Level] = "Warning"
    name: str
    reason: str
    again: float


@dataclass(slots=True)
class CertificateWaits(Event):
    """A new certificate is there and not served yet, for example until its TLSA record has been visible long enough."""

    name: str
    reason: str


@dataclass(slots=True)
class CertificatesServed(Event):
    """Proof of an activation: every listener was asked, and showed what was meant."""

    version: int
    listeners: int
    handshakes: int


@dataclass(slots=True)
class ListenerProbed(Event):
    """The gateway looked at what one of its listeners shows. `error` is set where no TLS came about."""

    level: ClassVar[Level] = "Debug"
    listener: str
    address: str
    sni: str
    protocol: str
    error: str = ""


@dataclass(slots=True)
class CertificateNotServed(Event):
    """A listener shows something else than was meant. `sni` is the name asked for, empty for none."""

    level: ClassVar[Level] = "Critical"
    version: int
    listener: str
    sni: str
    wanted: str
    served: str  # a fingerprint, or empty
    reason: str


@dataclass(slots=True)
class CertificateRolledBack(Event):
    """Version `version` brings back the certificates of `to`, because what worked before had broken."""

    level: ClassVar[Level] = "Warning"
    version: int
    to: int
    reason: str


@dataclass(slots=True)
class CertificateExpires(Event):
    """A mark was reached before something expires. `what` is `certificate`, `intermediate`, `authority` or `revocation list`."""

    level: ClassVar[Level] = "Warning"
    what: str
    name: str
    subject: str
    not_after: float
    days: int  # whole days that are left


@dataclass(slots=True)
class CertificateExpired(Event):
    """It has expired; `days` whole days ago."""

    level: ClassVar[Level] = "Critical"
    what: str
    name: str
    subject: str
    not_after: float
    days: int


# --- revocation lists and alerts --------------------------------------------------------------------


@dataclass(slots=True)
class RevocationListFetched(Event):
    """A new list is in use until `not_after`, its next update, 0 when it does not say."""

    url: str
    issuer: str
    revoked: int
    not_after: float


@dataclass(slots=True)
class RevocationListFailed(Event):
    """A list could not be fetched or read; the last good one stays in use. `again` is when it is tried next."""

    level: ClassVar[Level] = "Warning"
    url: str
    reason: str
    again: float


@dataclass(slots=True)
class AlertRaised(Event):
    """An alert went to its recipients (none where nobody subscribed, or `reason` says why it could not be sent)."""

    severity: str
    subject: str
    recipients: int
    reason: str = ""
