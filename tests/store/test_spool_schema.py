"""Versions of the shard's database: newer is refused, older is migrated with a copy."""

from __future__ import annotations

import hashlib
from pathlib import Path

import apsw
import pytest
from tests.store.spooling import content, found, insertion, opened, read_all, run

from gatepost.core.envelope import Ret
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.spool import schema
from gatepost.store.spool.files import Files

FIRST = schema.MIGRATIONS[:1]
MADE_UP = (*FIRST, "ALTER TABLE state ADD COLUMN colour TEXT", "DELETE FROM event")


def make_old(path: Path) -> None:
    connection = schema.connect(path)
    schema.migrate(connection, path, 0, Files(), FIRST)
    connection.execute("INSERT INTO event VALUES (1, 'lines')")
    connection.close()


def test_an_older_database_is_migrated_and_copied(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    make_old(path)
    connection = schema.connect(path)
    schema.migrate(connection, path, 0, Files(), MADE_UP)
    assert schema.version_of(connection) == 3
    assert connection.execute("SELECT count(*) FROM event").fetchall() == [(0,)]
    assert "colour" in [row[1] for row in connection.execute("PRAGMA table_info(state)")]
    connection.close()
    copy = apsw.Connection(str(schema.copy_of(path, 1)), flags=apsw.SQLITE_OPEN_READONLY)
    assert copy.pragma("user_version") == 1
    assert copy.execute("SELECT seq, lines FROM event").fetchall() == [(1, "lines")]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["queue.db", "queue.db.version-1"]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    make_old(path)
    connection = schema.connect(path)
    with pytest.raises(apsw.SQLError):
        schema.migrate(connection, path, 0, Files(), (*FIRST, "DELETE FROM event", "NONSENSE"))
    assert schema.version_of(connection) == 1
    assert connection.execute("SELECT count(*) FROM event").fetchall() == [(1,)]
    schema.migrate(connection, path, 0, Files(), MADE_UP)
    assert schema.version_of(connection) == 3


def test_a_new_database_needs_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    connection = schema.connect(path)
    schema.migrate(connection, path, 0, Files(), MADE_UP)
    connection.close()
    assert [p.name for p in tmp_path.iterdir()] == ["queue.db"]


def test_mail_of_the_first_version_goes_on(tmp_path: Path) -> None:
    """Rows as version 1 wrote them: an 8-bit message with RET=HDRS, and one with RET=FULL that a dot begins a line of."""

    async def scenario() -> None:
        (tmp_path / "1").mkdir()
        path = tmp_path / "1/queue.db"
        connection = schema.connect(path)
        schema.migrate(connection, path, 1, Files(), FIRST)
        body = b"Subject: old\r\n\r\nStill here.\r\n"
        for mid, flags in ((7, 2 | 4 | 2 << 4), (8, 1 | 1 << 4)):
            packed = b'[1.5,%d,"in",3,0,"QQ314159","ann@client.example",[["bob@example.org"]]]' % flags
            row = (mid, len(body), hashlib.sha256(body).digest(), packed, body)
            connection.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", row)
        connection.close()
        async with opened(tmp_path, 1) as it:
            old = {message.mid: message for message in await it.spool.recovered()}
            assert [old[7].envelope.ret, old[8].envelope.ret] == [Ret.HEADERS, Ret.FULL]
            assert [old[7].dotted, old[7].eight_bit, old[7].envelope.body_8bit] == [False, True, True]
            assert [old[8].dotted, old[8].eight_bit, old[8].envelope.body_8bit] == [True, False, False]
            for message in old.values():
                assert (message.envelope.requiretls, message.envelope.tls_optional) == (False, False)
                assert message.envelope.envelope_id == "QQ314159"
                assert await read_all(it.spool, message) == body
            assert not it.problems
        assert apsw.Connection(str(path)).pragma("user_version") == len(schema.MIGRATIONS)
        assert apsw.Connection(str(schema.copy_of(path, 1))).pragma("user_version") == 1

    run(scenario())


def test_a_newer_shard_stops_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        async with opened(root, 0, 1) as it:
            await it.spool.submit(insertion(it.spool, 1, content(1)))
        connection = apsw.Connection(str(root / "1/queue.db"))
        connection.pragma("user_version", 99)
        connection.close()
        with pytest.raises(OperatorError) as caught:
            async with opened(root, 0, 1):
                raise AssertionError
        assert caught.value.code is Exit.FAULTY_CONFIGURATION
        assert "newer" in caught.value.message
        assert set(await found(root, 0)) == {1}  # its lock was let go

    run(scenario())


def test_the_settings_that_durability_rests_on(tmp_path: Path) -> None:
    connection = schema.connect(tmp_path / "queue.db")
    names = ("journal_mode", "synchronous", "locking_mode", "wal_autocheckpoint")
    assert [connection.pragma(name) for name in names] == ["wal", 2, "exclusive", 0]
