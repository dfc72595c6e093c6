"""Entries that end: when somebody is reminded, and what holds afterwards."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.model import Document
from gatepost.config.outbound import Dane
from gatepost.core.tls import TlsLevel
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.endings import DAY, LONG_AGO, Change, Ending, compare, due_mark, endings, next_mark
from gatepost.policy.tls_out import LEVELS_BY_STRICTNESS

UNTIL = date(2027, 1, 31)
END = datetime(2027, 2, 1, tzinfo=UTC).timestamp()


def found(*destinations: dict[str, Any], **default: Any) -> dict[str, Ending]:
    controls = {"default": {"tls": "required", **default}, "destinations": list(destinations)}
    document = Document.model_validate({"destination_controls": controls})
    return {one.domain: one for one in endings(document)}


def test_an_entry_ends_with_its_day() -> None:
    one = found({"domain": "a.example", "tls": "none", "until": "2027-01-31", "reason": "ticket 4711"})[
        "a.example"
    ]
    assert one.at == END
    assert (one.path, one.reason) == ("destination_controls.destinations[0]", "ticket 4711")
    assert (one.before.level, one.after.level) == (TlsLevel.NONE, TlsLevel.REQUIRED)
    assert one.after.path == "destination_controls.default"
    assert one.change is Change.STRICTER


def test_what_holds_afterwards_is_what_the_table_says_of_that_day() -> None:
    ends = found(
        {"domain": "a.b.example", "tls": "required-verify", "until": "2027-01-31"},
        {"domain": ".b.example", "tls": "preferred", "until": "2027-01-31"},
        {"domain": ".example", "tls": "required-verify-hosted"},
        {"domain": "c.example", "max_connections": 3, "until": "2027-01-31"},
    )
    assert ends["a.b.example"].after.path == "destination_controls.destinations[2]"
    assert ends["a.b.example"].change is Change.WEAKER
    assert ends[".b.example"].after.path == "destination_controls.destinations[2]"
    assert ends[".b.example"].change is Change.STRICTER
    assert ends["c.example"].change is Change.STRICTER
    assert set(ends) == {"a.b.example", ".b.example", "c.example"}


def test_entries_without_an_end_are_not_spoken_of() -> None:
    assert found({"domain": "a.example"}, {"domain": "b.example", "until": "9999-12-31"}) == {}


@pytest.mark.parametrize(
    ("days_left", "told", "mark"),
    [
        (8.0, None, None),
        (7.0, None, 7),
        (7.0, 7, None),
        (3.0, None, 7),
        (1.0, 7, 1),
        (1.0, 1, None),
        (0.5, None, 1),
        (0.0, 1, 0),
        (0.0, None, 0),
        (-3.0, 0, None),
        (-6.9, None, 0),
        (-7.1, None, None),
        (-30.0, 1, 0),
    ],
)
def test_each_mark_is_due_once(days_left: float, told: int | None, mark: int | None) -> None:
    one = found({"domain": "a.example", "tls": "none", "until": "2027-01-31"})["a.example"]
    assert due_mark(one, told, END - days_left * DAY) == mark


def test_the_next_mark_is_the_next_one() -> None:
    one = found({"domain": "a.example", "tls": "none", "until": "2027-01-31"})["a.example"]
    assert next_mark(one, END - 30 * DAY) == END - 7 * DAY
    assert next_mark(one, END - 7 * DAY) == END - DAY
    assert next_mark(one, END - DAY) == END
    assert next_mark(one, END) == float("inf")


@given(st.lists(st.floats(0.0, 4 * DAY), max_size=30))
@settings(max_examples=100, deadline=None)
def test_whatever_the_looks_the_marks_come_in_order_and_the_end_is_told(pauses: list[float]) -> None:
    one = found({"domain": "a.example", "tls": "none", "until": "2027-01-31"})["a.example"]
    told: int | None = None
    now, seen = END - 20 * DAY, []
    for pause in [*pauses, END + LONG_AGO - 1 - now - sum(pauses)]:
        now = max(now, now + pause)
        if (mark := due_mark(one, told, now)) is not None:
            seen.append(mark)
            told = mark
    assert seen == sorted(set(seen), reverse=True)
    assert told == 0 or now > END + LONG_AGO


RULES = st.builds(
    DestinationRule,
    level=st.sampled_from(TlsLevel),
    dane=st.sampled_from(Dane),
    mta_sts=st.booleans(),
    insecure_names=st.booleans(),
    preferred_clear_after=st.none() | st.integers(0, 5),
)
OPPOSITE = {
    Change.WEAKER: Change.STRICTER,
    Change.STRICTER: Change.WEAKER,
    Change.SAME: Change.SAME,
    Change.MIXED: Change.MIXED,
}


@given(RULES, RULES)
@settings(max_examples=100, deadline=None)
def test_a_comparison_turned_round_says_the_opposite(one: DestinationRule, other: DestinationRule) -> None:
    assert compare(one, one) is Change.SAME
    assert compare(other, one) is OPPOSITE[compare(one, other)]
    lower = LEVELS_BY_STRICTNESS.index(other.level) < LEVELS_BY_STRICTNESS.index(one.level)
    if lower:  # an end that lowers the level is never called anything harmless
        assert compare(one, other) in (Change.WEAKER, Change.MIXED)
