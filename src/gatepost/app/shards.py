"""Which worker owns which shard of the spool (architecture 5, Shards).

Shards are numbered on disk and outlive the number of workers: every one that is found is assigned, and where there are
fewer than workers, the lowest free numbers are added. The place in the sorted list decides, so the
successor of a dead worker gets the same shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def shards_on_disk(spool: Path) -> list[int]:
    """The numbers of the shards that exist, sorted."""
    return sorted(int(entry.name) for entry in spool.iterdir() if entry.name.isdecimal() and entry.is_dir())


def assign_shards(found: Iterable[int], workers: int) -> Sequence[tuple[int, ...]]:
    """The shards of each worker; nobody is without one, none is left out, none has two owners."""
    shards = set(found)
    number = 0
    while len(shards) < workers:
        shards.add(number)
        number += 1
    ordered = sorted(shards)
    return [tuple(ordered[index::workers]) for index in range(workers)]
