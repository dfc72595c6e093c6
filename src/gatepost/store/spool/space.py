"""Free space on the spool's file system, sampled at most once a second.

What was accepted since the sample is taken off it, so that a burst within the second cannot eat the reserve. The
reserve is 5 % or 256 MiB, whichever is less: it is there so that delivery marks and reports still fit when nothing is
accepted any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from gatepost.store.spool.files import Files
from gatepost.store.spool.records import SpoolSettings


class Space:
    """`clock` is monotonic, in seconds. Used by the loop and by the body thread."""

    def __init__(self, files: Files, root: Path, settings: SpoolSettings) -> None:
        self.files = files
        self.clock: Callable[[], float] = time.monotonic
        self._root = root
        self._settings = settings
        self._sampled_at = float("-inf")
        self._free = 0
        self._reserve = 0
        self._spent = 0
        self._mutex = threading.Lock()

    def room_for(self, size: int, *, own: bool = False) -> bool:
        """Would the reserve still be whole with this many octets more? For mail of our own half of it."""
        with self._mutex:
            now = self.clock()
            if now - self._sampled_at >= self._settings.sample_interval:
                self._sample(now)
            reserve = self._reserve // 2 if own else self._reserve
            return self._free - self._spent - size >= reserve

    def spend(self, size: int) -> None:
        """So much was accepted."""
        with self._mutex:
            self._spent += size

    def _sample(self, now: float) -> None:
        self._sampled_at = now
        self._spent = 0
        try:
            self._free, total = self.files.space(self._root)
        except OSError:
            self._free = 0  # a file system that does not answer has no room
            return
        self._reserve = min(int(total * self._settings.reserve_share), self._settings.reserve_bytes)
