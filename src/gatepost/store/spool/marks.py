"""Marks of the messages in work, which survive the death of the process that set them.

A small file mapped into memory: setting a mark is a store of eight octets, no system call. The kernel keeps the page
when the process dies, whatever killed it; a power cut may lose it, and that is right, since a power cut is not the
message's fault. For the same reason marks of an earlier boot of the supervisor are not counted: then the whole gateway
was stopped or killed. What is left within one boot was left by a worker that crashed with these messages in work.

Layout: 8 octets magic, 32 octets SHA-256 of the boot's name, 16 octets token, 8 unused, then one MID per slot, 0 is free.
The token is new at every opening; the database remembers the last one that was counted, so that no crash counts twice.
Limits: when all slots are taken, a message is not marked.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from pathlib import Path

MAGIC = b"GPWORK1\n"
HEADER = 64
_MID = struct.Struct("<Q")


class WorkMarks:
    """The marks of one shard. `left` holds what the last owner left, with the boot and token under which it did."""

    __slots__ = ("_free", "_map", "_slot", "left", "left_boot", "left_token")

    def __init__(self, path: Path, slots: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            found = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            self.left, self.left_boot, self.left_token = _parse(found)
            used = len(found) - len(found) % _MID.size
            size = max(HEADER + slots * _MID.size, used)  # never smaller: `left` is not counted yet
            if len(found) != size:
                # Real blocks, not a hole: a store into a hole on a full disk would end the process (SIGBUS).
                os.posix_fallocate(descriptor, 0, size)
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._slot: dict[int, int] = {}
        self._free: list[int] = list(range(size - _MID.size, HEADER - 1, -_MID.size))

    def begin(self, boot: str) -> None:
        """Start afresh under this boot; called when what was left has been counted and committed."""
        self._map[HEADER:] = bytes(len(self._map) - HEADER)
        self._map[:HEADER] = (MAGIC + boot_digest(boot) + os.urandom(16)).ljust(HEADER, b"\0")

    def set(self, mid: int) -> None:
        """The message is in work. Setting it twice is the same as once."""
        if mid in self._slot or not self._free:
            return
        offset = self._free.pop()
        self._slot[mid] = offset
        _MID.pack_into(self._map, offset, mid)

    def clear(self, mid: int) -> None:
        """The message is not in work any more; a message without a mark is left alone."""
        offset = self._slot.pop(mid, 0)
        if offset:
            _MID.pack_into(self._map, offset, 0)
            self._free.append(offset)

    def close(self) -> None:
        """Let the file go. Marks still set stay set."""
        self._map.close()


def boot_digest(boot: str) -> bytes:
    return hashlib.sha256(boot.encode()).digest()


def _parse(found: bytes) -> tuple[tuple[int, ...], bytes, bytes]:
    """Marks, boot and token; a file that is not ours is as good as none."""
    if found[:8] != MAGIC or len(found) < HEADER:
        return (), b"", b""
    usable = len(found) - (len(found) - HEADER) % _MID.size
    marks = tuple(mid for (mid,) in _MID.iter_unpack(found[HEADER:usable]) if mid)
    return marks, found[8:40], found[40:56]
