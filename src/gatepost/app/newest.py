"""The newest configuration, given to a job of the desk once for each commit.

Every job has one of its own, and asks at each run: it gets a version only when it has not had it, so what a job makes of a configuration is
made again exactly when that may have changed. A version whose reading fails has not been given, and is tried with the next run.
"""

from __future__ import annotations

import asyncio

from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.store.config_store import ConfigStore, Version


class NewestConfiguration:
    """Looks at the store's newest version for one job; used on the loop."""

    def __init__(self, store: ConfigStore) -> None:
        self._store = store
        self._given = 0

    def take(self) -> Version | None:
        """The newest version as it was stored; None where it was given before, or nothing is committed yet."""
        version = self._unknown()
        if version is not None:
            self._given = version.number
        return version

    async def take_read(self) -> tuple[Version, Document] | None:
        """The same, read into a document in a thread, since a large one takes a while."""
        version = self._unknown()
        if version is None:
            return None
        document = await asyncio.to_thread(load_plain, version.content.document)
        self._given = version.number
        return version, document

    def _unknown(self) -> Version | None:
        return self._store.latest() if self._store.latest_number() != self._given else None
