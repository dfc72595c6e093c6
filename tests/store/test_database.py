"""The small databases: opened for their owner only, a newer form is left alone, and a transaction is whole or nothing."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from gatepost.store.database import NewerForm, open_database, transaction

SCHEMA = "CREATE TABLE thing (name TEXT NOT NULL)"


def names(db: apsw.Connection) -> list[str]:
    return [str(row[0]) for row in db.execute("SELECT name FROM thing")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "things.db"


def test_it_is_made_for_its_owner_and_opens_again(path: Path) -> None:
    with open_database(path, SCHEMA, 1) as db:
        db.execute("INSERT INTO thing VALUES ('one')")
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(open_database(path, SCHEMA, 1)) == ["one"]


def test_a_newer_form_is_refused_and_left_alone(path: Path) -> None:
    open_database(path, SCHEMA, 3).close()
    before = path.read_bytes()
    with pytest.raises(NewerForm, match="it has form 3, this release knows 2"):
        open_database(path, SCHEMA, 2)
    assert path.read_bytes() == before


def test_what_is_no_database_stays(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(apsw.NotADBError):
        open_database(path, SCHEMA, 1)
    assert path.read_bytes() == b"no database" * 1000


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    db = open_database(path, SCHEMA, 1)
    with pytest.raises(apsw.ConstraintError), transaction(db):
        db.execute("INSERT INTO thing VALUES ('lost'); INSERT INTO thing VALUES (NULL)")
    with transaction(db):
        db.execute("INSERT INTO thing VALUES ('kept')")
    assert not db.in_transaction
    assert names(db) == ["kept"]


def test_who_opens_it_does_not_wait_for_a_writer(path: Path) -> None:
    writer = open_database(path, SCHEMA, 1)
    with transaction(writer):
        writer.execute("INSERT INTO thing VALUES ('coming')")
        assert names(open_database(path, SCHEMA, 1)) == []
