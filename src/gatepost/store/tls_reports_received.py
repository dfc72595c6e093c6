"""The TLS reports about our domains that were read: `received-tls-reports/reports.db`.

A report is one row with its whole JSON, compressed, and a row for each domain of ours in it. The same report twice (a mail that was delivered
again, a file that is imported again) is known by organisation, report id and time range, and kept once. Who a report is from is what it
claims.

Limits. A report of more than 2 MiB compressed is not kept; the oldest go above a number of reports, above a number for one domain and
day (so that a flood of forged ones cannot push the others out), and above an age. The desk writes, or a command on a stopped gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import orjson

from gatepost.store.database import open_database, transaction

SCHEMA_VERSION = 1
MAX_REPORTS = 20_000
MAX_OF_DAY = 300  # about one domain and day
MAX_PACKED = 2 << 20
_DAY = 86_400

_SCHEMA = """
CREATE TABLE report (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, way TEXT NOT NULL, origin TEXT NOT NULL,
    organization TEXT NOT NULL, submitter TEXT NOT NULL, contact TEXT NOT NULL, report_id TEXT NOT NULL,
    begin INTEGER NOT NULL, end INTEGER NOT NULL, content BLOB NOT NULL,
    UNIQUE (organization, report_id, begin, end));
CREATE INDEX report_begin ON report (begin);
CREATE TABLE domain (
    report INTEGER NOT NULL REFERENCES report (number) ON DELETE CASCADE, domain TEXT NOT NULL, day INTEGER NOT NULL,
    successful INTEGER NOT NULL, failed INTEGER NOT NULL, failures BLOB NOT NULL, PRIMARY KEY (report, domain)) WITHOUT ROWID;
CREATE INDEX domain_day ON domain (domain, day);
"""
_COLUMNS = "number, at, way, origin, organization, submitter, contact, report_id, begin, end"


class TooMany(Exception):
    """There are as many reports about this domain and day as are kept; the text says so."""


ReportsFailed = apsw.Error
"""What a full disk or a damaged database raises from every method."""


@dataclass(frozen=True, slots=True)
class DomainRow:
    """What a report says of one domain of ours."""

    domain: str
    successful: int
    failed: int
    failures: dict[str, int]


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One report. `number` is 0 before it is kept; `content` is empty in lists."""

    at: float
    way: str
    origin: str
    organization: str
    submitter: str
    contact: str
    report_id: str
    begin: int
    end: int
    domains: tuple[DomainRow, ...]
    content: bytes = b""
    number: int = 0


class ReceivedReportStore:
    """The database, opened. Blocks; meant for a thread, one call at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, folder: Path) -> ReceivedReportStore:
        """Open or create it. Raises NewerForm, ReportsFailed or OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "reports.db"
        return cls(open_database(path, _SCHEMA, SCHEMA_VERSION))

    @classmethod
    def there(cls, folder: Path) -> bool:
        """Whether a report was ever kept."""
        return (folder / "reports.db").exists()

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> ReceivedReportStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- writing -----------------------------------------------------------------------------

    def keep(self, row: ReportRow) -> tuple[int, bool]:
        """Keep a report; its number, and whether it is new. Raises TooMany."""
        known = self._db.execute(
            "SELECT number FROM report WHERE organization = ? AND report_id = ? AND begin = ? AND end = ?",
            (row.organization, row.report_id, row.begin, row.end),
        ).get
        if known is not None:
            return int(known), False
        with transaction(self._db):
            for one in row.domains:
                self._require_room(one.domain, row.begin // _DAY)
            self._db.execute(
                "INSERT INTO report VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.at,
                    row.way,
                    row.origin,
                    row.organization,
                    row.submitter,
                    row.contact,
                    row.report_id,
                    row.begin,
                    row.end,
                    row.content,
                ),
            )
            number = self._db.last_insert_rowid()
            for one in row.domains:
                self._db.execute(
                    "INSERT INTO domain VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        number,
                        one.domain,
                        row.begin // _DAY,
                        one.successful,
                        one.failed,
                        orjson.dumps(one.failures),
                    ),
                )
        return number, True

    def _require_room(self, domain: str, day: int) -> None:
        count = self._db.execute(
            "SELECT count(*) FROM domain WHERE domain = ? AND day = ?", (domain, day)
        ).get
        if count >= MAX_OF_DAY:
            raise TooMany(f"there are {MAX_OF_DAY} reports about {domain} for that day already")

    def prune(self, before: float, most: int = MAX_REPORTS) -> int:
        """Remove what came earlier, and the oldest above a number; returns how many reports went."""
        with transaction(self._db):
            self._db.execute(
                "DELETE FROM report WHERE at < ? OR number IN"
                " (SELECT number FROM report ORDER BY number DESC LIMIT -1 OFFSET ?)",
                (before, most),
            )
            return self._db.changes()

    # --- reading -----------------------------------------------------------------------------

    def reports(self, since: float, domain: str = "", limit: int = 1_000) -> list[ReportRow]:
        """Those whose time begins from `since` on, about a domain or any, the newest first, without their content."""
        where, values = "begin >= ?", [since]
        bindings: list[Any] = list(values)
        if domain:
            where += " AND number IN (SELECT report FROM domain WHERE domain = ?)"
            bindings.append(domain)
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM report WHERE {where} ORDER BY begin DESC, number DESC LIMIT ?",
            (*bindings, limit),
        ).fetchall()
        return [self._row(row) for row in rows]

    def report(self, number: int) -> ReportRow | None:
        """One report, whole."""
        row = self._db.execute(
            f"SELECT {_COLUMNS}, content FROM report WHERE number = ?", (number,)
        ).fetchone()
        return self._row(row[:-1], bytes(row[-1])) if row is not None else None

    def _row(self, row: Sequence[Any], content: bytes = b"") -> ReportRow:
        number, at, way, origin, organization, submitter, contact, report_id, begin, end = row
        domains = self._db.execute(
            "SELECT domain, successful, failed, failures FROM domain WHERE report = ?", (number,)
        )
        return ReportRow(
            at,
            way,
            origin,
            organization,
            submitter,
            contact,
            report_id,
            begin,
            end,
            tuple(DomainRow(name, ok, bad, orjson.loads(failures)) for name, ok, bad, failures in domains),
            content,
            number,
        )
