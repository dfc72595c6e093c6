"""Which of many networks, each with a place in a table's order, comes first for an address: one binary search.

How it works. Blocks of addresses (a prefix and its length) are nested or apart, never half over each other. Sorted by their beginning they are
gone through once with a stack of those that are open, and what comes out is a row of boundaries: from each on, up to the next, one place is
the lowest of all blocks around. Equal neighbours are joined. So a look-up costs the same for ten networks of thirty different
lengths and for a hundred thousand, and an entry costs some twenty octets (IPv4).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, MutableSequence, Sequence

NOWHERE = 1 << 62


class AddressPlaces:
    """Immutable. `starts` are the addresses from which on another one of `places` counts, in order."""

    __slots__ = ("_places", "_starts")

    def __init__(self, starts: Sequence[int], places: Sequence[int]) -> None:
        self._starts = starts
        self._places = places

    @classmethod
    def of_blocks(cls, blocks: Iterable[tuple[int, int, int]], width: int) -> AddressPlaces:
        """Compile blocks of one family, `(first address, prefix length, place)` in any order; `width` is 32 or 128."""
        starts: MutableSequence[int] = array("I") if width == 32 else []
        places = array("q")
        for start, place in _changes(sorted(blocks), width):
            if starts and starts[-1] == start:  # nothing was between the two
                starts.pop()
                places.pop()
            if not places or places[-1] != place:
                starts.append(start)
                places.append(place)
        return cls(starts, places)

    def find(self, address: int) -> int:
        """The lowest place of the blocks that hold this address, or `NOWHERE`."""
        index = bisect_right(self._starts, address)
        return self._places[index - 1] if index else NOWHERE

    def __len__(self) -> int:
        return len(self._starts)


def _changes(blocks: Iterable[tuple[int, int, int]], width: int) -> Iterator[tuple[int, int]]:
    """From which address on it is which place: where blocks begin, and behind their ends."""
    around: list[
        tuple[int, int]
    ] = []  # blocks that are open: the end, the lowest place of it and those around it

    def closed(until: int) -> Iterator[tuple[int, int]]:
        while around and around[-1][0] <= until:
            end, _ = around.pop()
            if not end >> width:
                yield end, around[-1][1] if around else NOWHERE

    for start, length, place in blocks:  # of several that begin together the largest comes first
        yield from closed(start)
        lowest = min(place, around[-1][1]) if around else place
        around.append((start + (1 << (width - length)), lowest))
        yield start, lowest
    yield from closed(1 << width)
