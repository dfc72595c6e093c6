"""The TLS reports about our domains that were read: `received-tls-reports/reports.db`.

A report is one row with its whole JSON, compressed, and a row for each domain of ours in it. The same report twice (a mail that was delivered
again, a file that is imported again) is known by organisation, report id and time range, and kept once. These three are what a report
claims, so a forged one must not keep out the real one: a report whose submitter is verified, or may be soon, is known only where its own
octets are, or another one that the same domain signed; it then takes the place of what nobody signed.

Limits. A report of more than 2 MiB compressed is not kept; the oldest go above a number of reports, above a number for one domain and
day (so that a flood of forged ones cannot push the others out; verified ones are counted for themselves), and above an age. The desk writes, or a command on a stopped gateway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import apsw
import orjson

from gatepost.store.database import open_database, transaction

SCHEMA_VERSION = 2
MAX_REPORTS = 20_000
MAX_OF_DAY = 300  # about one domain and day
MAX_PACKED = 2 << 20
_DAY = 86_400

_REPORT = """
CREATE TABLE report (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, way TEXT NOT NULL, origin TEXT NOT NULL,
    organization TEXT NOT NULL, submitter TEXT NOT NULL, contact TEXT NOT NULL, report_id TEXT NOT NULL,
    begin INTEGER NOT NULL, end INTEGER NOT NULL, content BLOB NOT NULL,
    verified INTEGER NOT NULL, dkim TEXT NOT NULL, signer TEXT NOT NULL, reason TEXT NOT NULL,
    waiting BLOB NOT NULL, due REAL NOT NULL);
CREATE INDEX report_begin ON report (begin);
CREATE INDEX report_name ON report (organization, report_id, begin, end);
CREATE INDEX report_due ON report (due) WHERE due > 0;
"""
_DOMAIN = """
CREATE TABLE domain (
    report INTEGER NOT NULL REFERENCES report (number) ON DELETE CASCADE, domain TEXT NOT NULL, day INTEGER NOT NULL,
    successful INTEGER NOT NULL, failed INTEGER NOT NULL, failures BLOB NOT NULL, PRIMARY KEY (report, domain)) WITHOUT ROWID;
CREATE INDEX domain_day ON domain (domain, day);
"""
# Form 1 knew no signatures, and let no two reports have one name. Numbers that were given once are not given again.
_FROM_1 = f"""
ALTER TABLE domain RENAME TO domain_1;
ALTER TABLE report RENAME TO report_1;
DROP INDEX domain_day;
DROP INDEX report_begin;
{_REPORT}
{_DOMAIN}
INSERT INTO report SELECT number, at, way, origin, organization, submitter, contact, report_id, begin, end, content,
    0, '', '', '', x'', 0 FROM report_1;
INSERT INTO domain SELECT report, domain, day, successful, failed, failures FROM domain_1
    WHERE report IN (SELECT number FROM report_1);
DELETE FROM sqlite_sequence WHERE name = 'report';
INSERT INTO sqlite_sequence SELECT 'report', seq FROM sqlite_sequence WHERE name = 'report_1';
DROP TABLE domain_1;
DROP TABLE report_1;
"""
_UPGRADES = MappingProxyType({1: _FROM_1})
_COLUMNS = (
    "number, at, way, origin, organization, submitter, contact, report_id, begin, end,"
    " verified, dkim, signer, reason, due"
)
_SAME_NAME = "organization = ? AND report_id = ? AND begin = ? AND end = ?"


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
class Proof:
    """What is known of whom a report is from. `result` is a word of RFC 8601, empty for a report that an earlier Gatepost kept; `signer` the
    domain that signed. While the key is not known, `waiting` are the signatures and `due` is when it is to be asked for again."""

    verified: bool = False
    result: str = ""
    signer: str = ""
    reason: str = ""
    waiting: bytes = b""
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One report. `number` is 0 before it is kept; `content` and `proof.waiting` are empty in lists."""

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
    proof: Proof = Proof()


class ReceivedReportStore:
    """The database, opened. Blocks; meant for a thread, one call at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, folder: Path) -> ReceivedReportStore:
        """Open or create it. Raises NewerForm, ReportsFailed or OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / "reports.db"
        return cls(open_database(path, _REPORT + _DOMAIN, SCHEMA_VERSION, upgrades=_UPGRADES))

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
        """Keep a report; its number, and whether it says anything new, or is proven now. Raises TooMany."""
        with transaction(self._db):
            known = self._known(row)
            if known is None:
                self._require_room(row)
                return self._insert(row), True
            if row.proof.verified and not known.proof.verified:
                self._set_proof(known.number, row.proof)
                return known.number, True
            if row.proof.due and not (known.proof.verified or known.proof.due):
                self._set_proof(known.number, row.proof)
            return known.number, False

    def _known(self, row: ReportRow) -> ReportRow | None:
        """The report that this one is already."""
        name = (row.organization, row.report_id, row.begin, row.end)
        found: list[Any] = self._db.execute(
            f"SELECT {_COLUMNS}, content FROM report WHERE {_SAME_NAME} ORDER BY verified DESC, number", name
        ).fetchall()
        rows = [self._row(one[:-1], bytes(one[-1])) for one in found]
        promising = row.proof.verified or row.proof.due > 0
        for one in rows:
            of_one_signer = one.proof.verified and one.proof.signer == row.proof.signer
            if (
                not promising
                or of_one_signer
                or (one.content == row.content and not _other_signers(one, row))
            ):
                return one
        return None

    def _insert(self, row: ReportRow) -> int:
        proof = row.proof
        self._db.execute(
            "INSERT INTO report VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(row.at, row.way, row.origin, row.organization, row.submitter, row.contact, row.report_id),
                *(row.begin, row.end, row.content),
                *(proof.verified, proof.result, proof.signer, proof.reason, proof.waiting, proof.due),
            ),
        )
        number = self._db.last_insert_rowid()
        day = row.begin // _DAY
        for one in row.domains:
            self._db.execute(
                "INSERT INTO domain VALUES (?, ?, ?, ?, ?, ?)",
                (number, one.domain, day, one.successful, one.failed, orjson.dumps(one.failures)),
            )
        return number

    def _set_proof(self, number: int, proof: Proof) -> None:
        self._db.execute(
            "UPDATE report SET verified = ?, dkim = ?, signer = ?, reason = ?, waiting = ?, due = ? WHERE number = ?",
            (proof.verified, proof.result, proof.signer, proof.reason, proof.waiting, proof.due, number),
        )

    def settle(self, number: int, proof: Proof) -> ReportRow | None:
        """Another look-up of a report's keys came to this. The report, if it is proven only now."""
        with transaction(self._db):
            row = self.report(number)
            if row is None or row.proof.verified:
                return None
            self._set_proof(number, proof)
        return replace(row, proof=proof) if proof.verified else None

    def _require_room(self, row: ReportRow) -> None:
        for one in row.domains:
            count = self._db.execute(
                "SELECT count(*) FROM domain JOIN report ON number = report WHERE domain = ? AND day = ? AND verified = ?",
                (one.domain, row.begin // _DAY, row.proof.verified),
            ).get
            if count >= MAX_OF_DAY:
                raise TooMany(f"there are {MAX_OF_DAY} reports about {one.domain} for that day already")

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

    def waiting(self, now: float, limit: int) -> list[ReportRow]:
        """Those whose keys are to be asked for again, the longest due first, with their signatures and without their content."""
        rows: list[Any] = self._db.execute(
            f"SELECT {_COLUMNS}, waiting FROM report WHERE due > 0 AND due <= ? ORDER BY due, number LIMIT ?",
            (now, limit),
        ).fetchall()
        found = [(self._row(row[:-1]), bytes(row[-1])) for row in rows]
        return [replace(row, proof=replace(row.proof, waiting=waiting)) for row, waiting in found]

    def _row(self, row: Sequence[Any], content: bytes = b"") -> ReportRow:
        number, *facts, verified, result, signer, reason, due = row
        at, way, origin, organization, submitter, contact, report_id, begin, end = facts
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
            Proof(bool(verified), result, signer, reason, b"", due),
        )


def _other_signers(one: ReportRow, row: ReportRow) -> bool:
    """Whether two reports are of two domains, each with proof."""
    return one.proof.verified and row.proof.verified and one.proof.signer != row.proof.signer
