"""How values are shown."""

from __future__ import annotations

import pytest

from gatepost.control.shell import screen


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3_661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
        (86_400, "1 d 0 h"),
    ],
)
def test_durations_have_two_units(seconds: int, text: str) -> None:
    assert screen.duration(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (150 * 1024, "150 KB"), (5 << 30, "5.0 GB")],
)
def test_sizes_have_one(octets: int, text: str) -> None:
    assert screen.size(octets) == text


def test_hostile_text_stays_on_one_line() -> None:
    assert screen.safe("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert screen.safe("Grüße") == "Grüße"


def test_tables_are_aligned_and_end_without_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table(("A", "Long head"), [("longer", 1), ("x", "\n")])
    assert capsys.readouterr().out.splitlines() == ["A       Long head", "longer  1", "x       \\n"]


def test_facts_leave_out_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    screen.facts((("Name", "x"), ("Empty", ""), ("A number", 0)))
    assert capsys.readouterr().out.splitlines() == ["Name      x", "A number  0"]


def test_a_paragraph_hangs_behind_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    screen.paragraph("  note: ", "word " * 30)
    first, *more = capsys.readouterr().out.splitlines()
    assert first.startswith("  note: word")
    assert all(line.startswith(" " * 8 + "word") and len(line) <= 80 for line in more)
