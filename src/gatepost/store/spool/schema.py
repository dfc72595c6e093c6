"""The database of a shard: its tables, how it is opened, and how an older one is brought up to date.

Tables of version 1:
  message  one row for each message, written once: size, SHA-256, packed envelope, and a small body (NULL: in a file)
  state    one row for each message that differs from a fresh one: packed progress, hold and crashes
  event    one row for each commit that had events: the bytes that belong in `logs/events.jsonl`
  meta     the boot that last opened the shard, and the crash marks that were counted
Version 2 has the same tables; the flags in a message's packed envelope have two more bits (`records.pack_message`), REQUIRETLS and
`TLS-Required: No` heeded. Whoever does not know them would send such a message without what it asks for, hence the new version.

The version is SQLite's `user_version`. A newer one is refused, for we do not know what it means. An older one is
migrated in one transaction, after a copy of the file was made beside it, under the shard's lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.spool.files import Files

DATABASE = "queue.db"

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE message (mid INTEGER PRIMARY KEY, size INTEGER NOT NULL, sha256 BLOB NOT NULL,
                          packed BLOB NOT NULL, body BLOB);
    CREATE TABLE state (mid INTEGER PRIMARY KEY, packed BLOB NOT NULL);
    CREATE TABLE event (seq INTEGER PRIMARY KEY, lines BLOB NOT NULL);
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    """,
    "-- the rows stay as they are: an envelope without the two flags of version 2 reads as one that asks for neither",
)
"""The step at index n leads from version n to version n + 1. Steps are never changed once released."""

BATCH_STATEMENTS = 256 * 2 + 32  # an INSERT and an upsert for every batch size, and the rest


def connect(path: Path, vfs: str = "", patience: float = 2.0) -> apsw.Connection:
    """The one connection of a shard, before its version is known. Raises apsw.Error, after `patience` seconds
    apsw.BusyError when another program has the file open.

    Exclusive locking: nobody else may open the file while we do, and the WAL index lives in our memory, so there is no
    shared-memory file and no lock call on each transaction. Checkpoints are the writer's, hence no automatic ones.
    """
    connection = apsw.Connection(str(path), vfs=vfs or None, statementcachesize=BATCH_STATEMENTS)
    try:
        connection.set_busy_timeout(int(patience * 1000))
        connection.pragma("locking_mode", "exclusive")
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("wal_autocheckpoint", 0)
        connection.pragma("cache_size", -8192)
        connection.pragma("temp_store", "memory")
        connection.pragma("mmap_size", 0)
    except BaseException:
        connection.close(True)
        raise
    return connection


def version_of(connection: apsw.Connection) -> int:
    """The schema version, 0 for a database that has no tables yet."""
    return int(connection.pragma("user_version"))


def migrate(
    connection: apsw.Connection,
    path: Path,
    shard: int,
    files: Files,
    migrations: Sequence[str] = MIGRATIONS,
) -> None:
    """Bring the database to the newest version. Raises OperatorError (exit 78) when it is newer still."""
    version = version_of(connection)
    if version > len(migrations):
        raise OperatorError(
            f"spool shard {shard} was written by a newer Gatepost (its schema is {version}, this one knows {len(migrations)})",
            "start the newer version, or empty the queue with it before you go back",
            code=Exit.FAULTY_CONFIGURATION,
        )
    if version == len(migrations):
        return
    if version > 0:
        _copy(connection, path, version, files)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in migrations[version:]:
            connection.execute(step)
        connection.pragma("user_version", len(migrations))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def copy_of(path: Path, version: int) -> Path:
    """Where the copy of a database of an older version is kept."""
    return path.with_name(f"{path.name}.version-{version}")


def _copy(connection: apsw.Connection, path: Path, version: int, files: Files) -> None:
    """A whole copy, under its final name only when it is on disk. SQLite copies, for closing a second
    descriptor of the database would drop the first one's locks (POSIX)."""
    target = copy_of(path, version)
    unfinished = target.with_name(target.name + ".new")
    unfinished.unlink(missing_ok=True)
    destination = apsw.Connection(str(unfinished))
    try:
        destination.pragma("synchronous", "full")
        with destination.backup("main", connection, "main") as backup:
            backup.step()
        destination.pragma("journal_mode", "delete")
    finally:
        destination.close()
    unfinished.rename(target)
    files.flush_directory(path.parent)
