"""A disk as a power cut may leave it, from the record of what a process did (`record.c`).

What was flushed is there. Of everything else chance decides, write by write and name by name: kept, lost, or,
for data, torn at sectors of 512 octets. Nothing is assumed of the order in which a disk or a file system works; this is
harder than any journalling file system is. Two things are taken for granted: a sector is written whole or not at all, and
a rename is one step.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
_HEAD = struct.Struct("<c3xIQQ")


@dataclass(frozen=True, slots=True)
class Record:
    op: str
    inode: int
    offset: int
    payload: bytes


def read_log(path: Path) -> list[Record]:
    return list(_records(path.read_bytes()))


def _records(data: bytes) -> Iterator[Record]:
    position = 0
    while position < len(data):
        op, length, inode, offset = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        yield Record(op.decode(), inode, offset, data[position : position + length])
        position += length


@dataclass(slots=True)
class File:
    """`durable` is what is surely on disk; `pending` are writes (offset, data) and sizes (size, None) since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    flushed: int = 0  # how many changes have become durable

    def mark(self) -> int:
        return self.flushed + len(self.pending)

    def flush_to(self, mark: int) -> None:
        while self.flushed < mark:
            apply(self.durable, *self.pending.pop(0))
            self.flushed += 1

    def after_cut(self, rng: random.Random, keep: float) -> bytes:
        content = bytearray(self.durable)
        for offset, data in self.pending:
            chance = rng.random()
            if chance < keep:
                apply(content, offset, data)
            elif chance < keep + (1 - keep) / 2 and data is not None:
                for start, piece in _sectors(offset, data):
                    if rng.random() < 0.5:
                        apply(content, start, piece)
        return bytes(content)


@dataclass(slots=True)
class Directory:
    """Names that are surely on disk, and the steps (names to set, None to remove) since."""

    durable: dict[str, Node] = field(default_factory=dict)
    pending: list[dict[str, Node | None]] = field(default_factory=list)
    current: dict[str, Node] = field(default_factory=dict)
    flushed: int = 0

    def mark(self) -> int:
        return self.flushed + len(self.pending)

    def change(self, step: dict[str, Node | None]) -> None:
        self.pending.append(step)
        _step(self.current, step)

    def flush_to(self, mark: int) -> None:
        while self.flushed < mark:
            _step(self.durable, self.pending.pop(0))
            self.flushed += 1

    def after_cut(self, rng: random.Random, keep: float) -> dict[str, Node]:
        names = dict(self.durable)
        for step in self.pending:
            if rng.random() < keep:
                _step(names, step)
        return names


Node = File | Directory


def _step(names: dict[str, Node], step: dict[str, Node | None]) -> None:
    for name, node in step.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def apply(content: bytearray, offset: int, data: bytes | None) -> None:
    """One write, or with None the size `offset`."""
    end = offset if data is None else offset + len(data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if data is None:
        del content[end:]
    else:
        content[offset:end] = data


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        length = SECTOR - (offset + position) % SECTOR
        yield offset + position, data[position : position + length]
        position += length


class Disk:
    """The disk while the record is played; `root` itself is taken to be durable."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self.top = Directory()
        self._inodes: dict[int, Node] = {}
        self._begun: dict[int, tuple[Node, int]] = {}

    def play(self, record: Record) -> None:
        match record.op:
            case "C":
                file = File()
                self._inodes[record.inode] = file
                self._set(record.payload.decode(), file)
            case "O":
                self._inodes[record.inode] = self._find(record.payload.decode())
            case "D":
                self._set(record.payload.decode(), Directory())
            case "U":
                self._set(record.payload.decode(), None)
            case "N":
                self._rename(*record.payload.decode().split("\0"))
            case "W":
                self._file(record).pending.append((record.offset, record.payload))
            case "S":
                self._file(record).pending.append((record.offset, None))
            case "B":
                node = self._inodes[record.inode]
                self._begun[record.offset] = (node, node.mark())
            case "E":
                node, mark = self._begun.pop(record.offset)
                node.flush_to(mark)
            case "M":
                pass
            case other:
                raise ValueError(other)

    def image(self, target: Path, rng: random.Random, keep: tuple[float, ...]) -> None:
        """Write what a cut now would leave; for each file and directory chance picks one of the shares that are kept."""
        self._write(self.top, target, rng, keep)

    def _write(self, node: Directory, target: Path, rng: random.Random, keep: tuple[float, ...]) -> None:
        target.mkdir()
        for name, child in node.after_cut(rng, rng.choice(keep)).items():
            if isinstance(child, Directory):
                self._write(child, target / name, rng, keep)
            else:
                (target / name).write_bytes(child.after_cut(rng, rng.choice(keep)))

    def _file(self, record: Record) -> File:
        node = self._inodes[record.inode]
        assert isinstance(node, File)
        return node

    def _parts(self, path: str) -> list[str]:
        assert path.startswith(self._root)
        return [part for part in path[len(self._root) :].split("/") if part]

    def _find(self, path: str) -> Node:
        node: Node = self.top
        for part in self._parts(path):
            assert isinstance(node, Directory)
            node = node.current[part]
        return node

    def _parent(self, path: str) -> Directory:
        node = self._find(path.rpartition("/")[0])
        assert isinstance(node, Directory)
        return node

    def _set(self, path: str, node: Node | None) -> None:
        self._parent(path).change({path.rpartition("/")[2]: node})

    def _rename(self, old: str, new: str) -> None:
        assert self._parent(old) is self._parent(new)
        self._parent(old).change({old.rpartition("/")[2]: None, new.rpartition("/")[2]: self._find(old)})
