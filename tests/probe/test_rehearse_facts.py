"""A recorded connection under another rule is what that rule would have made of it: `judge_tls` over `plan_tls`, or a doubt, never a guess."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import Issued, TestAuthority, self_signed

from gatepost.config.load import load_plain
from gatepost.config.outbound import Dane
from gatepost.core.tls import TlsFacts, TlsLevel, TlsOutcome, TlsPlan, TlsStage
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState, of_key
from gatepost.pki.anchors import Anchors
from gatepost.pki.certificate import describe, read_certificate
from gatepost.pki.judge import judge_chain
from gatepost.pki.revocation import NO_CRLS
from gatepost.policy.admit_rules import compile_rules
from gatepost.policy.destinations import DestinationRule, DestinationTable
from gatepost.policy.observed import Handshake, server_facts
from gatepost.policy.outbound import compile_routes
from gatepost.policy.recorded import plain_names, plain_sts, plain_tlsa
from gatepost.policy.tls_out import HopNames, judge_tls, plan_tls
from gatepost.policy.tls_words import tls_record
from gatepost.probe.rehearse_facts import Doubt, Hosts, try_connection
from gatepost.probe.rehearse_trial import Trial
from gatepost.store.records import ConnectionRow
from gatepost.wire.mta_sts import Mode, StsPolicy

DOMAIN, HOST = "partner.example", "mx.partner.example"
TODAY = date(2027, 1, 15)


@cache
def authority() -> TestAuthority:
    return TestAuthority("Example CA")


@cache
def certificates() -> tuple[Issued, ...]:
    ca = authority()
    return (
        ca.issue([HOST]),
        ca.issue([DOMAIN]),
        ca.issue(["other.example"]),
        ca.issue([HOST], expired=True),
        self_signed([HOST]),
    )


def at() -> float:
    return authority().at.timestamp()


@dataclass(frozen=True)
class Seen:
    """What there was: names, DNS, policy, and what the host did."""

    names: HopNames
    tlsa: TlsaAnswer
    sts: StsPolicy | None
    stage: TlsStage
    certificate: int
    protocol: str


@st.composite
def seen(draw: st.DrawFn) -> Seen:
    secure = draw(st.booleans())
    index = draw(st.integers(0, 4))
    key = read_certificate(certificates()[index].chain_der[0]).public_key_der
    answers = [
        TlsaAnswer(TlsaState.ABSENT, detail="none"),
        TlsaAnswer(TlsaState.FAILED, detail="SERVFAIL"),
        TlsaAnswer(TlsaState.FOUND, (of_key(key),), HOST),
        TlsaAnswer(TlsaState.FOUND, (Tlsa(3, 1, 1, b"\x5a" * 32),), HOST),
        TlsaAnswer(TlsaState.FOUND, (Tlsa(1, 1, 1, b"\x5a" * 32),), HOST),
    ]
    listed = draw(st.sampled_from([HOST, "mx.elsewhere.example"]))
    mode = draw(st.sampled_from([Mode.ENFORCE, Mode.TESTING]))
    return Seen(
        HopNames(DOMAIN, mx_host=HOST, mx_secure=secure, mx_signed=secure or draw(st.booleans())),
        draw(st.sampled_from(answers)),
        draw(st.sampled_from([None, StsPolicy(mode, 86_400, (listed,))])),
        draw(
            st.sampled_from(
                [
                    TlsStage.ESTABLISHED,
                    TlsStage.NOT_OFFERED,
                    TlsStage.NO_ESMTP,
                    TlsStage.REFUSED,
                    TlsStage.HANDSHAKE_FAILED,
                ]
            )
        ),
        index,
        draw(st.sampled_from(["TLSv1.2", "TLSv1.3"])),
    )


rules = st.builds(
    DestinationRule,
    st.sampled_from(TlsLevel),
    insecure_names=st.booleans(),
    client_certificate=st.booleans(),
    preferred_clear_after=st.sampled_from([None, 1]),
    dane=st.sampled_from(Dane),
    mta_sts=st.booleans(),
)


def facts_for(plan: TlsPlan, what: Seen) -> TlsFacts:
    """What a connection under this plan shows."""
    if plan.forbidden or not plan.level.tries or plan.skip_starttls:
        return TlsFacts(TlsStage.NOT_TRIED)
    if what.stage is not TlsStage.ESTABLISHED:
        broken = what.stage is TlsStage.HANDSHAKE_FAILED
        return TlsFacts(what.stage, error="Unexpected EOF" if broken else "")
    handshake = Handshake(what.protocol, "AES", "", certificates()[what.certificate].chain_der)
    anchors = Anchors.from_pem(authority().root_pem)
    return server_facts(
        plan,
        handshake,
        at(),
        lambda chain, purpose: judge_chain(chain, anchors, at(), purpose),
        describe,
    )


def direct(rule: DestinationRule, what: Seen, *, clear: bool = True, broken: int = 0) -> TlsOutcome:
    plan = plan_tls(
        rule,
        what.names,
        clear_allowed=clear,
        certificate="gw",
        broken_attempts=broken,
        tlsa=what.tlsa if rule.looks_up_tlsa else None,
        sts=(DOMAIN, what.sts) if what.sts is not None and rule.looks_up_sts else None,
    )
    return judge_tls(plan, facts_for(plan, what))


def record(rule: DestinationRule, what: Seen, outcome: TlsOutcome) -> ConnectionRow:
    """As the delivery leaves it behind."""
    called = not outcome.plan.forbidden
    facts: dict[str, Any] = {
        "hop": plain_names(what.names),
        "tlsa": plain_tlsa(what.tlsa if rule.looks_up_tlsa else None),
        "sts": plain_sts(DOMAIN, what.sts, "1", None) if rule.looks_up_sts else None,
        "esmtp": called and what.stage is not TlsStage.NO_ESMTP,
        "starttls": called and what.stage not in (TlsStage.NO_ESMTP, TlsStage.NOT_OFFERED),
        "broken": "",
        "lost": "",
        "later": [],
        "tls": tls_record(outcome),
    }
    return ConnectionRow(at(), 7 if called else 0, DOMAIN, at() - 1, HOST, "192.0.2.7", 25, facts)


def trial(rule: DestinationRule, **sections: Any) -> Trial:
    document = load_plain({"destination_controls": {"global": {"certificate": "gw"}}, **sections})
    return Trial(
        document,
        DestinationTable(rule),
        compile_routes(document),
        compile_rules(document),
        Anchors.from_pem(authority().root_pem),
        NO_CRLS,
        TODAY,
        {hashlib.sha256(der).hexdigest(): der for issued in certificates() for der in issued.chain_der}.get,
    )


def hosts(*rows: ConnectionRow) -> Hosts:
    known = Hosts()
    for row in rows:
        known.add(row)
    return known


CURIOUS = DestinationRule(TlsLevel.PREFERRED, dane=Dane.OPPORTUNISTIC, mta_sts=True)


@settings(max_examples=100)
@given(seen(), rules, st.booleans(), st.integers(0, 1))
def test_a_record_made_under_one_rule_is_judged_under_another(
    what: Seen, rule: DestinationRule, clear: bool, broken: int
) -> None:
    """The recorded rule asked for everything: whatever the other rule is, nothing is unknown but a host that was not called."""
    first = direct(CURIOUS, what)
    row = record(CURIOUS, what, first)
    found = try_connection(trial(rule), hosts(row), row, DOMAIN, clear_allowed=clear, broken_attempts=broken)
    wanted = direct(rule, what, clear=clear, broken=broken)
    if found.outcome is None:
        assert found.doubt is Doubt.NOT_CALLED
        assert first.plan.forbidden
        assert not wanted.plan.forbidden
        return
    assert (found.outcome.verdict, found.outcome.reason, found.outcome.note) == (
        wanted.verdict,
        wanted.reason,
        wanted.note,
    )
    assert found.outcome.plan == wanted.plan


@settings(max_examples=100)
@given(seen(), rules, rules)
def test_what_was_not_learnt_is_a_doubt_and_what_is_told_is_right(
    what: Seen, recorded: DestinationRule, rule: DestinationRule
) -> None:
    row = record(recorded, what, direct(recorded, what))
    found = try_connection(trial(rule), hosts(row), row, DOMAIN)
    wanted = direct(rule, what)
    if found.outcome is not None:
        assert (found.outcome.verdict, found.outcome.reason) == (wanted.verdict, wanted.reason)
    match found.doubt:
        case Doubt.NO_TLSA:
            assert rule.asks_dane
            assert not recorded.asks_dane
        case Doubt.NO_STS:
            assert rule.asks_sts
            assert not recorded.asks_sts
        case Doubt.NOT_TRIED:
            assert recorded.level is TlsLevel.NONE
        case Doubt.NOT_CALLED:
            assert not row.dcid
        case other:
            assert other is None or other is Doubt.NOT_SIGNED


def seen_as(**changes: Any) -> Seen:
    values = {
        "names": HopNames(DOMAIN, mx_host=HOST),
        "tlsa": TlsaAnswer(TlsaState.ABSENT, detail="none"),
        "sts": None,
        "stage": TlsStage.ESTABLISHED,
        "certificate": 0,
        "protocol": "TLSv1.2",
    }
    return Seen(**{**values, **changes})


def test_a_host_that_speaks_too_old_a_version_breaks_the_handshake() -> None:
    what = seen_as()
    row = record(CURIOUS, what, direct(CURIOUS, what))
    newer = {"tls_settings": {"outbound": {"minimum": "TLSv1.3"}}}
    found = try_connection(trial(CURIOUS, **newer), hosts(row), row, DOMAIN)
    assert found.outcome is not None
    assert found.outcome.reason == "the host speaks TLSv1.2 at most, and TLSv1.3 is the oldest that is wanted"


def test_a_certificate_that_is_gone_is_a_doubt_only_where_it_is_wanted() -> None:
    what = seen_as()
    row = record(CURIOUS, what, direct(CURIOUS, what))
    for level, doubt in ((TlsLevel.REQUIRED, None), (TlsLevel.REQUIRED_VERIFY, Doubt.NO_CERTIFICATE)):
        tried = trial(DestinationRule(level))
        tried.certificate = {}.get
        assert try_connection(tried, hosts(row), row, DOMAIN).doubt is doubt


def test_another_connection_to_the_host_may_tell() -> None:
    """Recorded under none, STARTTLS was never sent; but another destination's connection to the same host shows it."""
    what = seen_as(certificate=4)
    none = DestinationRule(TlsLevel.NONE)
    silent = record(none, what, direct(none, what))
    telling = record(CURIOUS, what, direct(CURIOUS, what))
    verify = trial(DestinationRule(TlsLevel.REQUIRED_VERIFY))
    assert try_connection(verify, hosts(silent), silent, DOMAIN).doubt is Doubt.NOT_TRIED
    found = try_connection(verify, hosts(telling, silent), silent, DOMAIN)
    assert found.outcome is not None
    assert found.outcome.reason.startswith("verify error: self-signed certificate")


@pytest.mark.parametrize(
    ("names", "rule", "verdict"),
    [
        ({}, {}, Doubt.NOT_SIGNED),
        ({"mx_judged": True}, {}, "refused"),
        ({"mx_judged": True, "mx_signed": True}, {}, "refused"),  # the host's addresses were not
        ({"mx_judged": True, "mx_signed": True, "mx_secure": True}, {}, "verified"),
        ({}, {"level": TlsLevel.REQUIRED_VERIFY_HOSTED}, "verified"),  # signed or not is all the same
        ({}, {"insecure_names": True}, "verified"),
    ],
)
def test_a_record_of_a_day_when_nobody_asked_does_not_know_whether_the_name_is_signed(
    names: dict[str, bool], rule: dict[str, Any], verdict: str
) -> None:
    what = seen_as(names=HopNames(DOMAIN, mx_host=HOST, **names))
    plain = DestinationRule(TlsLevel.PREFERRED)
    row = record(plain, what, direct(plain, what))
    wanted = DestinationRule(**{"level": TlsLevel.REQUIRED_VERIFY, **rule})
    found = try_connection(trial(wanted), hosts(row), row, DOMAIN)
    assert (found.outcome.verdict.value if found.outcome is not None else found.doubt) == verdict


def test_without_validation_a_name_from_dns_proves_nothing() -> None:
    what = seen_as(names=HopNames(DOMAIN, mx_host=HOST, mx_signed=True, mx_secure=True, mx_judged=True))
    row = record(CURIOUS, what, direct(CURIOUS, what))
    wanted = trial(DestinationRule(TlsLevel.REQUIRED_VERIFY), dns={"validate_dnssec": False})
    found = try_connection(wanted, hosts(row), row, DOMAIN)
    assert found.outcome is not None
    assert found.outcome.reason.startswith("verify error: host name mismatch")


OTHER = "other.example"
PUBLISHED = DestinationRule(TlsLevel.PREFERRED, dane=Dane.OPPORTUNISTIC, mta_sts=True)
PLAIN = DestinationRule(TlsLevel.PREFERRED)


def other_way(row: ConnectionRow, domain: str = OTHER, **hop: Any) -> ConnectionRow:
    """The same host, come to for another destination."""
    return replace(
        row, domain=domain, facts={**row.facts, "hop": {**row.facts["hop"], "domain": domain, **hop}}
    )


@pytest.mark.parametrize("right", [True, False])
def test_tlsa_records_that_another_delivery_asked_for_are_those_of_the_host(right: bool) -> None:
    key = read_certificate(certificates()[4].chain_der[0]).public_key_der
    records = (of_key(key),) if right else (Tlsa(3, 1, 1, b"\x5a" * 32),)
    judged = HopNames(DOMAIN, mx_host=HOST, mx_judged=True)
    what = seen_as(names=judged, certificate=4, tlsa=TlsaAnswer(TlsaState.FOUND, records, HOST))
    row = record(PLAIN, what, direct(PLAIN, what))
    wanted = DestinationRule(TlsLevel.PREFERRED, dane=Dane.OPPORTUNISTIC)
    assert try_connection(trial(wanted), hosts(row), row, DOMAIN).doubt is Doubt.NO_TLSA
    asked = other_way(record(CURIOUS, what, direct(CURIOUS, what)))
    found = try_connection(trial(wanted), hosts(asked, row), row, DOMAIN)
    assert found.outcome is not None
    assert found.outcome.verdict is direct(wanted, what).verdict
    assert found.outcome.may_pass is right


def test_what_could_not_be_asked_then_tells_nothing_of_the_host() -> None:
    what = seen_as(tlsa=TlsaAnswer(TlsaState.UNAVAILABLE, detail="no resolver is believed"))
    row = record(PLAIN, what, direct(PLAIN, what))
    asked = other_way(record(CURIOUS, what, direct(CURIOUS, what)))
    wanted = DestinationRule(TlsLevel.PREFERRED, dane=Dane.OPPORTUNISTIC)
    assert try_connection(trial(wanted), hosts(asked, row), row, DOMAIN).doubt is Doubt.NO_TLSA


def test_a_policy_that_was_asked_for_at_another_host_is_that_of_the_destination() -> None:
    """Of another destination's nothing is taken."""
    enforced = StsPolicy(Mode.ENFORCE, 86_400, ("mx.elsewhere.example",))
    what = seen_as(sts=enforced, names=HopNames(DOMAIN, mx_host=HOST, mx_judged=True))
    row = record(PLAIN, what, direct(PLAIN, what))
    wanted = DestinationRule(TlsLevel.PREFERRED, mta_sts=True)
    asked = replace(
        record(PUBLISHED, what, direct(PUBLISHED, what)), address="192.0.2.8", host="mx2.partner.example"
    )
    found = try_connection(trial(wanted), hosts(asked, row), row, DOMAIN)
    assert found.outcome is not None
    assert not found.outcome.may_pass
    strangers = other_way(asked)
    assert try_connection(trial(wanted), hosts(strangers, row), row, DOMAIN).doubt is Doubt.NO_STS


@pytest.mark.parametrize(
    ("own", "others", "verdict"),
    [
        (None, {"mx_signed": True, "mx_secure": True}, Doubt.NOT_SIGNED),
        ({}, {"mx_signed": True, "mx_secure": True}, "refused"),
        ({"mx_signed": True}, {"mx_signed": True, "mx_secure": True}, "verified"),
        ({"mx_signed": True}, {"mx_signed": True}, "refused"),  # the host's addresses were not
        (
            {"mx_signed": True},
            {},
            Doubt.NOT_SIGNED,
        ),  # the other one's MX records were not: of the addresses nobody knows
    ],
)
def test_a_host_that_only_another_destination_came_to(
    own: dict[str, bool] | None, others: dict[str, bool], verdict: str
) -> None:
    """How this destination led to its other hosts says whether its MX records are signed."""
    what = seen_as(names=HopNames(OTHER, mx_host=HOST, mx_judged=True, **others))
    row = record(PLAIN, what, direct(PLAIN, what))
    row = other_way(row)
    known = [row]
    if own is not None:
        way = other_way(
            row, DOMAIN, mx_host="mx2.partner.example", **{"mx_signed": False, "mx_secure": False, **own}
        )
        known.append(replace(way, address="192.0.2.8", host="mx2.partner.example"))
    wanted = trial(DestinationRule(TlsLevel.REQUIRED_VERIFY))
    found = try_connection(wanted, hosts(*known), row, DOMAIN)
    assert (found.outcome.verdict.value if found.outcome is not None else found.doubt) == verdict
