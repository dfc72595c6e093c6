"""The job that keeps records of deliveries and sessions. It reads the log of events; the mail path knows nothing of it.

How it works. Every two seconds it reads what `events.jsonl` got since the last look (`track.event_reader`), 4 MiB at most, at once again where
more is there, puts together what belongs together (`track.records`) and writes it with the position in one transaction (`store.records`). So a
desk that ends anywhere counts nothing twice. Once a minute what is too old, or too much, is removed.

Records never stop mail, and never stop the desk. They leave free what the spool keeps in reserve, and as much again. Where they cannot be written the log is read again from the last position that
was kept, half a minute later; a database that is damaged is put aside as `records.db.damaged`, and a new one is filled from the log files that
are there. Each such trouble is told once, and its end.

Limits. A log file that is removed, or put away and pruned before it was read, loses what it told; the log gets a Warning.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import apsw
import orjson

from gatepost.app.newest import NewestConfiguration
from gatepost.config.records import Records
from gatepost.core.events import Noted, Warned
from gatepost.core.ports import Clock, Emit
from gatepost.store.config_store import ConfigStore
from gatepost.store.database import NewerForm
from gatepost.store.home import Home
from gatepost.store.records import RecordsFailed, RecordStore, set_aside
from gatepost.store.spool import SpoolSettings
from gatepost.track.event_reader import START, EventReader, Position, Read
from gatepost.track.records import MAX_OPEN, Joiner

LOOK = 2.0
AT_ONCE = 0.01
AFTER_TROUBLE = 30.0
IDLE = 3_600.0
PRUNE = 60.0
LIMIT = 4 << 20  # octets a look
DAY = 86_400.0

LOST = "log files were gone before they were read for records: deliveries and sessions are missing there"
WORKS = "Records of deliveries and sessions are kept again"


class DiskNearlyFull(Exception):
    """What is left belongs to mail."""


def space_of(path: Path) -> tuple[int, int]:
    """Octets that are free on the file system of a path, and all that it has."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


class RecordsJob:
    """Implements `app.jobs.Job`."""

    name = "records"

    def __init__(
        self,
        home: Home,
        store: ConfigStore,
        emit: Emit,
        clock: Clock,
        *,
        limit: int = LIMIT,
        space: Callable[[Path], tuple[int, int]] = space_of,
    ) -> None:
        self._path = home.records_db
        self._reader = EventReader(home.logs, home.event_log.name)
        self._emit = emit
        self._clock = clock
        self._limit = limit
        self._space = space
        self._newest = NewestConfiguration(store)
        self._settings = Records()
        self._store: RecordStore | None = None
        self._joiner = Joiner()
        self._position: Position = START
        self._pruned = float("-inf")
        self._trouble = ""

    async def run(self) -> float:
        """One look at the log; the seconds to the next."""
        self._follow_configuration()
        try:
            if not self._settings.days:
                await asyncio.to_thread(self._drop)
                return IDLE
            read = await asyncio.to_thread(self._look)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            self._close()
            return await self._begin_anew(str(error))
        except (RecordsFailed, NewerForm, DiskNearlyFull, OSError) as error:
            self._close()
            self._told(f"Records of deliveries and sessions cannot be kept: {error}")
            return AFTER_TROUBLE
        if read.lost:
            self._emit(Warned(self._clock.now(), LOST))
        if self._trouble:
            self._trouble = ""
            self._emit(Noted(self._clock.now(), WORKS))
        return AT_ONCE if read.more else LOOK

    def _follow_configuration(self) -> None:
        latest = self._newest.take()
        if latest is not None:
            self._settings = _settings(latest.content.document)
            self._pruned = float("-inf")

    def _told(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._emit(Warned(self._clock.now(), f"{text}; mail is not affected"))

    async def _begin_anew(self, why: str) -> float:
        try:
            aside = await asyncio.to_thread(set_aside, self._path)
        except OSError as error:
            self._told(f"The damaged {self._path.name} cannot be put aside: {error}")
            return AFTER_TROUBLE
        self._told(f"{self._path.name} is damaged ({why}); it is now {aside.name}, and a new one is begun")
        return AT_ONCE

    # --- in a thread ---------------------------------------------------------------------------

    def _look(self) -> Read:
        store = self._opened()
        read = self._reader.read(self._position, self._joiner.kinds, self._limit)
        if read.position != self._position:
            self._require_room()
            position = orjson.dumps(asdict(read.position))
            store.write(self._joiner.take(read.events), position, self._clock.now())
            self._position = read.position
        self._prune(store)
        return read

    def _opened(self) -> RecordStore:
        if self._store is None:
            self._store = store = RecordStore.open(self._path)
            self._position = _unpacked(store.position())
            self._joiner = Joiner(store.open_sessions(self._clock.now() - DAY, MAX_OPEN))
        return self._store

    def _require_room(self) -> None:
        free, total = self._space(self._path.parent)
        spool = SpoolSettings()
        if free < 2 * min(int(total * spool.reserve_share), spool.reserve_bytes):
            raise DiskNearlyFull(f"the disk is nearly full, {free >> 20} MB are free")

    def _prune(self, store: RecordStore) -> None:
        now = self._clock.now()
        if 0 <= now - self._pruned < PRUNE:
            return
        if not store.prune(now - self._settings.days * DAY, self._settings.rows):
            self._pruned = now

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _drop(self) -> None:
        """Nothing is to be kept."""
        self._close()
        for ending in ("", "-wal", "-shm", ".damaged"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)


def _unpacked(data: bytes) -> Position:
    """The position that was kept; the beginning of what is there for one that cannot be read."""
    try:
        return Position(**orjson.loads(data)) if data else START
    except (orjson.JSONDecodeError, TypeError):
        return START


def _settings(document: Mapping[str, Any]) -> Records:
    """The section of a stored document, which was checked when it was stored."""
    return Records.model_validate(document.get("records") or {})
