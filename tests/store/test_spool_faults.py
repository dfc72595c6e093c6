"""When the disk is full the spool goes on; when a flush fails it makes no more promises."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.sqlite_faults import FaultyLayer, faulty_layer
from tests.store.spooling import (
    BROKEN,
    LARGE,
    NO_SPACE,
    FaultyFiles,
    content,
    found,
    insertion,
    message,
    opened,
    run,
)

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.spool import BodyDamaged, Change, SpoolFailed, SpoolFull, SpoolSettings


@pytest.fixture
def layer() -> Iterator[FaultyLayer]:
    with faulty_layer("gatepost-test") as it:
        yield it


SETTINGS = SpoolSettings(vfs="gatepost-test", full_pause=0.01, lazy_delay=0.01)


@pytest.mark.parametrize("operation", ["write", "flush"])
def test_no_room_for_a_body_refuses_that_message_only(tmp_path: Path, operation: str) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        async with opened(tmp_path / "spool", files=files) as it:
            files.failing[operation] = NO_SPACE
            with pytest.raises(SpoolFull):
                await it.spool.submit(insertion(it.spool, 1, content(1, LARGE)))
            await it.spool.submit(insertion(it.spool, 2, content(2)))
            files.failing.clear()
            await it.spool.submit(insertion(it.spool, 3, content(3, LARGE)))
            assert it.problems == []
        assert set(await found(tmp_path / "spool")) == {2, 3}
        assert os.listdir(tmp_path / "spool/0/body") == ["3"]

    run(scenario())


def test_a_body_may_not_eat_into_the_reserve(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        files.free, files.total = 600_000, 10_000_000  # the reserve is 500,000
        async with opened(tmp_path / "spool", files=files) as it:
            with pytest.raises(SpoolFull):
                await it.spool.submit(insertion(it.spool, 1, content(1, 300_000)))
            await it.spool.submit(insertion(it.spool, 2, content(2)))
        assert set(await found(tmp_path / "spool")) == {2}
        assert os.listdir(tmp_path / "spool/0/body") == []

    run(scenario())


@pytest.mark.parametrize("operation", ["write", "flush", "flush_directory"])
def test_a_body_flush_that_fails_makes_the_shard_read_only(tmp_path: Path, operation: str) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        async with opened(tmp_path / "spool", files=files) as it:
            spool = it.spool
            await spool.submit(insertion(spool, 1, content(1)))
            files.failing[operation] = BROKEN
            outcomes = await asyncio.gather(
                *(spool.submit(insertion(spool, mid, content(mid, LARGE))) for mid in (2, 3)),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [SpoolFailed, SpoolFailed]
            files.failing.clear()
            with pytest.raises(SpoolFailed):  # nothing is tried again
                await spool.submit(Change(remove=1, urgent=True))
            with pytest.raises(SpoolFailed):
                spool.new_body(4)
            assert not spool.room_for(0)
            assert len(it.problems) == 1
            assert spool.statistics().shards[0].failed
        assert set(await found(tmp_path / "spool", boot="next")) == {1}

    run(scenario())


def test_a_file_that_cannot_be_made_refuses_that_message_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        async with opened(tmp_path / "spool", files=files) as it:
            files.failing["create"] = BROKEN
            with pytest.raises(SpoolFailed):
                await it.spool.submit(insertion(it.spool, 1, content(1, LARGE)))
            await it.spool.submit(insertion(it.spool, 2, content(2)))
        assert set(await found(tmp_path / "spool")) == {2}

    run(scenario())


def test_a_body_file_of_the_same_name_is_never_touched(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            other = tmp_path / "spool/0/body/1"
            other.write_bytes(b"another body")
            with pytest.raises(SpoolFailed):
                await it.spool.submit(insertion(it.spool, 1, content(1, LARGE)))
            assert other.read_bytes() == b"another body"

    run(scenario())


def test_a_full_disk_refuses_who_waits_and_keeps_the_marks(tmp_path: Path, layer: FaultyLayer) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool", settings=SETTINGS) as it:
            spool = it.spool
            for mid in (1, 2):
                await spool.submit(insertion(spool, mid, content(mid)))
            layer.full = True
            removal = spool.submit(Change(remove=1))
            with pytest.raises(SpoolFull):
                await spool.submit(insertion(spool, 3, content(3)))
            with pytest.raises(SpoolFull):
                await spool.submit(insertion(spool, 4, content(4, LARGE)))
            with pytest.raises(SpoolFull):
                await spool.submit(Change(remove=2, urgent=True))
            assert not removal.done()
            layer.full = False
            await removal
            await spool.submit(insertion(spool, 5, content(5)))
            assert it.problems == []
            assert spool.statistics().messages == 2
            await spool.submit(insertion(spool, 3, content(3)))
        assert set(await found(tmp_path / "spool")) == {2, 3, 5}
        assert os.listdir(tmp_path / "spool/0/body") == []

    run(scenario())


def test_many_marks_on_a_full_disk_do_not_keep_sessions_waiting(tmp_path: Path, layer: FaultyLayer) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool", settings=SETTINGS) as it:
            spool = it.spool
            inserted = [spool.submit(insertion(spool, mid, b"x")) for mid in range(1, 1001)]
            await asyncio.gather(*inserted)
            layer.full = True
            removals = [spool.submit(Change(remove=mid)) for mid in range(1, 1001)]
            with pytest.raises(SpoolFull):
                await spool.submit(insertion(spool, 2000, b"x"))
            layer.full = False
            await asyncio.gather(*removals)
        assert await found(tmp_path / "spool") == {}

    run(scenario())


def test_a_spool_can_be_closed_on_a_full_disk(tmp_path: Path, layer: FaultyLayer) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool", settings=SETTINGS) as it:
            await it.spool.submit(insertion(it.spool, 1, content(1)))
            layer.full = True
            removal = it.spool.submit(Change(remove=1))
        assert isinstance(removal.exception(), SpoolFull)
        assert set(await found(tmp_path / "spool")) == {1}

    run(scenario())


def test_a_commit_that_cannot_be_flushed_fails_the_shard_for_good(tmp_path: Path, layer: FaultyLayer) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool", settings=SETTINGS) as it:
            spool = it.spool
            await spool.submit(insertion(spool, 1, content(1)))
            layer.broken_sync = True
            waiting = [spool.submit(insertion(spool, mid, content(mid))) for mid in (2, 3)]
            lazy = spool.submit(Change(remove=1))
            for outcome in await asyncio.gather(*waiting, lazy, return_exceptions=True):
                assert isinstance(outcome, SpoolFailed)
            layer.broken_sync = False
            syncs = layer.syncs
            with pytest.raises(SpoolFailed):
                await spool.submit(insertion(spool, 4, content(4)))
            [(shard, reason, mid)] = it.problems
            assert (shard, mid) == (0, 0)
            assert "commit failed" in reason
        assert layer.syncs == syncs  # closing flushes nothing again
        # Whoever was told "failed" may be there or not, but no transaction is there in part.
        assert set(await found(tmp_path / "spool")) in ({1}, {1, 2}, {1, 2, 3}, {2, 3})

    run(scenario())


def test_another_shard_takes_over_when_one_fails(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        async with opened(tmp_path / "spool", 0, 1, files=files) as it:
            files.failing["flush"] = BROKEN
            with pytest.raises(SpoolFailed):
                await it.spool.submit(insertion(it.spool, 1, content(1, LARGE)))
            files.failing.clear()
            change = insertion(it.spool, 2, content(2, LARGE))
            await it.spool.submit(change)
            assert change.insert is not None
            assert change.insert.shard == 1
            assert it.spool.room_for(0)

    run(scenario())


def test_a_checkpoint_that_cannot_be_flushed_fails_the_shard(tmp_path: Path, layer: FaultyLayer) -> None:
    async def scenario() -> None:
        settings = SpoolSettings(vfs="gatepost-test", idle=0.01)
        failed = asyncio.Event()
        async with opened(tmp_path / "spool", settings=settings) as it:
            it.problems = Signalling(failed)
            it.spool._on_problem = lambda *problem: it.problems.append(problem)
            await it.spool.submit(insertion(it.spool, 1, content(1)))
            layer.broken_sync = True
            await failed.wait()
            assert "checkpoint failed" in it.problems[0][1]
            layer.broken_sync = False
        assert set(await found(tmp_path / "spool")) == {1}

    run(scenario())


class Signalling(list[tuple[int, str, int]]):
    """A list that sets an event when something is put into it."""

    def __init__(self, event: asyncio.Event) -> None:
        super().__init__()
        self._event = event

    def append(self, item: tuple[int, str, int]) -> None:
        super().append(item)
        self._event.set()


def test_a_bug_in_the_writer_leaves_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with opened(tmp_path / "spool") as it:
            spool = it.spool
            await spool.submit(insertion(spool, 1, b"x"))

            def bug(*_: object) -> None:
                raise ZeroDivisionError

            monkeypatch.setattr(spool._shards[0].writer._database, "write", bug)
            with pytest.raises(SpoolFailed):
                await spool.submit(insertion(spool, 2, b"x"))
            with pytest.raises(SpoolFailed):
                await spool.submit(insertion(spool, 3, b"x"))
            spool._fresh.drop(1)
            with pytest.raises(BodyDamaged):
                await spool.open_body(message(1, shard=0))
            assert isinstance(told[0]["exception"], ZeroDivisionError)
            assert [mid for _, _, mid in it.problems] == [0]
        assert set(await found(tmp_path / "spool")) == {1}

    run(scenario())


def test_a_bug_in_the_body_thread_leaves_nobody_waiting(tmp_path: Path) -> None:
    class Buggy(FaultyFiles):
        def flush(self, descriptor: int) -> None:
            raise ZeroDivisionError

    async def scenario() -> None:
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with opened(tmp_path / "spool", files=Buggy()) as it:
            spool = it.spool
            for mid in (1, 2):
                with pytest.raises(SpoolFailed):
                    await spool.submit(insertion(spool, mid, content(mid, LARGE), shard=mid - 1))
            assert len(told) == 1
            with pytest.raises(SpoolFailed):
                await spool.submit(insertion(spool, 3, content(3)))

    run(scenario())


def test_with_little_room_left_the_marks_get_through_a_few_at_a_time(
    tmp_path: Path, layer: FaultyLayer
) -> None:
    """All removals in one transaction need more room than there is; the first few make room for the next."""
    page = 4096 + 24

    class Freeing(FaultyFiles):
        def unlink(self, path: Path) -> None:
            super().unlink(path)
            layer.log_room += 8 * page

    async def scenario() -> None:
        mids = range(1, 41)
        async with opened(tmp_path / "spool", settings=SETTINGS, files=Freeing()) as it:
            for mid in mids:
                await it.spool.submit(insertion(it.spool, mid, content(mid, LARGE)))
            layer.full_database = True
            layer.log_room = (tmp_path / "spool/0/queue.db-wal").stat().st_size + 10 * page
            lines = b"x" * 2_000 + b"\n"
            await asyncio.gather(*(it.spool.submit(Change(remove=mid, events=lines)) for mid in mids))
            layer.full_database = False
            assert it.problems == []
        assert await found(tmp_path / "spool") == {}
        assert os.listdir(tmp_path / "spool/0/body") == []

    run(scenario())


def test_a_full_disk_is_not_taken_for_damage_at_opening(tmp_path: Path, layer: FaultyLayer) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool", settings=SETTINGS) as it:
            await it.spool.submit(insertion(it.spool, 1, content(1)))
        layer.full = True
        for shards in ((0,), (0, 1)):
            with pytest.raises(OperatorError, match="no space left") as refusal:
                async with opened(tmp_path / "spool", *shards, settings=SETTINGS, boot="next"):
                    pass
            assert refusal.value.code is Exit.TRY_AGAIN
        layer.full = False
        assert set(await found(tmp_path / "spool", boot="next")) == {1}

    run(scenario())
