"""MTA-STS records and policies as people publish them, and as nobody should (C36)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.mta_sts import (
    MAX_AGE,
    Mode,
    StsFault,
    StsPolicy,
    policy_id,
    read_policy,
    record_id,
    record_text,
    write_policy,
)

GOOD = (
    b"version: STSv1\r\nmode: enforce\r\nmx: mx1.example.net\r\nmx: *.mail.example.net\r\nmax_age: 604800\r\n"
)


def test_a_policy_is_read() -> None:
    assert read_policy(GOOD) == StsPolicy(Mode.ENFORCE, 604800, ("mx1.example.net", "*.mail.example.net"))
    assert read_policy(GOOD.replace(b"\r\n", b"\n")) == read_policy(GOOD)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mx1.example.net", True),
        ("mx2.example.net", False),
        ("a.mail.example.net", True),
        ("a.b.mail.example.net", False),
        ("mail.example.net", False),
    ],
)
def test_a_wildcard_is_one_label(host: str, allowed: bool) -> None:
    assert read_policy(GOOD).allows(host) is allowed


def test_names_are_compared_in_one_form() -> None:
    policy = read_policy(
        b"version: STSv1\nmode: testing\nmx: MX.Example.Net.\nmx: m\xc3\xbcller.example\nmax_age: 1\n"
    )
    assert policy.hosts == ("mx.example.net", "xn--mller-kva.example")


def test_of_keys_that_stand_twice_the_first_counts_and_unknown_ones_are_passed_over() -> None:
    policy = read_policy(
        b"version: STSv1\nmode: testing\nmode: enforce\nsecret: x\nmx: a.example\nmax_age: 5\nmax_age: 9\n"
    )
    assert (policy.mode, policy.max_age) == (Mode.TESTING, 5)


def test_none_needs_no_hosts_and_huge_ages_are_a_year() -> None:
    assert read_policy(b"version: STSv1\nmode: none\nmax_age: 0\n") == StsPolicy(Mode.NONE, 0)
    assert read_policy(b"version: STSv1\nmode: none\nmax_age: 9999999999\n").max_age == MAX_AGE


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "version: STSv1"),
        (b"mode: enforce\nmx: a.example\nmax_age: 1\n", "version: STSv1"),
        (b"version: STSv1\nmode: strict\nmx: a.example\nmax_age: 1\n", "enforce, testing or none"),
        (b"version: STSv1\nmode: enforce\nmx: a.example\n", "max_age"),
        (b"version: STSv1\nmode: enforce\nmx: a.example\nmax_age: -1\n", "max_age"),
        (b"version: STSv1\nmode: enforce\nmax_age: 1\n", "names no mx"),
        (b"version: STSv1\nmode: enforce\nmx: *.*.example\nmax_age: 1\n", "no host name"),
        (b"version: STSv1\nmode: enforce\nmx:\nmax_age: 1\n", "no host name"),
        (b"version: STSv1\nmode enforce\n", "no key and value"),
        (b"version: STSv1\nmode: \xff\n", "UTF-8"),
        (b"x" * 65_537, "longer than 64 KiB"),
        (b"<html>moved</html>", "no key and value"),
        (
            b"version: STSv1\nmode: enforce\nmax_age: 1\n"
            + b"mx: a%d.example\n" * 0
            + b"".join(b"mx: a%d.example\n" % i for i in range(501)),
            "more than 500",
        ),
    ],
)
def test_what_is_no_policy_says_why(body: bytes, why: str) -> None:
    with pytest.raises(StsFault, match=why):
        read_policy(body)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], None),
        (["v=spf1 -all"], None),
        (["v=STSv1; id=20260101T000000;"], "20260101T000000"),
        (["v=STSv1;id=1"], "1"),
        (["other", "v=STSv1; id=7; x=y;"], "7"),
    ],
)
def test_the_record(texts: list[str], found: str | None) -> None:
    assert record_id(texts) == found


@pytest.mark.parametrize(
    "texts",
    [
        ["v=STSv1; id=1;", "v=STSv1; id=2;"],
        ["v=STSv1;"],
        ["v=STSv1; id=;"],
        ["v=STSv1; id=a b;"],
        ["v=STSv1; id=" + "1" * 33],
    ],
)
def test_a_record_that_does_not_count(texts: list[str]) -> None:
    with pytest.raises(StsFault):
        record_id(texts)


@given(st.binary(max_size=200))
def test_no_octets_raise_anything_else(body: bytes) -> None:
    try:
        policy = read_policy(body)
    except StsFault:
        return
    assert policy.max_age <= MAX_AGE


def test_a_policy_of_ours_is_what_the_rfc_shows() -> None:
    policy = StsPolicy(Mode.ENFORCE, 604800, ("mx1.example.net", "*.mail.example.net"))
    assert write_policy(policy) == GOOD.replace(b"max_age: 604800\r\n", b"") + b"max_age: 604800\r\n"
    assert write_policy(StsPolicy(Mode.NONE, 86400)) == b"version: STSv1\r\nmode: none\r\nmax_age: 86400\r\n"


POLICIES = st.builds(
    StsPolicy,
    st.sampled_from([Mode.ENFORCE, Mode.TESTING]),
    st.integers(0, MAX_AGE),
    st.lists(st.sampled_from(["mx.a.example", "*.b.example", "c.example"]), min_size=1, unique=True).map(
        tuple
    ),
)


@given(POLICIES, POLICIES)
def test_what_is_written_reads_back_and_its_id_differs_exactly_with_it(
    one: StsPolicy, other: StsPolicy
) -> None:
    assert read_policy(write_policy(one)) == one
    mine, yours = policy_id(write_policy(one)), policy_id(write_policy(other))
    assert (mine == yours) == (one == other)
    assert record_id([record_text(mine)]) == mine
