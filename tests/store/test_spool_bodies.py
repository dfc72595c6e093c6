"""Large bodies: streamed with bounded memory, flushed before their row, gone when they are not wanted."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from tests.store.spooling import (
    BROKEN,
    LARGE,
    FaultyFiles,
    content,
    found,
    insertion,
    message,
    opened,
    read_all,
    run,
)

from gatepost.store.spool import Change, Files, SpoolSettings
from gatepost.store.spool.readers import FileBody


class SlowFiles(Files):
    """Writes wait until they are let through."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.written = 0

    def write(self, descriptor: int, data: bytes) -> None:
        assert self.gate.wait(10)
        super().write(descriptor, data)
        self.written += len(data)


def test_the_order_of_flushes(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        async with opened(tmp_path / "spool", files=files) as it:
            files.calls.clear()
            await it.spool.submit(insertion(it.spool, 1, content(1, LARGE)))
            assert [call for call in files.calls if call[0] != "space"] == [
                ("create", "1"),
                ("write", "1"),
                ("flush", "1"),
                ("flush_directory", "body"),
            ]
            await it.spool.submit(Change(remove=1))
        assert files.calls[-1] == ("unlink", "1")

    run(scenario())


def test_files_that_end_together_share_the_flush_of_their_directory(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        async with opened(tmp_path / "spool", files=files) as it:
            files.calls.clear()
            changes = [insertion(it.spool, mid, content(mid, LARGE)) for mid in range(1, 11)]
            await asyncio.gather(*map(it.spool.submit, changes))
            operations = [operation for operation, _ in files.calls]
            assert operations.count("flush") == 10
            assert operations.count("flush_directory") < 5

    run(scenario())


def test_a_session_that_is_faster_than_the_disk_waits(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = SlowFiles()
        settings = SpoolSettings(body_waiting=300_000)
        async with opened(tmp_path / "spool", files=files, settings=settings) as it:
            writer = it.spool.new_body(1)
            handed = 0

            async def session() -> None:
                nonlocal handed
                for _ in range(40):
                    writer.write(bytes(50_000))
                    handed += 50_000
                    await writer.drain()

            task = asyncio.create_task(session())
            for _ in range(5):
                await asyncio.sleep(0)
            assert handed < 700_000
            assert not task.done()
            files.gate.set()
            await task
            await it.spool.submit(Change(insert=message(1), body=writer, urgent=True))
            assert files.written == 2_000_000

    run(scenario())


def test_an_aborted_body_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            for mid, size in ((1, 10), (2, LARGE), (3, 1_000_000)):
                writer = it.spool.new_body(mid)
                writer.write(content(mid, size))
                writer.abort()
                writer.abort()
            change = insertion(it.spool, 4, content(4, LARGE))
            future = it.spool.submit(change)
            assert change.body is not None
            change.body.abort()  # too late: it was submitted
            await future
            assert change.insert is not None
            assert await read_all(it.spool, change.insert) == content(4, LARGE)
        assert os.listdir(tmp_path / "spool/0/body") == ["4"]

    run(scenario())


def test_a_body_that_cannot_be_removed_is_counted_and_goes_with_the_next_boot(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        async with opened(tmp_path / "spool", files=files) as it:
            await it.spool.submit(insertion(it.spool, 1, content(1, LARGE)))
            files.failing["unlink"] = BROKEN
            await it.spool.submit(Change(remove=1))
        assert it.spool.statistics().files_not_removed == 1
        assert os.listdir(tmp_path / "spool/0/body") == ["1"]
        await found(tmp_path / "spool", boot="next")
        assert os.listdir(tmp_path / "spool/0/body") == []

    run(scenario())


def test_a_reader_outlives_the_removal_of_its_message(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            change = insertion(it.spool, 1, content(1, LARGE))
            await it.spool.submit(change)
            assert change.insert is not None
            reader = await it.spool.open_body(change.insert)
            first = await reader.read(1000)
            await it.spool.submit(Change(remove=1))
            assert first + await reader.read(LARGE) == content(1, LARGE)
            assert await reader.read(1000) == b""
            reader.close()

    run(scenario())


@pytest.mark.parametrize("cached", [True, False])
def test_a_file_is_read_whether_or_not_it_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    if not cached:

        def not_cached(*_: object) -> int:
            raise BlockingIOError

        monkeypatch.setattr(os, "preadv", not_cached)

    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            change = insertion(it.spool, 1, content(1, LARGE))
            await it.spool.submit(change)
            assert change.insert is not None
            assert await read_all(it.spool, change.insert) == content(1, LARGE)

    run(scenario())


def test_a_small_body_is_read_in_pieces_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            change = insertion(it.spool, 1, content(1, 1000))
            await it.spool.submit(change)
            assert change.insert is not None
            for limit in (1, 7, 999, 1000, 1001):
                assert await read_all(it.spool, change.insert, limit) == content(1, 1000)

    run(scenario())


def test_a_reader_of_a_file_that_shrinks_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "body"
        path.write_bytes(b"x" * 100)
        reader = FileBody(os.open(path, os.O_RDONLY), 1, 100, b"")
        assert await reader.read(60) == b"x" * 60
        os.truncate(path, 60)
        with pytest.raises(Exception, match="shorter"):
            await reader.read(60)

    run(scenario())
