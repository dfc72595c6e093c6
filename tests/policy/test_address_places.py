"""The first of many networks for an address: the binary search against looking at every block."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.policy.address_places import NOWHERE, AddressPlaces

Blocks = list[tuple[int, int, int]]


@st.composite
def blocks(draw: st.DrawFn, width: int) -> Blocks:
    """Blocks that meet: few first bits, many lengths."""
    found = []
    for place in range(draw(st.integers(0, 8))):
        length = draw(st.sampled_from([0, 1, 2, 3, 8, width - 1, width]))
        bits = draw(st.integers(0, 7)) << (width - 3) | draw(st.integers(0, 3))
        found.append((bits >> (width - length) << (width - length), length, place))
    return draw(st.permutations(found))


def slowly(made: Blocks, width: int, address: int) -> int:
    return min(
        (place for first, length, place in made if address >> (width - length) == first >> (width - length)),
        default=NOWHERE,
    )


@settings(max_examples=100)
@given(st.sampled_from([32, 128]), st.data())
def test_it_finds_what_reading_every_block_finds(width: int, data: st.DataObject) -> None:
    made = data.draw(blocks(width))
    places = AddressPlaces.of_blocks(made, width)
    edges = {0, (1 << width) - 1}
    for first, length, _ in made:
        end = first + (1 << (width - length))
        edges |= {first, first - 1, end, end - 1}
    for address in edges:
        if 0 <= address < 1 << width:
            assert places.find(address) == slowly(made, width, address)


def test_neighbours_with_one_place_are_one() -> None:
    made = [(0, 1, 0), (1 << 31, 1, 0)]
    assert len(AddressPlaces.of_blocks(made, 32)) == 1
    assert len(AddressPlaces.of_blocks([], 32)) == 0
    assert AddressPlaces.of_blocks([], 128).find(0) == NOWHERE
