"""MTA-STS beside levels and DANE: what is enforced, what is only told, what comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.reasons import CHAIN_EXPIRED, no_record

from gatepost.config.outbound import Dane
from gatepost.core.tls import (
    NameMatch,
    NameSource,
    PeerCertificate,
    ReferenceName,
    TlsFacts,
    TlsLevel,
    TlsPlan,
    TlsStage,
    TlsVerdict,
)
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.tls_out import HopNames, judge_tls, plan_tls, verification_text
from gatepost.wire.mta_sts import Mode, StsPolicy

HOP = HopNames("partner.example", mx_host="mx1.partner.example")
ENFORCE = StsPolicy(Mode.ENFORCE, 86_400, ("mx1.partner.example",))
TESTING = replace(ENFORCE, mode=Mode.TESTING)
ELSEWHERE = replace(ENFORCE, hosts=("mx9.partner.example",))

LEAF = PeerCertificate("CN=mx1", "CN=CA", "ab" * 32, 2e9, ("DNS:mx1.partner.example",))
UP = TlsFacts(TlsStage.ESTABLISHED, protocol="TLSv1.3", cipher="C", chain=(LEAF,), chain_judged=True)
GOOD = replace(UP, sts_match=True)
EXPIRED = replace(GOOD, chain_problem=CHAIN_EXPIRED)
CLEAR = TlsFacts(TlsStage.NOT_OFFERED)
TRYING = [level for level in TlsLevel if level.tries]
LENIENT = [level for level in TRYING if not level.verifies]


def plan(level: TlsLevel, policy: StsPolicy | None, **choices: object) -> TlsPlan:
    rule = DestinationRule(level, mta_sts=True, dane=Dane.OPPORTUNISTIC)
    sts = ("partner.example", policy) if policy is not None else None
    return plan_tls(rule, HOP, sts=sts, **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", LENIENT)
def test_an_enforced_policy_verifies_at_every_level(level: TlsLevel) -> None:
    made = plan(level, ENFORCE)
    assert (made.mandatory, made.clear_allowed) == (True, False)
    good = judge_tls(made, GOOD)
    assert good.verdict is TlsVerdict.VERIFIED
    assert verification_text(good) == "yes: mx1.partner.example (MTA-STS)"
    assert judge_tls(made, CLEAR).verdict is TlsVerdict.REFUSED
    expired = judge_tls(made, EXPIRED)
    assert expired.verdict is TlsVerdict.REFUSED
    assert expired.reason == "verify error: MTA-STS: certificate has expired"
    misnamed = judge_tls(made, UP)
    assert "host name mismatch: mx1.partner.example not in DNS:mx1.partner.example" in misnamed.reason


@pytest.mark.parametrize("level", TRYING)
def test_a_host_that_the_policy_does_not_name_is_not_called(level: TlsLevel) -> None:
    made = plan(level, ELSEWHERE)
    assert str(made.forbidden) == "the MTA-STS policy of partner.example does not name mx1.partner.example"
    assert judge_tls(made, GOOD).verdict is TlsVerdict.REFUSED


@pytest.mark.parametrize("facts", [CLEAR, UP, EXPIRED])
@pytest.mark.parametrize("level", LENIENT)
def test_testing_tells_and_changes_nothing(level: TlsLevel, facts: TlsFacts) -> None:
    """A policy in testing with a bad certificate delivers (C36)."""
    tested, without = (judge_tls(plan(level, policy), facts) for policy in (TESTING, None))
    assert (tested.verdict, tested.reason) == (without.verdict, without.reason)
    assert bool(tested.note) is (facts is not CLEAR)


def test_testing_says_what_it_would_have_refused() -> None:
    outcome = judge_tls(plan(TlsLevel.PREFERRED, TESTING), EXPIRED)
    assert outcome.note == "MTA-STS of partner.example, in testing, would refuse: certificate has expired"
    assert judge_tls(plan(TlsLevel.PREFERRED, TESTING), GOOD).note == ""


@pytest.mark.parametrize("policy", [replace(ENFORCE, mode=Mode.NONE), None])
def test_no_policy_asks_for_nothing(policy: StsPolicy | None) -> None:
    assert plan(TlsLevel.PREFERRED, policy).sts is None


def test_none_is_final_and_routes_to_hosts_have_no_policy() -> None:
    assert plan(TlsLevel.NONE, ENFORCE) == plan(TlsLevel.NONE, None)
    routed = HopNames("partner.example", route_host="relay.example")
    rule = DestinationRule(TlsLevel.PREFERRED, mta_sts=True)
    assert plan_tls(rule, routed, sts=("partner.example", ENFORCE)).sts is None


def test_usable_tlsa_records_stand_in_place_of_the_policy_and_unusable_ones_do_not() -> None:
    """Rule (c) and D7: a match needs no policy, a mismatch is not healed by one."""
    usable = TlsaAnswer(TlsaState.FOUND, (Tlsa(3, 1, 1, b"\x01" * 32),), "mx1.partner.example")
    made = plan(TlsLevel.PREFERRED, ELSEWHERE, tlsa=usable)
    assert judge_tls(made, replace(UP, dane_match="DANE-EE 3 1 1")).may_pass
    assert not judge_tls(made, replace(GOOD, dane_problem=no_record("no match"))).may_pass
    unusable = replace(usable, records=(Tlsa(0, 1, 1, b"\x01" * 32),))
    both = plan(TlsLevel.PREFERRED, ENFORCE, tlsa=unusable)
    assert judge_tls(both, GOOD).verdict is TlsVerdict.VERIFIED
    assert not judge_tls(both, EXPIRED).may_pass


def test_an_enforced_policy_authenticates_the_mx_name_for_required_verify() -> None:
    made = plan(TlsLevel.REQUIRED_VERIFY, ENFORCE)
    assert made.names[0].name == "mx1.partner.example"
    assert plan(TlsLevel.REQUIRED_VERIFY, TESTING).names == plan(TlsLevel.REQUIRED_VERIFY, None).names


RANK = {TlsVerdict.REFUSED: 0, TlsVerdict.VERIFIED: 1, TlsVerdict.ENCRYPTED: 2, TlsVerdict.CLEAR: 3}
USABLE = TlsaAnswer(TlsaState.FOUND, (Tlsa(3, 1, 1, b"\x01" * 32),), "mx1.partner.example")
ANSWERS = (
    None,
    USABLE,
    replace(USABLE, records=(Tlsa(0, 1, 1, b"\x01" * 32),)),
    TlsaAnswer(TlsaState.FAILED, detail="SERVFAIL"),
    TlsaAnswer(TlsaState.ABSENT, detail="none"),
)
PKIX = NameMatch(ReferenceName("partner.example", NameSource.OPERATOR), "DNS:partner.example")
FACTS = (
    CLEAR,
    UP,
    GOOD,
    EXPIRED,
    replace(UP, dane_match="DANE-EE 3 1 1"),
    replace(GOOD, dane_problem=no_record("no match")),
    replace(GOOD, match=PKIX),
    TlsFacts(TlsStage.HANDSHAKE_FAILED, error="reset"),
)


@given(
    st.sampled_from(list(TlsLevel)),
    st.sampled_from(list(Dane)),
    st.sampled_from(ANSWERS),
    st.sampled_from([None, ENFORCE, TESTING, ELSEWHERE, replace(ENFORCE, mode=Mode.NONE)]),
    st.sampled_from(FACTS),
    st.booleans(),
)
def test_no_combination_of_rules_lowers_a_level(
    level: TlsLevel,
    dane: Dane,
    answer: TlsaAnswer | None,
    policy: StsPolicy | None,
    facts: TlsFacts,
    signed: bool,
) -> None:
    """Rule (e): what passes under more rules passes at least as well protected; only proof lets more pass (rule b)."""
    hop = replace(HOP, mx_signed=signed, mx_secure=signed)
    alone = judge_tls(plan_tls(DestinationRule(level), hop), facts)
    rule = DestinationRule(level, dane=dane, mta_sts=True)
    sts = ("partner.example", policy) if policy is not None else None
    together = judge_tls(plan_tls(rule, hop, tlsa=answer, sts=sts), facts)
    if level is TlsLevel.NONE:
        assert together.verdict is alone.verdict
    elif together.may_pass and not alone.may_pass:
        assert together.verdict is TlsVerdict.VERIFIED
    elif together.may_pass:
        assert RANK[together.verdict] <= RANK[alone.verdict]
