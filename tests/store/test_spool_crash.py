"""Random changes, then death without a word: what is found again is what a prefix of the changes left.

The process dies at a quiet moment here (every change that was awaited is committed, the rest is not begun). Death at any
moment, with the power, is `tests/live/powercut`.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from tests.store.spooling import content, insertion, message, opened, read_all, run

from gatepost.store.spool import Change, Progress, RecipientState, Spool, SpoolSettings, StoredMessage
from gatepost.store.spool.records import pack_message, pack_state

SETTINGS = SpoolSettings(lazy_delay=60.0, idle=60.0, fresh_bytes=50_000, batch_changes=8)
Picture = dict[int, tuple[bytes, bytes]]


class Model:
    """What the spool should hold after each change, and random changes to make."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.next_mid = 1
        self.live: dict[int, StoredMessage] = {}
        self.pictures: list[Picture] = [{}]

    def change(self, spool: Spool) -> Change:
        """A random change, whose effect is noted."""
        rng = self.random
        kind = rng.choice(["insert", "insert", "update", "remove", "report"]) if self.live else "insert"
        events = b"%d\n" % len(self.pictures)
        urgent = rng.random() < 0.5
        if kind == "insert":
            change = self._insertion(spool, events, urgent)
        elif kind == "update":
            stored = self.live[rng.choice(list(self.live))]
            self._progress(stored)
            change = Change(update=stored, events=events, urgent=urgent)
        else:
            mid = rng.choice(list(self.live))
            change = Change(remove=mid, events=events, urgent=urgent)
            shard = self.live.pop(mid).shard
            if kind == "report":
                report = message(self._mid(), about=mid)
                body = spool.new_body(report.mid, shard=shard)
                body.write(content(report.mid, 500))
                change.insert, change.body = report, body
                self.live[report.mid] = report
        return change

    def note(self) -> None:
        """After submit: the picture after this change."""
        self.pictures.append(picture(list(self.live.values())))

    def _mid(self) -> int:
        self.next_mid += 1
        return self.next_mid - 1

    def _insertion(self, spool: Spool, events: bytes, urgent: bool) -> Change:
        mid = self._mid()
        size = self.random.choice([0, 100, 5000, 65_536, 65_537, 200_000])
        change = insertion(spool, mid, content(mid, size), events=events, urgent=urgent or size > 65_536)
        assert change.insert is not None
        self.live[mid] = change.insert
        return change

    def _progress(self, stored: StoredMessage) -> None:
        rng = self.random
        stored.progress[0] = Progress(
            rng.choice(list(RecipientState)), rng.randrange(9), rng.random(), True, "4.0.0"
        )
        stored.held = rng.choice(["", "held"])


def picture(messages: list[StoredMessage]) -> Picture:
    return {stored.mid: (pack_message(stored), pack_state(stored)) for stored in messages}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_is_a_prefix_with_everything_awaited(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        root = tmp_path / "spool"
        model = Model(seed)
        for death in range(3):
            copy = tmp_path / f"copy{death}"
            awaited = await live(root, copy, model, boot=f"boot{death % 2}")
            shutil.rmtree(root)
            copy.rename(root)
            await check(root, model, awaited)

    run(scenario())


async def live(root: Path, copy: Path, model: Model, boot: str) -> int:
    """One life of a spool, ended by a copy of its folder. Returns how many changes are surely durable."""
    awaited = 0
    async with opened(root, 0, 1, boot=boot, settings=SETTINGS) as it:
        await it.spool.recovered()
        model.pictures = [model.pictures[-1]]
        for _ in range(model.random.randrange(1, 40)):
            change = model.change(it.spool)
            future = it.spool.submit(change)
            model.note()
            if change.urgent:
                await future
                awaited = len(model.pictures) - 1
        copy_whole(root, copy)
    return awaited


def copy_whole(root: Path, copy: Path) -> None:
    """Copy a live spool. A body that was removed under the copying hands makes the picture one of no moment: again."""
    for _ in range(10):
        try:
            shutil.copytree(root, copy)
        except shutil.Error:
            shutil.rmtree(copy)
        else:
            return
    pytest.fail("the spool did not hold still for a copy")


def body_files(root: Path) -> set[str]:
    return {path.name for path in root.glob("*/body/*")}


async def check(root: Path, model: Model, awaited: int) -> None:
    async with opened(root, 0, 1, boot="look", settings=SETTINGS) as it:
        messages = await it.spool.recovered()
        now = picture(messages)
        assert now in model.pictures[awaited:]
        model.pictures = [now]
        model.live = {stored.mid: stored for stored in messages}
        for stored in messages:
            assert await read_all(it.spool, stored) == content(stored.mid, stored.size)
        numbers = [int(line) for blob in it.spool.left_over_events() for line in blob.split()]
        assert numbers == sorted(numbers)
        it.spool.exported(it.spool.export_point())
        assert body_files(root) == {str(stored.mid) for stored in messages if stored.in_file}
