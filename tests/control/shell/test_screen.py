"""How values are shown."""

from __future__ import annotations

import io

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


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_note_is_folded_on_a_terminal_and_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = "listeners[0].certificate: " + "word " * 11 + "mta-sts.example.net (use another one)"
    assert screen.fitting(text, io.StringIO()) == [text]
    first, second = screen.fitting(text, _Terminal())
    assert len(first) <= 80
    assert second == "  mta-sts.example.net (use another one)"
    assert screen.fitting("short", _Terminal()) == ["short"]


def test_a_path_in_a_note_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = "/srv/" + "long-name-of-a-folder/" * 5 + "gateway.yaml"
    assert screen.fitting(f"gatepost: {path}: No such file (look at its name)", _Terminal()) == [
        "gatepost:",
        f"  {path}:",
        "  No such file (look at its name)",
    ]


def test_a_table_is_folded_on_a_narrow_terminal_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = _Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    rows = [("gw-frankfurt-2026-11", "mx1.frankfurt.example.net", "5", "listener In"), ("b", "c", "7", "-")]
    screen.table(("Name", "Common name", "Days", "Used by"), rows)
    assert terminal.getvalue().splitlines() == [
        "Name        Common      Days  Used by",
        "            name",
        "gw-frankfu  mx1.frankf  5     listener",
        "rt-2026-11  urt.exampl        In",
        "            e.net",
        "b           c           7     -",
    ]


def test_facts_fit_the_screen_and_what_is_to_be_copied_stays_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen.facts((("Server", "word " * 16 + "mta-sts.example.net"), ("Key", "k" * 90)))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Server", "word", "Key"]
    assert lines[1].startswith(" " * 8 + "word")
    assert lines[1].endswith(" mta-sts.example.net")
    assert lines[2] == "Key     " + "k" * 90
