"""Decisions keep their order of magnitude: bounds ten times what is promised, of the best of several rounds.

The figures themselves are `python -m bench.policy`'s. A table that is read entry by entry would miss these bounds a hundred times over.
"""

from __future__ import annotations

import pytest

from bench import policy as bench
from gatepost.policy.hat import Hat

pytestmark = pytest.mark.slow

ENTRIES = 20_000


@pytest.fixture(scope="module")
def hat() -> Hat:
    return bench.hat_table(ENTRIES)


def test_a_look_up_in_a_large_access_table(hat: Hat) -> None:
    assert bench.hat_cost(hat, rounds=5).fastest < 10 * bench.GOALS["hat"]
    assert bench.name_cost(hat, rounds=5).fastest < 10 * bench.GOALS["hat"]


def test_a_look_up_in_large_destination_controls() -> None:
    for monitors in (False, True):
        table = bench.destination_table(monitors=monitors)
        assert bench.destination_cost(table, rounds=5).fastest < 10 * bench.GOALS["destinations"]


def test_the_decision_for_a_delivery() -> None:
    assert bench.decision_cost(bench.destination_table(), rounds=5).fastest < 10 * bench.GOALS["decision"]
