"""The log's lines about certificates' lives, revocation lists and alerts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gatepost.core import certificate_events as ev
from gatepost.core.event import Event
from gatepost.track.log_text import safe

Row = str | tuple[str, ...]


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def _again(at: float) -> str:
    return f", next try {_day(at)}" if at else ""


def _served(e: ev.CertificatesServed) -> Row:
    listeners = f"{e.listeners} listener{'s' if e.listeners != 1 else ''}"
    return f"Certificates of version {e.version} are on the wire: {listeners}, {e.handshakes} handshakes"


def _probed(e: ev.ListenerProbed) -> Row:
    asked = f"SNI {safe(e.sni)}" if e.sni else "no SNI"
    how = f"failed: {safe(e.error)}" if e.error else e.protocol
    return f"Probe of listener {safe(e.listener)} from {e.address}, {asked}: {how}"


def _not_served(e: ev.CertificateNotServed) -> Row:
    asked = f"SNI {safe(e.sni)}" if e.sni else "no SNI"
    served = f"SHA-256 {e.served[:16]}" if e.served else "nothing"
    return (
        f"Certificate not on the wire: listener {safe(e.listener)} {asked} version {e.version}"
        f" wanted SHA-256 {e.wanted[:16]} served {served} reason: {safe(e.reason)}"
    )


def _expires(e: ev.CertificateExpires) -> Row:
    left = f"in {e.days} day{'s' if e.days != 1 else ''}" if e.days else "within a day"
    return f"Expires {left}: {e.what} {safe(e.name)} {safe(e.subject)} until {_day(e.not_after)}"


def _expired(e: ev.CertificateExpired) -> Row:
    return f"Expired: {e.what} {safe(e.name)} {safe(e.subject)} since {_day(e.not_after)}"


def _fetched(e: ev.RevocationListFetched) -> Row:
    until = f", next update {_day(e.not_after)}" if e.not_after else ""
    return f"Revocation list {safe(e.url)} of {safe(e.issuer)}: {e.revoked} revoked{until}"


def _alert(e: ev.AlertRaised) -> Row:
    to = f"to {e.recipients} recipient{'s' if e.recipients != 1 else ''}"
    tail = f": {safe(e.reason)}" if e.reason else ""
    return f"Alert ({e.severity}) {to}: {safe(e.subject)}{tail}"


CERTIFICATE_ROWS: Mapping[type[Event], Callable[[Any], Row]] = {
    ev.CertificateIssued: lambda e: (
        f"Certificate {safe(e.name)} {safe(e.how)}: {safe(e.subject)} until {_day(e.not_after)}"
        f" SHA-256 {e.fingerprint[:16]}"
    ),
    ev.CertificateRenewalFailed: lambda e: (
        f"Renewal of certificate {safe(e.name)} failed: {safe(e.reason)}{_again(e.again)}"
    ),
    ev.CertificateWaits: lambda e: f"Certificate {safe(e.name)} waits: {safe(e.reason)}",
    ev.CertificatesServed: _served,
    ev.ListenerProbed: _probed,
    ev.CertificateNotServed: _not_served,
    ev.CertificateRolledBack: lambda e: (
        f"Version {e.version} brings back the certificates of version {e.to}: {safe(e.reason)}"
    ),
    ev.CertificateExpires: _expires,
    ev.CertificateExpired: _expired,
    ev.RevocationListFetched: _fetched,
    ev.RevocationListFailed: lambda e: (
        f"Revocation list {safe(e.url)} failed: {safe(e.reason)}{_again(e.again)}"
    ),
    ev.AlertRaised: _alert,
}
