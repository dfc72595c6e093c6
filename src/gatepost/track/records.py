"""Events -> records: what belongs together is put together, one look at the log after the other.

A delivery's connection and its certificates come in one event each (`core.record_events`), a delivery in one for each message or
recipient. An incoming session is many events; it is joined here by its ICID and written when it changed, so that a restart goes on with the
sessions that are open (`RecordStore.open_sessions`).

The facts of a session (stable keys): `interface`, `verified` (of the host name), `action`, `group`, `match`, `score`, `policy`, `level` (of TLS),
`protocol`, `cipher`, `key_group`, `client` (the whole verdict on its certificate; null where none was asked for), `tls_error`, `tls_missing` (mail
was tried without the TLS that was required), `hello_clear` (said before TLS) and `hello`, `senders` (envelope senders whose MAIL was accepted, each
with how often in clear and inside TLS), `refused` (what was refused: reason, sender, whether inside TLS, how often), `lost`.

Limits. Of one session 50 senders are told apart, then their domains (`@example.net`), then the rest as `@`; 20 refusals. 50,000
sessions are followed at once.
"""

from __future__ import annotations

from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from gatepost.core import delivery_events as dv
from gatepost.core import events as ev
from gatepost.core.event import Event
from gatepost.core.record_events import CertificateSeen, OutboundSession
from gatepost.store.records import Batch, CertificateRow, ConnectionRow, DeliveryRow, SessionRow

MAX_OPEN = 50_000
MAX_SENDERS = 50
MAX_SENDER_DOMAINS = 200
MAX_REFUSED = 20
MAX_TEXT = 500

_COLUMNS = ("at", "dcid", "domain", "began", "host", "address", "port")
_FACTS = tuple(one.name for one in fields(OutboundSession) if one.name not in _COLUMNS)


class Joiner:
    """Goes through the events in their order. `sessions` are those that were open when the last batch was written."""

    def __init__(self, sessions: Iterable[SessionRow] = ()) -> None:
        self._open: OrderedDict[int, SessionRow] = OrderedDict((row.icid, row) for row in sessions)
        self._changed: dict[int, SessionRow] = {}
        self._connections: list[ConnectionRow] = []
        self._deliveries: list[DeliveryRow] = []
        self._certificates: dict[str, CertificateRow] = {}
        self._seen: set[str] = set()
        self._steps: Mapping[type[Event], Callable[[Any], None]] = {
            OutboundSession: self._connection,
            CertificateSeen: self._certificate,
            dv.Delivered: self._delivered,
            dv.RecipientDelayed: self._failed,
            dv.RecipientBounced: self._failed,
            dv.DoubleBounce: self._failed,
            ev.ConnectionOpened: self._opened,
            ev.ConnectionAdmitted: self._admitted,
            ev.InboundTlsEstablished: self._secured,
            ev.InboundTlsFailed: self._tls_failed,
            ev.InboundTlsRequired: self._tls_missing,
            ev.MessageStarted: self._mail,
            ev.ReceivingFailed: self._refused,
            ev.ConnectionLost: self._lost,
            ev.ConnectionClosed: self._closed,
        }

    @property
    def kinds(self) -> tuple[type[Event], ...]:
        """The events that records are made of."""
        return tuple(self._steps)

    def take(self, events: Iterable[Event]) -> Batch:
        """The records of these events: what is new, and the sessions that changed."""
        for event in events:
            self._steps[type(event)](event)
        batch = Batch(
            tuple(self._connections),
            tuple(self._deliveries),
            tuple(self._changed.values()),
            tuple(self._certificates.values()),
            frozenset(self._seen),
        )
        self._connections, self._deliveries = [], []
        self._changed, self._certificates, self._seen = {}, {}, set()
        return batch

    # --- deliveries --------------------------------------------------------------------------

    def _connection(self, e: OutboundSession) -> None:
        facts = {key: getattr(e, key) for key in _FACTS}
        self._connections.append(
            ConnectionRow(e.at, e.dcid, e.domain, e.began, e.host, e.address, e.port, facts)
        )
        if e.tls is not None:
            self._seen.update(e.tls.get("chain", ()))

    def _certificate(self, e: CertificateSeen) -> None:
        try:
            der = b64decode(e.der, validate=True)
        except ValueError:
            return
        self._certificates[e.fingerprint] = CertificateRow(e.fingerprint, der)

    def _delivered(self, e: dv.Delivered) -> None:
        if not e.domain:
            return  # an older release wrote it
        tls = e.tls or {}
        wishes = "requiretls" if tls.get("requiretls") else "tls-optional" if tls.get("tls_optional") else ""
        self._deliveries.append(
            DeliveryRow(
                e.at,
                e.mid,
                e.domain,
                len(e.rids),
                e.sender_domain,
                "delivered",
                e.dcid,
                wishes=wishes,
            )
        )

    def _failed(self, e: dv.RecipientDelayed | dv.RecipientBounced | dv.DoubleBounce) -> None:
        """One event for each recipient; those of one attempt stand together and are one record."""
        if not e.domain:
            return
        result = "delayed" if isinstance(e, dv.RecipientDelayed) else "bounced"
        sender = "" if isinstance(e, dv.DoubleBounce) else e.sender_domain
        reason = " ".join(e.texts)[:MAX_TEXT]
        count = 1
        if self._deliveries:
            last = self._deliveries[-1]
            if (last.at, last.mid, last.domain, last.result, last.dcid, last.status, last.reason) == (
                e.at,
                e.mid,
                e.domain,
                result,
                e.dcid,
                e.status,
                reason,
            ):
                count += self._deliveries.pop().recipients
        self._deliveries.append(
            DeliveryRow(e.at, e.mid, e.domain, count, sender, result, e.dcid, e.status, reason)
        )

    # --- sessions ----------------------------------------------------------------------------

    def _opened(self, e: ev.ConnectionOpened) -> None:
        if not e.listener:
            return  # an older release wrote it
        facts: dict[str, Any] = {"interface": e.interface, "verified": e.verified}
        row = SessionRow(e.icid, e.at, e.listener, e.address, e.host, facts=facts)
        self._open[e.icid] = self._changed[e.icid] = row
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def _touch(self, icid: int) -> SessionRow | None:
        """The open session, which is about to change; None for one whose beginning was not seen."""
        row = self._open.get(icid)
        if row is not None:
            self._changed[icid] = row
        return row

    def _set(self, icid: int, **facts: Any) -> None:
        if (row := self._touch(icid)) is not None:
            row.facts |= facts

    def _admitted(self, e: ev.ConnectionAdmitted) -> None:
        self._set(
            e.icid,
            action=e.action,
            group=e.group,
            match=e.match,
            score=e.score,
            policy=e.policy,
            level=e.tls,
        )

    def _secured(self, e: ev.InboundTlsEstablished) -> None:
        self._set(
            e.icid,
            protocol=e.protocol,
            cipher=e.cipher,
            key_group=e.group,
            client=e.client,
            hello_clear=e.hello,
        )
        if e.client is not None:
            self._seen.update(e.client.get("chain", ()))

    def _tls_failed(self, e: ev.InboundTlsFailed) -> None:
        self._set(e.icid, tls_error=e.error[:MAX_TEXT])

    def _tls_missing(self, e: ev.InboundTlsRequired) -> None:
        self._set(e.icid, tls_missing=True)

    def _mail(self, e: ev.MessageStarted) -> None:
        row = self._touch(e.icid)
        if row is None:
            return
        senders: dict[str, list[int]] = row.facts.setdefault("senders", {})
        counts = senders.setdefault(_counted(senders, e.sender), [0, 0])
        counts[1 if row.facts.get("protocol") else 0] += 1

    def _refused(self, e: ev.ReceivingFailed) -> None:
        row = self._touch(e.icid)
        if row is None:
            return
        refused: list[dict[str, Any]] = row.facts.setdefault("refused", [])
        one = {
            "reason": e.reason[:MAX_TEXT],
            "code": e.reason_code,
            "sender": e.sender,
            "tls": bool(row.facts.get("protocol")),
        }
        for known in refused:
            if all(known.get(key) == value for key, value in one.items()):
                known["times"] += 1
                return
        if len(refused) < MAX_REFUSED:
            refused.append({**one, "times": 1})

    def _lost(self, e: ev.ConnectionLost) -> None:
        self._set(e.icid, lost=True)

    def _closed(self, e: ev.ConnectionClosed) -> None:
        row = self._touch(e.icid)
        if row is not None:
            row.ended = e.at
            row.facts["hello"] = e.hello
            del self._open[e.icid]


def _counted(senders: Mapping[str, list[int]], sender: str) -> str:
    """The name under which a sender is counted."""
    if sender in senders or len(senders) < MAX_SENDERS:
        return sender
    domain = "@" + sender.rpartition("@")[2].lower()
    return domain if domain in senders or len(senders) < MAX_SENDER_DOMAINS else "@"
