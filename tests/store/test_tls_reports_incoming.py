"""Reports that wait to be read: whole or not there, in their order, bounded, and put aside where they are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gatepost.store import tls_reports_incoming
from gatepost.store.tls_reports_incoming import STALE, Came, IncomingFull, IncomingReports

CAME = Came("mail", "reports@partner.example", 1_800_000_000.0, 7, "tls-reports@example.net")


@pytest.fixture
def incoming(tmp_path: Path) -> IncomingReports:
    return IncomingReports(tmp_path / "received-tls-reports")


def test_nothing_waits_before_the_first(incoming: IncomingReports) -> None:
    assert incoming.names() == []


def test_what_is_put_is_got_with_how_it_came(incoming: IncomingReports) -> None:
    content = b"From: x\r\n\r\nline\nline\r\n\x00\xff"
    incoming.put("7", CAME, content)
    assert incoming.names() == ["7"]
    assert incoming.get("7") == (CAME, content)
    incoming.put("7", CAME, b"again")
    assert incoming.get("7")[1] == b"again"
    incoming.done("7")
    incoming.done("7")
    assert incoming.names() == []


def test_only_the_owner_can_read_them(incoming: IncomingReports, tmp_path: Path) -> None:
    incoming.put("7", CAME, b"x")
    folder = tmp_path / "received-tls-reports" / "incoming"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "7").stat().st_mode & 0o077 == 0


def test_one_that_is_being_written_does_not_count(incoming: IncomingReports, tmp_path: Path) -> None:
    incoming.put("7", CAME, b"x")
    (tmp_path / "received-tls-reports" / "incoming" / "8.new").write_bytes(b"half")
    assert incoming.names() == ["7"]


def test_what_was_never_finished_goes_after_a_while(incoming: IncomingReports, tmp_path: Path) -> None:
    now = 1_800_000_000.0
    assert incoming.sweep(now) == 0
    incoming.put("7", CAME, b"x")
    folder = tmp_path / "received-tls-reports" / "incoming"
    for name, age in (("7", 2 * STALE), ("8.new", STALE + 1), ("9.new", STALE - 1)):
        (folder / name).touch()
        os.utime(folder / name, (now - age, now - age))
    assert incoming.sweep(now) == 1
    assert sorted(os.listdir(folder)) == ["7", "9.new"]
    assert incoming.sweep(now) == 0


def test_the_oldest_comes_first(incoming: IncomingReports, tmp_path: Path) -> None:
    for number, name in enumerate(("b", "a", "c")):
        incoming.put(name, CAME, b"x")
        os.utime(tmp_path / "received-tls-reports" / "incoming" / name, (number, number))
    assert incoming.names() == ["b", "a", "c"]
    assert incoming.names(limit=1) == ["b"]


def test_too_much_is_refused_before_it_is_written(
    incoming: IncomingReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_reports_incoming, "MAX_WAITING_OCTETS", 1_000)
    incoming.put("7", CAME, b"x" * 500)
    with pytest.raises(IncomingFull):
        incoming.put("8", CAME, b"x" * 600)
    monkeypatch.setattr(tls_reports_incoming, "MAX_WAITING", 1)
    with pytest.raises(IncomingFull):
        incoming.put("8", CAME, b"")
    assert incoming.names() == ["7"]


def test_what_cannot_be_read_is_put_aside_and_the_last_ones_stay(
    incoming: IncomingReports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_reports_incoming, "MAX_UNREADABLE", 2)
    for number, name in enumerate("abc"):
        incoming.put(name, CAME, b"x")
        os.utime(tmp_path / "received-tls-reports" / "incoming" / name, (number, number))
        assert incoming.put_aside(name) == f"received-tls-reports/unreadable/{name}"
    assert incoming.names() == []
    assert sorted(os.listdir(tmp_path / "received-tls-reports" / "unreadable")) == ["b", "c"]


@pytest.mark.parametrize("content", [b"", b"no json\nx", b"[]\nx", b'{"at": "x"}\nx'])
def test_a_file_that_is_none_of_ours_is_told(
    incoming: IncomingReports, tmp_path: Path, content: bytes
) -> None:
    incoming.put("7", CAME, b"x")
    (tmp_path / "received-tls-reports" / "incoming" / "7").write_bytes(content)
    with pytest.raises(ValueError):
        incoming.get("7")
