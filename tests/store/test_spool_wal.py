"""The write-ahead log stays short, and when it cannot, no new mail is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.fakes.sqlite_faults import faulty_layer
from tests.store.spooling import content, found, insertion, opened, run

from gatepost.store.spool import Spool, SpoolSettings

KIB = 1 << 10


async def until(true: Callable[[], bool]) -> None:
    """Look again and again; `run` bounds it. The writer has no event for being idle."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def fill(spool: Spool, start: int, count: int) -> None:
    for mid in range(start, start + count):
        await spool.submit(insertion(spool, mid, content(mid, 60_000)))


def test_a_checkpoint_is_made_when_the_log_has_grown(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = SpoolSettings(wal_passive=500 * KIB)
        async with opened(tmp_path / "spool", settings=settings) as it:
            await fill(it.spool, 1, 40)
            figures = it.spool.statistics().shards[0]
            assert figures.checkpoints >= 3
            assert figures.wal_octets < 600 * KIB
            assert (tmp_path / "spool/0/queue.db-wal").stat().st_size < 700 * KIB
        assert len(await found(tmp_path / "spool")) == 40

    run(scenario())


def test_a_large_log_is_truncated(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = SpoolSettings(wal_passive=500 * KIB, wal_truncate=500 * KIB)
        async with opened(tmp_path / "spool", settings=settings) as it:
            wal = tmp_path / "spool/0/queue.db-wal"
            sizes = []
            for mid in range(1, 12):
                await fill(it.spool, mid, 1)
                sizes.append(wal.stat().st_size)
            assert 0 < min(sizes[5:]) < 200 * KIB or 0 in sizes

    run(scenario())


def test_a_log_that_cannot_shrink_takes_no_new_mail(tmp_path: Path) -> None:
    async def scenario() -> None:
        with faulty_layer("gatepost-wal") as layer:
            settings = SpoolSettings(
                vfs="gatepost-wal", wal_passive=300 * KIB, wal_limit=600 * KIB, idle=60.0
            )
            async with opened(tmp_path / "spool", settings=settings) as it:
                assert it.spool.room_for(0)
                layer.full_database = True
                await fill(it.spool, 1, 20)
                assert not it.spool.room_for(0)
                layer.full_database = False
                await fill(it.spool, 21, 10)
                assert it.spool.room_for(0)
                assert it.problems == []
        assert len(await found(tmp_path / "spool")) == 30

    run(scenario())


def test_an_idle_shard_leaves_a_short_log_and_forgets_exported_events(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool", settings=SpoolSettings(idle=0.01)) as it:
            spool = it.spool
            await spool.submit(insertion(spool, 1, content(1), events=b"lines\n"))
            await asyncio.sleep(0)
            spool.exported(spool.export_point())
            writer = spool._shards[0].writer
            await until(lambda: not writer.log.octets and not writer._database.events_to_forget)
        async with opened(tmp_path / "spool") as it:
            assert it.spool.left_over_events() == []

    run(scenario())
