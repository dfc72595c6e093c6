"""The write-ahead log of a shard's database: how large it is, and when its pages move to the database.

A passive checkpoint when the shard is idle or the log has grown by 16 MiB; since there is no other reader, it is
complete and the next commit starts the log again from its beginning. Should checkpoints not get through (a full
disk), the log grows: at 64 MiB it is truncated, over 256 MiB the spool takes no new mail (`Spool.room_for`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import apsw

from gatepost.store.spool.records import SpoolSettings

PAGE = 4096 + 24  # a page in the log, with its frame header


class WriteAheadLog:
    """Used by the writer thread alone; the figures may be read by anybody. `fail` makes the shard read-only."""

    def __init__(
        self, connection: apsw.Connection, settings: SpoolSettings, fail: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._fail = fail
        self._pages_moved = self._pages()
        self._tried_at = 0  # size at the last checkpoint that was not complete
        self.octets = 0
        self.checkpoints = 0
        self.slowest = 0.0  # seconds

    def grown(self) -> None:
        """A commit was made."""
        self.octets = (self._pages() - self._pages_moved) * PAGE

    @property
    def worth_moving(self) -> bool:
        """Something was written since the last checkpoint, complete or not."""
        return self.octets > self._tried_at

    def checkpoint_when_due(self) -> None:
        """After a commit: keep the log short."""
        if self.octets - self._tried_at < self._settings.wal_passive:
            return
        large = self.octets >= self._settings.wal_truncate
        self.checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE if large else apsw.SQLITE_CHECKPOINT_PASSIVE)

    def checkpoint_when_idle(self) -> None:
        if self.worth_moving:
            self.checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)

    def checkpoint(self, mode: int) -> None:
        """Move pages to the database. A full disk leaves them for later; any other error fails the shard."""
        started = time.monotonic()
        try:
            frames, moved = self._connection.wal_checkpoint(mode=mode)
        except (apsw.FullError, apsw.BusyError):
            self._tried_at = self.octets
            return
        except apsw.Error as error:
            self._fail(f"a checkpoint failed: {error}")
            return
        self.checkpoints += 1
        self.slowest = max(self.slowest, time.monotonic() - started)
        if frames == moved:
            self._pages_moved = self._pages()
            self.octets = self._tried_at = 0
        else:
            self._tried_at = self.octets

    def _pages(self) -> int:
        """Pages that this connection has written to the log since it was opened."""
        return self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
