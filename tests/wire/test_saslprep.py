"""SASLprep: the examples of the RFC, and what holds for every text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.saslprep import Unprepared, prepare


@pytest.mark.parametrize(
    ("text", "prepared"),
    [  # RFC 4013 §3
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b\u3000c", "a b c"),
        ("e\u0301", "\u00e9"),
        ("\u0627b\u0627"[:1] + "\u0628", "\u0627\u0628"),
        ("", ""),
    ],
)
def test_what_comes_out(text: str, prepared: str) -> None:
    assert prepare(text) == prepared
    assert prepare(text, stored=True) == prepared


@pytest.mark.parametrize(
    "text", ["\x07", "a\x7f", "a\u0085", "\u0627\u0031", "a\u0627", "\ue000", "a\u2028b", "\ufffd"]
)
def test_what_is_refused(text: str) -> None:
    for stored in (False, True):
        with pytest.raises(Unprepared) as told:
            prepare(text, stored=stored)
        assert text not in str(told.value)


def test_a_young_character_may_be_sent_and_not_stored() -> None:
    assert prepare("p\U0001f600") == "p\U0001f600"
    with pytest.raises(Unprepared, match="not all programs"):
        prepare("p\U0001f600", stored=True)


@given(st.text(max_size=30))
@settings(max_examples=100)
def test_preparing_twice_changes_nothing(text: str) -> None:
    try:
        once = prepare(text)
    except Unprepared:
        return
    assert prepare(once) == once
