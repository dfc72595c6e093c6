"""Requirements D, R23 to R27h, cell by cell; names and their sources; the words of the mail log."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.reasons import CHAIN_EXPIRED, CHAIN_SELF_SIGNED

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
from gatepost.policy import tls_out, tls_words
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.tls_out import HopNames, judge_tls, plan_tls, reference_names

HOP = HopNames(domain="partner.example", mx_host="mx.partner.example", mx_secure=False, address="192.0.2.7")
LEAF = PeerCertificate("CN=mx.partner.example", "CN=Example CA", "ab" * 32, 2e9, ("DNS:partner.example",))
DOMAIN = ReferenceName("partner.example", NameSource.OPERATOR)

NOT_OFFERED = TlsFacts(TlsStage.NOT_OFFERED)
NO_ESMTP = TlsFacts(TlsStage.NO_ESMTP)
REFUSED = TlsFacts(
    TlsStage.REFUSED, reply=Reply(454, "4.7.0", ("TLS not available due to temporary reason",))
)
BROKEN = TlsFacts(TlsStage.HANDSHAKE_FAILED, error="[Errno 104] Connection reset by peer")
NOT_TRIED = TlsFacts(TlsStage.NOT_TRIED)
UNJUDGED = TlsFacts(TlsStage.ESTABLISHED, protocol="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", chain=(LEAF,))
GOOD = replace(UNJUDGED, chain_judged=True, match=NameMatch(DOMAIN, "DNS:partner.example"))
SELF_SIGNED = replace(UNJUDGED, chain_judged=True, chain_problem=CHAIN_SELF_SIGNED)
EXPIRED = replace(
    UNJUDGED,
    chain_judged=True,
    chain_problem=CHAIN_EXPIRED,
    chain_problem_subject="CN=mx.partner.example",
    chain_problem_issuer="CN=Example CA",
    match=NameMatch(DOMAIN, "DNS:partner.example"),
)
WRONG_NAME = replace(UNJUDGED, chain_judged=True, chain=(replace(LEAF, names=("DNS:other.example",)),))

CLEAR, ENCRYPTED, VERIFIED, REFUSE = (
    TlsVerdict.CLEAR,
    TlsVerdict.ENCRYPTED,
    TlsVerdict.VERIFIED,
    TlsVerdict.REFUSED,
)

# One row a level; columns: not before the 220 (three ways), broken behind it, up and not verified, up and verified.
TABLE = {
    TlsLevel.PREFERRED: (CLEAR, REFUSE, ENCRYPTED, ENCRYPTED),
    TlsLevel.REQUIRED: (REFUSE, REFUSE, ENCRYPTED, ENCRYPTED),
    TlsLevel.PREFERRED_VERIFY: (CLEAR, REFUSE, ENCRYPTED, VERIFIED),
    TlsLevel.REQUIRED_VERIFY: (REFUSE, REFUSE, REFUSE, VERIFIED),
    TlsLevel.REQUIRED_VERIFY_HOSTED: (REFUSE, REFUSE, REFUSE, VERIFIED),
}
COLUMNS = ((NO_ESMTP, NOT_OFFERED, REFUSED), (BROKEN,), (SELF_SIGNED, EXPIRED, WRONG_NAME), (GOOD,))


def plan(level: TlsLevel, hop: HopNames = HOP, **choices: object) -> TlsPlan:
    return plan_tls(DestinationRule(level), hop, **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("level", "facts", "verdict"),
    [
        pytest.param(
            level,
            facts,
            verdict,
            id=f"{level}-{facts.stage}-{facts.chain_problem.code if facts.chain_problem else number}",
        )
        for level, row in TABLE.items()
        for column, verdict in zip(COLUMNS, row, strict=True)
        for number, facts in enumerate(column)
    ],
)
def test_the_table(level: TlsLevel, facts: TlsFacts, verdict: TlsVerdict) -> None:
    outcome = judge_tls(plan(level), facts)
    assert outcome.verdict is verdict
    assert outcome.may_pass is (verdict is not REFUSE)


def test_none_goes_in_clear_and_never_tries() -> None:
    made = plan(TlsLevel.NONE, clear_allowed=False, certificate="gw", alert=True)
    assert judge_tls(made, NOT_TRIED).verdict is CLEAR
    assert (made.sni, made.names, made.certificate, made.alert_on_failure) == ("", (), "", False)
    assert not made.level.tries


@pytest.mark.parametrize("level", [TlsLevel.PREFERRED, TlsLevel.PREFERRED_VERIFY])
@pytest.mark.parametrize("facts", [NO_ESMTP, NOT_OFFERED, REFUSED])
def test_no_clear_text_on_other_hosts_after_a_broken_handshake(level: TlsLevel, facts: TlsFacts) -> None:
    outcome = judge_tls(plan(level, clear_allowed=False), facts)
    assert outcome.verdict is REFUSE
    assert judge_tls(plan(level, clear_allowed=False), GOOD).may_pass


@pytest.mark.parametrize("level", list(TlsLevel))
def test_preferred_clear_after_touches_only_the_preferred_levels(level: TlsLevel) -> None:
    rule = DestinationRule(level, preferred_clear_after=3)
    before = plan_tls(rule, HOP, broken_attempts=2)
    after = plan_tls(rule, HOP, broken_attempts=3, clear_allowed=False)
    assert not before.skip_starttls
    if level in (TlsLevel.PREFERRED, TlsLevel.PREFERRED_VERIFY):
        assert after.skip_starttls
        assert judge_tls(after, NOT_TRIED).verdict is CLEAR
    else:
        assert not after.skip_starttls
        assert judge_tls(after, NOT_TRIED).may_pass is (level is TlsLevel.NONE)


@pytest.mark.parametrize("level", [level for level in TlsLevel if level.tries])
def test_a_pooled_connection_without_tls_is_not_reused_where_tls_is_tried(level: TlsLevel) -> None:
    assert judge_tls(plan(level), NOT_TRIED).verdict is REFUSE


def test_a_pooled_connection_that_was_not_judged_does_not_verify() -> None:
    assert judge_tls(plan(TlsLevel.REQUIRED_VERIFY), UNJUDGED).verdict is REFUSE
    assert judge_tls(plan(TlsLevel.PREFERRED_VERIFY), UNJUDGED).verdict is ENCRYPTED


def test_a_match_of_another_plan_counts_only_with_the_same_name_and_source() -> None:
    hosted = replace(GOOD, match=NameMatch(ReferenceName("mx.partner.example", NameSource.INSECURE_DNS), "x"))
    assert judge_tls(plan(TlsLevel.REQUIRED_VERIFY_HOSTED), hosted).verdict is VERIFIED
    assert judge_tls(plan(TlsLevel.REQUIRED_VERIFY), hosted).verdict is REFUSE
    other = plan(TlsLevel.REQUIRED_VERIFY, HopNames(domain="third.example"))
    assert judge_tls(other, GOOD).verdict is REFUSE


ROUTE = HopNames(
    domain="partner.example",
    route_host="relay.operator.example.",
    mx_host="mx.partner.example",
    ptr_host="ptr.example",
    address="192.0.2.7",
)


@pytest.mark.parametrize(
    ("level", "insecure", "hop", "expected"),
    [
        (TlsLevel.REQUIRED_VERIFY, False, HOP, ["partner.example operator"]),
        (
            TlsLevel.REQUIRED_VERIFY,
            False,
            replace(HOP, mx_secure=True),
            ["partner.example operator", "mx.partner.example dnssec"],
        ),
        (
            TlsLevel.REQUIRED_VERIFY,
            False,
            ROUTE,
            ["partner.example operator", "relay.operator.example operator"],
        ),
        (
            TlsLevel.PREFERRED_VERIFY,
            True,
            ROUTE,
            [
                "partner.example operator",
                "relay.operator.example operator",
                "mx.partner.example insecure-dns",
                "ptr.example insecure-dns",
            ],
        ),
        (
            TlsLevel.REQUIRED_VERIFY_HOSTED,
            False,
            ROUTE,
            [
                "partner.example operator",
                "relay.operator.example operator",
                "mx.partner.example insecure-dns",
            ],
        ),
        (
            TlsLevel.REQUIRED_VERIFY_HOSTED,
            True,
            replace(HOP, mx_host="PARTNER.example."),
            ["partner.example operator"],
        ),
        (
            TlsLevel.REQUIRED_VERIFY,
            True,
            replace(ROUTE, literal=True),
            ["partner.example operator", "192.0.2.7 operator address"],
        ),
        (
            TlsLevel.REQUIRED_VERIFY,
            False,
            HopNames("[IPv6:2001:db8::1]", address="2001:db8::1", literal=True),
            ["2001:db8::1 operator address"],
        ),
        (
            TlsLevel.REQUIRED_VERIFY,
            False,
            HopNames("[192.0.2.7]", literal=True),
            ["192.0.2.7 operator address"],
        ),
    ],
)
def test_reference_names_and_their_sources(
    level: TlsLevel, insecure: bool, hop: HopNames, expected: list[str]
) -> None:
    names = reference_names(DestinationRule(level, insecure_names=insecure), hop)
    assert [f"{n.name} {n.source}{' address' if n.is_address else ''}" for n in names] == expected


@pytest.mark.parametrize("level", [TlsLevel.PREFERRED, TlsLevel.REQUIRED, TlsLevel.NONE])
def test_levels_that_verify_nothing_have_no_names(level: TlsLevel) -> None:
    assert plan(level).names == ()


@pytest.mark.parametrize(
    ("hop", "sni"),
    [
        (HOP, "mx.partner.example"),
        (replace(HOP, mx_host="MX.Partner.Example."), "mx.partner.example"),
        (HopNames("partner.example", route_host="relay.example."), "relay.example"),
        (replace(ROUTE, literal=True), ""),
        (HopNames("[192.0.2.1]", literal=True), ""),
    ],
)
def test_sni_is_the_host_without_its_dot_and_none_for_an_address(hop: HopNames, sni: str) -> None:
    assert plan(TlsLevel.PREFERRED, hop).sni == sni


def test_client_certificate_and_alert() -> None:
    made = plan(TlsLevel.REQUIRED, certificate="gw", alert=True)
    assert (made.certificate, made.alert_on_failure) == ("gw", True)
    never = DestinationRule(TlsLevel.REQUIRED, client_certificate=False)
    assert plan_tls(never, HOP, certificate="gw").certificate == ""
    assert not plan(TlsLevel.PREFERRED, alert=True).alert_on_failure


@pytest.mark.parametrize(
    ("level", "facts", "reason"),
    [
        (TlsLevel.REQUIRED_VERIFY, GOOD, "verified yes: partner.example"),
        (
            TlsLevel.REQUIRED_VERIFY,
            EXPIRED,
            "verify error: certificate has expired (CN=mx.partner.example, issuer CN=Example CA)",
        ),
        (
            TlsLevel.REQUIRED_VERIFY,
            WRONG_NAME,
            "verify error: host name mismatch: partner.example not in DNS:other.example",
        ),
        (
            TlsLevel.REQUIRED_VERIFY_HOSTED,
            WRONG_NAME,
            "verify error: host name mismatch: partner.example, mx.partner.example not in DNS:other.example",
        ),
        (
            TlsLevel.REQUIRED_VERIFY_HOSTED,
            replace(
                GOOD,
                match=NameMatch(
                    ReferenceName("mx.partner.example", NameSource.INSECURE_DNS), "DNS:*.partner.example"
                ),
            ),
            "verified yes: mx.partner.example (from unsigned DNS)",
        ),
        (TlsLevel.PREFERRED_VERIFY, SELF_SIGNED, "verified no: self-signed certificate"),
        (TlsLevel.PREFERRED_VERIFY, EXPIRED, "verified no: certificate has expired"),
        (TlsLevel.REQUIRED, REFUSED, "STARTTLS unexpected response"),
        (TlsLevel.REQUIRED, NO_ESMTP, "remote host does not speak ESMTP"),
        (TlsLevel.REQUIRED, NOT_OFFERED, "remote host does not offer STARTTLS"),
        (TlsLevel.PREFERRED, BROKEN, "[Errno 104] Connection reset by peer"),
        (TlsLevel.REQUIRED, GOOD, ""),
    ],
)
def test_reasons_in_the_words_of_the_log(level: TlsLevel, facts: TlsFacts, reason: str) -> None:
    assert judge_tls(plan(level), facts).reason == reason


def test_verification_text_stands_only_with_a_verify_level() -> None:
    assert tls_out.verification_text(judge_tls(plan(TlsLevel.PREFERRED_VERIFY), SELF_SIGNED)) == (
        "no: self-signed certificate"
    )
    assert (
        tls_out.verification_text(judge_tls(plan(TlsLevel.PREFERRED_VERIFY), GOOD)) == "yes: partner.example"
    )
    assert tls_out.verification_text(judge_tls(plan(TlsLevel.REQUIRED), GOOD)) == ""
    assert tls_out.verification_text(judge_tls(plan(TlsLevel.PREFERRED_VERIFY), REFUSED)) == ""


def test_a_certificate_with_a_thousand_names_makes_a_short_reason() -> None:
    leaf = replace(LEAF, names=tuple(f"DNS:n{n}.example" for n in range(1000)))
    reason = judge_tls(plan(TlsLevel.REQUIRED_VERIFY), replace(WRONG_NAME, chain=(leaf,))).reason
    assert reason.endswith("DNS:n9.example and 990 more")


@pytest.mark.parametrize(
    ("level", "facts", "line"),
    [
        (TlsLevel.PREFERRED, NOT_OFFERED, ""),
        (TlsLevel.PREFERRED, NO_ESMTP, ""),
        (TlsLevel.PREFERRED, REFUSED, "STARTTLS unexpected response"),
        (TlsLevel.REQUIRED, NOT_OFFERED, "remote host does not offer STARTTLS"),
        (TlsLevel.REQUIRED, GOOD, ""),
        (TlsLevel.PREFERRED, BROKEN, "[Errno 104] Connection reset by peer"),
        (TlsLevel.NONE, NOT_TRIED, ""),
    ],
)
def test_failure_line(level: TlsLevel, facts: TlsFacts, line: str) -> None:
    assert tls_words.failure_line(judge_tls(plan(level), facts)) == line


@pytest.mark.parametrize(
    ("facts", "status"),
    [(NOT_OFFERED, "4.7.4"), (REFUSED, "4.7.4"), (BROKEN, "4.7.5"), (SELF_SIGNED, "4.7.5")],
)
def test_failure_status_is_temporary_and_names_the_tls_reason(facts: TlsFacts, status: str) -> None:
    outcome = judge_tls(plan(TlsLevel.REQUIRED_VERIFY), facts)
    made = tls_words.failure_status(outcome)
    assert made.status == status
    assert outcome.reason in made.text


def test_the_record_answers_why() -> None:
    record = tls_words.tls_record(judge_tls(plan(TlsLevel.REQUIRED_VERIFY_HOSTED, certificate="gw"), GOOD))
    assert json.loads(json.dumps(record)) == record
    assert record["wanted"] == "required-verify-hosted"
    assert record["rule"] == "destination_controls.default"
    assert (record["matched"], record["name_source"]) == ("partner.example", "operator")
    assert record["names_tried"] == ["partner.example (operator)", "mx.partner.example (insecure-dns)"]
    assert record["chain"] == ["ab" * 32]
    refused = tls_words.tls_record(judge_tls(plan(TlsLevel.REQUIRED), REFUSED))
    assert refused["reply"] == "454 4.7.0 TLS not available due to temporary reason"
    assert refused["matched"] is None
    unmatched = tls_words.tls_record(judge_tls(plan(TlsLevel.REQUIRED_VERIFY), EXPIRED))
    assert unmatched["matched"] is None


FACTS = st.sampled_from(
    [NO_ESMTP, NOT_OFFERED, REFUSED, BROKEN, NOT_TRIED, UNJUDGED, GOOD, SELF_SIGNED, EXPIRED, WRONG_NAME]
    + [
        replace(GOOD, match=NameMatch(ReferenceName(name, source), f"DNS:{name}"))
        for name in ("mx.partner.example", "ptr.example", "relay.operator.example")
        for source in NameSource
    ]
)
ENCRYPTION = {CLEAR: 0, ENCRYPTED: 1, VERIFIED: 1}


@settings(max_examples=100)
@given(
    facts=FACTS,
    clear=st.booleans(),
    insecure=st.booleans(),
    hop=st.sampled_from([HOP, ROUTE, replace(ROUTE, mx_secure=True), replace(ROUTE, literal=True)]),
    low=st.integers(0, 5),
    high=st.integers(0, 5),
    broken=st.integers(0, 3),
)
def test_raising_the_level_never_lets_more_pass_nor_encrypts_less(
    facts: TlsFacts, clear: bool, insecure: bool, hop: HopNames, low: int, high: int, broken: int
) -> None:
    def outcome(index: int) -> TlsVerdict:
        rule = DestinationRule(
            tls_out.LEVELS_BY_STRICTNESS[index], insecure_names=insecure, preferred_clear_after=2
        )
        return judge_tls(plan_tls(rule, hop, clear_allowed=clear, broken_attempts=broken), facts).verdict

    weaker, stronger = outcome(min(low, high)), outcome(max(low, high))
    if weaker is REFUSE:
        assert stronger is REFUSE
    elif stronger is not REFUSE:
        assert ENCRYPTION[stronger] >= ENCRYPTION[weaker]
