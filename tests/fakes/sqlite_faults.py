"""An SQLite file layer over the real one, which fails when it is told to: a full disk, a flush that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


class FaultyLayer(apsw.VFS):
    """Registered under `name` while it lives. `full` refuses writes to the log, `full_database` those to
    the database, `broken_sync` flushes of any file. `log_room` is the size that a log can reach."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.full = False
        self.full_database = False
        self.log_room = 1 << 40
        self.broken_sync = False
        self.syncs = 0
        super().__init__(name, "", maxpathname=1024)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    def __init__(self, layer: FaultyLayer, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._layer = layer
        self._log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        no_room = self._layer.full or offset + len(data) > self._layer.log_room
        if no_room if self._log else self._layer.full_database:
            raise apsw.FullError("database or disk is full")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._layer.syncs += 1
        if self._layer.broken_sync:
            raise apsw.IOError("disk I/O error")
        super().xSync(flags)


@contextmanager
def faulty_layer(name: str) -> Iterator[FaultyLayer]:
    layer = FaultyLayer(name)
    try:
        yield layer
    finally:
        layer.unregister()
