"""Follows a log as it is written, over rotations (`gatepost log follow`).

Reads from the end on. When nothing new is there it asks the waiting function, which sleeps, or tells it to stop;
after a rotation the rest of the old file is read before the new one is begun, so that no line is missed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

INTERVAL = 0.2
_CHUNK = 65_536


def follow(
    path: Path, wait: Callable[[float], bool], *, interval: float = INTERVAL, from_start: bool = False
) -> Iterator[str]:
    """New lines of `path`, without their line ends, until `wait(interval)` answers False.

    The file need not exist yet. `from_start` begins with what is there already.
    """
    file: BinaryIO | None = None
    position = 0 if from_start else _size(path)
    rest = b""
    try:
        while True:
            if file is None:
                file = _open(path, position)
                position = 0  # any file opened later is read whole
            data = file.read(_CHUNK) if file is not None else b""
            if data:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield line.decode("utf-8", "backslashreplace")
                continue
            # Looked at before the last read of the old file: whoever renames it has written to it for the last time.
            if file is not None and _put_away(file, path):
                tail = file.read(_CHUNK)
                if tail:
                    file.seek(-len(tail), os.SEEK_CUR)
                    continue
                file.close()
                file, rest = None, b""
                continue
            if not wait(interval):
                return
    finally:
        if file is not None:
            file.close()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _open(path: Path, position: int) -> BinaryIO | None:
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        return None
    file.seek(position)
    return file  # a raw file reads like any other; a short read is what is wanted


def _put_away(file: BinaryIO, path: Path) -> bool:
    """True when the name now leads to another file, or this one was cut short."""
    mine = os.fstat(file.fileno())
    try:
        found = path.stat()
    except FileNotFoundError:
        return False  # between the rename and the new file: it will come
    return (found.st_dev, found.st_ino) != (mine.st_dev, mine.st_ino) or mine.st_size < file.tell()
