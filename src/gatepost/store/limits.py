"""Limits that count over all workers: one table in shared memory (architecture 3, Limits).

The supervisor makes the table in a memory file (`create`) and passes its descriptor; each process attaches
with its own index. Nothing here talks to another process: a limit is decided by looking.

*Claims* (connections of an address, of a destination, …) are exact. A key has one slot with a column per
worker; a worker writes only its own column, and the total is the sum. When a worker dies, the
supervisor clears its column and what it held is free. `want` leaves a mark, good for a second, that another
worker waits for a place; who holds one may ask `wanted` and let go.

*Hourly counters* belong to no worker. They are kept in 20 windows of three minutes and the current one; all of
them count. So a limit is never exceeded in any sixty minutes, and nothing counts longer than 63 minutes:
that is the 5 % of the contract.

Slots are found by a hash of the key in buckets of 16; a bucket is changed under a byte-range lock, which
the kernel drops with its holder. Slots of keys that nobody holds are used again. When all 16 are held (it takes
tens of thousands of simultaneous keys), a claim is refused; an hourly counter then takes the place of the
one that was quiet longest, of several the one that counted least. Both tables have a fixed size: no peer can make them
grow. The hash has a secret that is made with the table, so nobody can choose addresses or names that share a bucket:
they would shut another sender out, or clear a counter that stands against themselves.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable
from enum import IntEnum
from hashlib import blake2b

MAX_WORKERS = 64
WAYS = 16  # slots of a bucket
CLAIM_BUCKETS = 4096
HOURLY_BUCKETS = 2048
KEY = 16  # bytes of a key's hash
WINDOW = 180.0  # seconds
WINDOWS = 21  # an hour, and the window that is being filled
WANT_TENTHS = 10  # how long a mark of `want` is good, in tenths of a second

_CLAIM_SLOTS = CLAIM_BUCKETS * WAYS
_HOURLY_SLOTS = HOURLY_BUCKETS * WAYS
_HEAD = struct.Struct("=8sI4x16s")  # what it is, the number of workers, the secret of the hash
_MAGIC = b"GPlimit2"


class Kind(IntEnum):
    """What is counted; a key of one kind is never mixed up with the same text of another."""

    LISTENER_ADDRESS = 1  # connections from one address to one listener
    DESTINATION = 2  # connections to one destination domain
    DELIVERY = 3  # all outgoing connections
    USER = 4
    LISTENER = 5  # all connections to one listener
    ARRIVING = 6  # connections from one address to one listener that are not decided about yet
    TURNED_AWAY = 7  # connections to one listener that were refused and have not ended yet


class _Layout:
    """Where the arrays lie in the file; all are arrays of slots, so that a column is one piece."""

    def __init__(self, workers: int) -> None:
        at = _HEAD.size
        self.claim_keys = at
        at += _CLAIM_SLOTS * KEY
        self.counts = at  # [worker][slot] u32
        at += workers * _CLAIM_SLOTS * 4
        self.wants = at  # [worker][slot] u32, tenths of a second of the mark
        at += workers * _CLAIM_SLOTS * 4
        self.hourly_keys = at
        at += _HOURLY_SLOTS * KEY
        self.last = at  # [slot] u32, number of the newest window
        at += _HOURLY_SLOTS * 4
        self.windows = at  # [slot][window] u32
        at += _HOURLY_SLOTS * WINDOWS * 4
        self.size = at


class LimitTable:
    """The table as one process sees it. Not for several threads of a process: locks are per process."""

    def __init__(
        self, descriptor: int, workers: int, secret: bytes, worker: int | None, clock: Callable[[], float]
    ) -> None:
        self._descriptor = descriptor
        self._secret = secret
        self._workers = workers
        self._worker = worker
        self._clock = clock
        self._held: dict[tuple[Kind, str], int] = {}  # slots in which this worker holds places
        self._layout = _Layout(workers)
        self._map = mmap.mmap(descriptor, self._layout.size)
        view = memoryview(self._map)
        self._counts = [self._column(view, self._layout.counts, index) for index in range(workers)]
        self._wants = [self._column(view, self._layout.wants, index) for index in range(workers)]
        self._last = view[self._layout.last : self._layout.windows].cast("I")
        self._windows = view[self._layout.windows : self._layout.size].cast("I")

    @staticmethod
    def _column(view: memoryview, start: int, index: int) -> memoryview:
        length = _CLAIM_SLOTS * 4
        return view[start + index * length : start + (index + 1) * length].cast("I")

    @staticmethod
    def create(workers: int) -> int:
        """Make an empty table and return its descriptor, which is not inherited unless passed on."""
        if not 1 <= workers <= MAX_WORKERS:
            raise ValueError(f"a gateway has 1 to {MAX_WORKERS} workers")
        descriptor = os.memfd_create("gatepost-limits", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _Layout(workers).size)
        os.pwrite(descriptor, _HEAD.pack(_MAGIC, workers, secrets.token_bytes(16)), 0)
        return descriptor

    @classmethod
    def attach(
        cls, descriptor: int, worker: int | None, *, clock: Callable[[], float] = time.monotonic
    ) -> LimitTable:
        """Use the table as worker number `worker`, or, with None, only to look at it and to clear columns.

        `clock` must be one clock for all processes (the system's monotonic one is). Takes over the descriptor.
        """
        magic, workers, secret = _HEAD.unpack(os.pread(descriptor, _HEAD.size, 0))
        if magic != _MAGIC:
            raise ValueError("not a limits table")
        if worker is not None and not 0 <= worker < workers:
            raise ValueError(f"there is no worker {worker} of {workers}")
        return cls(descriptor, workers, secret, worker, clock)

    def fileno(self) -> int:
        """The descriptor, to pass it on."""
        return self._descriptor

    def close(self) -> None:
        """Detach; what this worker holds stays counted until its column is cleared."""
        for view in (*self._counts, *self._wants, self._last, self._windows):
            view.release()
        self._map.close()
        os.close(self._descriptor)

    # --- claims ------------------------------------------------------------------------------

    def acquire(self, kind: Kind, key: str, limit: int) -> bool:
        """Take one place under `key` unless `limit` are taken by all workers together."""
        own = self._own(self._counts)
        slot = self._held.get((kind, key), -1)
        if slot >= 0 and self._total(slot) + self._workers <= limit:
            # A slot with a count of ours stays this key's and only we write our column: no lock while there is room
            # for everybody. The others may have filled it since we looked, so we look again, and step back if so.
            own[slot] += 1
            if self._total(slot) <= limit:
                return True
            own[slot] -= 1
        digest = self._digest(kind, key)
        bucket = _bucket(digest, CLAIM_BUCKETS)
        self._lock(bucket)
        try:
            slot = self._find(self._layout.claim_keys, bucket, digest)
            if slot < 0:
                if limit < 1:
                    return False
                slot = self._new_claim_slot(bucket, digest)
                if slot < 0:
                    return False
            elif self._total(slot) >= limit:
                return False
            own[slot] += 1
            self._held[kind, key] = slot
            self._own(self._wants)[slot] = 0
        finally:
            self._unlock(bucket)
        return True

    def release(self, kind: Kind, key: str) -> None:
        """Give one place back (`wanted` tells whether another worker waits). Raises ValueError for a place not held."""
        slot = self._held.get((kind, key), -1)
        if slot < 0:
            raise ValueError(f"no place of {kind.name} {key!r} is held")
        # Only we write our column, and a slot with a count is never given to another key: no lock.
        own = self._own(self._counts)
        own[slot] -= 1
        if not own[slot]:
            del self._held[kind, key]

    def want(self, kind: Kind, key: str) -> None:
        """Leave a mark that this worker waits for a place under `key`; repeat it while that is so."""
        digest = self._digest(kind, key)
        bucket = _bucket(digest, CLAIM_BUCKETS)
        self._lock(bucket)
        try:
            slot = self._find(self._layout.claim_keys, bucket, digest)
            if slot < 0:
                slot = self._new_claim_slot(bucket, digest)
            if slot >= 0:
                self._own(self._wants)[slot] = self._tenths()
        finally:
            self._unlock(bucket)

    def wanted(self, kind: Kind, key: str) -> bool:
        """Whether another worker left a mark within the last second. Cheap: no lock."""
        slot = self._claim_slot(kind, key)
        return slot >= 0 and self._wanted(slot)

    def in_use(self, kind: Kind, key: str) -> int:
        """Places taken under `key` by all workers."""
        slot = self._claim_slot(kind, key)
        return self._total(slot) if slot >= 0 else 0

    def clear_worker(self, worker: int) -> None:
        """Free all that a dead worker held or waited for. The worker must be gone."""
        nothing = bytes(_CLAIM_SLOTS * 4)
        for column in (self._counts[worker], self._wants[worker]):
            column.cast("B")[:] = nothing

    # --- hourly counters ---------------------------------------------------------------------

    def count_recipients(self, key: str, count: int, limit: int) -> bool:
        """Count `count` recipients (or failures) of the last hour under `key`, unless that would exceed `limit`."""
        digest = self._digest(0, key)
        bucket = _bucket(digest, HOURLY_BUCKETS)
        window = int(self._clock() / WINDOW) + WINDOWS
        self._lock(CLAIM_BUCKETS + bucket)
        try:
            slot = self._find(self._layout.hourly_keys, bucket, digest)
            if slot < 0:
                slot = self._new_hourly_slot(bucket, digest)
            self._advance(slot, window)
            first = slot * WINDOWS
            if self._counted(slot) + count > limit:
                return False
            self._windows[first + window % WINDOWS] += count
        finally:
            self._unlock(CLAIM_BUCKETS + bucket)
        return True

    def recent(self, key: str) -> int:
        """What was counted under `key` in the last hour. A key that nobody counts takes no slot."""
        digest = self._digest(0, key)
        bucket = _bucket(digest, HOURLY_BUCKETS)
        self._lock(CLAIM_BUCKETS + bucket)
        try:
            slot = self._find(self._layout.hourly_keys, bucket, digest)
            if slot < 0:
                return 0
            self._advance(slot, int(self._clock() / WINDOW) + WINDOWS)
            return self._counted(slot)
        finally:
            self._unlock(CLAIM_BUCKETS + bucket)

    def take_back(self, key: str) -> None:
        """One less under `key`, of what was counted last: it turned out not to count."""
        digest = self._digest(0, key)
        bucket = _bucket(digest, HOURLY_BUCKETS)
        self._lock(CLAIM_BUCKETS + bucket)
        try:
            slot = self._find(self._layout.hourly_keys, bucket, digest)
            last = int(self._clock() / WINDOW) + WINDOWS
            for window in range(last, last - 2, -1) if slot >= 0 else ():
                at = slot * WINDOWS + window % WINDOWS
                if window <= self._last[slot] and self._windows[at]:
                    self._windows[at] -= 1
                    return
        finally:
            self._unlock(CLAIM_BUCKETS + bucket)

    def _counted(self, slot: int) -> int:
        return sum(self._windows[slot * WINDOWS : (slot + 1) * WINDOWS])

    def _advance(self, slot: int, window: int) -> None:
        """Empty the windows that have become older than an hour since the slot was last used."""
        last = self._last[slot]
        if last >= window:
            return
        first = slot * WINDOWS
        for passed in range(max(last + 1, window - WINDOWS + 1), window + 1):
            self._windows[first + passed % WINDOWS] = 0
        self._last[slot] = window

    # --- slots -------------------------------------------------------------------------------

    def _digest(self, kind: int, key: str) -> bytes:
        text = key.encode("utf-8", "surrogateescape")
        return blake2b(text, digest_size=KEY, key=self._secret, salt=bytes([kind])).digest()

    def _find(self, keys: int, bucket: int, digest: bytes) -> int:
        """The slot of a key in its bucket, or -1."""
        start = keys + bucket * WAYS * KEY
        end = start + WAYS * KEY
        at = start
        while (at := self._map.find(digest, at, end)) >= 0:
            if not (at - start) % KEY:
                return bucket * WAYS + (at - start) // KEY
            at += 1
        return -1

    def _new_claim_slot(self, bucket: int, digest: bytes) -> int:
        for slot in range(bucket * WAYS, (bucket + 1) * WAYS):
            if not self._total(slot) and not self._fresh(slot):
                for wants in self._wants:
                    wants[slot] = 0
                at = self._layout.claim_keys + slot * KEY
                self._map[at : at + KEY] = digest
                return slot
        return -1

    def _new_hourly_slot(self, bucket: int, digest: bytes) -> int:
        slots = range(bucket * WAYS, (bucket + 1) * WAYS)
        slot = min(slots, key=lambda candidate: (self._last[candidate], self._counted(candidate)))
        first = slot * WINDOWS
        self._windows[first : first + WINDOWS] = memoryview(bytes(WINDOWS * 4)).cast("I")
        self._last[slot] = 0
        at = self._layout.hourly_keys + slot * KEY
        self._map[at : at + KEY] = digest
        return slot

    def _claim_slot(self, kind: Kind, key: str) -> int:
        digest = self._digest(kind, key)
        return self._find(self._layout.claim_keys, _bucket(digest, CLAIM_BUCKETS), digest)

    def _total(self, slot: int) -> int:
        return sum(column[slot] for column in self._counts)

    def _wanted(self, slot: int) -> bool:
        return any(
            index != self._worker and self._is_fresh(column[slot]) for index, column in enumerate(self._wants)
        )

    def _fresh(self, slot: int) -> bool:
        return any(self._is_fresh(column[slot]) for column in self._wants)

    def _is_fresh(self, mark: int) -> bool:
        return mark != 0 and 0 <= self._tenths() - mark <= WANT_TENTHS

    def _tenths(self) -> int:
        return (int(self._clock() * 10) & 0xFFFFFFFF) or 1

    def _own(self, columns: list[memoryview]) -> memoryview:
        if self._worker is None:
            raise ValueError("the table was attached without a worker")
        return columns[self._worker]

    def _lock(self, at: int) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, at)

    def _unlock(self, at: int) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, at)


def _bucket(digest: bytes, buckets: int) -> int:
    return int.from_bytes(digest[:4], "little") % buckets
