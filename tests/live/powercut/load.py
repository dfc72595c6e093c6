"""The process whose power is cut: a real spool under the load of some sessions, saying at every step what it was promised.

Run by the test as `python load.py ROOT MARKS SEED MODE`. Marks, one a line: `I mid size` asked to keep, `A mid`
promised; `U mid n` asked to note attempt n, `u mid n` promised; `R mid` asked to remove, `r mid` promised. What is asked
is marked before it is submitted, what is promised after its future resolved. MODE is `none`, or
which flush is left out (`log`, `file`, `directory`), or `orderly`: then the process ends with a closed spool, else in the
midst of its work.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from itertools import count
from pathlib import Path

import apsw

from gatepost.core.address import Address
from gatepost.core.envelope import Envelope, Recipient
from gatepost.store.spool import Change, Files, Spool, SpoolSettings, StoredMessage

SESSIONS = 6
MESSAGES = 14  # of each session, in each of two lives of the spool
SETTINGS = {"wal_passive": 400 << 10, "wal_truncate": 800 << 10, "idle": 0.02, "lazy_delay": 0.01}


def content(mid: int, size: int) -> bytes:
    return random.Random(mid).randbytes(size)


def message(mid: int) -> StoredMessage:
    address = Address("a@example.org", "a", "example.org")
    return StoredMessage(mid, float(mid), Envelope(address, (Recipient(address),)))


class NoFileFlush(Files):
    def flush(self, descriptor: int) -> None:
        pass


class NoDirectoryFlush(Files):
    def flush_directory(self, path: Path) -> None:
        pass


class NoSyncFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        pass


class NoSync(apsw.VFS):
    """An SQLite layer that says that it has flushed."""

    def __init__(self) -> None:
        super().__init__("no-sync", "", maxpathname=1024)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return NoSyncFile(name, flags)


class Load:
    def __init__(self, root: Path, marks: int, seed: int, mode: str) -> None:
        self.root = root
        self.marks = marks
        self.random = random.Random(seed)
        self.ids = count(1)
        self.files = {"file": NoFileFlush, "directory": NoDirectoryFlush}.get(mode, Files)()
        self.layer = NoSync() if mode == "log" else None
        self.settings = SpoolSettings(**SETTINGS, vfs="no-sync" if self.layer else "")

    def mark(self, text: str) -> None:
        os.write(self.marks, f"{text}\n".encode())

    async def life(self, boot: str) -> Spool:
        spool = await Spool.open(
            self.root / "spool",
            [0],
            self.settings,
            boot=boot,
            now=lambda: 0.0,
            on_problem=lambda *problem: self.mark(f"! {problem}"),
            files=self.files,
        )
        kept = [m for m in await spool.recovered() if self.random.random() < 0.3]
        await asyncio.gather(*(self.session(spool) for _ in range(SESSIONS)))
        for stored in kept:
            await self.remove(spool, stored.mid)
        return spool

    async def session(self, spool: Spool) -> None:
        rng = self.random
        for _ in range(MESSAGES):
            mid = next(self.ids)
            size = rng.choice([0, 300, 3000, 8000, 65_536, 65_537, 90_000, rng.randrange(250_000)])
            body = spool.new_body(mid)
            data = content(mid, size)
            for start in range(0, size, 30_000):
                body.write(data[start : start + 30_000])
                await body.drain()
            stored = message(mid)
            self.mark(f"I {mid} {size}")
            await spool.submit(Change(insert=stored, body=body, events=b"I %d\n" % mid, urgent=True))
            self.mark(f"A {mid}")
            for attempt in range(1, rng.randrange(1, 4)):
                await self.update(spool, stored, attempt, urgent=rng.random() < 0.5)
            if rng.random() < 0.5:
                await self.remove(spool, mid, urgent=rng.random() < 0.3)

    async def update(self, spool: Spool, stored: StoredMessage, attempt: int, *, urgent: bool) -> None:
        stored.progress[0].attempts = attempt
        self.mark(f"U {stored.mid} {attempt}")
        future = spool.submit(Change(update=stored, urgent=urgent))
        future.add_done_callback(lambda _: self.mark(f"u {stored.mid} {attempt}"))
        if urgent:
            await future

    async def remove(self, spool: Spool, mid: int, *, urgent: bool = False) -> None:
        self.mark(f"R {mid}")
        future = spool.submit(Change(remove=mid, events=b"R %d\n" % mid, urgent=urgent))
        future.add_done_callback(lambda _: self.mark(f"r {mid}"))
        if urgent:
            await future


async def main(root: str, marks: str, seed: str, mode: str) -> None:
    descriptor = os.open(marks, os.O_WRONLY | os.O_CREAT)
    load = Load(Path(root), descriptor, int(seed), mode)
    first = await load.life("first")
    await first.close()
    second = await load.life("second")
    if mode == "orderly":
        await second.close()
    os._exit(0)  # as it stands, with changes still under way


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
