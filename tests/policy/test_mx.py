"""MX order, null MX, ourselves in the list."""

from __future__ import annotations

import random

import pytest

from gatepost.policy.mx import (
    MAX_MX_HOSTS,
    MxHost,
    MxOrder,
    MxOutcome,
    drop_ourselves,
    order_hosts,
)


def order(records: list[tuple[int, str]], seed: int = 1, own: frozenset[str] = frozenset()) -> MxOrder:
    return order_hosts([MxHost(*record) for record in records], own, random.Random(seed))


def test_preference_first_and_random_among_equals() -> None:
    records = [(20, "c.example"), (10, "A.example."), (10, "b.example"), (5, "best.example")]
    orders = {order(records, seed).hosts for seed in range(50)}
    assert orders == {
        ("best.example", "a.example", "b.example", "c.example"),
        ("best.example", "b.example", "a.example", "c.example"),
    }


def test_a_name_given_twice_keeps_its_best_place() -> None:
    assert order([(30, "a.example"), (20, "b.example"), (10, "A.example")]).hosts == (
        "a.example",
        "b.example",
    )


def test_null_mx_only_when_it_stands_alone() -> None:
    null = order([(0, ".")])
    assert (null.null, null.hosts, null.outcome.status) == (True, (), "5.1.10")
    assert order([(0, "."), (10, "a.example")]).hosts == ("a.example",)


@pytest.mark.parametrize("bad", ["192.0.2.1", "[192.0.2.1]", "a..example", "x" * 64 + ".example"])
def test_what_is_no_host_name_is_left_out(bad: str) -> None:
    assert order([(10, bad)]).outcome is MxOutcome.NO_HOST
    assert order([(10, bad), (20, "a.example")]).hosts == ("a.example",)


def test_hundreds_of_exchangers_are_bounded() -> None:
    many = order([(n, f"mx{n}.example") for n in range(300)]).hosts
    assert many == tuple(f"mx{n}.example" for n in range(MAX_MX_HOSTS))


def test_our_own_name_is_found_behind_hundreds_of_others() -> None:
    records = [(n, f"mx{n}.example") for n in range(300)]
    made = order([*records, (1, "WE.example.")], own=frozenset({"we.example"}))
    assert made.hosts == ("mx0.example",)


LIST = [(5, "best.example"), (10, "we.example"), (10, "peer.example"), (20, "last.example")]


@pytest.mark.parametrize(
    ("own", "left"),
    [
        ({"we.example"}, ["best.example"]),
        ({"last.example", "we.example"}, ["best.example"]),
        ({"other.example"}, [host for _, host in LIST]),
        ({"best.example"}, []),
    ],
)
def test_we_and_all_not_better_are_dropped(own: set[str], left: list[str]) -> None:
    made = order(LIST, own=frozenset(own))
    assert sorted(made.hosts) == sorted(left)
    assert made.outcome is (MxOutcome.FOUND if left else MxOutcome.LOOP)
    assert made.outcome.status == ("" if left else "5.4.6")


def test_a_foreign_name_with_our_address_is_dropped_too() -> None:
    ranked = order(LIST).ranked
    assert drop_ourselves(ranked, lambda host: host.host == "peer.example").hosts == ("best.example",)


def test_what_is_dropped_says_why() -> None:
    many = [(50 + number, f"mx{number}.example") for number in range(MAX_MX_HOSTS + 1)]
    made = order(
        [(1, "192.0.2.1"), *many, (90, "We.example"), (95, "worse.example")], own=frozenset({"we.example"})
    )
    assert {host.host: reason for host, reason in made.dropped} == {
        "192.0.2.1": "no host name",
        "we.example": "leads to this gateway itself",
        "worse.example": "not preferred to this gateway, which is an exchanger too",
        f"mx{MAX_MX_HOSTS}.example": f"beyond the first {MAX_MX_HOSTS} exchangers",
    }
