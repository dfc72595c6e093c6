"""What is done with a shard when it is opened, under its lock and before anything listens.

In this order: rows are read; crashes are counted from the marks and committed; bodies are looked at; events that
may not be in the log are collected; body files without a row are removed. A row that is damaged, or whose body is
missing or has the wrong length, is held with the reason and kept: nothing accepted is dropped here. (The digest
of a body is checked when it is read.)

Orphans are removed only when the shard was last opened in an earlier boot of the supervisor. Every file in it is then
from an earlier boot too, since only a shard's owner makes files. When a worker comes back within a boot, files
without a row are left for the next boot.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from gatepost.core.address import NULL_ADDRESS
from gatepost.core.envelope import Envelope
from gatepost.store.spool.files import Files
from gatepost.store.spool.marks import WorkMarks, boot_digest
from gatepost.store.spool.records import (
    RecordDamaged,
    StoredMessage,
    pack_state,
    unpack_message,
    unpack_state,
)

BODIES = "body"


@dataclass(slots=True)
class Recovered:
    """What was found. `stated` are the MIDs that have a state row, `damaged` those with a row that cannot be
    read, `problems` what an administrator should see."""

    messages: list[StoredMessage] = field(default_factory=list)
    stated: set[int] = field(default_factory=set)
    damaged: set[int] = field(default_factory=set)
    events: list[bytes] = field(default_factory=list)
    last_event: int = 0
    orphans_removed: int = 0
    problems: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """The shard that is opened, and by whom."""

    shard: int
    directory: Path
    boot: str
    crash_limit: int


def recover(connection: apsw.Connection, marks: WorkMarks, place: Place, files: Files) -> Recovered:
    """All of the above. Raises apsw.Error for a damaged database, OSError for a directory that cannot be read."""
    found = Recovered()
    _read_rows(connection, place, found)
    _count_crashes(connection, marks, place, found)
    marks.begin(place.boot)
    names = _look_at_bodies(place, found)
    for sequence, lines in connection.execute("SELECT seq, lines FROM event ORDER BY seq"):
        found.events.append(lines)
        found.last_event = sequence
    _remove_orphans(connection, place, names, files, found)
    return found


def _read_rows(connection: apsw.Connection, place: Place, found: Recovered) -> None:
    rows = connection.execute(
        "SELECT m.mid, m.size, m.sha256, m.packed, m.body IS NULL, length(m.body), s.packed"
        " FROM message m LEFT JOIN state s USING (mid) ORDER BY m.mid"
    )
    for mid, size, sha256, packed, in_file, length, state in rows:
        problem = ""
        try:
            message = unpack_message(mid, packed)
        except RecordDamaged as error:
            message = StoredMessage(mid=mid, received=0.0, envelope=Envelope(NULL_ADDRESS, ()))
            problem = str(error)
            found.damaged.add(mid)
        message.size, message.sha256, message.in_file = size, sha256, bool(in_file)
        message.shard = place.shard
        if state is not None:
            found.stated.add(mid)
            try:
                unpack_state(message, state)
            except RecordDamaged as error:
                problem = problem or str(error)
                found.damaged.add(mid)
        if not in_file and length != size:
            problem = problem or f"its body has {length} octets instead of {size}"
        if problem:
            _hold(found, message, problem)
        found.messages.append(message)


def _hold(found: Recovered, message: StoredMessage, reason: str) -> None:
    message.held = reason
    found.problems.append((reason, message.mid))


def _count_crashes(connection: apsw.Connection, marks: WorkMarks, place: Place, found: Recovered) -> None:
    """One crash more for every message that a dead worker of this boot had in work, committed before anything else."""
    if not marks.left or marks.left_boot != boot_digest(place.boot):
        return
    counted = connection.execute("SELECT value FROM meta WHERE key = 'marks'").fetchall()
    if counted and counted[0][0] == marks.left_token:
        return
    left = set(marks.left)
    changed = []
    for message in found.messages:
        if message.mid in left:
            message.crashes += 1
            if message.crashes >= place.crash_limit and not message.held:
                _hold(found, message, f"it was being worked on in {message.crashes} crashes")
            changed.append(message)
    with connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('marks', ?)", (marks.left_token,))
        for message in changed:
            if message.mid not in found.damaged:  # what cannot be read is not overwritten
                connection.execute(
                    "INSERT OR REPLACE INTO state VALUES (?, ?)", (message.mid, pack_state(message))
                )
                found.stated.add(message.mid)


def _look_at_bodies(place: Place, found: Recovered) -> set[str]:
    """Hold the messages whose file is missing or of the wrong length. Returns the names in the directory."""
    names = set(os.listdir(place.directory / BODIES))
    for message in found.messages:
        if not message.in_file or message.held:
            continue
        path = place.directory / BODIES / str(message.mid)
        if path.name not in names:
            _hold(found, message, "its body file is missing")
            continue
        length = path.stat().st_size
        if length != message.size:
            _hold(found, message, f"its body file has {length} octets instead of {message.size}")
    return names


def _remove_orphans(
    connection: apsw.Connection, place: Place, names: set[str], files: Files, found: Recovered
) -> None:
    last = connection.execute("SELECT value FROM meta WHERE key = 'boot'").fetchall()
    if last and last[0][0] == place.boot:
        return
    for name in orphans(names, {str(message.mid) for message in found.messages}.__contains__):
        files.unlink(place.directory / BODIES / name)
        found.orphans_removed += 1
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (place.boot,))


def orphans(names: set[str], has_row: Callable[[str], bool]) -> list[str]:
    """Names of body files, that is plain numbers, that no row speaks of. Anything else is not ours to remove."""
    return sorted(name for name in names if name.isascii() and name.isdigit() and not has_row(name))
