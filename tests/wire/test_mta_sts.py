"""MTA-STS records and policies as people publish them, and as nobody should (C36)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.wire.mta_sts import MAX_AGE, Mode, StsFault, StsPolicy, read_policy, record_id

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
