"""Reads the events of some kinds from `events.jsonl` where it stopped last time, over rotations and restarts.

How it works. A `Position` names a file by what it begins with and how far it was read; a rename does not change that, and no two files
begin alike, since every event has its time. `read` goes on there, up to a number of octets, and returns the events and the new position.
Whoever keeps the position together with what the events led to misses nothing and sees nothing twice.

Lines of other kinds are passed over by a search for the kind's name at the beginning of a line; nothing else of them is looked at, so
100 MB of foreign lines cost some hundredths of a second.

Limits. A file that was put away and pruned, or removed, before it was read is lost: `Read.lost` says so, and reading goes on with the
oldest file that is there. A line that is still being written is left for the next time. Events of one process are in their
order, those of several are mixed as they were flushed, some tenths of a second apart.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gatepost.core.codec import decode_event
from gatepost.core.event import Event
from gatepost.track.log_files import log_paths

_CHUNK = 1 << 20
_HEAD = 256  # octets that name a file


@dataclass(frozen=True, slots=True)
class Position:
    """Behind the octet `offset` of the file whose first octets (up to 256, none behind the offset) have the digest `head`."""

    head: str = ""
    offset: int = 0


START = Position()  # before everything that is there


@dataclass(frozen=True, slots=True)
class Read:
    """What one look gave. `more` says that the limit ended it, `lost` that files were gone before they were read."""

    events: tuple[Event, ...]
    position: Position
    more: bool = False
    lost: bool = False


class EventReader:
    """One log. Blocks while it reads: meant for a thread."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name

    def near_end(self, back: int) -> Position:
        """Where to begin for the first time: behind a line, at most so many octets before the end of the current file."""
        try:
            with (self._directory / self._name).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - back))
                line = file.readline()
                return _position(file, file.tell() if line.endswith(b"\n") else 0)
        except FileNotFoundError:
            return START

    def read(self, position: Position, kinds: Collection[type[Event]], limit: int) -> Read:
        """The events of these kinds behind the position, from about `limit` octets."""
        needles = [b'{"event":"' + kind.__name__.encode() + b'",' for kind in kinds]
        with ExitStack() as stack:
            files, lost = self._from(position, stack)
            events: list[Event] = []
            left = limit
            for number, (file, offset) in enumerate(files):
                file.seek(offset)
                for data in _pieces(file, left):
                    left -= len(data)
                    offset += len(data)
                    events += _events(data, needles)
                more = left <= 0 and (number + 1 < len(files) or offset < os.fstat(file.fileno()).st_size)
                if offset > 0:
                    position = _position(file, offset)
                if left <= 0:
                    return Read(tuple(events), position, more, lost)
            return Read(tuple(events), position, False, lost)

    # --- inside ----------------------------------------------------------------------------------

    def _from(self, position: Position, stack: ExitStack) -> tuple[Sequence[tuple[BinaryIO, int]], bool]:
        """The open files that hold what is behind the position, oldest first, each with where to begin."""
        current = _open(self._directory / self._name, stack)
        if current is not None and position.offset and _holds(current, position):
            return [(current, position.offset)], False
        # Opened after the current one: what is put away meanwhile is met under its new name, as the same file.
        files = [
            file
            for path in log_paths(self._directory, self._name)
            if path.name != self._name and (file := _open(path, stack)) is not None
        ]
        if current is not None and not any(_same(current, file) for file in files):
            files.append(current)
        if not position.offset:
            return [(file, 0) for file in files], False
        for number, file in enumerate(files):
            if _holds(file, position):
                return [(file, position.offset), *((later, 0) for later in files[number + 1 :])], False
        return [(file, 0) for file in files], True


def _open(path: Path, stack: ExitStack) -> BinaryIO | None:
    try:
        return stack.enter_context(path.open("rb", buffering=0))
    except FileNotFoundError:
        return None


def _same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


def _position(file: BinaryIO, offset: int) -> Position:
    return Position(_head(file, offset), offset) if offset else START


def _head(file: BinaryIO, offset: int) -> str:
    return hashlib.sha256(os.pread(file.fileno(), min(offset, _HEAD), 0)).hexdigest()[:32]


def _holds(file: BinaryIO, position: Position) -> bool:
    size = os.fstat(file.fileno()).st_size
    return size >= position.offset and _head(file, position.offset) == position.head


def _pieces(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """Whole lines, about `limit` octets of them; a line longer than a piece comes in several."""
    offset = file.tell()
    while limit > 0:
        data = os.pread(file.fileno(), _CHUNK, offset)
        end = data.rfind(b"\n") + 1
        if not end and len(data) < _CHUNK:
            return
        data = data[:end] if end else data
        offset += len(data)
        limit -= len(data)
        yield data


def _events(data: bytes, needles: Sequence[bytes]) -> Iterator[Event]:
    """The events in a piece of the log, in its order."""
    starts = []
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            if at == 0 or data[at - 1] == 0x0A:
                starts.append(at)
            at = data.find(needle, at + len(needle))
    for start in sorted(starts):
        if (event := decode_event(data[start : data.find(b"\n", start)])) is not None:
            yield event
