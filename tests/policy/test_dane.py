"""DANE for SMTP: the table of states, demands and levels; more rules never mean less."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.reasons import CHAIN_SELF_SIGNED, no_record

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
from gatepost.policy.tls_words import failure_status, tls_record

SIGNED = HopNames("partner.example", mx_host="mx.partner.example", mx_signed=True, mx_secure=True)
UNSIGNED = replace(SIGNED, mx_signed=False, mx_secure=False)
GOOD_RECORD = Tlsa(3, 1, 1, b"\x01" * 32)
FOUND = TlsaAnswer(TlsaState.FOUND, (GOOD_RECORD,), "mx.partner.example")
UNUSABLE = TlsaAnswer(TlsaState.FOUND, (Tlsa(1, 1, 1, b"\x01" * 32),), "mx.partner.example")
ABSENT = TlsaAnswer(TlsaState.ABSENT, detail="mx.partner.example has no TLSA records")
UNAVAILABLE = TlsaAnswer(TlsaState.UNAVAILABLE, detail="no resolver is known to validate DNSSEC")
FAILED = TlsaAnswer(TlsaState.FAILED, detail="TLSA of mx.partner.example: SERVFAIL from 127.0.0.1:53")
ANSWERS = (FOUND, UNUSABLE, ABSENT, UNAVAILABLE, FAILED)

LEAF = PeerCertificate("CN=mx", "CN=CA", "ab" * 32, 2e9, ("DNS:mx.partner.example",))
UP = TlsFacts(TlsStage.ESTABLISHED, protocol="TLSv1.3", cipher="C", chain=(LEAF,))
MATCHED = replace(UP, dane_match="DANE-EE 3 1 1")
STRANGE = replace(UP, dane_problem=no_record("certificate is not of the TLSA records of mx.partner.example"))
PKIX = NameMatch(ReferenceName("partner.example", NameSource.OPERATOR), "DNS:partner.example")
CLEAR = TlsFacts(TlsStage.NOT_OFFERED)

TRYING = [level for level in TlsLevel if level.tries]


def plan(level: TlsLevel, dane: Dane, answer: TlsaAnswer | None, hop: HopNames = SIGNED) -> TlsPlan:
    return plan_tls(DestinationRule(level, dane=dane), hop, tlsa=answer)


@pytest.mark.parametrize("level", TRYING)
def test_a_match_verifies_at_every_level_and_a_stranger_is_refused(level: TlsLevel) -> None:
    made = plan(level, Dane.OPPORTUNISTIC, FOUND)
    assert (made.sni, made.mandatory, made.clear_allowed) == ("mx.partner.example", True, False)
    good, bad, clear = (judge_tls(made, facts) for facts in (MATCHED, STRANGE, CLEAR))
    assert good.verdict is TlsVerdict.VERIFIED
    assert verification_text(good) == "yes: DANE-EE 3 1 1"
    assert bad.verdict is TlsVerdict.REFUSED
    assert bad.reason == "verify error: certificate is not of the TLSA records of mx.partner.example"
    assert clear.verdict is TlsVerdict.REFUSED


@pytest.mark.parametrize("dane", [Dane.OPPORTUNISTIC, Dane.MANDATORY])
@pytest.mark.parametrize("level", TRYING)
def test_records_that_could_not_be_looked_up_forbid_the_host(level: TlsLevel, dane: Dane) -> None:
    """D1"""
    outcome = judge_tls(plan(level, dane, FAILED), MATCHED)
    assert outcome.verdict is TlsVerdict.REFUSED
    assert "could not be looked up: TLSA of mx.partner.example: SERVFAIL" in outcome.reason
    assert failure_status(outcome).status.startswith("4.")


@pytest.mark.parametrize("level", TRYING)
def test_unusable_records_ask_for_tls_and_authenticate_nobody(level: TlsLevel) -> None:
    """D5, and rule (b): they never satisfy a level that verifies."""
    made = plan(level, Dane.OPPORTUNISTIC, UNUSABLE)
    assert judge_tls(made, CLEAR).verdict is TlsVerdict.REFUSED
    unverified = judge_tls(made, replace(UP, chain_judged=True, chain_problem=CHAIN_SELF_SIGNED))
    assert unverified.may_pass is not level.verification_mandatory
    assert judge_tls(made, UP).verdict is not TlsVerdict.VERIFIED


@pytest.mark.parametrize("answer", [ABSENT, UNAVAILABLE, None])
def test_opportunistic_without_records_is_as_if_it_were_not_there(answer: TlsaAnswer | None) -> None:
    for level in TRYING:
        assert plan(level, Dane.OPPORTUNISTIC, answer) == plan(level, Dane.NONE, None)


@pytest.mark.parametrize("answer", [ABSENT, UNAVAILABLE, UNUSABLE, FAILED, None])
def test_mandatory_refuses_a_host_that_records_cannot_authenticate(answer: TlsaAnswer | None) -> None:
    outcome = judge_tls(plan(TlsLevel.PREFERRED, Dane.MANDATORY, answer), MATCHED)
    assert outcome.verdict is TlsVerdict.REFUSED
    assert answer is FAILED or outcome.reason.startswith("DANE is mandatory for this destination, and ")


@pytest.mark.parametrize("dane", Dane)
@pytest.mark.parametrize("answer", ANSWERS)
def test_none_is_final(dane: Dane, answer: TlsaAnswer) -> None:
    """R23: nothing raises it."""
    made = plan(TlsLevel.NONE, dane, answer)
    assert made == plan(TlsLevel.NONE, Dane.NONE, None)
    assert judge_tls(made, TlsFacts(TlsStage.NOT_TRIED)).verdict is TlsVerdict.CLEAR


def test_a_host_that_unsigned_dns_named_is_trusted_and_the_domain_is_not_verified() -> None:
    """D8"""
    preferred = judge_tls(plan(TlsLevel.PREFERRED, Dane.OPPORTUNISTIC, FOUND, UNSIGNED), MATCHED)
    assert preferred.verdict is TlsVerdict.ENCRYPTED
    assert verification_text(preferred) == (
        "no: DANE-EE 3 1 1 of mx.partner.example, a name from unsigned DNS"
    )
    required = plan(TlsLevel.REQUIRED_VERIFY, Dane.OPPORTUNISTIC, FOUND, UNSIGNED)
    assert judge_tls(required, replace(MATCHED, chain_judged=True)).verdict is TlsVerdict.REFUSED
    assert judge_tls(required, STRANGE).verdict is TlsVerdict.REFUSED
    with_names = replace(MATCHED, chain_judged=True, match=PKIX)
    assert judge_tls(required, with_names).verdict is TlsVerdict.VERIFIED


@pytest.mark.parametrize("level", TRYING)
def test_mandatory_dane_takes_no_host_that_unsigned_mx_records_named(level: TlsLevel) -> None:
    """D8: whoever changes the MX records could name a host of his own, whose TLSA records are in order."""
    for answer in (FOUND, UNUSABLE):
        outcome = judge_tls(plan(level, Dane.MANDATORY, answer, UNSIGNED), MATCHED)
        assert outcome.verdict is TlsVerdict.REFUSED
        assert outcome.reason == (
            "DANE is mandatory for this destination, and the MX records of partner.example are not signed"
        )
    routed = HopNames("partner.example", route_host="hub.example", mx_host="mx.hub.example")
    assert "the MX records of hub.example" in str(plan(level, Dane.MANDATORY, FOUND, routed).forbidden)
    direct = HopNames("partner.example", route_host="relay.example")
    assert not plan(level, Dane.MANDATORY, FOUND, direct).forbidden


def test_an_operators_route_proves_the_way_to_its_host() -> None:
    hop = HopNames("partner.example", route_host="relay.example")
    assert judge_tls(plan(TlsLevel.PREFERRED, Dane.OPPORTUNISTIC, FOUND, hop), MATCHED).verdict is (
        TlsVerdict.VERIFIED
    )


def test_the_record_tells_all_of_it() -> None:
    record = tls_record(judge_tls(plan(TlsLevel.REQUIRED, Dane.OPPORTUNISTIC, FOUND), MATCHED))
    assert record["dane"] == [GOOD_RECORD.text()]
    assert (record["dane_base"], record["dane_match"]) == ("mx.partner.example", "DANE-EE 3 1 1")


RANK = {TlsVerdict.REFUSED: 0, TlsVerdict.VERIFIED: 1, TlsVerdict.ENCRYPTED: 2, TlsVerdict.CLEAR: 3}


@given(
    st.sampled_from(TRYING),
    st.sampled_from(ANSWERS),
    st.sampled_from([CLEAR, UP, MATCHED, STRANGE, replace(MATCHED, chain_judged=True, match=PKIX)]),
    st.sampled_from([SIGNED, UNSIGNED]),
)
def test_dane_never_lets_pass_less_protected_what_a_level_alone_refuses(
    level: TlsLevel, answer: TlsaAnswer, facts: TlsFacts, hop: HopNames
) -> None:
    """Rule (e). Verification by signed records is the one thing that they may add to a verify level (rule b)."""
    without = judge_tls(plan(level, Dane.NONE, None, hop), facts)
    for dane in (Dane.OPPORTUNISTIC, Dane.MANDATORY):
        made = judge_tls(plan(level, dane, answer, hop), facts)
        if made.may_pass and not without.may_pass:
            assert made.verdict is TlsVerdict.VERIFIED
            assert facts.dane_match
        if made.may_pass and without.may_pass:
            assert RANK[made.verdict] <= RANK[without.verdict]
