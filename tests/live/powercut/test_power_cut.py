"""Power cut: every message that was promised is there and whole, whatever a disk does with what was not flushed.

A real spool runs under load with every durable operation recorded. Then, for many random points of the record, a disk
is made as a power cut at that point may leave it (`disk.py`), a spool is opened on it, and what it holds is
compared with what had been promised by then. The same test with one kind of flush left out must find a loss.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.live.powercut.disk import Disk, Record, read_log
from tests.live.powercut.load import content

from gatepost.core.errors import OperatorError
from gatepost.store.spool import BodyDamaged, Spool, SpoolSettings, StoredMessage

pytestmark = pytest.mark.live

CUTS = 120
HERE = Path(__file__).parent
KEEP = (0.0, 0.3, 0.7, 1.0)


@dataclass
class Promises:
    """What had been asked and what had been promised when the power went."""

    asked: dict[int, int] = field(default_factory=dict)  # MID -> size
    promised: set[int] = field(default_factory=set)
    attempts_asked: dict[int, int] = field(default_factory=dict)
    attempts_promised: dict[int, int] = field(default_factory=dict)
    removal_asked: set[int] = field(default_factory=set)
    removal_promised: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        match line.split():
            case ["I", mid, size]:
                self.asked[int(mid)] = int(size)
            case ["A", mid]:
                self.promised.add(int(mid))
            case ["U", mid, attempt]:
                self.attempts_asked[int(mid)] = int(attempt)
            case ["u", mid, attempt]:
                self.attempts_promised[int(mid)] = int(attempt)
            case ["R", mid]:
                self.removal_asked.add(int(mid))
            case ["r", mid]:
                self.removal_promised.add(int(mid))
            case _:
                self.problems.append(line)


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorder, compiled."""
    if shutil.which("gcc") is None:
        pytest.fail("the power-cut test needs a C compiler: apt-get install gcc libc6-dev")
    library = tmp_path_factory.mktemp("recorder") / "record.so"
    options = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-U_FORTIFY_SOURCE"]
    command = ["gcc", *options, "-o", library, HERE / "record.c", "-ldl", "-pthread"]
    subprocess.run(command, check=True)
    return library


def run_load(recorder: Path, place: Path, seed: int, mode: str = "none") -> tuple[Path, list[Record]]:
    root = place / "root"
    root.mkdir()
    environment = {
        **os.environ,
        "LD_PRELOAD": str(recorder),
        "POWERCUT_ROOT": str(root),
        "POWERCUT_MARKS": str(place / "marks"),
        "POWERCUT_LOG": str(place / "log"),
    }
    command = [sys.executable, HERE / "load.py", root, place / "marks", str(seed), mode]
    subprocess.run(command, env=environment, check=True, timeout=60)
    return root, read_log(place / "log")


async def losses(image: Path, promises: Promises) -> list[str]:
    """Open a spool on what the cut left. Returns everything that should not be so."""
    wrong: list[str] = []
    try:
        spool = await Spool.open(
            image / "spool",
            [0],
            SpoolSettings(),
            boot="after the cut",
            now=lambda: 0.0,
            on_problem=lambda shard, reason, mid: wrong.append(f"message {mid}: {reason}"),
        )
    except OperatorError as error:
        return [error.message]
    try:
        there = {stored.mid: stored for stored in await spool.recovered()}
        events = b"".join(spool.left_over_events()).decode().splitlines()
        for mid in promises.promised - promises.removal_asked - there.keys():
            wrong.append(f"message {mid} was promised and is lost")
        for mid in promises.removal_promised & there.keys():
            wrong.append(f"message {mid} was removed and is back")
        for mid in promises.promised:
            if f"I {mid}" not in events:
                wrong.append(f"the events of message {mid} are lost")
        for stored in there.values():
            wrong += await faults(spool, stored, promises)
            if f"I {stored.mid}" not in events or f"R {stored.mid}" in events:
                wrong.append(f"message {stored.mid} and its events disagree")
    finally:
        await spool.close()
    return wrong


async def faults(spool: Spool, stored: StoredMessage, promises: Promises) -> list[str]:
    mid = stored.mid
    if stored.held:
        return [f"message {mid} is held: {stored.held}"]
    try:
        reader = await spool.open_body(stored)
        pieces = []
        while piece := await reader.read(65_536):
            pieces.append(piece)
    except BodyDamaged as error:
        return [str(error)]
    if b"".join(pieces) != content(mid, promises.asked[mid]):
        return [f"message {mid} has another body"]
    attempts = stored.progress[0].attempts
    least, most = promises.attempts_promised.get(mid, 0), promises.attempts_asked.get(mid, 0)
    if not least <= attempts <= most:
        return [f"message {mid} has {attempts} attempts, not {least} to {most}"]
    return []


def cuts(root: Path, place: Path, records: list[Record], seed: int, count: int) -> list[str]:
    """Cut at `count` random points; stops at the first loss."""
    rng = random.Random(seed)
    points = sorted(rng.sample(range(len(records)), count))
    disk, promises = Disk(root), Promises()
    position = 0
    for point in points:
        for record in records[position:point]:
            disk.play(record)
            if record.op == "M":
                for line in record.payload.decode().splitlines():
                    promises.note(line)
        position = point
        assert promises.problems == []
        image = place / "image"
        disk.image(image, rng, KEEP)
        wrong = asyncio.run(losses(image, promises))
        shutil.rmtree(image)
        if wrong:
            return [f"cut at {point} of {len(records)}: {text}" for text in wrong]
    return []


def test_what_was_promised_survives_a_power_cut(recorder: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("POWERCUT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"POWERCUT_SEED={seed}")  # noqa: T201 (shown when the test fails, to run it again)
    root, records = run_load(recorder, tmp_path, seed)
    assert cuts(root, tmp_path, records, seed, CUTS) == []


def test_the_record_is_whole(recorder: Path, tmp_path: Path) -> None:
    """With nothing lost, the disk of the model is the folder that the process left. (It ends in order here: a process that
    is cut off may have done one thing more than it recorded.)"""
    root, records = run_load(recorder, tmp_path, 1, "orderly")
    disk = Disk(root)
    for record in records:
        disk.play(record)
    disk.image(tmp_path / "image", random.Random(1), (1.0,))
    assert contents(tmp_path / "image") == contents(root)


def contents(top: Path) -> dict[str, bytes]:
    """All files but the crash marks, which are mapped into memory and not meant to survive a power cut."""
    return {
        str(path.relative_to(top)): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file() and path.name != "work"
    }


@pytest.mark.parametrize("sabotage", ["log", "file", "directory"])
def test_a_flush_that_is_left_out_is_found(recorder: Path, tmp_path: Path, sabotage: str) -> None:
    root, records = run_load(recorder, tmp_path, 1, sabotage)
    assert cuts(root, tmp_path, records, 1, 40) != []
