"""The transactions of a shard's database: a batch of changes in a constant number of statements.

Each statement is a crossing of the interpreter lock, so their number does not depend on the number of messages: one
INSERT with as many rows as there are messages, one upsert of states, one DELETE over an array, one event blob.
"""

from __future__ import annotations

import array
import asyncio
from itertools import chain
from pathlib import Path

import apsw

from gatepost.store.spool.records import StoredMessage
from gatepost.store.spool.recovery import Recovered


class Pending:
    """A change on its way: everything packed when it was submitted, so that nothing of it can still move."""

    __slots__ = ("added_state", "events", "future", "in_file", "insert", "message", "remove", "row", "sha256", "since", "state",
                 "state_of", "urgent")  # fmt: skip

    def __init__(self, future: asyncio.Future[None], events: bytes, urgent: bool, since: float) -> None:
        self.future = future
        self.events = events
        self.urgent = urgent
        self.since = since
        self.insert = 0  # MID of `row`
        self.message: StoredMessage | None = None  # gets its digest when the body is safe
        self.row: tuple[object, ...] = ()
        self.in_file = False
        self.sha256 = b""
        self.added_state = b""  # of `insert`, when it does not start fresh
        self.state_of = 0  # MID of `state`
        self.state = b""
        self.remove = 0

    def body_is_safe(self, sha256: bytes) -> None:
        """The body file is flushed: its digest completes the row."""
        mid, size, _, packed, body = self.row
        self.sha256 = sha256
        self.row = (mid, size, sha256, packed, body)


class _Work:
    """What a batch amounts to: the last word on a message counts, and a removal is always the last."""

    __slots__ = ("events", "files", "removed", "rows", "states")

    def __init__(self, batch: list[Pending]) -> None:
        self.rows: dict[int, tuple[object, ...]] = {}
        self.states: dict[int, bytes] = {}
        self.removed: list[int] = []
        self.files: set[int] = set()
        self.events: list[bytes] = []
        for pending in batch:
            if pending.row:
                self.rows[pending.insert] = pending.row
                if pending.added_state:
                    self.states[pending.insert] = pending.added_state
                if pending.in_file:
                    self.files.add(pending.insert)
            if pending.state:
                self.states[pending.state_of] = pending.state
            if pending.remove:
                self.removed.append(pending.remove)
            if pending.events:
                self.events.append(pending.events)
        for mid in self.removed:
            self.rows.pop(mid, None)
            self.states.pop(mid, None)


class Database:
    """What the writer thread does with its connection. All methods but `export` are the thread's; errors are apsw's."""

    def __init__(self, connection: apsw.Connection, found: Recovered, directory: Path) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._directory = directory
        self._stated = found.stated  # messages that have a state row
        self._files = {m.mid for m in found.messages if m.in_file}
        self.sequence = found.last_event
        self._exported = 0
        self._deleted = 0

    def write(self, batch: list[Pending]) -> list[Path]:
        """The transaction. Returns the body files that may go now."""
        work = _Work(batch)
        rows, states, removed = work.rows, work.states, work.removed
        sequence, exported = self.sequence, self._exported
        execute = self._cursor.execute
        execute("BEGIN IMMEDIATE")
        if rows:
            execute(_insert_messages(len(rows)), tuple(chain.from_iterable(rows.values())))
        if states:
            execute(_upsert_states(len(states)), tuple(chain.from_iterable(states.items())))
        if removed:
            mids = apsw.carray(array.array("q", removed))
            execute("DELETE FROM message WHERE mid IN carray(?)", (mids,))
            if not self._stated.isdisjoint(removed):
                execute("DELETE FROM state WHERE mid IN carray(?)", (mids,))
        if work.events:
            sequence += 1
            execute("INSERT INTO event VALUES (?, ?)", (sequence, b"".join(work.events)))
        if exported > self._deleted:
            execute("DELETE FROM event WHERE seq <= ?", (exported,))
        execute("COMMIT")
        self.sequence, self._deleted = sequence, exported
        self._stated.update(states)
        self._stated.difference_update(removed)
        self._files |= work.files
        gone = self._files.intersection(removed)
        self._files -= gone
        return [self._directory / str(mid) for mid in gone]

    def roll_back(self) -> None:
        """Make sure that no transaction is open; SQLite may have ended it by itself."""
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def read_body(self, mid: int) -> object:
        """The body in the row, None when there is none."""
        rows = self._cursor.execute("SELECT body FROM message WHERE mid = ?", (mid,)).fetchall()
        return rows[0][0] if rows else None

    def export(self, sequence: int) -> None:
        """Events up to here may go."""
        self._exported = max(self._exported, sequence)

    @property
    def events_to_forget(self) -> bool:
        return self._exported > self._deleted

    def forget_events(self) -> None:
        """A commit of its own for them. After a failure they stay, and the next opening finds them once more."""
        self._deleted = self._exported
        self._cursor.execute("DELETE FROM event WHERE seq <= ?", (self._deleted,))


def _insert_messages(count: int) -> str:
    return "INSERT INTO message VALUES (?,?,?,?,?)" + ",(?,?,?,?,?)" * (count - 1)


def _upsert_states(count: int) -> str:
    return (
        "INSERT INTO state VALUES (?,?)"
        + ",(?,?)" * (count - 1)
        + " ON CONFLICT (mid) DO UPDATE SET packed = excluded.packed"
    )
