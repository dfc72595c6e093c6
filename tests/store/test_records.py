"""The store of records: what is written comes back with the position, bounded in age and number; damage is told, not hidden."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from gatepost.store.database import NewerForm
from gatepost.store.records import (
    Batch,
    CertificateRow,
    ConnectionRow,
    DeliveryRow,
    RecordsFailed,
    RecordStore,
    SessionRow,
    set_aside,
)

AT = 1_800_000_000.0


def connection(number: int = 1) -> ConnectionRow:
    return ConnectionRow(
        AT + number, number, "a.example", AT, "mx.a.example", "192.0.2.1", 25, {"tls": None, "n": number}
    )


def delivery(number: int = 1) -> DeliveryRow:
    return DeliveryRow(AT + number, number, "a.example", 2, "b.example", "delivered", number)


def session(number: int = 1, ended: float = 0.0) -> SessionRow:
    return SessionRow(number, AT + number, "In", "192.0.2.9", "unknown", ended, {"n": number})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


def test_what_is_written_comes_back_with_its_position(path: Path) -> None:
    store = RecordStore.open(path)
    assert store.position() == b""
    certificates = (CertificateRow("ab", b"der"),)
    store.write(Batch((connection(),), (delivery(),), (session(),), certificates), b"here", AT)
    store.close()
    store = RecordStore.open(path)
    assert store.position() == b"here"
    with store.snapshot():
        assert list(store.connections(0)) == [connection()]
        assert list(store.deliveries(0)) == [delivery()]
        assert list(store.sessions(0)) == [session()]
    assert list(store.deliveries(AT + 2)) == []
    assert (store.certificate("ab"), store.certificate("cd")) == (b"der", None)
    reach = store.reach()
    assert (reach.connections, reach.deliveries, reach.sessions, reach.certificates) == (1, 1, 1, 1)
    assert (reach.first, reach.last) == (AT + 1, AT + 1)
    assert path.stat().st_mode & 0o777 == 0o600
    store.close()


def test_a_session_is_written_over_and_found_while_it_is_open(path: Path) -> None:
    store = RecordStore.open(path)
    store.write(Batch(sessions=(session(1), session(2))), b"1", AT)
    store.write(Batch(sessions=(session(1, ended=AT + 9),)), b"2", AT)
    assert [row.icid for row in store.open_sessions(AT, 10)] == [2]
    assert [row.ended for row in store.sessions(0)] == [AT + 9, 0]
    store.close()


def test_old_rows_and_too_many_go(path: Path) -> None:
    store = RecordStore.open(path)
    rows = range(1, 11)
    store.write(Batch([connection(n) for n in rows], [delivery(n) for n in rows]), b"", AT)
    assert store.prune(AT + 3.5, 100) == 6
    assert [row.dcid for row in store.connections(0)] == [4, 5, 6, 7, 8, 9, 10]
    assert store.prune(0, 2) == 10
    assert [row.mid for row in store.deliveries(0)] == [9, 10]
    assert store.prune(0, 2) == 0
    store.close()


def test_certificates_stay_while_they_are_met(path: Path) -> None:
    store = RecordStore.open(path)
    store.write(Batch(certificates=(CertificateRow("ab", b"1"), CertificateRow("cd", b"2"))), b"", AT)
    day = 86_400.0
    store.write(Batch(seen=frozenset({"ab"})), b"", AT + day)
    store.prune(AT + day, 100)
    assert (store.certificate("ab"), store.certificate("cd")) == (b"1", None)
    store.close()


def test_a_failed_write_keeps_nothing_of_the_batch(path: Path) -> None:
    store = RecordStore.open(path)
    store.write(Batch((connection(),)), b"1", AT)
    store._db.execute("PRAGMA max_page_count = 1")  # as a full disk does
    many = [connection(number) for number in range(5000)]
    with pytest.raises(RecordsFailed):
        store.write(Batch(many), b"2", AT)
    assert store.position() == b"1"
    assert list(store.connections(0)) == [connection()]
    store.close()


def test_a_newer_form_is_left_alone(path: Path) -> None:
    RecordStore.open(path).close()
    other = apsw.Connection(str(path))
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(NewerForm, match="form 99"):
        RecordStore.open(path)


def test_a_damaged_database_is_put_aside(path: Path) -> None:
    path.write_bytes(b"this is no database at all, but it is long enough to be looked at" * 100)
    with pytest.raises(apsw.NotADBError):
        RecordStore.open(path)
    assert set_aside(path).name == "records.db.damaged"
    RecordStore.open(path).close()
    assert RecordStore.open_if_there(path.with_name("other.db")) is None


def test_a_reader_of_its_own_changes_nothing_and_counts_no_further_than_it_must(path: Path) -> None:
    assert RecordStore.open_to_read(path) is None
    store = RecordStore.open(path)
    store.write(Batch((connection(),), [delivery(number) for number in range(1, 6)], (session(),)), b"", AT)
    reader = RecordStore.open_to_read(path)
    assert reader is not None
    assert reader.count(AT, 100) == 7
    assert reader.count(AT, 2) == 4
    assert reader.count(AT + 4, 100) == 2
    with pytest.raises(RecordsFailed):
        reader.write(Batch((connection(2),)), b"", AT)
    store.write(Batch((connection(2),)), b"", AT)
    assert reader.count(AT, 100) == 8
    reader.close()
    store.close()
    raw = apsw.Connection(str(path))
    raw.execute("PRAGMA user_version=99")
    raw.close()
    with pytest.raises(NewerForm):
        RecordStore.open_to_read(path)
