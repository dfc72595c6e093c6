"""The database of received reports: each kept once, found by day and domain, bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from gatepost.store import tls_reports_received
from gatepost.store.database import NewerForm
from gatepost.store.tls_reports_received import (
    DomainRow,
    Proof,
    ReceivedReportStore,
    ReportRow,
    TooMany,
)

DAY = 86_400
NOW = 1_800_000_000 // DAY * DAY
ROW = ReportRow(
    float(NOW),
    "mail",
    "reports@partner.example",
    "Partner Ltd",
    "partner.example",
    "tls@partner.example",
    "1@partner.example",
    NOW - DAY,
    NOW - 1,
    (DomainRow("example.net", 117, 3, {"certificate-expired": 3}), DomainRow("example.org", 1, 0, {})),
    b"packed",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReceivedReportStore]:
    with ReceivedReportStore.open(tmp_path / "received") as made:
        yield made


def test_a_report_is_kept_whole_and_listed_without_its_content(store: ReceivedReportStore) -> None:
    assert store.keep(ROW) == (1, True)
    assert store.report(1) == replace(ROW, number=1)
    assert store.reports(NOW - DAY) == [replace(ROW, number=1, content=b"")]
    assert store.report(2) is None


def test_the_same_report_is_kept_once(store: ReceivedReportStore) -> None:
    store.keep(ROW)
    assert store.keep(replace(ROW, at=ROW.at + 9, way="file")) == (1, False)
    assert store.keep(replace(ROW, report_id="2@partner.example")) == (2, True)


def test_they_are_found_by_day_and_domain_the_newest_first(store: ReceivedReportStore) -> None:
    store.keep(ROW)
    store.keep(replace(ROW, report_id="2", begin=NOW, end=NOW + DAY - 1, domains=ROW.domains[:1]))
    assert [row.number for row in store.reports(0)] == [2, 1]
    assert [row.number for row in store.reports(NOW)] == [2]
    assert [row.number for row in store.reports(0, "example.org")] == [1]
    assert [row.number for row in store.reports(0, "other.example")] == []
    assert [row.number for row in store.reports(0, limit=1)] == [2]


def test_the_old_ones_go_with_all_that_belongs_to_them(store: ReceivedReportStore, tmp_path: Path) -> None:
    store.keep(ROW)
    store.keep(replace(ROW, report_id="2", at=ROW.at + DAY))
    assert store.prune(ROW.at + 1) == 1
    assert [row.number for row in store.reports(0)] == [2]
    store.keep(replace(ROW, report_id="3"))
    assert store.prune(0, most=1) == 1
    assert [row.number for row in store.reports(0)] == [3]
    with apsw.Connection(str(tmp_path / "received" / "reports.db")) as raw:
        assert raw.execute("SELECT DISTINCT report FROM domain").fetchall() == [(3,)]


def test_a_flood_about_one_day_keeps_no_other_day_out(
    store: ReceivedReportStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_reports_received, "MAX_OF_DAY", 2)
    for number in range(2):
        store.keep(replace(ROW, report_id=str(number)))
    with pytest.raises(TooMany, match=r"2 reports about example\.net"):
        store.keep(replace(ROW, report_id="one too many"))
    assert len(store.reports(0)) == 2
    store.keep(replace(ROW, report_id="another day", begin=NOW, end=NOW + 1))


def test_it_outlives_its_process_and_a_newer_form_is_left_alone(tmp_path: Path) -> None:
    assert not ReceivedReportStore.there(tmp_path / "x")
    with ReceivedReportStore.open(tmp_path / "x") as first:
        first.keep(ROW)
    assert ReceivedReportStore.there(tmp_path / "x")
    with ReceivedReportStore.open(tmp_path / "x") as second:
        assert second.keep(ROW) == (1, False)
    with apsw.Connection(str(tmp_path / "x" / "reports.db")) as raw:
        raw.execute("PRAGMA user_version=99")
    with pytest.raises(NewerForm, match="99"):
        ReceivedReportStore.open(tmp_path / "x")


# --- whom they are from ---------------------------------------------------------------------------------

PROVEN = Proof(True, "pass", "partner.example", "signed by partner.example")
EVIL = Proof(True, "pass", "evil.example", "signed by evil.example")
WAITING = Proof(False, "temperror", "partner.example", "not looked up", b"signatures", float(NOW + 300))


def test_what_is_known_of_its_origin_is_kept_with_it(store: ReceivedReportStore) -> None:
    store.keep(replace(ROW, proof=PROVEN))
    found = store.report(1)
    assert found is not None
    assert found.proof == PROVEN
    assert store.reports(0)[0].proof == PROVEN


@pytest.mark.parametrize(
    ("first", "second", "rows"),
    [
        # What nobody signed keeps nothing out, and nothing that is signed lets it in.
        ((Proof(), b"forged"), (PROVEN, b"packed"), [PROVEN, Proof()]),
        ((Proof(), b"forged"), (WAITING, b"packed"), [WAITING, Proof()]),
        ((PROVEN, b"packed"), (Proof(), b"forged"), [PROVEN]),
        ((WAITING, b"packed"), (Proof(), b"forged"), [WAITING]),
        ((Proof(), b"one"), (Proof(), b"two"), [Proof()]),
        # The proof comes later, for the same octets.
        ((Proof(), b"packed"), (PROVEN, b"packed"), [PROVEN]),
        ((Proof(), b"packed"), (WAITING, b"packed"), [WAITING]),
        ((WAITING, b"packed"), (PROVEN, b"packed"), [PROVEN]),
        ((PROVEN, b"packed"), (WAITING, b"packed"), [PROVEN]),
        ((WAITING, b"packed"), (WAITING, b"packed"), [WAITING]),
        # Each signer has its own.
        ((EVIL, b"packed"), (PROVEN, b"packed"), [PROVEN, EVIL]),
        ((EVIL, b"forged"), (PROVEN, b"packed"), [PROVEN, EVIL]),
        ((PROVEN, b"packed"), (PROVEN, b"other"), [PROVEN]),
    ],
)
def test_a_forged_report_keeps_no_real_one_out(
    store: ReceivedReportStore, first: tuple[Proof, bytes], second: tuple[Proof, bytes], rows: list[Proof]
) -> None:
    store.keep(replace(ROW, proof=first[0], content=first[1]))
    number, new = store.keep(replace(ROW, proof=second[0], content=second[1]))
    kept = {
        row.number: replace(row.proof, waiting=WAITING.waiting if row.proof.due else b"")
        for row in store.reports(0)
    }
    assert list(kept.values()) == rows
    assert new == (len(rows) == 2 or (second[0].verified and not first[0].verified))
    assert number in kept


def test_those_that_wait_are_found_when_they_are_due_and_settled_once(store: ReceivedReportStore) -> None:
    store.keep(replace(ROW, proof=WAITING))
    assert store.waiting(NOW, 10) == []
    (row,) = store.waiting(NOW + 300, 10)
    assert (row.number, row.proof, row.content) == (1, WAITING, b"")
    later = replace(WAITING, due=float(NOW + 900))
    assert store.settle(1, later) is None
    assert store.waiting(NOW + 300, 10) == []
    proven = store.settle(1, PROVEN)
    assert proven == replace(ROW, number=1, proof=PROVEN)
    assert store.waiting(NOW + 10_000, 10) == []
    assert store.settle(1, WAITING) is None  # what is proven stays so
    assert store.reports(0)[0].proof == PROVEN
    assert store.settle(7, PROVEN) is None


def test_forged_reports_of_a_day_take_no_place_of_verified_ones(
    store: ReceivedReportStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_reports_received, "MAX_OF_DAY", 1)
    store.keep(ROW)
    with pytest.raises(TooMany):
        store.keep(replace(ROW, report_id="2"))
    assert store.keep(replace(ROW, report_id="2", proof=PROVEN)) == (2, True)
    with pytest.raises(TooMany):
        store.keep(replace(ROW, report_id="3", proof=PROVEN))


FORM_1 = """
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
PRAGMA user_version = 1;
"""


def _form_1(folder: Path, count: int) -> None:
    """What an earlier release kept: `count` reports, of which it removed the last."""
    folder.mkdir()
    connection = apsw.Connection(str(folder / "reports.db"))
    connection.execute("PRAGMA foreign_keys=ON")
    with connection as raw:
        raw.execute(FORM_1)
        for number in range(1, count + 1):
            raw.execute(
                "INSERT INTO report VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(ROW.at, ROW.way, ROW.origin, ROW.organization, ROW.submitter, ROW.contact),
                    *(str(number), ROW.begin, ROW.end, ROW.content),
                ),
            )
            for one in ROW.domains:
                failures = b'{"certificate-expired":3}' if one.failures else b"{}"
                day = ROW.begin // DAY
                raw.execute(
                    "INSERT INTO domain VALUES (?, ?, ?, ?, ?, ?)",
                    (number, one.domain, day, one.successful, one.failed, failures),
                )
        raw.execute("DELETE FROM report WHERE number = ?", (count,))


@pytest.mark.parametrize("count", [0, 1, 4])
def test_what_an_earlier_release_kept_is_read_as_before(tmp_path: Path, count: int) -> None:
    _form_1(tmp_path / "x", count)
    with ReceivedReportStore.open(tmp_path / "x") as store:
        expected = [replace(ROW, number=n, report_id=str(n)) for n in range(count - 1, 0, -1)]
        assert [store.report(row.number) for row in store.reports(0)] == expected
        number, new = store.keep(replace(ROW, report_id="another"))
        assert (number, new) == (count + 1, True)  # no number is given a second time
        assert store.prune(ROW.at + 1) == max(count, 1)
    with apsw.Connection(str(tmp_path / "x" / "reports.db")) as raw:
        assert raw.execute("SELECT count(*) FROM domain").get == 0
        assert raw.execute("PRAGMA user_version").get == 2
        names = {name for (name,) in raw.execute("SELECT name FROM sqlite_schema")}
        assert not [name for name in names if name.endswith("_1") and not name.startswith("sqlite_")]
