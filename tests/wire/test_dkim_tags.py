"""Lists of tags: read as the grammar has them, and nothing else."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.dkim_tags import MAX_TAGS, TagFault, read_tags, without_blanks, words


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("a=1", {"a": "1"}),
        ("a=1;", {"a": "1"}),
        (" a = 1 ;\tb_2 =x y ; ", {"a": "1", "b_2": "x y"}),
        ("a=;b=1=2", {"a": "", "b": "1=2"}),
        ("a=1; A=2", {"a": "1", "A": "2"}),
        ("", {}),
        (" ", {}),
    ],
)
def test_lists_are_read(text: str, tags: dict[str, str]) -> None:
    assert read_tags(text) == tags


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a=1;;b=2", "no list"),
        (";a=1", "no list"),
        ("a=1;;", "no list"),
        ("a", "no list"),
        ("=1", "no list"),
        ("1a=1", "no list"),
        ("a b=1", "no list"),
        ("é=1", "no list"),
        ("a=1; a=1", "twice"),
        ("a=é", "holds what no tag may"),
        ("a=1\r\nb", "holds what no tag may"),
        ("a=\x00", "holds what no tag may"),
        (";".join(f"a{n}=1" for n in range(MAX_TAGS + 1)), "more than 100"),
    ],
)
def test_anything_else_is_no_list(text: str, why: str) -> None:
    with pytest.raises(TagFault, match=why):
        read_tags(text)


def test_values_are_taken_apart() -> None:
    assert without_blanks("ab \t cd") == "abcd"
    assert words(" a : b\t:c") == ("a", "b", "c")


_names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,5}", fullmatch=True)
_values = st.from_regex(r"([!-:<-~]([!-:<-~ \t]{0,10}[!-:<-~])?)?", fullmatch=True)


@given(st.dictionaries(_names, _values, max_size=6), st.sampled_from(["", " ", "\t "]), st.booleans())
@settings(max_examples=100)
def test_what_is_written_is_read(tags: dict[str, str], blank: str, end: bool) -> None:
    text = ";".join(f"{blank}{name}{blank}={blank}{value}{blank}" for name, value in tags.items())
    assert read_tags(text + (";" if end and tags else "")) == tags


@given(st.text(max_size=40))
@settings(max_examples=100)
def test_any_text_is_a_list_or_a_fault(text: str) -> None:
    with suppress(TagFault):
        assert isinstance(read_tags("a=" + text), dict)
