"""Opening a shard after something went wrong: nothing is dropped, nothing damaged is sent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import apsw
import pytest
from tests.store.spooling import LARGE, content, found, insertion, message, opened, read_all, run

from gatepost.core.errors import OperatorError
from gatepost.store.spool import BodyDamaged, Change


def edit(root: Path, statement: str, *values: object, shard: int = 0) -> None:
    connection = apsw.Connection(str(root / str(shard) / "queue.db"))
    connection.execute(statement, values)
    connection.close()


async def filled(root: Path, *sizes: int, boot: str = "boot") -> None:
    async with opened(root, boot=boot) as it:
        for mid, size in enumerate(sizes, 1):
            await it.spool.submit(insertion(it.spool, mid, content(mid, size)))


def test_messages_whose_bodies_are_missing_or_short_are_held(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, LARGE, LARGE, LARGE, 100, 100)
        (root / "0/body/1").unlink()
        os.truncate(root / "0/body/2", LARGE - 1)
        edit(root, "UPDATE message SET body = x'00' WHERE mid = 4")
        async with opened(root) as it:
            held = {m.mid: m.held for m in await it.spool.recovered()}
            assert held == {
                1: "its body file is missing",
                2: f"its body file has {LARGE - 1} octets instead of {LARGE}",
                3: "",
                4: "its body has 1 octets instead of 100",
                5: "",
            }
            assert sorted(it.problems) == [(0, held[mid], mid) for mid in (4, 1, 2)] or len(it.problems) == 3

    run(scenario())


def test_damaged_rows_are_held_and_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, 100, 100, 100)
        edit(root, "UPDATE message SET packed = x'ff' WHERE mid = 1")
        edit(root, "INSERT INTO state VALUES (2, x'ff')")
        for _ in range(2):
            async with opened(root) as it:
                one, two, three = await it.spool.recovered()
                assert "cannot be read" in one.held
                assert one.envelope.recipients == ()
                assert "cannot be read" in two.held
                assert two.envelope.recipients == message(2).envelope.recipients
                assert three.held == ""
                assert {mid for _, _, mid in it.problems} == {1, 2}
        async with opened(root) as it:
            await it.spool.recovered()
            await it.spool.submit(Change(remove=1))
        assert set(await found(root)) == {2, 3}

    run(scenario())


def test_a_body_that_was_changed_is_not_handed_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, LARGE, 100)
        with (root / "0/body/1").open("r+b") as file:
            file.write(b"?")
        edit(root, "UPDATE message SET body = zeroblob(100) WHERE mid = 2")
        async with opened(root) as it:
            large, small = await it.spool.recovered()
            assert large.held == small.held == ""
            reader = await it.spool.open_body(large)
            for _ in range(3):
                assert len(await reader.read(30_000)) == 30_000
            with pytest.raises(BodyDamaged):  # in place of the last piece
                await reader.read(30_000)
            with pytest.raises(BodyDamaged):
                await it.spool.open_body(small)
            (root / "0/body/1").unlink()
            with pytest.raises(BodyDamaged):
                await it.spool.open_body(large)
            assert it.problems == []  # whoever wanted the body tells of it

    run(scenario())


def test_a_good_body_of_a_recovered_message_is_read_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        await filled(tmp_path / "spool", LARGE, 100)
        async with opened(tmp_path / "spool") as it:
            for stored in await it.spool.recovered():
                assert await read_all(it.spool, stored) == content(stored.mid, stored.size)

    run(scenario())


def test_orphans_go_at_the_first_opening_of_a_boot_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, LARGE, boot="first")
        for name in ("77", "not-a-number"):
            (root / "0/body" / name).write_bytes(b"x")
        await found(root, boot="first")
        assert set(os.listdir(root / "0/body")) == {"1", "77", "not-a-number"}
        await found(root, boot="second")
        assert set(os.listdir(root / "0/body")) == {"1", "not-a-number"}

    run(scenario())


async def crash_with(root: Path, *mids: int, boot: str = "boot") -> dict[int, tuple[int, str]]:
    """Open, mark these messages, and die without closing; return what was found at the opening."""
    copy = root.with_name("copy")
    async with opened(root, boot=boot) as it:
        seen = {m.mid: (m.crashes, m.held) for m in await it.spool.recovered()}
        assert it.spool.suspects == {mid for mid, (crashes, held) in seen.items() if crashes and not held}
        for mid in mids:
            it.spool.mark_in_work(mid)
        shutil.copytree(root, copy)
    shutil.rmtree(root)
    copy.rename(root)
    return seen


def test_three_crashes_hold_a_message(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, 100, 100, 100)
        assert await crash_with(root, 1, 2) == {1: (0, ""), 2: (0, ""), 3: (0, "")}
        assert await crash_with(root, 1) == {1: (1, ""), 2: (1, ""), 3: (0, "")}
        assert await crash_with(root, 1) == {1: (2, ""), 2: (1, ""), 3: (0, "")}
        held = "it was being worked on in 3 crashes"
        async with opened(root) as it:
            assert [(m.crashes, m.held) for m in await it.spool.recovered()] == [(3, held), (1, ""), (0, "")]
            assert it.problems == [(0, held, 1)]
            assert it.spool.suspects == {2}
        async with opened(root) as it:
            assert [(m.crashes, m.held) for m in await it.spool.recovered()] == [(3, held), (1, ""), (0, "")]
            assert it.problems == []

    run(scenario())


def test_marks_of_another_boot_are_not_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, 100)
        await crash_with(root, 1, boot="first")
        assert await crash_with(root, boot="second") == {1: (0, "")}

    run(scenario())


def test_no_crash_is_counted_twice(tmp_path: Path) -> None:
    """The process dies again after the count was committed and before the marks were cleared."""

    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, 100)
        await crash_with(root, 1)
        marks = (root / "0/work").read_bytes()
        assert await crash_with(root) == {1: (1, "")}
        (root / "0/work").write_bytes(marks)
        assert await crash_with(root) == {1: (1, "")}

    run(scenario())


def test_a_message_that_was_finished_or_unmarked_has_no_crash(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, 100, 100)
        copy = tmp_path / "copy"
        async with opened(root) as it:
            await it.spool.recovered()
            it.spool.mark_in_work(1)
            it.spool.mark_in_work(2)
            it.spool.unmark_in_work(1)
            await it.spool.submit(Change(remove=2))
            it.spool.unmark_in_work(2)
            with pytest.raises(ValueError, match="not in the spool"):
                it.spool.mark_in_work(2)
            shutil.copytree(root, copy)
        assert {mid: m.crashes for mid, m in (await found(copy)).items()} == {1: 0}

    run(scenario())


@pytest.mark.parametrize("damage", ["garbage", "header", "page"])
def test_a_damaged_shard_is_set_aside_and_the_others_go_on(tmp_path: Path, damage: str) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        async with opened(root, 0, 1) as it:
            await it.spool.submit(insertion(it.spool, 1, content(1)))
        path = root / "1/queue.db"
        whole = path.read_bytes()
        broken = {
            "garbage": b"?" * 5000,
            "header": b"?" + whole[1:],
            "page": whole[:4096] + b"?" * 4096 + whole[8192:],
        }
        path.write_bytes(broken[damage])
        async with opened(root, 0, 1) as it:
            assert {m.mid for m in await it.spool.recovered()} == {1}
            assert set(it.spool.set_aside) == {1}
            assert it.spool.statistics().set_aside == (1,)
            assert [(shard, mid) for shard, _, mid in it.problems] == [(1, 0)]
            await it.spool.submit(insertion(it.spool, 2, content(2)))
        with pytest.raises(OperatorError, match="set aside"):
            await found(root, 1)
        assert path.read_bytes() == broken[damage]

    run(scenario())


def test_bodies_without_their_database_are_not_taken_for_orphans(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, LARGE, boot="first")
        for lost in root.glob("0/queue.db*"):
            lost.unlink()
        with pytest.raises(OperatorError, match="although there are bodies"):
            await found(root, boot="second")
        assert (root / "0/body/1").exists()

    run(scenario())


def test_a_database_in_use_by_another_program_is_said(tmp_path: Path) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        await filled(root, 100)
        other = apsw.Connection(str(root / "0/queue.db"))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperatorError, match="another program"):
            await found(root)
        other.close()

    run(scenario())
