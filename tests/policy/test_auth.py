"""Who is known by SMTP AUTH: what that lets him do, and what failures are counted by."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.gateway_parts import DOCUMENT, policy

from gatepost.config.load import load_plain
from gatepost.core.address import Address
from gatepost.policy.admit import (
    AUTH_REQUIRED,
    Action,
    Admission,
    ListenerRules,
    admit,
    check_recipient,
    check_sender,
    still_holds,
)
from gatepost.policy.admit_rules import compile_rules
from gatepost.policy.auth import AuthRules, SmtpUsers, authenticated, compile_auth, delay_after, user_key
from gatepost.policy.hat import NameState
from gatepost.wire.scram import ScramVerifier

SENDER = Address("a@sender.example", "a", "sender.example")
AWAY = Address("b@elsewhere.example", "b", "elsewhere.example")


def admitted(level: str = "required", **keys: Any) -> tuple[ListenerRules, Admission]:
    document = load_plain({**DOCUMENT, "mail_flow_policies": [policy(smtp_auth=level, **keys)]})
    rules = compile_rules(document).listeners["In"]
    return rules, admit(rules, ipaddress.ip_address("192.0.2.1"), NameState.NONE)


def test_required_asks_every_sender() -> None:
    rules, admission = admitted()
    assert check_sender(rules, admission, SENDER, tls=True) is AUTH_REQUIRED
    assert check_sender(rules, authenticated(admission, "mary"), SENDER, tls=True) is None
    rules, admission = admitted("preferred")
    assert check_sender(rules, admission, SENDER, tls=True) is None


def test_tls_comes_first() -> None:
    rules, admission = admitted(tls="required")
    refusal = check_sender(rules, authenticated(admission, "mary"), SENDER, tls=False)
    assert refusal is not None
    assert refusal.text == "Must issue a STARTTLS command first"


def test_only_who_is_known_skips_the_recipient_table() -> None:
    rules, admission = admitted("preferred", max_recipients_per_message=2)
    assert check_recipient(rules, admission, AWAY, 0) is not None
    known = authenticated(admission, "mary")
    assert (known.action, known.user) == (Action.RELAY, "mary")
    assert check_recipient(rules, known, AWAY, 0) is None
    assert check_recipient(rules, known, AWAY, 2) is not None, "the other limits stay"
    assert admission.user == "", "what others share does not change"


def test_a_session_goes_on_as_long_as_the_level_stays() -> None:
    before = authenticated(admitted("preferred")[1], "mary")
    assert still_holds(before, admitted("preferred", max_message_size="1KB")[1])
    assert still_holds(before, admitted("preferred", action="relay")[1])
    assert not still_holds(before, admitted("required")[1])
    assert not still_holds(before, admitted("off")[1])
    assert not still_holds(before, admitted("preferred", action="reject")[1])


def test_the_rules_of_a_document() -> None:
    assert compile_auth(load_plain(DOCUMENT)) == AuthRules()
    section = {"mechanisms": ["LOGIN"], "max_failures_per_address": "unlimited", "max_failures_per_user": 5}
    rules = compile_auth(load_plain({**DOCUMENT, "smtp_auth": section}))
    assert rules == AuthRules(("LOGIN",), None, 5, 3)


def test_names_count_however_they_are_written() -> None:
    assert user_key("Mary") == user_key("mary") == user_key("\uff2d\uff21\uff32\uff39") != user_key("jane")


def test_users_that_there_are_not_have_verifiers_too() -> None:
    mary = ScramVerifier(4096, b"salt", bytes(32), bytes(32))
    users = SmtpUsers({"mary": mary}, b"secret")
    assert users.verifier("mary") is mary
    assert "jane" not in users
    assert users.verifier("jane") == SmtpUsers({}, b"secret").verifier("jane")
    assert repr(users) == "SmtpUsers()"


@given(st.integers(0, 10**9))
def test_delays_grow_and_end(failures: int) -> None:
    assert 0.5 <= delay_after(failures) <= delay_after(failures + 1) <= 8.0


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0)])
def test_the_first_delays(failures: int, seconds: float) -> None:
    assert delay_after(failures) == seconds
