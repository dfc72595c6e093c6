"""What the small databases of the home have in common: how one is opened, the number of its form, and a transaction.

How it works. A file is made for its owner only, before SQLite writes into it. It is kept with a write-ahead log, so readers and the one
writer do not wait for each other. The number of its form is SQLite's `user_version`: 0 is a new file, which gets the schema.
A form above the one that is known is refused and left alone, for we do not know what it means. One below is brought to it, a form at a
time and in the transaction that looked, by the scripts that the caller knows.

The spool's shards are opened by `store.spool`, with other rules.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import apsw

_BUSY_MILLISECONDS = 5000


class NewerForm(Exception):
    """A newer Gatepost wrote the database; it is left alone."""


def open_database(
    path: Path,
    schema: str,
    version: int,
    *,
    synchronous: str = "FULL",
    upgrades: Mapping[int, str] = MappingProxyType({}),
) -> apsw.Connection:
    """Open or create a database. Raises NewerForm, OSError, or apsw.Error for what is no database or cannot be written.

    `upgrades` has for each older form the script that makes the next one of it.
    """
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        _migrate(connection, schema, version, upgrades)
    except (apsw.Error, NewerForm):
        connection.close()
        raise
    return connection


def open_to_read(path: Path, version: int) -> apsw.Connection:
    """Open a database that is there, for questions only: nothing is made or changed. Raises NewerForm, or apsw.Error."""
    connection = apsw.Connection(
        str(path), flags=apsw.SQLITE_OPEN_READWRITE
    )  # the log's index is shared memory
    try:
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        connection.execute("PRAGMA query_only=ON")
        found = connection.execute("PRAGMA user_version").get
        if found > version:
            raise NewerForm(f"it has form {found}, this release knows {version}")
    except (apsw.Error, NewerForm):
        connection.close()
        raise
    return connection


def _migrate(connection: apsw.Connection, schema: str, version: int, upgrades: Mapping[int, str]) -> None:
    if connection.execute("PRAGMA user_version").get == version:
        return  # a reader waits for nobody
    with transaction(connection):
        found = connection.execute("PRAGMA user_version").get
        if found > version:
            raise NewerForm(f"it has form {found}, this release knows {version}")
        scripts = [schema] if found == 0 else [upgrades[form] for form in range(found, version)]
        for script in scripts:
            connection.execute(script)
        connection.execute(f"PRAGMA user_version={version}")


@contextmanager
def transaction(connection: apsw.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All of it happens, or nothing; SQLite may have ended it by itself after an error."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if connection.in_transaction:
        connection.execute("COMMIT")
