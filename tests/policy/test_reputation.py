"""Scores: questions as RFC 5782 writes them, answers that count, and lists that must not."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.config.documents import document

from gatepost.policy.hat import NoScore
from gatepost.policy.reputation import (
    Health,
    ListAnswer,
    Said,
    ScoredList,
    compile_scores,
    judge_list,
    keep_for,
    question,
    read_answer,
    score_text,
    standing_of,
    standing_record,
    unknown_to_lists,
)

SBRS = {"group": "BAD", "senders": ["SBRS[-10:-3]"], "policy": "ACCEPTED"}


def ips(*texts: str) -> list[Any]:
    return [ipaddress.ip_address(text) for text in texts]


def a_list(weight: float | None = None, **weights: float) -> ScoredList:
    [made] = compiled([{"zone": "List.example", "weight": weight, "weights": weights}]).lists
    return made


def compiled(lists: list[dict[str, Any]], *rows: dict[str, Any]) -> Any:
    listener = {
        "name": "In",
        "interface": "Data 1",
        "port": 2525,
        "host_access": [*rows, {"group": "ALL", "policy": "ACCEPTED"}],
    }
    interface = {"name": "Data 1", "address": "127.0.0.1"}
    return compile_scores(document(reputation={"lists": lists}, interfaces=[interface], listeners=[listener]))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.99", "99.2.0.192.bad.example"),
        ("::ffff:192.0.2.99", "99.2.0.192.bad.example"),
        (
            "2001:db8:1:2:3:4:567:89ab",
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bad.example",
        ),
    ],
)
def test_questions_are_those_of_the_rfc(address: str, name: str) -> None:
    assert question(ipaddress.ip_address(address), "bad.example") == name


def test_scores_are_asked_for_where_lists_are_named_and_somebody_wants_them() -> None:
    lists = [{"zone": "list.example", "weight": -4}]
    assert not compiled(lists).asked
    assert compiled(lists, SBRS).asked
    assert not compiled([], SBRS).asked


def test_the_first_weight_that_fits_counts_and_each_once() -> None:
    one = a_list(-1, **{"127.0.0.2": -4, "127.0.0.*": -2, "127.0.*.3": 3})
    assert one.weigh(ips("127.0.0.2")) == -4
    assert one.weigh(ips("127.0.0.4", "127.0.0.5")) == -2
    assert one.weigh(ips("127.0.9.3")) == 3
    assert one.weigh(ips("127.9.9.9")) == -1
    assert one.weigh(ips("127.0.0.2", "127.0.0.4", "127.9.9.9")) == -7
    assert a_list(None, **{"127.0.0.2": -4}).weigh(ips("127.0.0.3")) is None


@pytest.mark.parametrize(
    ("answers", "detail"),
    [
        (["203.0.113.80"], "its answer 203.0.113.80 is not one of a DNS list"),
        (["127.0.0.1"], "it refuses to answer this resolver (127.0.0.1)"),
        (["127.255.255.254"], "it refuses to answer this resolver (127.255.255.254)"),
    ],
)
def test_what_is_no_answer_of_a_list_does_not_count(answers: list[str], detail: str) -> None:
    found = read_answer(a_list(-4), ips(*answers))
    assert (found.said, found.weight, found.detail) == (Said.IGNORED, None, detail)
    named = read_answer(a_list(None, **{"127.0.0.1": -3, "127.255.255.254": -3}), ips(*answers))
    assert (named.said is Said.LISTED) == answers[0].startswith("127.")


def test_a_good_answer_counts_beside_a_strange_one() -> None:
    found = read_answer(a_list(-4), ips("127.0.0.2", "203.0.113.80"))
    assert (found.said, found.weight, found.answers) == (Said.LISTED, -4, ("127.0.0.2", "203.0.113.80"))
    assert read_answer(a_list(-4), []).said is Said.NOT_LISTED
    odd = read_answer(a_list(None, **{"127.0.0.2": -4}), ips("127.0.0.9"))
    assert (odd.said, odd.detail) == (Said.IGNORED, "its answer has no weight")


@pytest.mark.parametrize(
    ("listed", "unlisted", "health"),
    [
        (["127.0.0.2"], [], Health.SOUND),
        (["127.0.0.2"], ["127.0.0.2"], Health.LISTS_ALL),
        ([], [], Health.LISTS_NONE),
        (["203.0.113.80"], ["203.0.113.80"], Health.STRANGE),
        (["127.255.255.254"], ["127.255.255.254"], Health.STRANGE),
    ],
)
def test_a_list_is_judged_by_its_test_points(listed: list[str], unlisted: list[str], health: Health) -> None:
    assert judge_list(a_list(-4), ips(*listed), ips(*unlisted)) is health
    assert health.counts == (health in (Health.SOUND, Health.LISTS_NONE))


def said(*weights: float | None) -> list[ListAnswer]:
    return [
        ListAnswer(f"l{n}.example", Said.LISTED if w is not None else Said.NOT_LISTED, weight=w)
        for n, w in enumerate(weights)
    ]


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ((), "None"),
        ((None, None), "None"),
        ((-4, None, 2.5), "-1.5"),
        ((-8, -8), "-10.0"),
        ((9, 9), "10.0"),
        ((0,), "0.0"),
        ((-0.04,), "0.0"),
        ((4, -4), "0.0"),
    ],
)
def test_the_score_is_the_sum_within_the_bounds(weights: tuple[float | None, ...], text: str) -> None:
    assert score_text(standing_of(said(*weights)).score) == text


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20))
@settings(max_examples=100)
def test_a_score_is_always_one_of_those_that_entries_can_name(weights: list[float]) -> None:
    score = standing_of(said(*weights)).score
    assert isinstance(score, float)
    assert -10 <= score <= 10
    assert round(score * 10) / 10 == score


def test_a_list_that_could_not_be_asked_adds_nothing() -> None:
    failed = ListAnswer("gone.example", Said.FAILED, detail="no answer within 2 s")
    standing = standing_of([*said(-3, None), failed])
    assert standing.score == -3
    assert standing_record(standing) == [
        {"zone": "l0.example", "said": "listed", "answers": [], "weight": -3},
        {
            "zone": "gone.example",
            "said": "failed",
            "answers": [],
            "weight": None,
            "detail": "no answer within 2 s",
        },
    ]
    assert standing_of([failed]).score is NoScore.NONE


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.1.1", "192.168.1.1", "::1", "fd00::1", "fe80::1"])
def test_inside_addresses_are_not_asked_about(address: str) -> None:
    assert unknown_to_lists(ipaddress.ip_address(address))
    assert unknown_to_lists(ipaddress.ip_address("192.0.2.7")) == ""


def test_scores_are_kept_within_a_minute_and_an_hour() -> None:
    assert [keep_for(ttls) for ttls in ([], [5, 900], [900, 86_400], [86_400])] == [60, 60, 900, 3600]
