"""Log files shared by several hands: nothing torn, nothing lost, also over rotations and a full disk."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gatepost.track.log_files import LogFile, log_paths

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Form:
    def head(self, at: float) -> bytes:
        return b"<begin>\n"

    def tail(self, at: float) -> bytes:
        return b"<end>\n"

    def loss(self, at: float, batches: int, reason: str) -> bytes:
        return f"<lost {batches}: {reason}>\n".encode()


def log(tmp_path: Path, clock: Clock | None = None, *, limit: int = 0, keep: int = 10) -> LogFile:
    return LogFile(tmp_path, "mail_logs", Form(), clock or Clock(), limit=limit, keep=keep)


def names(tmp_path: Path) -> list[str]:
    return [path.name for path in log_paths(tmp_path, "mail_logs")]


def test_a_new_file_begins_with_its_head_once(tmp_path: Path) -> None:
    first, second = log(tmp_path), log(tmp_path)
    assert first.append(b"a\n")
    assert second.append(b"b\n")
    assert first.append(b"c\n")
    first.close()
    second.close()
    third = log(tmp_path)
    assert third.append(b"d\n")
    third.close()
    assert (tmp_path / "mail_logs").read_bytes() == b"<begin>\na\nb\nc\nd\n"
    assert (tmp_path / "mail_logs").stat().st_mode & 0o777 == 0o640 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_full_file_is_put_away_and_a_new_one_begun(tmp_path: Path) -> None:
    file = log(tmp_path, limit=30)
    file.append(b"x" * 20 + b"\n")
    assert names(tmp_path) == ["mail_logs"]
    file.append(b"y" * 20 + b"\n")
    assert names(tmp_path) == ["mail_logs.@20231114T221320", "mail_logs"]
    file.append(b"z\n")
    file.close()
    old, new = (path.read_bytes() for path in log_paths(tmp_path, "mail_logs"))
    assert old == b"<begin>\n" + b"x" * 20 + b"\n" + b"y" * 20 + b"\n<end>\n"
    assert new == b"<begin>\nz\n"


def test_another_hand_notices_the_rotation(tmp_path: Path) -> None:
    first, second = log(tmp_path, limit=30), log(tmp_path, limit=30)
    second.append(b"early\n")
    first.append(b"x" * 40 + b"\n")
    second.append(b"late\n")
    first.close()
    second.close()
    assert (tmp_path / "mail_logs").read_bytes() == b"<begin>\nlate\n"


def test_a_file_that_was_taken_away_is_begun_again(tmp_path: Path) -> None:
    file = log(tmp_path)
    file.append(b"a\n")
    (tmp_path / "mail_logs").unlink()
    file.append(b"b\n")
    (tmp_path / "mail_logs").rename(tmp_path / "elsewhere")
    file.append(b"c\n")
    file.close()
    assert (tmp_path / "mail_logs").read_bytes() == b"<begin>\nc\n"


def test_names_are_unique_and_grow_even_when_the_clock_goes_back(tmp_path: Path) -> None:
    clock = Clock()
    file = log(tmp_path, clock, limit=1)
    for _ in range(3):
        file.append(b"a\n")
    clock.time -= 86_400
    file.append(b"b\n")
    file.close()
    assert names(tmp_path) == [
        "mail_logs.@20231114T221320",
        "mail_logs.@20231114T221321",
        "mail_logs.@20231114T221322",
        "mail_logs.@20231114T221323",
        "mail_logs",
    ]


def test_the_oldest_are_pruned_and_strangers_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mail_logs.@notes").write_text("mine")
    clock = Clock()
    file = log(tmp_path, clock, limit=1, keep=2)
    for _ in range(5):
        file.append(b"a\n")
        clock.time += 60
    file.close()
    assert names(tmp_path) == ["mail_logs.@20231114T221620", "mail_logs.@20231114T221720", "mail_logs"]
    assert (tmp_path / "mail_logs.@notes").exists()


def test_a_full_disk_loses_lines_and_says_so_when_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = log(tmp_path)
    file.append(b"a\n")
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert not file.append(b"b\n")
    assert not file.append(b"c\n")
    assert file.lost == 2
    monkeypatch.setattr(os, "write", real)
    assert file.append(b"d\n")
    assert file.append(b"e\n")
    file.close()
    assert (file.lost, file.lost_ever) == (0, 2)
    assert (tmp_path / "mail_logs").read_bytes() == (
        b"<begin>\na\n<lost 2: [Errno 28] No space left on device>\nd\ne\n"
    )


def test_a_line_torn_by_a_full_disk_is_ended_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = log(tmp_path)
    file.append(b"a\n")
    real, room = os.write, 3

    def nearly_full(descriptor: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(descriptor, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", nearly_full)
    assert not file.append(b"bcdef\n")
    monkeypatch.setattr(os, "write", real)
    assert file.append(b"g\n")
    file.close()
    assert (tmp_path / "mail_logs").read_bytes() == (
        b"<begin>\na\nbcd\n<lost 1: [Errno 28] No space left on device>\ng\n"
    )


def test_a_missing_directory_does_not_raise(tmp_path: Path) -> None:
    file = log(tmp_path / "gone")
    assert not file.append(b"a\n")
    assert file.lost == 1


def test_what_was_written_before_a_rotation_is_flushed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append(os.fstat(file).st_ino))
    file = log(tmp_path, limit=10)
    file.append(b"x" * 20 + b"\n")
    file.append(b"a\n")
    job = file.sync_job()
    file.close()
    assert job()
    assert sorted(synced) == sorted(path.stat().st_ino for path in log_paths(tmp_path, "mail_logs"))


def test_a_failing_flush_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    file = log(tmp_path)
    file.append(b"a\n")
    assert not file.sync_job()()
    file.close()


def _write_many(directory: Path, hand: int, count: int) -> None:
    file = LogFile(directory, "mail_logs", Form(), Clock(), limit=4000, keep=1000)
    for i in range(count):
        file.append(f"{hand} {i} {'x' * 40}\n{hand} {i} second\n".encode())
    file.close()


def test_several_processes_rotate_together_and_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start: Callable[..., multiprocessing.process.BaseProcess] = context.Process
    hands = [start(target=_write_many, args=(tmp_path, hand, 150)) for hand in range(3)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join(30)
        assert hand.exitcode == 0
    lines = []
    for path in log_paths(tmp_path, "mail_logs"):
        content = path.read_bytes().decode()
        assert content.startswith("<begin>\n")
        assert content.count("<begin>") == 1
        assert content.count("<end>") == (0 if path.name == "mail_logs" else 1)
        assert path.name == "mail_logs" or content.endswith("<end>\n")
        lines += [line for line in content.splitlines() if not line.startswith("<")]
    for hand in range(3):
        mine = [line for line in lines if line.startswith(f"{hand} ")]
        expected = [t for i in range(150) for t in (f"{hand} {i} {'x' * 40}", f"{hand} {i} second")]
        assert mine == expected
    assert len(log_paths(tmp_path, "mail_logs")) > 5
