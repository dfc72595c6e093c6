"""Stored bodies on their way out.

A file is read on the loop when the page cache has it (RWF_NOWAIT), else in a thread. Length and digest are checked
before the last piece is handed out, so a damaged body never leaves the house whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from gatepost.store.spool.records import BodyDamaged


class BodyReader:
    """A stored body from its start to its end. Close it when it is not read to the end."""

    size: int

    async def read(self, limit: int) -> bytes:
        """The next piece, at most `limit` octets; empty at the end. Raises BodyDamaged."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what the reader holds; more than once is harmless."""


class MemoryBody(BodyReader):
    """A small body. Its digest was checked when it came from the disk; a fresh one never was there."""

    __slots__ = ("_data", "_position", "size")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self.size = len(data)

    async def read(self, limit: int) -> bytes:
        start = self._position
        if start == 0 and limit >= self.size:
            self._position = self.size
            return self._data
        piece = self._data[start : start + limit]
        self._position += len(piece)
        return piece


class FileBody(BodyReader):
    """A large body. `expected` is its digest."""

    __slots__ = ("_descriptor", "_digest", "_expected", "_mid", "_position", "size")

    def __init__(self, descriptor: int, mid: int, size: int, expected: bytes) -> None:
        self._descriptor = descriptor
        self._mid = mid
        self._digest = hashlib.sha256()
        self._expected = expected
        self._position = 0
        self.size = size

    async def read(self, limit: int) -> bytes:
        want = min(limit, self.size - self._position)
        if want <= 0:
            return b""
        piece = _read_cached(self._descriptor, want, self._position)
        if piece is None:
            loop = asyncio.get_running_loop()
            try:
                piece = await loop.run_in_executor(None, os.pread, self._descriptor, want, self._position)
            except OSError as error:
                self.close()
                raise BodyDamaged(
                    f"the body of message {self._mid} cannot be read: {error.strerror}"
                ) from error
        self._position += len(piece)
        self._digest.update(piece)
        if not piece:
            self.close()
            raise BodyDamaged(f"the body of message {self._mid} is shorter than it was")
        if self._position == self.size:
            self.close()
            if self._digest.digest() != self._expected:
                raise BodyDamaged(f"the body of message {self._mid} does not match its SHA-256")
        return piece

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _read_cached(descriptor: int, want: int, position: int) -> bytes | None:
    """What the page cache holds, or None when reading would wait for the disk or cannot be asked so."""
    buffer = bytearray(want)
    try:
        got = os.preadv(descriptor, [buffer], position, os.RWF_NOWAIT)
    except OSError:
        return None  # not cached, or a file system without RWF_NOWAIT: the thread finds out
    if got == 0:
        return None
    return bytes(buffer) if got == want else bytes(memoryview(buffer)[:got])


def open_file_body(path: Path, mid: int, size: int, expected: bytes) -> FileBody:
    """Open a body file and check its length. Blocks (a look-up). Raises BodyDamaged."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BodyDamaged(f"the body file of message {mid} is missing") from None
    length = os.fstat(descriptor).st_size
    if length != size:
        os.close(descriptor)
        raise BodyDamaged(f"the body file of message {mid} has {length} octets instead of {size}")
    return FileBody(descriptor, mid, size, expected)


def check_small_body(data: object, mid: int, size: int, expected: bytes) -> bytes:
    """A small body as it came from its row. Raises BodyDamaged."""
    if not isinstance(data, bytes) or len(data) != size or hashlib.sha256(data).digest() != expected:
        raise BodyDamaged(f"the body of message {mid} in its row does not match its length and SHA-256")
    return data


class FreshBodies:
    """Small bodies that came lately, so that their first delivery reads nothing. The oldest go first."""

    __slots__ = ("_bodies", "_limit", "octets")

    def __init__(self, limit: int) -> None:
        self._bodies: dict[int, bytes] = {}
        self._limit = limit
        self.octets = 0

    def put(self, mid: int, body: bytes) -> None:
        """Keep a body that is not kept yet."""
        self._bodies[mid] = body
        self.octets += len(body)
        while self.octets > self._limit:
            self.drop(next(iter(self._bodies)))

    def get(self, mid: int) -> bytes | None:
        return self._bodies.get(mid)

    def drop(self, mid: int) -> None:
        """Let a body go; one that is not kept is no fault."""
        body = self._bodies.pop(mid, None)
        if body is not None:
            self.octets -= len(body)
