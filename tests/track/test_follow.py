"""Following a log: from its end, over rotations, and only as far as lines are whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gatepost.track.follow import follow


class Script:
    """A waiting function that does one thing to the files each time it is asked, then stops."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        self.acts = list(acts)
        self.waited: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.waited.append(seconds)
        if not self.acts:
            return False
        self.acts.pop(0)()
        return True


def append(path: Path, text: str) -> Callable[[], object]:
    def act() -> None:
        with path.open("a") as file:
            file.write(text)

    return act


def test_it_begins_at_the_end_and_gives_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "mail_logs"
    path.write_text("old\n")
    script = Script(append(path, "one\ntw"), append(path, "o\nthree\n"), append(path, "unfinished"))
    assert list(follow(path, script)) == ["one", "two", "three"]
    assert script.waited == [0.2] * 4


def test_it_can_begin_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "mail_logs"
    path.write_text("old\n")
    assert list(follow(path, Script(), from_start=True)) == ["old"]


def test_a_file_that_is_not_there_yet_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "mail_logs"
    assert list(follow(path, Script(lambda: None, append(path, "first\n")))) == ["first"]


def test_a_rotation_misses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "mail_logs"
    path.write_text("")

    def rotate() -> None:
        append(path, "last of the old\n")()
        path.rename(tmp_path / "mail_logs.@1")
        append(path, "first of the new\n")()

    def rename_only() -> None:
        append(path, "x\n")()
        path.rename(tmp_path / "mail_logs.@2")

    script = Script(append(path, "a\n"), rotate, append(path, "b\n"), rename_only, append(path, "c\n"))
    assert list(follow(path, script)) == ["a", "last of the old", "first of the new", "b", "x", "c"]


def test_a_file_cut_short_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "mail_logs"
    path.write_text("a long line that was there\n")
    assert list(follow(path, Script(lambda: path.write_text("new\n")))) == ["new"]
