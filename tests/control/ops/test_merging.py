"""Two changes of certificates, users and authorities come together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gatepost.control.ops.merging import MergeConflict, merge_content
from gatepost.store.config_store import Content, Version

BASE = Content({"system": {"hostname": "gw.example"}}, {"a": 1, "b": 2}, "", {"admin": "x"})


def block(word: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{word}\n-----END CERTIFICATE-----\n"


def latest(content: Content) -> Version:
    return Version(7, 6, 0.0, "local:1", "", content)


def test_what_only_one_side_changed_is_taken() -> None:
    ours = replace(BASE, profiles={"a": 5, "b": 2, "new": 6}, users={"admin": "y"})
    theirs = replace(BASE, profiles={"a": 1, "other": 8})
    merged = merge_content(BASE, ours, latest(theirs))
    assert merged.profiles == {"a": 5, "new": 6, "other": 8}  # `b` was removed by them
    assert merged.users == {"admin": "y"}


def test_the_same_change_on_both_sides_is_no_conflict() -> None:
    both = replace(BASE, profiles={"a": 9, "b": 2})
    assert merge_content(BASE, both, latest(both)).profiles == {"a": 9, "b": 2}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [({"a": 5, "b": 2}, {"a": 6, "b": 2}), ({"b": 2}, {"a": 6, "b": 2}), ({"a": 5, "b": 2}, {"b": 2})],
)
def test_different_changes_of_one_certificate_are_a_conflict(
    ours: dict[str, int], theirs: dict[str, int]
) -> None:
    with pytest.raises(MergeConflict) as caught:
        merge_content(BASE, replace(BASE, profiles=ours), latest(replace(BASE, profiles=theirs)))
    (problem,) = caught.value.problems
    assert problem.path == "certificates[a]"
    assert "version 7" in problem.text


def test_one_name_made_twice_is_a_conflict_beside_all_others() -> None:
    ours = Content({"system": {"hostname": "one.example"}}, {**BASE.profiles, "n": 5}, "", {})
    theirs = Content({"system": {"hostname": "two.example"}}, {**BASE.profiles, "n": 6}, "", BASE.users)
    with pytest.raises(MergeConflict) as caught:
        merge_content(BASE, ours, latest(theirs))
    assert [problem.path for problem in caught.value.problems] == ["system.hostname", "certificates[n]"]


def test_lists_of_authorities_take_both_sides_additions_and_removals() -> None:
    base = replace(BASE, authorities=block("one") + block("two"))
    ours = replace(BASE, authorities=block("two") + block("mine"))
    theirs = replace(BASE, authorities=block("one") + block("two") + block("theirs"))
    merged = merge_content(base, ours, latest(theirs))
    assert merged.authorities == block("two") + block("theirs") + block("mine")
