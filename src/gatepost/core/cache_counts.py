"""What a bounded cache counts of itself: plain integers, raised where it is asked and read when somebody wants to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheState:
    """One cache at a moment: how often it had the answer since it was made, how much it holds, and how much at most."""

    hits: int
    misses: int
    size: int
    limit: int


@dataclass(slots=True)
class CacheCounts:
    """The two counters of a cache. A look-up that joins one on the way is a miss: it had to wait as well."""

    hits: int = 0
    misses: int = 0

    def state(self, size: int, limit: int) -> CacheState:
        return CacheState(self.hits, self.misses, size, limit)
