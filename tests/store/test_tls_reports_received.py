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
