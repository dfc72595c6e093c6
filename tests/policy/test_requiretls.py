"""REQUIRETLS and `TLS-Required: No` (RFC 8689): what each asks of a connection, alone and beside everything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.reasons import CHAIN_EXPIRED, no_record

from gatepost.config.outbound import Dane
from gatepost.core.reply import Reply
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
from gatepost.policy.requiretls import heedless, strengthened
from gatepost.policy.tls_out import HopNames, judge_tls, plan_tls, verification_text
from gatepost.policy.tls_words import failure_line, failure_status, required_words, tls_record
from gatepost.wire.mta_sts import Mode, StsPolicy

MX = "mx1.partner.example"
UNSIGNED = HopNames("partner.example", mx_host=MX)
SIGNED = replace(UNSIGNED, mx_signed=True)  # the addresses need not be: the certificate has the name
SECURE = replace(SIGNED, mx_secure=True)
ROUTE = HopNames("partner.example", route_host="relay.operator.example")
ROUTE_BY_MX = replace(UNSIGNED, route_host="operator.example")
ADDRESS = HopNames("partner.example", address="192.0.2.7", literal=True)
LITERAL = HopNames("[192.0.2.7]", address="192.0.2.7", literal=True)

ENFORCE = StsPolicy(Mode.ENFORCE, 86_400, (MX,))
TESTING = replace(ENFORCE, mode=Mode.TESTING)
ELSEWHERE = replace(ENFORCE, hosts=("mx9.partner.example",))
RECORD = Tlsa(3, 1, 1, bytes(32))
FOUND = TlsaAnswer(TlsaState.FOUND, (RECORD,), MX)
UNUSABLE = TlsaAnswer(TlsaState.FOUND, (Tlsa(1, 1, 1, bytes(32)),), MX)
FAILED = TlsaAnswer(TlsaState.FAILED, detail="SERVFAIL")
ABSENT = TlsaAnswer(TlsaState.ABSENT, detail="none")

BY_DNS = ReferenceName(MX, NameSource.DNSSEC)
BY_STS = ReferenceName(MX, NameSource.MTA_STS)
LEAF = PeerCertificate("CN=mx1", "CN=CA", "ab" * 32, 2e9, (f"DNS:{MX}",))
UP = TlsFacts(TlsStage.ESTABLISHED, protocol="TLSv1.3", cipher="C", chain=(LEAF,), chain_judged=True)
UNJUDGED = replace(UP, chain_judged=False)
EXPIRED = replace(UP, chain_problem=CHAIN_EXPIRED)
DANE_MATCH = replace(UNJUDGED, dane_match="DANE-EE 3 1 1")
STRANGER = replace(UNJUDGED, dane_problem=no_record("no TLSA record matches the chain"))
NO_ESMTP = TlsFacts(TlsStage.NO_ESMTP)
NOT_OFFERED = TlsFacts(TlsStage.NOT_OFFERED)
REFUSED_FOR_NOW = TlsFacts(TlsStage.REFUSED, reply=Reply(454, "4.7.0", ("later",)))
REFUSED_FOR_EVER = TlsFacts(TlsStage.REFUSED, reply=Reply(502, "5.5.1", ("never",)))
BROKEN = TlsFacts(TlsStage.HANDSHAKE_FAILED, error="reset")
NOT_TRIED = TlsFacts(TlsStage.NOT_TRIED)
TRYING = [level for level in TlsLevel if level.tries]


def plan(
    level: TlsLevel = TlsLevel.PREFERRED,
    hop: HopNames = SIGNED,
    policy: StsPolicy | None = None,
    *,
    dane: Dane = Dane.NONE,
    mta_sts: bool = False,
    **choices: Any,
) -> TlsPlan:
    rule = DestinationRule(level, dane=dane, mta_sts=mta_sts)
    return plan_tls(rule, hop, sts=("partner.example", policy) if policy else None, **choices)


def required(*arguments: Any, **choices: Any) -> TlsPlan:
    return plan(*arguments, requiretls=True, **choices)


def named(name: ReferenceName) -> TlsFacts:
    """A sound chain whose certificate has the host's name."""
    return replace(UP, host_match=NameMatch(name, f"DNS:{name.name}"))


# --- the way to the host ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hop", "policy", "names"),
    [
        (SIGNED, None, (BY_DNS,)),
        (SIGNED, ENFORCE, (BY_DNS, BY_STS)),
        (UNSIGNED, ENFORCE, (BY_STS,)),
        (ROUTE, None, (ReferenceName("relay.operator.example", NameSource.OPERATOR),)),
        (replace(ROUTE_BY_MX, mx_signed=True), None, (BY_DNS,)),
        (
            ADDRESS,
            None,
            (
                ReferenceName("partner.example", NameSource.OPERATOR),
                ReferenceName("192.0.2.7", NameSource.OPERATOR, is_address=True),
            ),
        ),
        (LITERAL, None, (ReferenceName("192.0.2.7", NameSource.OPERATOR, is_address=True),)),
    ],
)
def test_names_that_were_learnt_securely(
    hop: HopNames, policy: StsPolicy | None, names: tuple[ReferenceName, ...]
) -> None:
    made = required(hop=hop, policy=policy)
    assert made.host_names == names
    assert (made.returned, made.forbidden, made.clear_allowed, made.mandatory) == (None, None, False, True)


@pytest.mark.parametrize(
    ("hop", "policy"), [(UNSIGNED, None), (UNSIGNED, TESTING), (ROUTE_BY_MX, None), (ROUTE_BY_MX, TESTING)]
)
def test_a_way_that_nothing_proves_returns_the_message(hop: HopNames, policy: StsPolicy | None) -> None:
    made = required(hop=hop, policy=policy)
    outcome = judge_tls(made, NOT_TRIED)
    assert (outcome.may_pass, outcome.permanent) == (False, True)
    assert f"nothing proves that {MX} takes the mail of" in outcome.reason
    assert failure_status(outcome).status == "5.7.10"
    assert str(made.uncalled) == outcome.reason


def test_a_way_that_could_not_be_looked_up_makes_it_wait() -> None:
    made = required(hop=UNSIGNED, doubt="name server 127.0.0.1 gives no answer")
    outcome = judge_tls(made, NOT_TRIED)
    assert (outcome.may_pass, outcome.permanent) == (False, False)
    assert outcome.reason.endswith(": name server 127.0.0.1 gives no answer")
    assert failure_status(outcome).status.startswith("4.")
    assert required(hop=SIGNED, doubt="no matter").forbidden is None


def test_what_dane_and_a_policy_forbid_stays_forbidden_and_waits() -> None:
    for made in (required(tlsa=FAILED), required(policy=ELSEWHERE)):
        outcome = judge_tls(made, NOT_TRIED)
        assert (outcome.may_pass, outcome.permanent) == (False, False)


def test_level_none_refuses_it() -> None:
    made = required(TlsLevel.NONE)
    for facts in (NOT_TRIED, named(BY_DNS)):
        outcome = judge_tls(made, facts)
        assert (outcome.may_pass, outcome.permanent) == (False, True)
    assert "destination_controls.default turns it off" in str(made.returned)


# --- the connection ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "permanent", "status"),
    [
        (NO_ESMTP, True, "5.7.10"),
        (NOT_OFFERED, True, "5.7.10"),
        (REFUSED_FOR_EVER, True, "5.7.10"),
        (REFUSED_FOR_NOW, False, "4.7.4"),
        (BROKEN, False, "4.7.5"),
        (EXPIRED, True, "5.7.10"),
        (UNJUDGED, True, "5.7.10"),
        (UP, True, "5.7.10"),
    ],
)
@pytest.mark.parametrize("level", TRYING)
def test_what_does_not_prove_the_host(level: TlsLevel, facts: TlsFacts, permanent: bool, status: str) -> None:
    outcome = judge_tls(required(level), facts)
    assert (outcome.verdict, outcome.permanent) == (TlsVerdict.REFUSED, permanent)
    made = failure_status(outcome)
    assert made.status == status
    assert made.text.startswith("REQUIRETLS: ")
    assert outcome.reason in made.text


@pytest.mark.parametrize("level", [level for level in TRYING if not level.verifies])
def test_a_name_from_signed_dns_or_an_enforced_policy_proves_it(level: TlsLevel) -> None:
    by_dns = judge_tls(required(level), named(BY_DNS))
    by_policy = judge_tls(required(level, UNSIGNED, ENFORCE), replace(named(BY_STS), sts_match=True))
    for outcome in (by_dns, by_policy):
        assert (outcome.verdict, outcome.permanent) == (TlsVerdict.VERIFIED, False)
        assert verification_text(outcome).startswith(f"yes: {MX}")
        assert outcome.reason.startswith(f"verified yes: {MX}")


def test_a_name_from_unsigned_dns_never_does() -> None:
    insecure = ReferenceName(MX, NameSource.INSECURE_DNS)
    facts = replace(named(insecure), match=NameMatch(insecure, f"DNS:{MX}"))
    rule = DestinationRule(TlsLevel.REQUIRED_VERIFY_HOSTED, insecure_names=True)
    assert judge_tls(plan_tls(rule, UNSIGNED), facts).may_pass
    assert not judge_tls(plan_tls(rule, UNSIGNED, requiretls=True), facts).may_pass
    assert not judge_tls(plan_tls(rule, SIGNED, requiretls=True), facts).may_pass


def test_the_name_of_the_domain_is_not_the_hosts() -> None:
    domain = ReferenceName("partner.example", NameSource.OPERATOR)
    facts = replace(UP, match=NameMatch(domain, "DNS:partner.example"))
    assert judge_tls(plan(TlsLevel.REQUIRED_VERIFY), facts).may_pass
    outcome = judge_tls(required(TlsLevel.REQUIRED_VERIFY), facts)
    assert not outcome.may_pass
    assert f"host name mismatch: {MX} not in" in outcome.reason


@pytest.mark.parametrize("dane", [Dane.NONE, Dane.OPPORTUNISTIC, Dane.MANDATORY])
def test_records_prove_it_and_a_stranger_to_them_is_nobody(dane: Dane) -> None:
    made = required(dane=dane, tlsa=FOUND)
    assert judge_tls(made, DANE_MATCH).verdict is TlsVerdict.VERIFIED
    assert verification_text(judge_tls(made, DANE_MATCH)) == "yes: DANE-EE 3 1 1"
    stranger = judge_tls(made, replace(STRANGER, chain_judged=True, host_match=named(BY_DNS).host_match))
    assert (stranger.may_pass, stranger.permanent) == (False, True)
    assert "no TLSA record matches" in stranger.reason


def test_records_prove_a_host_that_an_enforced_policy_names() -> None:
    """Nobody signed the MX records, but the policy says that this host takes the mail."""
    made = required(hop=UNSIGNED, policy=ENFORCE, tlsa=FOUND)
    outcome = judge_tls(made, DANE_MATCH)
    assert outcome.verdict is TlsVerdict.VERIFIED
    assert verification_text(outcome) == "yes: DANE-EE 3 1 1"
    assert judge_tls(required(hop=UNSIGNED, tlsa=FOUND), DANE_MATCH).permanent


def test_records_of_which_none_is_usable_leave_it_to_the_authorities() -> None:
    made = required(tlsa=UNUSABLE)
    assert judge_tls(made, named(BY_DNS)).verdict is TlsVerdict.VERIFIED
    assert not judge_tls(made, UP).may_pass


def test_preferred_clear_after_and_a_broken_handshake_change_nothing() -> None:
    rule = DestinationRule(TlsLevel.PREFERRED, preferred_clear_after=1)
    made = plan_tls(rule, SIGNED, broken_attempts=9, requiretls=True)
    assert not made.skip_starttls
    for facts in (NOT_OFFERED, BROKEN, NOT_TRIED):
        assert not judge_tls(made, facts).may_pass


@pytest.mark.parametrize(
    ("opened", "facts", "fits"),
    [
        (plan(), UNJUDGED, False),
        (plan(TlsLevel.REQUIRED_VERIFY, SECURE), replace(UP, match=NameMatch(BY_DNS, f"DNS:{MX}")), True),
        (plan(policy=ENFORCE, mta_sts=True), replace(UP, sts_match=True), True),
        (plan(dane=Dane.OPPORTUNISTIC, tlsa=FOUND), DANE_MATCH, True),
    ],
)
def test_a_connection_that_was_opened_for_another_message(
    opened: TlsPlan, facts: TlsFacts, fits: bool
) -> None:
    """Only what was seen then counts: a name that was matched for a level or a policy is the same name."""
    assert judge_tls(opened, facts).may_pass
    level = opened.level
    policy = ENFORCE if opened.sts else None
    tlsa = FOUND if opened.dane else ABSENT
    again = required(level, SECURE, policy=policy, mta_sts=policy is not None, tlsa=tlsa)
    assert judge_tls(again, facts).may_pass is fits


def test_what_is_looked_up_for_it() -> None:
    plain = DestinationRule(TlsLevel.PREFERRED)
    assert (strengthened(plain).asks_dane, strengthened(plain).asks_sts) == (True, True)
    mandatory = DestinationRule(TlsLevel.PREFERRED, dane=Dane.MANDATORY)
    assert strengthened(mandatory).dane is Dane.MANDATORY
    both = DestinationRule(TlsLevel.PREFERRED, dane=Dane.OPPORTUNISTIC, mta_sts=True)
    off = DestinationRule(TlsLevel.NONE)
    assert (strengthened(both), strengthened(off)) == (both, off)
    assert strengthened(both) is both


# --- TLS-Required: No -------------------------------------------------------------------------------

HEEDING: dict[str, Any] = {"dane": Dane.OPPORTUNISTIC, "mta_sts": True}


@pytest.mark.parametrize(
    ("published", "facts", "verdict", "why"),
    [
        ({"tlsa": FOUND}, STRANGER, TlsVerdict.ENCRYPTED, "no TLSA record matches"),
        ({"tlsa": FOUND}, NOT_OFFERED, TlsVerdict.CLEAR, "does not offer STARTTLS"),
        ({"tlsa": FAILED}, UNJUDGED, TlsVerdict.ENCRYPTED, "could not be looked up"),
        ({"tlsa": UNUSABLE}, NOT_OFFERED, TlsVerdict.CLEAR, "does not offer STARTTLS"),
        ({"policy": ENFORCE}, EXPIRED, TlsVerdict.ENCRYPTED, "certificate has expired"),
        ({"policy": ENFORCE}, REFUSED_FOR_EVER, TlsVerdict.CLEAR, "STARTTLS unexpected response"),
        ({"policy": ELSEWHERE}, UNJUDGED, TlsVerdict.ENCRYPTED, "does not name"),
    ],
)
def test_what_the_recipient_published_does_not_hold_it_up(
    published: dict[str, Any], facts: TlsFacts, verdict: TlsVerdict, why: str
) -> None:
    assert not judge_tls(plan(**HEEDING, **published), facts).may_pass
    made = plan(tls_optional=True, **HEEDING, **published)
    assert made.uncalled is None
    outcome = judge_tls(made, facts)
    assert outcome.verdict is verdict
    assert outcome.note.startswith("passes because of TLS-Required: No, else refused: ")
    assert why in outcome.note
    record = tls_record(outcome)
    assert (record["tls_optional"], record["requiretls"], record["note"]) == (True, False, outcome.note)


def test_what_holds_anyway_is_told_as_ever() -> None:
    made = plan(tls_optional=True, tlsa=FOUND, **HEEDING)
    outcome = judge_tls(made, DANE_MATCH)
    assert (outcome.verdict, outcome.note) == (TlsVerdict.VERIFIED, "")
    assert verification_text(outcome) == "yes: DANE-EE 3 1 1"
    refuted = judge_tls(made, STRANGER)
    assert verification_text(refuted) == "no: no TLSA record matches the chain"
    assert failure_line(judge_tls(made, NOT_OFFERED)) == "remote host does not offer STARTTLS"


@pytest.mark.parametrize("level", [level for level in TlsLevel if level.mandatory])
def test_the_operators_level_stays(level: TlsLevel) -> None:
    made = plan(level, tls_optional=True, tlsa=FOUND, **HEEDING)
    for facts in (NOT_OFFERED, BROKEN, REFUSED_FOR_EVER):
        assert not judge_tls(made, facts).may_pass
    assert judge_tls(made, STRANGER).may_pass is not level.verification_mandatory


def test_dane_that_the_operator_makes_mandatory_is_the_operators() -> None:
    made = plan(tls_optional=True, dane=Dane.MANDATORY, tlsa=FOUND)
    assert not judge_tls(made, STRANGER).may_pass
    without = plan(tls_optional=True, dane=Dane.MANDATORY, tlsa=ABSENT)
    assert without.uncalled != ""
    assert heedless(DestinationRule(TlsLevel.PREFERRED, **HEEDING)) == DestinationRule(TlsLevel.PREFERRED)


def test_a_broken_handshake_still_keeps_it_from_going_in_clear() -> None:
    """R24 is no demand of the recipient's."""
    made = plan(tls_optional=True, clear_allowed=False, tlsa=FOUND, **HEEDING)
    assert not judge_tls(made, NOT_OFFERED).may_pass
    assert not judge_tls(made, BROKEN).may_pass


def test_requiretls_wins() -> None:
    made = plan(requiretls=True, tls_optional=True, tlsa=FOUND)
    assert (made.requiretls, made.tls_optional) == (True, False)
    assert made == required(tlsa=FOUND)


# --- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (plan(TlsLevel.REQUIRED), "required"),
        (plan(dane=Dane.OPPORTUNISTIC, tlsa=FOUND), "preferred with DANE"),
        (plan(dane=Dane.OPPORTUNISTIC, tlsa=FAILED), "preferred with DANE"),
        (plan(mta_sts=True, policy=ENFORCE), "preferred with MTA-STS"),
        (plan(mta_sts=True, policy=ELSEWHERE), "preferred with MTA-STS"),
        (required(), "REQUIRETLS"),
    ],
)
def test_what_made_tls_mandatory(made: TlsPlan, words: str) -> None:
    assert required_words(made) == words


def test_the_record_names_the_host_that_was_proven() -> None:
    record = tls_record(judge_tls(required(), named(BY_DNS)))
    assert (record["requiretls"], record["tls_optional"]) == (True, False)
    assert (record["matched"], record["name_source"], record["verdict"]) == (MX, "dnssec", "verified")
    assert tls_record(judge_tls(required(hop=UNSIGNED), NOT_TRIED))["forbidden"] != ""


# --- nothing is lowered -----------------------------------------------------------------------------

FACTS = st.sampled_from(
    [NO_ESMTP, NOT_OFFERED, REFUSED_FOR_NOW, REFUSED_FOR_EVER, BROKEN, NOT_TRIED, UP, UNJUDGED]
    + [EXPIRED, DANE_MATCH, STRANGER, replace(UP, sts_match=True), named(BY_DNS), named(BY_STS)]
    + [
        replace(named(BY_DNS), match=NameMatch(ReferenceName(name, source), f"DNS:{name}"), sts_match=True)
        for name in (MX, "partner.example")
        for source in NameSource
    ]
)
RULES = st.builds(
    DestinationRule,
    st.sampled_from(TlsLevel),
    insecure_names=st.booleans(),
    preferred_clear_after=st.sampled_from([None, 1]),
    dane=st.sampled_from(Dane),
    mta_sts=st.booleans(),
)
HOPS = st.sampled_from([UNSIGNED, SIGNED, SECURE, ROUTE, ROUTE_BY_MX, ADDRESS])
TLSA = st.sampled_from([None, ABSENT, FAILED, UNUSABLE, FOUND])
POLICIES = st.sampled_from([None, ENFORCE, TESTING, ELSEWHERE])
STRENGTH = {TlsVerdict.REFUSED: 3, TlsVerdict.VERIFIED: 2, TlsVerdict.ENCRYPTED: 1, TlsVerdict.CLEAR: 0}


@settings(max_examples=100)
@given(RULES, HOPS, TLSA, POLICIES, FACTS, st.booleans(), st.integers(0, 2))
def test_no_wish_of_a_message_lowers_what_the_operator_asks(
    rule: DestinationRule,
    hop: HopNames,
    tlsa: TlsaAnswer | None,
    policy: StsPolicy | None,
    facts: TlsFacts,
    clear: bool,
    broken: int,
) -> None:
    sts = ("partner.example", policy) if policy else None
    choices: dict[str, Any] = {"clear_allowed": clear, "broken_attempts": broken, "tlsa": tlsa, "sts": sts}
    plain = judge_tls(plan_tls(rule, hop, **choices), facts)
    strict = judge_tls(plan_tls(rule, hop, requiretls=True, **choices), facts)
    optional = judge_tls(plan_tls(rule, hop, tls_optional=True, **choices), facts)
    operators = judge_tls(plan_tls(heedless(rule), hop, **choices), facts)
    both = judge_tls(plan_tls(rule, hop, requiretls=True, tls_optional=True, **choices), facts)
    # REQUIRETLS passes nothing that does not pass without it, and only what is verified.
    assert strict.verdict in (TlsVerdict.REFUSED, TlsVerdict.VERIFIED)
    assert not strict.may_pass or plain.may_pass
    assert (both.verdict, both.reason) == (strict.verdict, strict.reason)
    # TLS-Required: No never goes below the operator's own demands, and never refuses what passes without it.
    assert optional.may_pass or not plain.may_pass
    assert not optional.may_pass or operators.may_pass or plain.may_pass
    assert STRENGTH[optional.verdict] >= min(STRENGTH[operators.verdict], STRENGTH[plain.verdict])
    assert not optional.permanent
    assert not plain.permanent
