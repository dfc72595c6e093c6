"""What the spool's tests share: opening one, making messages, and a file layer that fails when told to."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gatepost.core.address import Address
from gatepost.core.envelope import Envelope, Recipient
from gatepost.store.spool import Change, Files, Spool, SpoolSettings, StoredMessage

T = TypeVar("T")
LARGE = 100_000  # octets, over the limit of a body in its row


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """One event loop for one test, bounded."""

    async def bounded() -> T:
        return await asyncio.wait_for(coroutine, 30)

    return asyncio.run(bounded())


def address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(text, local, domain)


def envelope(*recipients: str) -> Envelope:
    names = recipients or ("one@example.org",)
    return Envelope(address("sender@example.com"), tuple(Recipient(address(name)) for name in names))


def message(mid: int, **more: Any) -> StoredMessage:
    return StoredMessage(mid=mid, received=1_700_000_000.0 + mid, envelope=envelope(), **more)


def content(mid: int, size: int = 100) -> bytes:
    """A body that no other message has."""
    return (b"%010d\r\n" % mid * (size // 12 + 1))[:size]


def insertion(
    spool: Spool, mid: int, body: bytes, *, events: bytes = b"", urgent: bool = True, **more: Any
) -> Change:
    writer = spool.new_body(mid)
    for start in range(0, len(body), 40_000):
        writer.write(body[start : start + 40_000])
    return Change(insert=message(mid, **more), body=writer, events=events, urgent=urgent)


async def read_all(spool: Spool, stored: StoredMessage, limit: int = 30_000) -> bytes:
    reader = await spool.open_body(stored)
    pieces = []
    while piece := await reader.read(limit):
        pieces.append(piece)
    return b"".join(pieces)


@dataclass
class Opened:
    """An open spool with what it reported."""

    spool: Spool
    problems: list[tuple[int, str, int]] = field(default_factory=list)


@asynccontextmanager
async def opened(
    root: Path,
    *shards: int,
    boot: str = "boot",
    settings: SpoolSettings | None = None,
    files: Files | None = None,
    now: Any = None,
) -> AsyncIterator[Opened]:
    problems: list[tuple[int, str, int]] = []
    spool = await Spool.open(
        root,
        shards or (0,),
        settings or SpoolSettings(lock_wait=0.2),
        boot=boot,
        now=now or (lambda: 0.0),
        on_problem=lambda *problem: problems.append(problem),
        files=files,
    )
    try:
        yield Opened(spool, problems)
    finally:
        await spool.close()


async def found(root: Path, *shards: int, boot: str = "boot") -> dict[int, StoredMessage]:
    """Open, look, close."""
    async with opened(root, *shards, boot=boot) as it:
        return {stored.mid: stored for stored in await it.spool.recovered()}


class FaultyFiles(Files):
    """The real file operations, of which those named in `failing` raise that error number; all are noted in order."""

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}
        self.calls: list[tuple[str, str]] = []
        self.free = 1 << 40
        self.total = 1 << 41
        self._names: dict[int, str] = {}

    def _note(self, operation: str, name: str) -> None:
        self.calls.append((operation, name))
        if operation in self.failing:
            number = self.failing[operation]
            raise OSError(number, os.strerror(number))

    def create(self, path: Path) -> int:
        self._note("create", path.name)
        descriptor = super().create(path)
        self._names[descriptor] = path.name
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        self._note("write", self._names[descriptor])
        super().write(descriptor, data)

    def flush(self, descriptor: int) -> None:
        self._note("flush", self._names[descriptor])
        super().flush(descriptor)

    def flush_directory(self, path: Path) -> None:
        self._note("flush_directory", path.name)
        super().flush_directory(path)

    def unlink(self, path: Path) -> None:
        self._note("unlink", path.name)
        super().unlink(path)

    def space(self, path: Path) -> tuple[int, int]:
        self._note("space", path.name)
        return self.free, self.total


NO_SPACE, BROKEN = errno.ENOSPC, errno.EIO
