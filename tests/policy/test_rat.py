"""The RAT, and the matrix of ways in which relays were opened (C29)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.config.inbound import RecipientRule
from gatepost.core.address import Address, normalise_domain
from gatepost.policy.rat import RELAYING_DENIED, Rat


def rat(*rows: tuple[str, str] | tuple[str, str, str]) -> Rat:
    keys = ("recipient", "action", "response")
    return Rat([RecipientRule.model_validate(dict(zip(keys, row, strict=False))) for row in rows])


def mailbox(local: str, domain: str) -> Address:
    """As the engine parses it: the local part as written, the domain normalised."""
    return Address(
        f"{local}@{domain}" if domain else local, local, normalise_domain(domain) if domain else ""
    )


OURS = rat(
    ("example.net", "accept"), (".example.net", "accept"), ("[127.0.0.1]", "accept"), ("ALL", "reject")
)


@pytest.mark.parametrize(
    "domain", ["example.net", "EXAMPLE.NET", "example.net.", "a.b.example.net", "[127.0.0.1]"]
)
def test_our_domains_are_taken(domain: str) -> None:
    assert OURS.decide(mailbox("mary", domain)).refusal is None


@pytest.mark.parametrize(
    ("local", "domain"),
    [
        # the classic matrix: somebody else's domain in every disguise, or a route through ours
        ("user", "victim.example"),
        ("user", "VICTIM.example."),
        ("user", "[192.0.2.1]"),
        ("user", "[IPv6:2001:db8::1]"),
        ("user", "notexample.net"),
        ("user", "example.net.victim.example"),
        ("user", "victim。example"),  # U+3002, which IDNA reads as a dot
        ("user%victim.example", "example.net"),
        ("user%victim.example", "[127.0.0.1]"),
        ("user@victim.example", "example.net"),
        ('"user@victim.example"', "example.net"),
        ('"user%victim.example"', "a.example.net"),
        ("victim.example!user", "example.net"),
        ('"victim.example!user"', "example.net"),
        ("victim.example!user", ""),
        ("user%victim.example", ""),
        ("user@victim.example", ""),
        ("user", ""),
        ("", ""),
        # the first row is also what is left of `@example.net:user@victim.example` without its source route
        ('"user"', "victim.example"),
        ("postmaster", "victim.example"),
        ("postmaster%victim.example", ""),
    ],
)
def test_nothing_opens_the_relay(local: str, domain: str) -> None:
    refusal = OURS.decide(mailbox(local, domain)).refusal
    assert refusal == RELAYING_DENIED
    assert (refusal.code, refusal.enhanced, refusal.cause) == (550, "5.7.1", "Rejected by RAT")


@given(
    st.text(alphabet='u"\\%!@.: ', min_size=1, max_size=12),
    st.sampled_from(["example.net", "a.example.net", ""]),
)
def test_no_route_in_a_local_part_is_ever_taken(local: str, domain: str) -> None:
    recipient = Address(f"{local}@{domain}", local, domain)
    if any(mark in local for mark in "%!@"):
        assert OURS.decide(recipient).refusal is not None


def test_a_row_for_exactly_that_mailbox_lets_a_percent_sign_through() -> None:
    table = rat(("50%off@example.net", "accept"), ("example.net", "accept"))
    assert table.decide(mailbox("50%off", "example.net")).refusal is None
    assert table.decide(mailbox("51%off", "example.net")).refusal is not None


def test_the_first_row_decides() -> None:
    table = rat(("spam@", "reject"), ("bob@example.net", "reject", "Bob has left"), ("example.net", "accept"))
    assert table.decide(mailbox("spam", "example.net")).refusal == RELAYING_DENIED
    left = table.decide(mailbox("BOB", "example.net"))
    assert left.refusal is not None
    assert (left.refusal.text, left.refusal.code, left.row) == ("Bob has left", 550, 1)
    assert table.decide(mailbox("mary", "example.net")).refusal is None


def test_postmaster_is_always_reached() -> None:
    for table in (rat(), rat(("ALL", "reject"))):
        assert table.decide(mailbox("a", "b.example")).refusal is not None
    assert rat().decide(mailbox("PostMaster", "")).refusal is None
    assert rat(("ALL", "reject")).decide(mailbox("PostMaster", "")).refusal is None


def test_an_empty_table_takes_nothing() -> None:
    assert rat().decide(mailbox("a", "example.net")).refusal == RELAYING_DENIED


def test_rows_that_ask_ahead() -> None:
    rows = [
        {"recipient": "example.net", "action": "accept", "call_ahead": True},
        {"recipient": "b.example", "action": "accept", "call_ahead": True, "call_ahead_host": "[192.0.2.9]"},
        {"recipient": "c.example", "action": "reject", "call_ahead": True},
        {"recipient": "d.example", "action": "accept"},
    ]
    rules = [RecipientRule.model_validate(row) for row in rows]
    table = Rat(rules)
    assert table.calls_ahead
    assert not Rat(rules[2:]).calls_ahead
    domains = ("example.net", "b.example", "c.example", "d.example", "e.example")
    found = [table.decide(mailbox("mary", domain)).ahead for domain in domains]
    assert found == ["", "[192.0.2.9]", None, None, None]
