"""What became of deliveries and sessions, kept for some days: `records.db`.

Four tables: connections of deliveries with all facts of their TLS, deliveries of messages, incoming sessions, and the certificates that
peers showed, each once by its SHA-256. Rows are numbered as they came. How far the log of events was read stands in the same database and
changes in the same transaction, so whatever ends the desk, nothing is counted twice and nothing is left out.

Times are seconds since the epoch, UTC. Facts are JSON, whose keys are those of `OutboundSession` and of `track.records`.

Limits. Records are worth less than mail: a flush is left to the system (`synchronous=NORMAL`), so a power cut may lose the last seconds,
which are then read from the log again. The desk writes; others only read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import orjson

from gatepost.store.database import open_database, open_to_read, transaction

SCHEMA_VERSION = 1
MAX_CERTIFICATES = 50_000
_AT_ONCE = 20_000  # rows that one look removes, so that none takes long
_MAX_SHARED = 20_000
_SEEN_STEP = 3600.0  # a certificate's last sight is written down once an hour

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE connection (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, dcid INTEGER NOT NULL, domain TEXT NOT NULL,
    began REAL NOT NULL, host TEXT NOT NULL, address TEXT NOT NULL, port INTEGER NOT NULL, facts BLOB NOT NULL);
CREATE INDEX connection_at ON connection (at);
CREATE TABLE delivery (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, mid INTEGER NOT NULL, domain TEXT NOT NULL,
    recipients INTEGER NOT NULL, sender_domain TEXT NOT NULL, result TEXT NOT NULL, dcid INTEGER NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL, wishes TEXT NOT NULL);
CREATE INDEX delivery_at ON delivery (at);
CREATE TABLE session (
    number INTEGER PRIMARY KEY AUTOINCREMENT, icid INTEGER NOT NULL UNIQUE, at REAL NOT NULL, ended REAL NOT NULL,
    listener TEXT NOT NULL, address TEXT NOT NULL, host TEXT NOT NULL, facts BLOB NOT NULL);
CREATE INDEX session_at ON session (at);
CREATE INDEX session_open ON session (at) WHERE ended = 0;
CREATE TABLE certificate (fingerprint TEXT PRIMARY KEY, seen REAL NOT NULL, der BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX certificate_seen ON certificate (seen);
"""
_TABLES = ("connection", "delivery", "session")


RecordsFailed = apsw.Error
"""What a full disk or a damaged database raises from every method."""


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One attempt to connect to one host. `began` names the attempt at the destination, together with `domain`."""

    at: float
    dcid: int
    domain: str
    began: float
    host: str
    address: str
    port: int
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """What one attempt came to for recipients of one domain of one message: `delivered`, `delayed` or `bounced`.

    `wishes` is what the message itself asked of TLS (RFC 8689): `requiretls`, `tls-optional`, or empty.
    """

    at: float
    mid: int
    domain: str
    recipients: int
    sender_domain: str
    result: str
    dcid: int
    status: str = ""
    reason: str = ""
    wishes: str = ""


@dataclass(slots=True)
class SessionRow:
    """One incoming connection; `ended` is 0 while it is open."""

    icid: int
    at: float
    listener: str
    address: str
    host: str
    ended: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CertificateRow:
    fingerprint: str
    der: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written at once. `sessions` replace those of the same ICID; `seen` are fingerprints that were met."""

    connections: Sequence[ConnectionRow] = ()
    deliveries: Sequence[DeliveryRow] = ()
    sessions: Sequence[SessionRow] = ()
    certificates: Sequence[CertificateRow] = ()
    seen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reach:
    """How much there is: rows by table, and the times of the oldest and the newest delivery or session (0: none)."""

    connections: int
    deliveries: int
    sessions: int
    certificates: int
    first: float
    last: float


class RecordStore:
    """`records.db`, opened. Blocks; meant for a thread, one call at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> RecordStore:
        """Open or create it. Raises NewerForm, or RecordsFailed for what is no database or cannot be written."""
        return cls(open_database(path, _SCHEMA, SCHEMA_VERSION, synchronous="NORMAL"))

    @classmethod
    def open_if_there(cls, path: Path) -> RecordStore | None:
        """For a reader: None while nothing was ever recorded."""
        return cls.open(path) if path.exists() else None

    @classmethod
    def open_to_read(cls, path: Path) -> RecordStore | None:
        """For a reader in a process of its own: None while nothing was ever recorded. Raises NewerForm, or RecordsFailed."""
        if not path.exists() or not path.stat().st_size:
            return None
        return cls(open_to_read(path, SCHEMA_VERSION))

    def close(self) -> None:
        self._db.close()

    # --- writing -----------------------------------------------------------------------------

    def write(self, batch: Batch, position: bytes, now: float) -> None:
        """Keep a batch, and how far the log was read for it, in one step."""
        with transaction(self._db):
            self._db.executemany(
                "INSERT INTO connection VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (r.at, r.dcid, r.domain, r.began, r.host, r.address, r.port, orjson.dumps(r.facts))
                    for r in batch.connections
                ),
            )
            self._db.executemany(
                "INSERT INTO delivery VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        r.at,
                        r.mid,
                        r.domain,
                        r.recipients,
                        r.sender_domain,
                        r.result,
                        r.dcid,
                        r.status,
                        r.reason,
                        r.wishes,
                    )
                    for r in batch.deliveries
                ),
            )
            self._db.executemany(
                "INSERT INTO session VALUES (NULL, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (icid) DO UPDATE SET "
                "ended = excluded.ended, facts = excluded.facts",
                (
                    (r.icid, r.at, r.ended, r.listener, r.address, r.host, orjson.dumps(r.facts))
                    for r in batch.sessions
                ),
            )
            self._keep_certificates(batch, now)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('position', ?)", (position,))

    def _keep_certificates(self, batch: Batch, now: float) -> None:
        self._db.executemany(
            "INSERT INTO certificate VALUES (?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET seen = excluded.seen",
            ((r.fingerprint, now, r.der) for r in batch.certificates),
        )
        self._db.executemany(
            "UPDATE certificate SET seen = ? WHERE fingerprint = ? AND seen < ?",
            ((now, fingerprint, now - _SEEN_STEP) for fingerprint in batch.seen),
        )

    def position(self) -> bytes:
        """How far the log was read; empty at the beginning."""
        value = self._db.execute("SELECT value FROM meta WHERE key = 'position'").get
        return bytes(value) if value is not None else b""

    def prune(self, before: float, rows: int) -> int:
        """Remove what is older, and the oldest above a number of rows; returns how many rows went, at most some at once."""
        removed = 0
        with transaction(self._db):
            for table in _TABLES:
                newest = self._db.execute(f"SELECT coalesce(max(number), 0) FROM {table}").get
                self._db.execute(
                    f"DELETE FROM {table} WHERE number IN (SELECT number FROM {table}"
                    " WHERE at < ? OR number <= ? ORDER BY number LIMIT ?)",
                    (before, newest - rows, _AT_ONCE),
                )
                removed += self._db.changes()
            self._db.execute(
                "DELETE FROM certificate WHERE seen < ? OR fingerprint IN"
                " (SELECT fingerprint FROM certificate ORDER BY seen DESC LIMIT -1 OFFSET ?)",
                (before - _SEEN_STEP, MAX_CERTIFICATES),
            )
            removed += self._db.changes()
        return removed

    # --- reading -----------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside belongs together, whatever is written meanwhile."""
        with transaction(self._db, "DEFERRED"):
            yield

    def open_sessions(self, since: float, limit: int) -> list[SessionRow]:
        """The sessions that had not ended when they were written last, oldest first."""
        rows = self._db.execute(
            "SELECT icid, at, listener, address, host, ended, facts FROM session"
            " WHERE ended = 0 AND at >= ? ORDER BY at DESC LIMIT ?",
            (since, limit),
        )
        return [_session(row) for row in rows][::-1]

    def connections(self, since: float) -> Iterator[ConnectionRow]:
        """Those from a time on, in their order."""
        rows = self._db.execute(
            "SELECT at, dcid, domain, began, host, address, port, facts FROM connection WHERE at >= ? ORDER BY number",
            (since,),
        )
        known: dict[
            bytes, dict[str, Any]
        ] = {}  # connections to one host mostly have the same facts: they share them
        return (_connection(row, known) for row in rows)

    def deliveries(self, since: float) -> Iterator[DeliveryRow]:
        rows = self._db.execute(
            "SELECT at, mid, domain, recipients, sender_domain, result, dcid, status, reason, wishes FROM delivery"
            " WHERE at >= ? ORDER BY number",
            (since,),
        )
        same: dict[str, str] = {}  # domains come again and again
        for at, mid, domain, recipients, sender_domain, *more in rows:
            if len(same) >= _MAX_SHARED:
                same.clear()
            sender = same.setdefault(sender_domain, sender_domain)
            yield DeliveryRow(at, mid, same.setdefault(domain, domain), recipients, sender, *more)

    def sessions(self, since: float) -> Iterator[SessionRow]:
        rows = self._db.execute(
            "SELECT icid, at, listener, address, host, ended, facts FROM session WHERE at >= ? ORDER BY number",
            (since,),
        )
        return (_session(row) for row in rows)

    def sessions_of(self, address: str, begin: float, end: float, limit: int) -> list[SessionRow]:
        """The sessions of one address that began within a time, oldest first."""
        rows = self._db.execute(
            "SELECT icid, at, listener, address, host, ended, facts FROM session"
            " WHERE at >= ? AND at <= ? AND address = ? ORDER BY at LIMIT ?",
            (begin, end, address, limit),
        )
        return [_session(row) for row in rows]

    def count(self, since: float, limit: int) -> int:
        """How many connections, deliveries and sessions there are from a time on; of each kind `limit` are counted."""
        return sum(
            int(
                self._db.execute(
                    f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE at >= ? LIMIT ?)", (since, limit)
                ).get
            )
            for table in _TABLES
        )

    def certificate(self, fingerprint: str) -> bytes | None:
        """The DER of one certificate; None when it is not kept."""
        der = self._db.execute("SELECT der FROM certificate WHERE fingerprint = ?", (fingerprint,)).get
        return bytes(der) if der is not None else None

    def reach(self) -> Reach:
        """How much there is, from when to when."""
        connections, deliveries, sessions, certificates = (
            int(self._db.execute(f"SELECT count(*) FROM {name}").get) for name in (*_TABLES, "certificate")
        )
        ends = [
            self._db.execute(f"SELECT min(at), max(at) FROM {table}").fetchone()
            for table in ("delivery", "session")
        ]
        times = [at for end in ends if end is not None for at in end if at is not None]
        first, last = min(times, default=0.0), max(times, default=0.0)
        return Reach(connections, deliveries, sessions, certificates, first, last)


def set_aside(path: Path) -> Path:
    """Put a damaged database out of the way, in the place of an earlier one; returns where it is now."""
    aside = path.with_name(f"{path.name}.damaged")
    for ending in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).unlink()
    path.replace(aside)
    return aside


def _connection(row: Sequence[Any], known: dict[bytes, dict[str, Any]]) -> ConnectionRow:
    at, dcid, domain, began, host, address, port, facts = row
    shared = known.get(facts)
    if shared is None:
        if len(known) >= _MAX_SHARED:
            known.clear()
        shared = known[facts] = orjson.loads(facts)
    return ConnectionRow(at, dcid, domain, began, host, address, port, shared)


def _session(row: Sequence[Any]) -> SessionRow:
    icid, at, listener, address, host, ended, facts = row
    return SessionRow(icid, at, listener, address, host, ended, orjson.loads(facts))
