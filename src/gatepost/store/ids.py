"""Identifiers that never repeat, granted to workers in blocks of 256 (architecture 3).

The supervisor's file holds one high-water mark for each kind, always ahead of what was granted: a block is granted
only when the mark on disk is at or above its end. Marks are written ahead for 64 blocks at once, so one
flush serves 16,384 identifiers; a restart skips what was written ahead and not used.

The file has two slots in sectors of their own, each with a counter and a checksum, written in turns: a power cut may
tear the slot that is being written, never the other. Its first version is written under another name, flushed
and renamed.

Limits: one owner (the home's lock). A lost file cannot be guessed: whoever opens the home tells the lowest numbers that
are still safe (`floor`), which raises the marks and never lowers them.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from gatepost.core.errors import Exit, OperatorError
from gatepost.core.ids import BLOCK, IdKind

AHEAD = 64 * BLOCK
SLOT = 4096
_MAGIC = b"GPIDS001"
_SLOT = struct.Struct("<8sQQQQ")  # magic, counter, marks in the order of IdKind; then the CRC-32 of all that
_CRC = struct.Struct("<I")
_KINDS = tuple(IdKind)


class IdSource:
    """The identifiers of an installation. Blocks: every grant that passes the mark is one write and one flush."""

    def __init__(self, path: Path, *, floor: int = 1) -> None:
        self._path = path
        if not path.exists():
            _create(path, floor)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            # What a killed owner wrote and did not flush would else be torn together with our first write.
            os.fdatasync(self._descriptor)
            _flush_directory(path.parent)
            self._counter, marks = _newest(os.pread(self._descriptor, 2 * SLOT, 0), path)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._mark = dict(zip(_KINDS, marks, strict=True))
        self._next = {kind: max(mark, floor) for kind, mark in self._mark.items()}
        self._failed = ""

    def grant(self, kind: IdKind) -> int:
        """The first of a block of 256 identifiers that nobody ever had. Raises OperatorError when the disk fails."""
        first = self._next[kind]
        end = first + BLOCK
        if end > self._mark[kind]:
            self._write_ahead(kind, end + AHEAD - BLOCK)
        self._next[kind] = end
        return first

    def close(self) -> None:
        """Let the file go. What was written ahead and not granted is skipped at the next opening."""
        os.close(self._descriptor)

    def _write_ahead(self, kind: IdKind, mark: int) -> None:
        """Make the mark durable. After a failed flush nothing is known of the file: no more grants."""
        if self._failed:
            raise self._error(self._failed)
        marks = {**self._mark, kind: mark}
        counter = self._counter + 1
        try:
            data = _pack(counter, [marks[k] for k in _KINDS])
            if os.pwrite(self._descriptor, data, counter % 2 * SLOT) != len(data):
                raise OSError("short write")
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._failed = error.strerror or str(error)
            raise self._error(self._failed) from error
        self._counter = counter
        self._mark = marks

    def _error(self, text: str) -> OperatorError:
        return OperatorError(
            f"identifiers cannot be granted: {self._path}: {text}",
            "look at the disk and start the gateway again",
        )


def _pack(counter: int, marks: list[int]) -> bytes:
    head = _SLOT.pack(_MAGIC, counter, *marks)
    return head + _CRC.pack(zlib.crc32(head))


def _unpack(slot: bytes) -> tuple[int, tuple[int, ...]] | None:
    head = slot[: _SLOT.size]
    check = slot[_SLOT.size : _SLOT.size + _CRC.size]
    if len(check) < _CRC.size or _CRC.unpack(check)[0] != zlib.crc32(head):
        return None
    magic, counter, *marks = _SLOT.unpack(head)
    return (counter, tuple(marks)) if magic == _MAGIC else None


def _newest(data: bytes, path: Path) -> tuple[int, tuple[int, ...]]:
    slots = [slot for start in (0, SLOT) if (slot := _unpack(data[start : start + SLOT])) is not None]
    if not slots:
        raise OperatorError(
            f"{path} is damaged: which identifiers were used is not known",
            "restore it from a backup, or remove it when the spool and the logs are empty",
            code=Exit.REFUSED,
        )
    return max(slots)


def _create(path: Path, floor: int) -> None:
    """Both slots filled, on disk under another name, then renamed and the directory flushed."""
    unfinished = path.with_name(path.name + ".new")
    marks = [floor] * len(_KINDS)
    data = b"".join(_pack(counter, marks).ljust(SLOT, b"\0") for counter in (0, 1))
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(unfinished, path)
    _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
