"""Monitor mode: what is enforced is what holds without the entry, and what the entry would have done is told."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.reasons import CHAIN_EXPIRED, no_record

from gatepost.config.check import check
from gatepost.config.load import load_plain
from gatepost.config.model import Document
from gatepost.core.tls import (
    NameMatch,
    PeerCertificate,
    TlsFacts,
    TlsLevel,
    TlsOutcome,
    TlsPlan,
    TlsStage,
    TlsVerdict,
)
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.endings import Change, endings
from gatepost.policy.monitor import Would, monitoring
from gatepost.policy.outbound import compile_destinations, settings_of
from gatepost.policy.tls_out import HopNames, judge_tls, plan_tls
from gatepost.policy.tls_words import delivery_record, tls_record
from gatepost.wire.mta_sts import Mode, StsPolicy

TODAY = datetime.date(2026, 11, 24)
PAST = "2026-11-23"
HOP = HopNames("partner.example", mx_host="mx.partner.example", mx_signed=True, address="192.0.2.7")
LEAF = PeerCertificate("CN=x", "CN=x", "ab" * 32, 2e9, ("DNS:x.example",))
FOUND = TlsaAnswer(TlsaState.FOUND, (Tlsa(3, 1, 1, bytes(32)),), "mx.partner.example")
FAILED = TlsaAnswer(TlsaState.FAILED, detail="SERVFAIL")


def document(*destinations: dict[str, Any], **default: Any) -> Document:
    return load_plain({"destination_controls": {"default": default, "destinations": list(destinations)}})


def rule(made: Document, domain: str = "partner.example") -> DestinationRule:
    return compile_destinations(made).find(domain, TODAY)


def watched(made: Document, domain: str = "partner.example") -> DestinationRule | None:
    return rule(made, domain).monitored


# --- which rule is enforced, and which is monitored ------------------------------------------------------------


def test_what_holds_is_what_holds_without_the_entry() -> None:
    made = document(
        {"domain": "partner.example", "tls": "required-verify", "max_connections": 3, "monitor": True},
        {"domain": ".example", "tls": "required"},
    )
    found = rule(made)
    assert (found.level, found.path) == (TlsLevel.REQUIRED, "destination_controls.destinations[1]")
    assert found.max_connections == 500
    assert found.monitored is not None
    assert found.monitored.level is TlsLevel.REQUIRED_VERIFY
    assert found.monitored.path == "destination_controls.destinations[0]"
    assert rule(made, "a.example").monitored is None


def test_a_proposal_stands_beside_the_entry_that_it_would_replace() -> None:
    made = document(
        {"domain": "partner.example", "tls": "preferred-verify"},
        {"domain": "partner.example", "tls": "required-verify", "monitor": True},
    )
    assert rule(made).level is TlsLevel.PREFERRED_VERIFY
    assert watched(made) is not None
    assert not [one for one in check(made, {"Demo"}, TODAY) if not one.warning]


def test_two_proposals_for_one_domain_are_one_too_many() -> None:
    twice = {"domain": "partner.example", "tls": "required", "monitor": True}
    faults = [one for one in check(document(twice, twice), {"Demo"}, TODAY) if not one.warning]
    assert faults
    assert "is already the domain of" in faults[0].line()


def test_an_enforced_entry_that_is_nearer_is_not_monitored() -> None:
    made = document(
        {"domain": ".example", "tls": "required-verify", "monitor": True},
        {"domain": "partner.example", "tls": "none"},
    )
    assert watched(made) is None
    other = watched(made, "other.example")
    assert other is not None
    assert other.level is TlsLevel.REQUIRED_VERIFY


def test_an_entry_that_ended_is_not_monitored() -> None:
    made = document({"domain": "partner.example", "tls": "required", "monitor": True, "until": PAST})
    assert watched(made) is None


def test_the_default_in_monitor_mode_enforces_preferred() -> None:
    made = document(
        {"domain": "own.example", "dane": "opportunistic"},
        {"domain": "whole.example", "tls": "required", "dane": "none", "mta_sts": False},
        tls="required",
        dane="mandatory",
        mta_sts=True,
        max_connections=7,
        monitor=True,
    )
    found = rule(made)
    assert (found.level, found.dane.value, found.mta_sts, found.max_connections) == (
        TlsLevel.PREFERRED,
        "none",
        False,
        7,
    )
    assert found.monitored is not None
    assert (found.monitored.level, found.monitored.mta_sts) == (TlsLevel.REQUIRED, True)
    own = rule(made, "own.example")
    assert (own.level, own.dane.value, own.mta_sts) == (TlsLevel.PREFERRED, "opportunistic", False)
    assert own.monitored is not None
    assert (own.monitored.level, own.monitored.mta_sts) == (TlsLevel.REQUIRED, True)
    assert watched(made, "whole.example") is None, "it takes nothing from the default"
    shown = {one.key: (one.value, one.path) for one in settings_of(made, found)}
    assert shown["tls"] == ("preferred", "")
    assert shown["max_connections"] == (7, "destination_controls.default.max_connections")
    shown = {one.key: (one.value, one.path) for one in settings_of(made, found.monitored, monitored=True)}
    assert shown["tls"] == ("required", "destination_controls.default.tls")


def test_what_a_monitored_rule_asks_for_is_looked_up() -> None:
    made = document({"domain": "partner.example", "dane": "mandatory", "mta_sts": True, "monitor": True})
    found = rule(made)
    assert (found.asks_dane, found.asks_sts) == (False, False)
    assert (found.looks_up_tlsa, found.looks_up_sts) == (True, True)
    table = compile_destinations(made)
    assert table.asks_dane
    assert table.asks_sts


def test_its_end_is_told_and_changes_nothing_that_is_enforced() -> None:
    (one,) = endings(
        document({"domain": "partner.example", "tls": "required", "monitor": True, "until": "2027-01-31"})
    )
    assert one.monitor
    assert one.change is Change.SAME
    assert one.path == "destination_controls.destinations[0]"


def test_settings_without_effect_are_warned_of() -> None:
    made = document({"domain": "partner.example", "max_connections": 3, "monitor": True})
    lines = [one.line() for one in check(made, {"Demo"}, TODAY) if one.warning]
    assert any("max_connections has no effect while the entry is in monitor mode" in line for line in lines)
    assert any("monitor has nothing to evaluate" in line for line in lines)


# --- what is told of a connection ------------------------------------------------------------------------------


def outcome(
    facts: TlsFacts, tls: str = "required-verify", enforced: str = "preferred", **more: Any
) -> TlsOutcome:
    made = document({"domain": "partner.example", "tls": tls, "monitor": True, **more}, tls=enforced)
    return judge_tls(plan_tls(rule(made), HOP, tlsa=FOUND), facts)


def told(facts: TlsFacts, **rules: Any) -> tuple[Would, str]:
    seen = monitoring(outcome(facts, **rules))
    assert seen is not None
    return seen.would, seen.reason


UP = TlsFacts(TlsStage.ESTABLISHED, protocol="TLSv1.3", cipher="x", chain=(LEAF,))
JUDGED = replace(UP, monitored=replace(UP, chain_judged=True, chain_problem=CHAIN_EXPIRED))


def test_a_refusal_is_told_in_the_words_of_the_log() -> None:
    assert told(JUDGED) == (Would.REFUSE, "verify error: certificate has expired")
    assert outcome(JUDGED).verdict is TlsVerdict.ENCRYPTED
    assert told(TlsFacts(TlsStage.NOT_OFFERED), tls="required") == (
        Would.REFUSE,
        "remote host does not offer STARTTLS",
    )
    assert outcome(TlsFacts(TlsStage.NOT_OFFERED), tls="required").verdict is TlsVerdict.CLEAR


def test_what_would_pass() -> None:
    assert told(UP, tls="required")[0] is Would.PASS
    assert told(TlsFacts(TlsStage.NOT_OFFERED), tls="none", enforced="preferred")[0] is Would.PASS


def test_where_tls_is_off_nothing_can_be_told() -> None:
    would, reason = told(TlsFacts(TlsStage.NOT_TRIED), tls="required", enforced="none")
    assert (would, reason) == (Would.UNTOLD, "not tried: TLS is off for this destination")


def test_what_nobody_judged_cannot_be_told() -> None:
    assert told(UP)[0] is Would.UNTOLD
    assert told(UP, tls="preferred", dane="opportunistic")[0] is Would.UNTOLD


def test_records_that_cannot_be_looked_up_are_a_refusal() -> None:
    made = document({"domain": "partner.example", "dane": "opportunistic", "monitor": True})
    seen = monitoring(judge_tls(plan_tls(rule(made), HOP, tlsa=FAILED), UP))
    assert seen is not None
    assert (seen.would, seen.reason) == (Would.REFUSE, "its TLSA records could not be looked up: SERVFAIL")


def test_a_name_that_was_not_asked_for_is_said() -> None:
    made = document({"domain": "partner.example", "dane": "opportunistic", "monitor": True})
    base = replace(FOUND, base="alias.example")
    facts = replace(
        UP,
        monitored=replace(
            UP, dane_problem=no_record("certificate is not of the TLSA records of alias.example")
        ),
    )
    seen = monitoring(judge_tls(plan_tls(rule(made), HOP, tlsa=base), facts))
    assert seen is not None
    assert seen.reason.endswith(
        "(the host was asked for mx.partner.example, this rule asks for alias.example)"
    )
    assert seen.wanted == "preferred with DANE"


def test_the_record_has_it_and_each_delivery_too() -> None:
    record = tls_record(outcome(JUDGED))
    assert record["monitor"] == {
        "rule": "destination_controls.destinations[0]",
        "wanted": "required-verify",
        "would": "refuse",
        "reason": "verify error: certificate has expired",
        "reason_code": "expired",
    }
    assert delivery_record(record)["monitor"] == record["monitor"]
    assert tls_record(judge_tls(plan_tls(DestinationRule(TlsLevel.PREFERRED), HOP), UP))["monitor"] is None


# --- the property ----------------------------------------------------------------------------------------------

domains = st.sampled_from(
    ["partner.example", ".partner.example", ".example", "a.partner.example", "other.example"]
)
entries = st.fixed_dictionaries(
    {"domain": domains},
    optional={
        "tls": st.sampled_from([level.value for level in TlsLevel]),
        "dane": st.sampled_from(["none", "opportunistic", "mandatory"]),
        "mta_sts": st.booleans(),
        "insecure_names": st.sampled_from(["allow", "refuse"]),
        "client_certificate": st.sampled_from(["offer", "never"]),
        "preferred_clear_after": st.integers(1, 3),
        "max_connections": st.integers(1, 9),
        "until": st.sampled_from(["2026-11-23", "2026-11-24"]),
    },
)
stages = st.sampled_from(list(TlsStage))


@st.composite
def seen_facts(draw: st.DrawFn, plan: TlsPlan) -> TlsFacts:
    """Facts as `observe_session` makes them: for each plan its own."""
    stage = draw(stages)
    if stage is not TlsStage.ESTABLISHED:
        return TlsFacts(stage, error="x")

    def one(of: TlsPlan) -> TlsFacts:
        match = NameMatch(of.names[0], "DNS:x") if of.names and draw(st.booleans()) else None
        dane = draw(st.booleans())
        return replace(
            UP,
            chain_judged=of.judges_chain,
            chain_problem=draw(st.sampled_from([None, CHAIN_EXPIRED])),
            match=match,
            names_tried=of.names,
            sts_match=draw(st.booleans()),
            dane_match="DANE-EE 3 1 1" if dane else "",
            dane_problem=None if dane else no_record("no match"),
        )

    facts = one(plan)
    return facts if plan.monitored is None else replace(facts, monitored=one(plan.monitored))


@settings(max_examples=100)
@given(
    st.lists(entries, max_size=4),
    st.lists(entries, min_size=1, max_size=4),
    st.sampled_from(["partner.example", "a.partner.example", "b.partner.example", "x.test"]),
    st.sampled_from([FOUND, FAILED, TlsaAnswer(TlsaState.ABSENT, detail="none")]),
    st.booleans(),
    st.data(),
)
def test_with_any_set_of_monitor_entries_the_verdicts_are_those_without_them(
    enforced: list[dict[str, Any]],
    monitors: list[dict[str, Any]],
    domain: str,
    tlsa: TlsaAnswer,
    clear_allowed: bool,
    data: st.DataObject,
) -> None:
    proposals = [{**one, "monitor": True} for one in monitors]
    mixed = data.draw(st.permutations([*enforced, *proposals]))
    order = [one for one in mixed if not one.get("monitor")]
    with_them = rule(document(*mixed), domain)
    assert replace(with_them, monitored=None, path="") == replace(rule(document(*order), domain), path="")
    policy = ("partner.example", StsPolicy(Mode.ENFORCE, 86_400, ("mx.partner.example",)))
    plain = replace(with_them, monitored=None)
    bare = plan_tls(
        plain,
        HOP,
        tlsa=tlsa if plain.asks_dane else None,
        sts=policy if plain.asks_sts else None,
        clear_allowed=clear_allowed,
    )
    plan = plan_tls(with_them, HOP, tlsa=tlsa, sts=policy, clear_allowed=clear_allowed)
    assert replace(plan, monitored=None) == bare
    facts = data.draw(seen_facts(plan))
    judged = judge_tls(plan, facts)
    expected = judge_tls(bare, replace(facts, monitored=None))
    assert (judged.verdict, judged.reason, judged.note) == (expected.verdict, expected.reason, expected.note)
    seen = monitoring(judged)
    assert (seen is None) == (with_them.monitored is None)
    if seen is not None and judged.monitored is not None and seen.would is Would.PASS:
        assert judged.monitored.may_pass


@pytest.mark.parametrize("monitor", [True, False])
def test_the_property_would_notice(monitor: bool) -> None:
    made = document({"domain": "partner.example", "tls": "required", "monitor": monitor})
    verdict = judge_tls(plan_tls(rule(made), HOP), TlsFacts(TlsStage.NOT_OFFERED)).verdict
    assert verdict is (TlsVerdict.CLEAR if monitor else TlsVerdict.REFUSED)
