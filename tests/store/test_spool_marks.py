"""Crash marks: what a process that died had in work is known to the next one."""

from __future__ import annotations

from pathlib import Path

from gatepost.store.spool.marks import HEADER, WorkMarks, boot_digest


def test_marks_outlive_their_owner(tmp_path: Path) -> None:
    first = WorkMarks(tmp_path / "work", 16)
    first.begin("boot")
    for mid in (5, 6, 7, 2**63):
        first.set(mid)
    first.set(5)
    first.clear(6)
    first.clear(99)
    second = WorkMarks(tmp_path / "work", 16)  # the first one was never closed
    assert set(second.left) == {5, 7, 2**63}
    assert second.left_boot == boot_digest("boot")
    token = second.left_token
    second.begin("boot")
    second.close()
    third = WorkMarks(tmp_path / "work", 16)
    assert third.left == ()
    assert third.left_token != token


def test_until_it_begins_the_old_marks_stay(tmp_path: Path) -> None:
    first = WorkMarks(tmp_path / "work", 16)
    first.begin("boot")
    first.set(5)
    WorkMarks(tmp_path / "work", 16).close()
    assert WorkMarks(tmp_path / "work", 16).left == (5,)


def test_slots_are_used_again_and_too_many_marks_are_left_out(tmp_path: Path) -> None:
    marks = WorkMarks(tmp_path / "work", 4)
    marks.begin("boot")
    for mid in range(1, 101):
        marks.set(mid)
        marks.clear(mid)
    for mid in range(1, 10):
        marks.set(mid)
    marks.clear(9)
    assert set(WorkMarks(tmp_path / "work", 4).left) == {1, 2, 3, 4}


def test_another_number_of_slots_loses_no_marks(tmp_path: Path) -> None:
    for slots in (64, 2, 512):
        marks = WorkMarks(tmp_path / "work", slots)
        marks.begin("boot")
        assert WorkMarks(tmp_path / "work", slots).left == ()
        for mid in range(1, 41):
            marks.set(mid)
        assert len(WorkMarks(tmp_path / "work", 2).left) == 40


def test_a_file_of_something_else_holds_no_marks(tmp_path: Path) -> None:
    for content in (b"", b"x", b"x" * HEADER, b"GPWORK1\n", bytes(range(256)) * 40):
        (tmp_path / "work").write_bytes(content)
        marks = WorkMarks(tmp_path / "work", 16)
        assert (marks.left, marks.left_boot) == ((), b"")
        marks.begin("boot")
        marks.set(3)
        assert WorkMarks(tmp_path / "work", 16).left == (3,)
