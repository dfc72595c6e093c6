"""Message bodies on their way to disk.

A body of up to 64 KiB stays in memory and goes into its message's row. A larger one is streamed to `body/<mid>` by one
thread, the same for all sessions of the worker: it writes the pieces as they come, takes their digest, and when
a message is submitted flushes its file, then once for all that end together the directory, and only then hands
the row to the writer thread. A session that is faster than the disk waits in `drain`. A body that would eat into
the reserve of free space is refused while it comes in, whatever size its sender had announced.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from gatepost.store.spool.files import NO_ROOM, Files
from gatepost.store.spool.records import SpoolFailed, SpoolFull
from gatepost.store.spool.space import Space

if TYPE_CHECKING:
    from gatepost.store.spool.transaction import Pending

HAND_OVER = 128 << 10  # pieces are collected to this size before they go to the thread
FINISH_TOGETHER = 32  # files flushed before one flush of their directory


class Home(Protocol):
    """The shard that a body belongs to, as the body thread sees it."""

    number: int
    bodies: Path

    def enqueue(self, pending: Pending) -> None:
        """The body is safe: commit its row."""
        ...

    def refuse(self, pending: Pending, error: Exception) -> None:
        """The body could not be kept: tell who waits."""
        ...

    def fail(self, reason: str) -> None:
        """A flush failed: the shard is read-only from now on."""
        ...


class _Kind(Enum):
    WRITE = 0
    FINISH = 1
    ABORT = 2
    UNLINK = 3
    SETTLE = 4
    STOP = 5


class BodyFile:
    """One large body as the body thread holds it. Only `written` and `error` are read by the loop."""

    __slots__ = ("descriptor", "digest", "error", "home", "path", "written")

    def __init__(self, home: Home, path: Path) -> None:
        self.home = home
        self.path = path
        self.descriptor = -1
        self.digest = hashlib.sha256()
        self.written = 0
        self.error: Exception | None = None


class BodyWriter:
    """The body of one message while it comes in. Not to be used after it was submitted with its change.

    Exactly one of submit and `abort` ends its life; `abort` after submit does nothing, so it may stand in a `finally`.
    """

    __slots__ = ("_file", "_handed", "_home", "_limit", "_mid", "_pieces", "_small", "_thread", "_waiter",
                 "_waiting", "ended", "size")  # fmt: skip

    def __init__(self, mid: int, home: Home, thread: BodyThread, small: int, limit: int) -> None:
        self._mid = mid
        self._home = home
        self._thread = thread
        self._small = small
        self._limit = limit
        self._pieces: list[bytes] = []
        self._waiting = 0  # octets in `_pieces`
        self._handed = 0  # octets given to the thread
        self._file: BodyFile | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.size = 0
        self.ended = False

    @property
    def in_file(self) -> bool:
        """True as soon as the body is too large for its row."""
        return self._file is not None

    @property
    def shard(self) -> int:
        return self._home.number

    def write(self, data: bytes) -> None:
        """More of the body. Never blocks; a failure shows when the change is submitted."""
        self._pieces.append(data)
        self.size += len(data)
        self._waiting += len(data)
        if self._file is None:
            if self.size <= self._small:
                return
            self._file = BodyFile(self._home, self._home.bodies / str(self._mid))
        if self._waiting >= HAND_OVER:
            self._hand_over(self._file)

    async def drain(self) -> None:
        """Wait while more of this body is under way to the disk than one session may have."""
        file = self._file
        if file is None or self._handed - file.written <= self._limit:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        # The thread looks at the waiter after it wrote, we look at what is written after the waiter is set:
        # one of the two sees the other.
        if self._handed - file.written > self._limit // 2:
            await self._waiter
        self._waiter = None

    def abort(self) -> None:
        """The message is not wanted: forget the body and remove its file."""
        if self.ended:
            return
        self.ended = True
        self._pieces = []
        if self._file is not None:
            self._thread.put(_Kind.ABORT, self._file)

    def take(self) -> bytes:
        """A small body, whole (the spool's side of submit)."""
        self.ended = True
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self, pending: Pending) -> None:
        """Have a large body made safe and its row committed after it (the spool's side of submit)."""
        assert self._file is not None
        self.ended = True
        self._hand_over(self._file)
        self._thread.put(_Kind.FINISH, self._file, pending)

    def _hand_over(self, file: BodyFile) -> None:
        data = b"".join(self._pieces)
        self._pieces = []
        self._waiting = 0
        self._handed += len(data)
        self._thread.put(_Kind.WRITE, file, data, self)

    def _written(self, file: BodyFile) -> bool:
        """In the thread, after a write: does the session wait, and may it go on?"""
        return self._waiter is not None and self._handed - file.written <= self._limit // 2

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class BodyThread:
    """Writes and flushes the large bodies of a worker, and removes the files of finished messages."""

    def __init__(
        self,
        files: Files,
        space: Space,
        post: Callable[..., object],
        died: Callable[[BaseException], None],
    ) -> None:
        self._files = files
        self._space = space
        self._died = died
        self._post = post
        self._queue: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool-bodies", daemon=True)
        self.not_removed = 0  # files that could not be removed; they are orphans of the next boot

    def start(self) -> None:
        self._thread.start()

    def put(self, kind: _Kind, *arguments: object) -> None:
        self._queue.put((kind, *arguments))

    def remove(self, paths: list[Path]) -> None:
        """Remove the files of messages whose removal is committed. May be called from any thread."""
        self._queue.put((_Kind.UNLINK, paths))

    def settle(self) -> None:
        """Wait until every body handed over so far has reached its writer. Blocks."""
        settled = threading.Event()
        self._queue.put((_Kind.SETTLE, settled))
        settled.wait()

    def stop(self) -> None:
        """Do what was handed over, then end. Blocks."""
        self._queue.put((_Kind.STOP,))
        self._thread.join()

    def _run(self) -> None:
        finishing: list[tuple[BodyFile, Pending]] = []
        try:
            self._work(finishing)
        except BaseException as error:  # noqa: BLE001 (the thread's outermost frame: nobody may wait for ever)
            self._post(self._died, error)
            self._refuse_all(finishing, error)

    def _refuse_all(self, finishing: list[tuple[BodyFile, Pending]], error: BaseException) -> None:
        """After a bug in this thread: every shard is failed, every body that ends is refused, until the stop."""
        refusal = SpoolFailed(f"the body thread died: {error!r}")
        while True:
            for file, pending in finishing:
                file.home.fail(str(refusal))
                file.home.refuse(pending, refusal)
            finishing.clear()
            match self._queue.get():
                case (_Kind.WRITE, file, data, writer):
                    file.written += len(data)
                    self._post(writer._wake)
                case (_Kind.FINISH, file, pending):
                    finishing.append((file, pending))
                case (_Kind.SETTLE, settled):
                    settled.set()
                case (_Kind.STOP,):
                    return

    def _work(self, finishing: list[tuple[BodyFile, Pending]]) -> None:
        while True:
            try:
                job = self._queue.get(block=not finishing)
            except Empty:
                self._finish(finishing)
                continue
            match job:
                case (_Kind.WRITE, file, data, writer):
                    self._write(file, data)
                    if writer._written(file):
                        self._post(writer._wake)
                case (_Kind.FINISH, file, pending):
                    finishing.append((file, pending))
                    if len(finishing) >= FINISH_TOGETHER:
                        self._finish(finishing)
                case (_Kind.ABORT, file):
                    self._discard(file)
                case (_Kind.UNLINK, paths):
                    for path in paths:
                        self._unlink(path)
                case (_Kind.SETTLE, settled):
                    self._finish(finishing)
                    settled.set()
                case _:
                    self._finish(finishing)
                    return

    def _write(self, file: BodyFile, data: bytes) -> None:
        if file.error is None and not self._space.room_for(len(data)):
            file.error = SpoolFull("the reserve of free space is reached")
        if file.error is None:
            self._space.spend(len(data))
            try:
                if file.descriptor < 0:
                    file.descriptor = self._files.create(file.path)
                self._files.write(file.descriptor, data)
                file.digest.update(data)
            except OSError as error:
                file.error = self._judge(file.home, error, flush=file.descriptor >= 0)
        file.written += len(data)

    def _finish(self, finishing: list[tuple[BodyFile, Pending]]) -> None:
        """Flush the files, then their directories once, then let the rows be committed."""
        for file, _ in finishing:
            if file.error is None:
                try:
                    self._files.flush(file.descriptor)
                except OSError as error:
                    file.error = self._judge(file.home, error, flush=True)
        homes = {file.home.number: file.home for file, _ in finishing if file.error is None}
        failed: dict[int, Exception] = {}
        for number, home in homes.items():
            try:
                self._files.flush_directory(home.bodies)
            except OSError as error:
                failed[number] = self._judge(home, error, flush=True)
        for file, pending in finishing:
            refusal = file.error or failed.get(file.home.number)
            if refusal is None:
                self._close(file)
                pending.body_is_safe(file.digest.digest())
                file.home.enqueue(pending)
            else:
                self._discard(file)
                file.home.refuse(pending, refusal)
        finishing.clear()

    def _judge(self, home: Home, error: OSError, *, flush: bool) -> Exception:
        """No room ends this body alone. Any other error behind the opening of the file ends the shard's promise."""
        text = f"{error.strerror or error}"
        if error.errno in NO_ROOM:
            return SpoolFull(text)
        if flush:
            home.fail(f"a body could not be written: {text}")
        return SpoolFailed(f"a body could not be written: {text}")

    def _discard(self, file: BodyFile) -> None:
        if file.descriptor >= 0:
            self._close(file)
            self._unlink(file.path)

    def _close(self, file: BodyFile) -> None:
        self._files.close(file.descriptor)
        file.descriptor = -1

    def _unlink(self, path: Path) -> None:
        try:
            self._files.unlink(path)
        except OSError:
            self.not_removed += 1
