"""Differences by the names of rows, and the merge of two administrators' changes."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.config.documents import CONTRACT, PLAIN_DOCUMENTS

from gatepost.config.diff import Conflict, diff, merge
from gatepost.config.load import load_plain, load_yaml, to_plain
from gatepost.config.model import Document

BASE = to_plain(load_yaml(CONTRACT))


def edited() -> dict[str, Any]:
    return deepcopy(BASE)


def lines(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [change.line() for change in diff(load_plain(before), load_plain(after))]


def merged(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> Document:
    result = merge(load_plain(base), load_plain(ours), load_plain(theirs))
    assert isinstance(result, Document), result
    return result


def conflicts(ours: dict[str, Any], theirs: dict[str, Any]) -> list[Conflict]:
    result = merge(load_plain(BASE), load_plain(ours), load_plain(theirs))
    assert not isinstance(result, Document)
    return list(result)


def test_the_same_document_has_no_differences() -> None:
    assert lines(BASE, edited()) == []


def test_a_change_an_addition_and_a_removal() -> None:
    after = edited()
    after["listeners"][0]["port"] = 25
    after["destination_controls"]["destinations"].pop(1)
    after["dns"]["reverse"] = False
    assert lines(BASE, after) == [
        "  listeners[IncomingMail].port: 2525 -> 25",
        "- destination_controls.destinations[hosted.example]: {domain: hosted.example, tls: required-verify-hosted}",
        "+ dns.reverse: false",
    ]


def test_a_new_row_at_the_top_is_one_change() -> None:
    after = edited()
    after["listeners"][0]["host_access"].insert(
        0, {"group": "NEW", "senders": ["10.0.0.0/8"], "policy": "BLOCKED"}
    )
    assert lines(BASE, after) == [
        "+ listeners[IncomingMail].host_access[NEW]: {group: NEW, senders: [10.0.0.0/8], policy: BLOCKED}"
    ]


def test_the_order_of_rows_is_a_difference() -> None:
    after = edited()
    rows = after["listeners"][0]["host_access"]
    rows[0], rows[1] = rows[1], rows[0]
    [line] = lines(BASE, after)
    assert line.startswith("  listeners[IncomingMail].host_access.(order):")


def test_different_things_both_succeed() -> None:
    ours, theirs = edited(), edited()
    ours["listeners"][0]["port"] = 25
    ours["mail_flow_policies"].append({"name": "OURS", "action": "accept"})
    theirs["listeners"][0]["certificate"] = "Demo"
    theirs["mail_flow_policies"].append({"name": "THEIRS", "action": "reject"})
    theirs["destination_controls"]["destinations"].pop(0)
    document = merged(BASE, ours, theirs)
    assert (document.listeners[0].port, document.listeners[0].certificate) == (25, "Demo")
    assert {"OURS", "THEIRS"} <= {policy.name for policy in document.mail_flow_policies}
    assert [entry.domain for entry in document.destination_controls.destinations] == [
        "hosted.example",
        ".legacy.example",
    ]


def test_the_same_change_twice_is_no_conflict() -> None:
    ours, theirs = edited(), edited()
    ours["listeners"][0]["port"] = theirs["listeners"][0]["port"] = 25
    assert merged(BASE, ours, theirs).listeners[0].port == 25


def test_the_same_thing_changed_differently_shows_all_three() -> None:
    ours, theirs = edited(), edited()
    ours["listeners"][0]["port"], theirs["listeners"][0]["port"] = 25, 26
    assert conflicts(ours, theirs) == [Conflict("listeners[IncomingMail].port", "2525", "25", "26")]
    assert conflicts(ours, theirs)[0].line() == (
        "listeners[IncomingMail].port: was 2525, is now 26 in the committed configuration and 25 in yours"
    )


def test_a_row_removed_here_and_changed_there_is_a_conflict() -> None:
    ours, theirs = edited(), edited()
    ours["destination_controls"]["destinations"].pop(0)
    theirs["destination_controls"]["destinations"][0]["tls"] = "required"
    [conflict] = conflicts(ours, theirs)
    assert conflict.path == "destination_controls.destinations[partner.example]"
    assert conflict.ours is None
    assert conflict.line().endswith("and absent in yours")


def test_a_section_added_by_both_is_merged_by_its_rows() -> None:
    base, ours, theirs = edited(), edited(), edited()
    for document in (base, ours, theirs):
        del document["address_lists"]
    ours["address_lists"] = [{"name": "a", "addresses": []}]
    theirs["address_lists"] = [{"name": "b", "addresses": []}]
    assert {item.name for item in merged(base, ours, theirs).address_lists} == {"a", "b"}


def test_rows_added_at_different_places_of_a_hat_keep_their_places() -> None:
    ours, theirs = edited(), edited()
    ours["listeners"][0]["host_access"].insert(0, {"group": "FIRST", "policy": "BLOCKED"})
    theirs["listeners"][0]["host_access"].insert(4, {"group": "FIFTH", "policy": "BLOCKED"})
    groups = [row.group for row in merged(BASE, ours, theirs).listeners[0].host_access]
    assert groups == [
        "FIRST", "ALLOWED_LIST", "BLOCKED_LIST", "SUSPECTLIST", "PARTNERS", "FIFTH", "UNKNOWNLIST", "ALL",
    ]  # fmt: skip


def test_rows_added_at_the_same_place_of_a_hat_are_a_conflict() -> None:
    ours, theirs = edited(), edited()
    ours["listeners"][0]["host_access"].insert(4, {"group": "OURS", "policy": "BLOCKED"})
    theirs["listeners"][0]["host_access"].insert(4, {"group": "THEIRS", "policy": "ACCEPTED"})
    assert [conflict.path for conflict in conflicts(ours, theirs)] == [
        "listeners[IncomingMail].host_access.(order)"
    ]


def test_one_reorders_the_other_adds() -> None:
    ours, theirs = edited(), edited()
    ours["listeners"][0]["host_access"].insert(4, {"group": "NEW", "policy": "BLOCKED"})
    rows = theirs["listeners"][0]["host_access"]
    rows[0], rows[1] = rows[1], rows[0]
    groups = [row.group for row in merged(BASE, ours, theirs).listeners[0].host_access]
    assert groups == ["BLOCKED_LIST", "ALLOWED_LIST", "SUSPECTLIST", "PARTNERS", "NEW", "UNKNOWNLIST", "ALL"]


def test_two_orders_are_a_conflict() -> None:
    ours, theirs = edited(), edited()
    ours["smtp_routes"].reverse()
    for document, (a, b) in ((ours, (0, 1)), (theirs, (1, 2))):
        rows = document["listeners"][0]["host_access"]
        rows[a], rows[b] = rows[b], rows[a]
    assert [conflict.path for conflict in conflicts(ours, theirs)] == [
        "listeners[IncomingMail].host_access.(order)"
    ]


@pytest.mark.parametrize("side", ["ours", "theirs"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(before=PLAIN_DOCUMENTS, after=PLAIN_DOCUMENTS)
def test_one_sides_change_is_taken_as_it_is(side: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    base, changed = load_plain(before), load_plain(after)
    result = merge(base, changed, base) if side == "ours" else merge(base, base, changed)
    assert isinstance(result, Document)
    assert to_plain(result) == to_plain(changed)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(PLAIN_DOCUMENTS, PLAIN_DOCUMENTS)
def test_there_is_a_difference_exactly_when_documents_differ(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    before, after = load_plain(one), load_plain(other)
    assert bool(diff(before, after)) == (to_plain(before) != to_plain(after))
