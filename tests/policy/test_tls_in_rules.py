"""The TLS part of a mail flow policy in layers: what is enforced, what is monitored, and what the latter would say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.config.check import check
from gatepost.config.inbound import PolicyAction, PolicyParameters
from gatepost.config.load import load_plain
from gatepost.core.address import Address
from gatepost.core.tls import InboundTls, PeerCertificate
from gatepost.pki.findings import Code, Finding
from gatepost.policy.mailboxes import MailboxTable
from gatepost.policy.monitor import policy_refusal
from gatepost.policy.tls_in import ClientFacts, InboundTlsRule
from gatepost.policy.tls_in_rules import compile_tls_rule

DOCUMENT = load_plain({"address_lists": [{"name": "banks", "addresses": ["bank.example"]}]})
BANKS = MailboxTable.of_texts(["bank.example"])
BANK = Address("a@bank.example", "a", "bank.example")
OTHER = Address("a@other.example", "a", "other.example")


def layer(**keys: Any) -> PolicyParameters:
    return PolicyParameters.model_validate({"name": "P", "action": PolicyAction.ACCEPT, **keys})


def rule(*layers: dict[str, Any]) -> InboundTlsRule:
    """Compiled anew each time, with one table of the senders for all, so that two rules can be compared."""
    found = compile_tls_rule(DOCUMENT, [layer(**keys) for keys in layers])
    inner = found.monitored and replace(found.monitored, senders=_one_table(found.monitored))
    return replace(found, senders=_one_table(found), monitored=inner)


def _one_table(found: InboundTlsRule) -> MailboxTable | None:
    return BANKS if found.senders is not None else None


def watched(*layers: dict[str, Any]) -> InboundTlsRule:
    found = rule(*layers).monitored
    assert found is not None
    return found


def test_a_policy_in_monitor_mode_offers_tls_and_demands_nothing() -> None:
    keys = {"tls": "required", "verify_client_certificate": True, "tls_mandatory_for": "banks"}
    found = rule({**keys, "tls_monitor": True})
    assert (found.level, found.client, found.senders) == (InboundTls.PREFERRED, None, None)
    assert found.asks_certificate
    assert found.monitored == rule(keys)


def test_a_listeners_entry_in_monitor_mode_leaves_the_policy_in_force() -> None:
    base = {"tls": "preferred", "tls_mandatory_for": "banks"}
    found = rule(base, {"tls": "required", "tls_monitor": True})
    assert replace(found, monitored=None) == rule(base)
    assert watched(base, {"tls": "required", "tls_monitor": True}) == rule({**base, "tls": "required"})


def test_an_entry_that_is_enforced_stays_so_over_a_policy_that_is_not() -> None:
    found = rule({"tls": "required", "tls_monitor": True}, {"verify_client_certificate": True})
    assert found.level is InboundTls.PREFERRED
    assert found.client is not None
    assert found.monitored is not None
    assert found.monitored.level is InboundTls.REQUIRED


@pytest.mark.parametrize("keys", [{"tls": "preferred"}, {"tls": "off"}, {}])
def test_without_anything_to_demand_nothing_is_monitored(keys: dict[str, Any]) -> None:
    assert rule({**keys, "tls_monitor": True}).monitored is None


def test_tls_that_is_off_stays_off() -> None:
    found = rule({"tls": "off", "verify_client_certificate": True, "tls_monitor": True})
    assert found.level is InboundTls.OFF
    assert not found.offers_starttls(tls_active=False)


def test_an_entry_that_says_nothing_of_tls_is_warned_of() -> None:
    document = load_plain({"mail_flow_policies": [{"name": "P", "action": "accept", "tls_monitor": True}]})
    lines = [one.line() for one in check(document, {"Demo"}, date(2026, 11, 24))]
    assert any("tls_monitor: has nothing to evaluate" in line for line in lines)


# --- what it would have said ------------------------------------------------------------------------------------

EXPIRED = ClientFacts(
    PeerCertificate("CN=c", "CN=i", "ab" * 32, 0.0, ("DNS:c.example",)),
    problem=Finding(Code.EXPIRED, 0, "certificate has expired", "CN=c", "CN=i"),
)


def test_reasons() -> None:
    required = rule({"tls": "required", "verify_client_certificate": True})
    assert policy_refusal(required, OTHER, None) == "TLS was required but remote host did not initiate it"
    assert (
        policy_refusal(required, OTHER, ClientFacts)
        == "client certificate not verified: no certificate was sent"
    )
    assert (
        policy_refusal(required, OTHER, lambda: EXPIRED)
        == "client certificate not verified: certificate has expired (CN=c, issuer CN=i)"
    )
    some = rule({"tls": "preferred", "tls_mandatory_for": "banks"})
    assert policy_refusal(some, BANK, None) == "TLS is mandatory for senders of banks"
    assert policy_refusal(some, OTHER, None) == ""
    assert policy_refusal(some, BANK, ClientFacts) == ""


def test_a_chain_is_looked_at_only_where_the_rule_asks() -> None:
    def asked() -> ClientFacts:
        raise AssertionError

    assert policy_refusal(rule({"tls": "required"}), OTHER, asked) == ""


# --- the property -----------------------------------------------------------------------------------------------

layers = st.fixed_dictionaries(
    {},
    optional={
        "tls": st.sampled_from(["off", "preferred", "required"]),
        "verify_client_certificate": st.booleans(),
        "accept_server_only_certificates": st.booleans(),
        "tls_mandatory_for": st.just("banks"),
    },
)


@settings(max_examples=100)
@given(layers, layers, st.booleans(), st.booleans())
def test_a_monitored_entry_changes_no_answer(
    base: dict[str, Any], override: dict[str, Any], tls: bool, bank: bool
) -> None:
    """What is enforced is the policy without the entry; what is monitored is the policy with it."""
    found = rule(base, {**override, "tls_monitor": True})
    plain = rule(base)
    assert replace(found, monitored=None) == plain
    sender = BANK if bank else OTHER
    assert found.gate(tls_active=tls) == plain.gate(tls_active=tls)
    assert found.sender_gate(sender, tls_active=tls) == plain.sender_gate(sender, tls_active=tls)
    assert found.offers_starttls(tls_active=tls) == plain.offers_starttls(tls_active=tls)
    whole = rule(base, override)
    assert whole == (found.monitored or found)
