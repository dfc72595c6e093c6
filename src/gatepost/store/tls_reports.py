"""The sums of our TLS reports, and what became of each report: `tls-reports.db` of the home.

How it works. Sessions are added up by day (UTC), report domain and policy, failures by what they have in common. The position in the log up to
which sessions were counted is written in the same transaction as the sums, so that a desk that dies counts nothing twice and leaves
nothing out. Each day and domain has a standing: whether it is still counted, wants no report, or has one; each report its octets as
they go out, and a row for each destination. A report and its destinations are one transaction too.

The store has one writer at a time, the desk's job or an offline command under the home's lock; operations of the desk read and ask beside it.

Limits. 20,000 domains a day: sessions of more are not counted, and `add` says how many those were. 50 policies of a domain and 500 kinds of
failure of a policy: what is beyond counts under a policy without lines, or under its result type alone, so that sums stay true. Days
older than 30 go.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.database import NewerForm, open_database, transaction
from gatepost.store.tls_report_rows import (
    Count,
    Sending,
    Standing,
    State,
    Sum,
    detail_of,
    detail_text,
    policy_columns,
    policy_of,
    sending_of,
    standing_of,
)
from gatepost.wire.tlsrpt import FailureDetails, PolicyResult, ReportedPolicy

SCHEMA_VERSION = 1
MAX_DOMAINS = 20_000
MAX_POLICIES = 50
MAX_DETAILS = 500
KEPT_DAYS = 30

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE standing (
    day TEXT NOT NULL, domain TEXT NOT NULL, state TEXT NOT NULL, due REAL NOT NULL, tries INTEGER NOT NULL,
    asked INTEGER NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (day, domain)) WITHOUT ROWID;
CREATE INDEX standing_due ON standing (state, due);
CREATE TABLE policy (
    id INTEGER PRIMARY KEY, day TEXT NOT NULL, domain TEXT NOT NULL, type TEXT NOT NULL,
    policy_domain TEXT NOT NULL, body TEXT NOT NULL, successful INTEGER NOT NULL, failed INTEGER NOT NULL,
    UNIQUE (day, domain, type, policy_domain, body));
CREATE TABLE detail (
    policy INTEGER NOT NULL, what TEXT NOT NULL, sessions INTEGER NOT NULL,
    PRIMARY KEY (policy, what)) WITHOUT ROWID;
CREATE TABLE report (
    id INTEGER PRIMARY KEY, day TEXT NOT NULL, domain TEXT NOT NULL, made REAL NOT NULL, whole INTEGER NOT NULL,
    name TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX report_of ON report (day, domain);
CREATE TABLE sending (
    report INTEGER NOT NULL, uri TEXT NOT NULL, state TEXT NOT NULL, since REAL NOT NULL, due REAL NOT NULL,
    tries INTEGER NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (report, uri)) WITHOUT ROWID;
"""


class TlsReportStore:
    """The store, opened. Methods block for at most a flush."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._turn = threading.RLock()

    @classmethod
    def open(cls, path: Path) -> TlsReportStore:
        """Open or create it. Raises OperatorError (exit 78) for one that a newer Gatepost wrote."""
        try:
            return cls(open_database(path, _SCHEMA, SCHEMA_VERSION))
        except apsw.CantOpenError:
            raise OperatorError(
                f"the sums of TLS reports {path} cannot be opened", "run the command as the home's owner"
            ) from None
        except NewerForm as error:
            raise OperatorError(
                f"the sums of TLS reports {path} was written by a newer Gatepost: {error}",
                "use that version, or move the file away: its sums are lost then",
                code=Exit.FAULTY_CONFIGURATION,
            ) from None

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> TlsReportStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn, transaction(self._db):
            yield

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._turn:
            return self._db.execute(query, values).fetchall()

    # --- counting --------------------------------------------------------------------------------

    def get_meta(self, key: str) -> bytes | None:
        """A small value of the store."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return bytes(rows[0][0]) if rows else None

    def add(self, counts: Iterable[Count], metas: Mapping[str, bytes | None]) -> int:
        """Add sessions up, and write small values with them; returns how many sessions found no room."""
        lost = 0
        with self._transaction():
            for one in counts:
                lost += 0 if self._add(one) else one.sessions
            for key, value in metas.items():
                if value is None:
                    self._db.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        return lost

    def _add(self, one: Count) -> bool:
        where = (one.day, one.domain)
        if not self._db.execute("SELECT 1 FROM standing WHERE day = ? AND domain = ?", where).get:
            domains = self._db.execute("SELECT count(*) FROM standing WHERE day = ?", (one.day,)).get
            if domains >= MAX_DOMAINS:
                return False
            values = (*where, State.COUNTED.value, one.due)
            self._db.execute("INSERT INTO standing VALUES (?, ?, ?, ?, 0, 0, '')", values)
        policy = self._policy(one)
        column = "successful" if one.failure is None else "failed"
        self._db.execute(f"UPDATE policy SET {column} = {column} + ? WHERE id = ?", (one.sessions, policy))
        if one.failure is not None:
            self._add_failure(policy, one.failure, one.sessions)
        return True

    def _policy(self, one: Count) -> int:
        """The row of the policy, made where there is none; beyond the limit that of its type without lines."""
        found = self._find_policy(one, one.policy)
        if found is not None:
            return found
        held = self._db.execute(
            "SELECT count(*) FROM policy WHERE day = ? AND domain = ?", (one.day, one.domain)
        ).get
        policy = one.policy if held < MAX_POLICIES else ReportedPolicy(one.policy.type, one.domain)
        if held >= MAX_POLICIES and (found := self._find_policy(one, policy)) is not None:
            return found
        self._db.execute(
            "INSERT INTO policy VALUES (NULL, ?, ?, ?, ?, ?, 0, 0)",
            (one.day, one.domain, *policy_columns(policy)),
        )
        return self._db.last_insert_rowid()

    def _find_policy(self, one: Count, policy: ReportedPolicy) -> int | None:
        found = self._db.execute(
            "SELECT id FROM policy WHERE day = ? AND domain = ? AND type = ? AND policy_domain = ? AND body = ?",
            (one.day, one.domain, *policy_columns(policy)),
        ).get
        return None if found is None else int(found)

    def _add_failure(self, policy: int, failure: FailureDetails, sessions: int) -> None:
        what = detail_text(failure)
        known = self._db.execute("SELECT 1 FROM detail WHERE policy = ? AND what = ?", (policy, what)).get
        if not known:
            held = self._db.execute("SELECT count(*) FROM detail WHERE policy = ?", (policy,)).get
            if held >= MAX_DETAILS:
                what = detail_text(FailureDetails(failure.result, 0))
        self._db.execute(
            "INSERT INTO detail VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions",
            (policy, what, sessions),
        )

    def results(self, day: str, domain: str) -> tuple[PolicyResult, ...]:
        """The rows of a report, those with the most sessions first."""
        rows = self._rows(
            "SELECT id, type, policy_domain, body, successful, failed FROM policy WHERE day = ? AND domain = ? "
            "ORDER BY successful + failed DESC, id",
            (day, domain),
        )
        return tuple(
            PolicyResult(policy_of(kind, of, body), good, bad, self._details(policy))
            for policy, kind, of, body, good, bad in rows
        )

    def _details(self, policy: int) -> tuple[FailureDetails, ...]:
        rows = self._rows(
            "SELECT what, sessions FROM detail WHERE policy = ? ORDER BY sessions DESC, what", (policy,)
        )
        return tuple(replace(detail_of(what), sessions=sessions) for what, sessions in rows)

    # --- days and domains ------------------------------------------------------------------------

    def overview(self, day: str = "", domain: str = "") -> list[Sum]:
        """Every day and domain that is known, the newest day first; or those of one day, of one domain."""
        rows = self._rows(
            "SELECT s.day, s.domain, s.state, s.due, s.tries, s.asked, s.detail, "
            "coalesce(sum(p.successful), 0), coalesce(sum(p.failed), 0) "
            "FROM standing s LEFT JOIN policy p ON p.day = s.day AND p.domain = s.domain "
            "WHERE ? IN ('', s.day) AND ? IN ('', s.domain) "
            "GROUP BY s.day, s.domain ORDER BY s.day DESC, s.domain",
            (day, domain),
        )
        by_place: dict[tuple[str, str], list[Sending]] = {}
        for one in self._sendings("? IN ('', r.day) AND ? IN ('', r.domain)", (day, domain)):
            by_place.setdefault((one.day, one.domain), []).append(one)
        return [
            Sum(standing_of(row[:7]), row[7], row[8], tuple(by_place.get((row[0], row[1]), ())))
            for row in rows
        ]

    def standing(self, day: str, domain: str) -> Standing | None:
        """How one day of a domain stands; None where nothing was counted."""
        rows = self._rows("SELECT * FROM standing WHERE day = ? AND domain = ?", (day, domain))
        return standing_of(rows[0]) if rows else None

    def due_days(self, now: float, today: str, limit: int) -> list[Standing]:
        """What has to be looked up: days that are over and whose time has come, and what was asked for."""
        rows = self._rows(
            "SELECT * FROM standing WHERE (state IN ('counted', 'unknown') AND day < ? AND due <= ?) OR asked "
            "ORDER BY asked DESC, due LIMIT ?",
            (today, now, limit),
        )
        return [standing_of(row) for row in rows]

    def next_due(self, today: str) -> float | None:
        """When something has to be looked up or sent next; None while nothing waits."""
        days = self._rows(
            "SELECT min(due) FROM standing WHERE state IN ('counted', 'unknown') AND day < ?", (today,)
        )
        sendings = self._rows("SELECT min(due) FROM sending WHERE state = 'waiting'")
        times = [float(row[0]) for row in (*days, *sendings) if row[0] is not None]
        return min(times, default=None)

    def stand(
        self, day: str, domain: str, state: State, detail: str = "", *, due: float = 0.0, tries: int = 0
    ) -> None:
        """Write down how a day of a domain stands now; what was asked for is done."""
        with self._transaction():
            self._stand(day, domain, state, detail, due, tries)

    def _stand(self, day: str, domain: str, state: State, detail: str, due: float, tries: int) -> None:
        self._db.execute(
            "UPDATE standing SET state = ?, detail = ?, due = ?, tries = ?, asked = 0 WHERE day = ? AND domain = ?",
            (state.value, detail, due, tries, day, domain),
        )

    def ask(self, day: str, domain: str = "") -> int:
        """Let the reports of a day go at once, of all domains or of one; returns how many those are."""
        with self._transaction():
            self._db.execute(
                "UPDATE standing SET asked = 1 WHERE day = ? AND ? IN ('', domain)", (day, domain)
            )
            return self._db.changes()

    # --- reports ---------------------------------------------------------------------------------

    def keep_report(
        self, standing: Standing, name: str, body: bytes, uris: Sequence[str], now: float, *, whole: bool
    ) -> None:
        """Keep a report with its destinations. `whole` says that its day is over; else the day goes on being counted."""
        day, domain = standing.day, standing.domain
        with self._transaction():
            self._db.execute(
                "INSERT INTO report VALUES (NULL, ?, ?, ?, ?, ?, ?)", (day, domain, now, whole, name, body)
            )
            report = self._db.last_insert_rowid()
            for uri in uris:
                self._db.execute(
                    "INSERT INTO sending VALUES (?, ?, 'waiting', ?, ?, 0, '')", (report, uri, now, now)
                )
            state = State.REPORTED if whole else standing.state
            self._stand(day, domain, state, "", standing.due, 0)

    def send_again(self, day: str, domain: str, now: float) -> bool:
        """Let the whole day's report go to all its destinations once more; False where there is none."""
        with self._transaction():
            report = self._db.execute(
                "SELECT max(id) FROM report WHERE day = ? AND domain = ? AND whole", (day, domain)
            ).get
            if report is None:
                return False
            self._db.execute(
                "UPDATE sending SET state = 'waiting', since = ?, due = ?, tries = 0, detail = '' WHERE report = ?",
                (now, now, report),
            )
            self._db.execute("UPDATE standing SET asked = 0 WHERE day = ? AND domain = ?", (day, domain))
            return True

    def body(self, report: int) -> bytes:
        """The octets of a report, compressed."""
        return bytes(self._rows("SELECT body FROM report WHERE id = ?", (report,))[0][0])

    def last_body(self, day: str, domain: str) -> bytes | None:
        """The octets of the report of a whole day, compressed; None while there is none."""
        rows = self._rows(
            "SELECT body FROM report WHERE day = ? AND domain = ? AND whole ORDER BY id DESC LIMIT 1",
            (day, domain),
        )
        return bytes(rows[0][0]) if rows else None

    def due_sendings(self, now: float, limit: int) -> list[Sending]:
        """What is to be sent (again), the longest due first."""
        return self._sendings("g.state = 'waiting' AND g.due <= ?", (now,), f"ORDER BY g.due LIMIT {limit:d}")

    def _sendings(
        self, where: str, values: tuple[Any, ...], tail: str = "ORDER BY g.report, g.uri"
    ) -> list[Sending]:
        rows = self._rows(
            "SELECT g.report, r.day, r.domain, r.name, g.uri, g.state, g.since, g.due, g.tries, g.detail "
            f"FROM sending g JOIN report r ON r.id = g.report WHERE {where} {tail}",
            values,
        )
        return [sending_of(row) for row in rows]

    def put_sending(self, one: Sending) -> None:
        """Write down what became of it."""
        with self._transaction():
            self._db.execute(
                "UPDATE sending SET state = ?, due = ?, tries = ?, detail = ? WHERE report = ? AND uri = ?",
                (one.state.value, one.due, one.tries, one.detail, one.report, one.uri),
            )

    def prune(self, before: str) -> None:
        """Remove the days before that one."""
        with self._transaction():
            self._db.execute(
                "DELETE FROM detail WHERE policy IN (SELECT id FROM policy WHERE day < ?)", (before,)
            )
            self._db.execute(
                "DELETE FROM sending WHERE report IN (SELECT id FROM report WHERE day < ?)", (before,)
            )
            for table in ("policy", "report", "standing"):
                self._db.execute(f"DELETE FROM {table} WHERE day < ?", (before,))
