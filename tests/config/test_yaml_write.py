"""What is written is read back to the same value, and looks as a person would write it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.yaml_text import read_yaml
from gatepost.config.yaml_write import write_flow, write_yaml

WORDS = st.one_of(
    st.text(alphabet=st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=12).filter(str.isprintable),
    st.sampled_from(["off", "no", "true", "null", "~", "", "10", "1e3", "0x1", "0b1", "a: b", "a #b", "- x", "2027-01-31", "é", "😀"]),
)  # fmt: skip
SCALARS = st.one_of(WORDS, st.booleans(), st.integers(-(10**9), 10**9))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=25)
@given(st.dictionaries(WORDS, VALUES, max_size=5))
def test_written_and_read_is_the_same(value: dict[str, Any]) -> None:
    assert read_yaml(write_yaml(value)) == value


@settings(max_examples=25)
@given(st.dictionaries(WORDS, VALUES, max_size=5))
def test_the_one_line_form_too(value: dict[str, Any]) -> None:
    line = write_flow(value)
    assert "\n" not in line
    assert read_yaml(line) == value


def test_long_lists_are_broken() -> None:
    senders = [f"192.0.2.{n}" for n in range(100)]
    text = write_yaml({"senders": senders})
    assert text.splitlines()[:2] == ["senders:", "  - 192.0.2.0"]
    assert read_yaml(text) == {"senders": senders}


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("Data 1", "Data 1"),
        ("off", "off"),
        ("no", '"no"'),
        ("10", '"10"'),
        ("1m", "1m"),
        ("::1", '"::1"'),
        ("a\\b", '"a\\\\b"'),
        ("0b1", '"0b1"'),
        ("true", '"true"'),
    ],
)
def test_words_are_quoted_where_they_must(word: str, written: str) -> None:
    assert write_flow(word) == written
