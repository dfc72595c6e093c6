"""DNS lists in the configuration: forms, faults, and warnings where scores lead nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from tests.config.documents import TODAY, document

from gatepost.config.check import check
from gatepost.config.load import load_plain, to_plain
from gatepost.core.errors import ConfigurationError

SBRS = {"group": "BAD", "senders": ["192.0.2.1", "sbrs[-10:-3]", "sbrs[none]"], "policy": "BLOCKED"}


def problems(lists: list[dict[str, Any]], *rows: dict[str, Any]) -> list[str]:
    listener = {
        "name": "In",
        "interface": "Data 1",
        "port": 2525,
        "host_access": [*rows, {"group": "ALL", "policy": "ACCEPTED"}],
        "recipient_access": [{"recipient": "ALL", "action": "accept"}],
    }
    interface = {"name": "Data 1", "address": "127.0.0.1"}
    made = document(reputation={"lists": lists}, interfaces=[interface], listeners=[listener])
    found = check(made, {"Demo"}, TODAY)
    return [p.line() for p in found if "reputation" in p.path or "host_access" in p.path]


def test_weights_are_a_map_or_a_list_and_come_back_as_a_list() -> None:
    weights = {"127.0.0.2": -4, "127.0.*.3": 2.5}
    plain = {"reputation": {"lists": [{"zone": "list.example", "weights": weights}]}}
    written = to_plain(load_plain(plain))
    assert written["reputation"]["lists"][0]["weights"] == [
        {"answer": "127.0.0.2", "weight": -4.0},
        {"answer": "127.0.*.3", "weight": 2.5},
    ]
    assert to_plain(load_plain(written)) == written


@pytest.mark.parametrize(
    ("one", "text"),
    [
        ({"zone": "a b"}, "is not a domain name"),
        ({"zone": "l.example", "weight": 11}, "is not a weight"),
        ({"zone": "l.example", "weight": True}, "is not a weight"),
        ({"zone": "l.example", "weights": {"10.0.0.2": 1}}, "is not an answer of a DNS list"),
        ({"zone": "l.example", "weights": {"127.0.0.256": 1}}, "is not an answer of a DNS list"),
        ({"zone": "l.example", "weights": {"127.0.0": 1}}, "is not an answer of a DNS list"),
        ({"zone": "l.example", "wieght": 1}, "weight"),
    ],
)
def test_what_cannot_be_meant_is_refused(one: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_plain({"reputation": {"lists": [one]}})
    assert text in " ".join(problem.line() for problem in caught.value.problems)


def test_lists_that_weigh_nothing_or_stand_twice() -> None:
    lists = [
        {"zone": "l.example", "weight": -4},
        {"zone": "L.example.", "weights": {"127.0.0.2": -1}},
        {"zone": "m.example"},
    ]
    assert problems(lists, SBRS) == [
        'reputation.lists[1].zone: "l.example" is already the zone of reputation.lists[0] (names are given once)',
        "reputation.lists[2].weight: is missing: no answer of this list weighs anything (for example -4)",
    ]


def test_scores_that_nobody_wants() -> None:
    lists = [{"zone": "l.example", "weight": -4}]
    assert problems(lists, SBRS) == []
    [line] = problems(lists)
    assert line.startswith("reputation.lists: nobody is asked")
    assert problems([], SBRS) == []
