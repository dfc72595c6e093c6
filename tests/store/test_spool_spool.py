"""The spool's promise as its user sees it: what was resolved is there after it is opened again."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from tests.store.spooling import (
    LARGE,
    FaultyFiles,
    content,
    envelope,
    found,
    insertion,
    message,
    opened,
    read_all,
    run,
)

from gatepost.core.errors import Exit, OperatorError
from gatepost.store.spool import (
    Change,
    Progress,
    RecipientState,
    Spool,
    SpoolSettings,
    StoredMessage,
    shards_on_disk,
)


@pytest.mark.parametrize("size", [0, 1, 4096, 65_536, 65_537, LARGE, 1_000_000])
def test_a_message_comes_back_as_it_was(tmp_path: Path, size: int) -> None:
    async def scenario() -> None:
        body = content(7, size)
        async with opened(tmp_path / "spool") as it:
            change = insertion(it.spool, 7, body, listener="incoming", icid=3, dotted=True, about=5)
            await it.spool.submit(change)
            stored = change.insert
            assert stored is not None
            assert await read_all(it.spool, stored) == body
        async with opened(tmp_path / "spool") as it:
            (again,) = await it.spool.recovered()
            assert again == stored
            assert (again.size, again.sha256) == (size, hashlib.sha256(body).digest())
            assert again.in_file == (size > 65_536)
            assert await read_all(it.spool, again) == body
            assert await it.spool.recovered() == []
            assert it.problems == []

    run(scenario())


def test_a_removed_message_is_gone_with_its_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            for mid, size in ((1, 10), (2, LARGE), (3, 10)):
                await it.spool.submit(insertion(it.spool, mid, content(mid, size)))
            await it.spool.submit(Change(remove=1))
            await it.spool.submit(Change(remove=2))
            assert it.spool.statistics().messages == 1
        assert os.listdir(tmp_path / "spool/0/body") == []
        assert set(await found(tmp_path / "spool")) == {3}

    run(scenario())


def test_progress_hold_and_crashes_are_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            change = insertion(it.spool, 1, content(1))
            stored = change.insert
            assert stored is not None
            stored.envelope = envelope("a@example.org", "b@example.org")
            await it.spool.submit(change)
            stored.progress[1] = Progress(
                RecipientState.WAITING,
                3,
                1_700_000_100.5,
                True,
                "4.4.1",
                "000",
                "[Errno 111]",
                "mx[192.0.2.1]",
            )
            stored.held = "by the administrator"
            first = it.spool.submit(Change(update=stored))
            stored.progress[0] = Progress(
                RecipientState.BOUNCED, 1, 0.0, False, "5.1.1", "550", "no such user"
            )
            stored.crashes = 2
            await it.spool.submit(Change(update=stored))
            assert first.done()
        assert await found(tmp_path / "spool") == {1: stored}

    run(scenario())


def test_a_message_may_start_with_progress(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            change = insertion(it.spool, 1, b"x", held="waits for review")
            await it.spool.submit(change)
        assert (await found(tmp_path / "spool"))[1].held == "waits for review"

    run(scenario())


def test_the_change_is_what_it_was_when_submitted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            change = insertion(it.spool, 1, b"x")
            await it.spool.submit(change)
            stored = change.insert
            assert stored is not None
            stored.held = "as submitted"
            future = it.spool.submit(Change(update=stored))
            stored.held = "changed afterwards"
            await future
        assert (await found(tmp_path / "spool"))[1].held == "as submitted"

    run(scenario())


def test_a_bounce_and_its_report_are_one_change(tmp_path: Path) -> None:
    """With two shards, the report goes where its message is."""

    async def scenario() -> None:
        root = tmp_path / "spool"
        async with opened(root, 4) as it:
            await it.spool.submit(insertion(it.spool, 1, b"x"))
        async with opened(root, 0, 4) as it:
            (original,) = await it.spool.recovered()
            assert original.shard == 4
            body = it.spool.new_body(2, shard=original.shard)
            body.write(content(2, LARGE))
            await it.spool.submit(Change(insert=message(2, about=1), body=body, remove=1))
            small = it.spool.new_body(3)
            small.write(b"a new message")
            await it.spool.submit(Change(insert=message(3), body=small))
        both = await found(root, 0, 4)
        assert {mid: stored.shard for mid, stored in both.items()} == {2: 4, 3: 0}

    run(scenario())


def test_a_change_of_two_shards_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        async with opened(root, 4) as it:
            await it.spool.submit(insertion(it.spool, 1, b"x"))
        async with opened(root, 0, 4) as it:
            body = it.spool.new_body(2)
            body.write(content(2, LARGE))
            with pytest.raises(ValueError, match="two shards"):
                it.spool.submit(Change(insert=message(2), body=body, remove=1))
            body.abort()
            assert it.spool.statistics().messages == 1

    run(scenario())


def test_mistakes_of_the_caller_are_refused_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            spool = it.spool
            await spool.submit(insertion(spool, 1, b"x"))
            with pytest.raises(ValueError, match="not in the spool"):
                spool.submit(Change(remove=2))
            with pytest.raises(ValueError, match="twice"):
                spool.submit(insertion(spool, 1, b"x"))
            with pytest.raises(ValueError, match="nothing"):
                spool.submit(Change(events=b"x\n"))
            with pytest.raises(ValueError, match="fit"):
                spool.submit(insertion(spool, 2, b"x", progress=[Progress(), Progress()]))
            await spool.submit(Change(remove=1))
            with pytest.raises(ValueError, match="not in the spool"):
                spool.submit(Change(remove=1))

    run(scenario())


def test_changes_of_many_sessions_share_a_commit_and_resolve_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            spool = it.spool
            done: list[int] = []
            futures = []
            for mid in range(1, 201):
                future = spool.submit(insertion(spool, mid, content(mid), events=b"%d\n" % mid))
                future.add_done_callback(lambda _, mid=mid: done.append(mid))
                futures.append(future)
            await asyncio.gather(*futures)
            await asyncio.sleep(0)
            assert done == sorted(done)
            assert len(done) == 200
            assert spool.statistics().shards[0].commits <= 5
        async with opened(tmp_path / "spool") as it:
            lines = b"".join(it.spool.left_over_events()).split()
            assert lines == [b"%d" % mid for mid in range(1, 201)]

    run(scenario())


def test_what_is_not_urgent_rides_along_or_goes_by_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = SpoolSettings(lazy_delay=30.0)
        async with opened(tmp_path / "spool", settings=settings) as it:
            spool = it.spool
            await spool.submit(insertion(spool, 1, b"x"))
            lazy = spool.submit(Change(remove=1))
            await spool.submit(insertion(spool, 2, b"x"))
            assert lazy.done()
        settings = SpoolSettings(lazy_delay=0.01)
        async with opened(tmp_path / "spool", settings=settings) as it:
            await it.spool.submit(Change(remove=2))
        assert await found(tmp_path / "spool") == {}

    run(scenario())


def test_a_message_that_comes_and_goes_within_one_commit_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = SpoolSettings(lazy_delay=30.0)
        async with opened(tmp_path / "spool", settings=settings) as it:
            spool = it.spool
            change = insertion(spool, 1, b"x", urgent=False)
            spool.submit(change)
            assert change.insert is not None
            change.insert.held = "for a moment"
            spool.submit(Change(update=change.insert))
            spool.submit(Change(remove=1))
        assert await found(tmp_path / "spool") == {}

    run(scenario())


def test_a_cancelled_wait_does_not_undo_the_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            it.spool.submit(insertion(it.spool, 1, b"x")).cancel()
            await it.spool.submit(insertion(it.spool, 2, b"x"))
        assert set(await found(tmp_path / "spool")) == {1, 2}

    run(scenario())


def test_closing_commits_what_was_submitted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool", settings=SpoolSettings(lazy_delay=30.0)) as it:
            for mid in range(1, 600):
                it.spool.submit(insertion(it.spool, mid, b"x", urgent=False))
            it.spool.submit(insertion(it.spool, 600, content(600, LARGE), urgent=False))
        assert set(await found(tmp_path / "spool")) == set(range(1, 601))
        assert not (tmp_path / "spool/0/queue.db-wal").exists()

    run(scenario())


def test_fresh_small_bodies_are_bounded_and_older_ones_are_read_from_their_rows(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = SpoolSettings(fresh_bytes=10_000)
        async with opened(tmp_path / "spool", settings=settings) as it:
            changes = [insertion(it.spool, mid, content(mid, 1000)) for mid in range(1, 51)]
            await asyncio.gather(*map(it.spool.submit, changes))
            assert it.spool.statistics().fresh_bytes <= 10_000
            for change in changes:
                assert change.insert is not None
                assert await read_all(it.spool, change.insert) == content(change.insert.mid, 1000)

    run(scenario())


def test_events_are_handed_over_until_they_are_exported(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        async with opened(root) as it:
            spool = it.spool
            await spool.submit(insertion(spool, 1, b"x", events=b"one\n"))
            await asyncio.sleep(0)  # the callbacks of the commit have run
            point = spool.export_point()
            await spool.submit(insertion(spool, 2, b"x", events=b"two\n"))
            spool.exported(point)
        async with opened(root) as it:
            assert it.spool.left_over_events() == [b"two\n"]
            assert it.spool.left_over_events() == []
            it.spool.exported(it.spool.export_point())
        async with opened(root) as it:
            assert it.spool.left_over_events() == []

    run(scenario())


def test_an_export_point_waits_for_those_who_awaited_the_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool") as it:
            spool = it.spool
            seen = []
            future = spool.submit(insertion(spool, 1, b"x", events=b"one\n"))
            future.add_done_callback(lambda _: seen.append(spool.export_point().sequences))
            await future
            await asyncio.sleep(0)
            seen.append(spool.export_point().sequences)
            assert seen == [((0, 0),), ((0, 1),)]

    run(scenario())


def test_a_shard_has_one_owner(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool", 0, 1):
            with pytest.raises(OperatorError) as caught:
                async with opened(tmp_path / "spool", 1):
                    raise AssertionError
            assert caught.value.code is Exit.TRY_AGAIN

    run(scenario())


def test_a_dying_owner_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "spool"):
            waiting = asyncio.create_task(open_and_close(tmp_path / "spool"))
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting

    async def open_and_close(root: Path) -> None:
        async with opened(root, settings=SpoolSettings(lock_wait=10.0)):
            pass

    run(scenario())


def test_room_is_what_is_free_above_the_reserve(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        clock = [0.0]
        files.total, files.free = 1_000_000, 150_000  # the reserve is 50,000
        # The log of the database is not put away while the test looks at it.
        settings = SpoolSettings(lock_wait=0.2, idle=3600.0)
        async with opened(tmp_path / "spool", settings=settings, files=files, now=lambda: clock[0]) as it:
            assert it.spool.room_for(100_000)
            assert not it.spool.room_for(100_001)
            assert it.spool.room_for(125_000, own=True)
            assert not it.spool.room_for(125_001, own=True)
            await it.spool.submit(insertion(it.spool, 1, content(1, 60_000)))
            assert not it.spool.room_for(50_000)  # what came since the sample is taken off
            files.free = 1_000_000
            assert not it.spool.room_for(50_000)
            clock[0] = 1.0
            logged = it.spool.statistics().shards[0].wal_octets
            assert 60_000 < logged < 150_000
            assert it.spool.room_for(950_000 - logged)  # the database will grow by what is in its log
            assert not it.spool.room_for(950_001 - logged)
            assert files.calls.count(("space", "spool")) == 2
            files.failing["space"] = 5
            clock[0] = 2.0
            assert not it.spool.room_for(0)

    run(scenario())


def test_the_reserve_has_an_upper_limit(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = FaultyFiles()
        files.total, files.free = 1 << 50, 300 << 20
        async with opened(tmp_path / "spool", files=files) as it:
            assert it.spool.room_for(40 << 20)
            assert not it.spool.room_for(50 << 20)

    run(scenario())


def test_identical_spools_hold_identical_messages(tmp_path: Path) -> None:
    """Opening twice without a change finds the same twice."""

    async def scenario() -> None:
        async with opened(tmp_path / "spool", 0, 1, 2) as it:
            await it.spool.submit(insertion(it.spool, 1, content(1, LARGE)))
        first = await found(tmp_path / "spool", 0, 1, 2)
        assert first == await found(tmp_path / "spool", 2, 1, 0)
        assert isinstance(first[1], StoredMessage)

    run(scenario())


def test_all_shards_on_disk_are_found(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        assert shards_on_disk(root) == []
        async with opened(root, 10, 2, 0):
            pass
        for name in ("notes", "03", "٣"):
            (root / name).mkdir()
        (root / "7").write_text("not a shard")
        assert shards_on_disk(root) == [0, 2, 10]

    run(scenario())


def test_a_spool_that_cannot_be_made_is_the_operators_business(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file is in the way")

    async def scenario() -> None:
        with pytest.raises(OperatorError, match="cannot make"):
            await Spool.open(
                tmp_path / "spool",
                [0],
                SpoolSettings(),
                boot="b",
                now=lambda: 0.0,
                on_problem=lambda *_: None,
            )

    run(scenario())
