"""What the words say of a plan is what `judge_tls` does, for every plan that the rules can make."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.reasons import CHAIN_EXPIRED

from gatepost.config.outbound import Dane
from gatepost.core.tls import NameMatch, TlsFacts, TlsLevel, TlsPlan, TlsStage
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.policy.plan_words import may_pass
from gatepost.policy.tls_out import DestinationRule, HopNames, judge_tls, plan_tls
from gatepost.wire.mta_sts import Mode, StsPolicy

D, MX = "partner.example", "mx.partner.example"
EE, TA, ODD = Tlsa(3, 1, 1, b"\x01" * 32), Tlsa(2, 1, 1, b"\x02" * 32), Tlsa(1, 1, 1, b"\x03" * 32)
HOP = HopNames(D, mx_host=MX)
SIGNED = HopNames(D, mx_host=MX, mx_secure=True, mx_signed=True)


def found(*records: Tlsa) -> TlsaAnswer:
    return TlsaAnswer(TlsaState.FOUND, records, MX)


def plan(level: TlsLevel, hop: HopNames = HOP, dane: Dane = Dane.NONE, **choices: object) -> TlsPlan:
    rule = DestinationRule(level, dane=dane, mta_sts="sts" in choices)
    return plan_tls(rule, hop, **choices)  # type: ignore[arg-type]


ENFORCED = (D, StsPolicy(Mode.ENFORCE, 86400, (MX,)))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (plan(TlsLevel.NONE), ("everything, in clear: TLS is off for this destination",)),
        (
            plan(TlsLevel.PREFERRED),
            (
                "in clear only where the host offers no STARTTLS or refuses it; nothing after a handshake that breaks",
                "any certificate will do; it is not judged",
            ),
        ),
        (
            plan(TlsLevel.PREFERRED, clear_allowed=False),
            (
                "nothing without TLS (a handshake broke in this attempt)",
                "any certificate will do; it is not judged",
            ),
        ),
        (
            plan(TlsLevel.PREFERRED_VERIFY),
            (
                "in clear only where the host offers no STARTTLS or refuses it; nothing after a handshake that breaks",
                "any certificate will do; whether it is verified is told, by the authorities and"
                " partner.example (as configured or addressed)",
            ),
        ),
        (
            plan(TlsLevel.REQUIRED_VERIFY, SIGNED),
            (
                "nothing without TLS (level required-verify)",
                "the certificate must come from a trusted authority and be in date, and be valid for"
                " partner.example (as configured or addressed) or mx.partner.example (from signed DNS)",
            ),
        ),
        (
            plan(TlsLevel.REQUIRED_VERIFY_HOSTED),
            (
                "nothing without TLS (level required-verify-hosted)",
                "the certificate must come from a trusted authority and be in date, and be valid for"
                " partner.example (as configured or addressed) or mx.partner.example (from unsigned DNS)",
            ),
        ),
        (
            plan(TlsLevel.PREFERRED, SIGNED, Dane.OPPORTUNISTIC, tlsa=found(EE)),
            (
                "nothing without TLS (mx.partner.example has TLSA records)",
                "the certificate must match the TLSA record of mx.partner.example (names and dates do not matter then)",
            ),
        ),
        (
            plan(TlsLevel.REQUIRED_VERIFY, HOP, Dane.OPPORTUNISTIC, tlsa=found(EE, TA)),
            (
                "nothing without TLS (level required-verify, mx.partner.example has TLSA records)",
                "the certificate must match one of the 2 TLSA records of mx.partner.example (by an issuer's record (2)"
                " it must be in date and valid for mx.partner.example (from signed DNS) or partner.example (from"
                " signed DNS) too), and come from a trusted authority and be in date, and be valid for"
                " partner.example (as configured or addressed)",
            ),
        ),
        (
            plan(TlsLevel.PREFERRED, SIGNED, Dane.OPPORTUNISTIC, tlsa=found(ODD)),
            (
                "nothing without TLS (mx.partner.example has TLSA records)",
                "any certificate will do; it is not judged",
                "no TLSA record of mx.partner.example is usable: they ask for TLS, and check nothing",
            ),
        ),
        (
            plan(TlsLevel.PREFERRED, sts=ENFORCED),
            (
                "nothing without TLS (the MTA-STS policy of partner.example is enforced)",
                "the certificate must come from a trusted authority and be in date, and carry the host's name,"
                " mx.partner.example, as MTA-STS wants it",
            ),
        ),
        (
            plan(TlsLevel.PREFERRED, sts=(D, StsPolicy(Mode.TESTING, 86400, (MX,)))),
            (
                "in clear only where the host offers no STARTTLS or refuses it; nothing after a handshake that breaks",
                "any certificate will do; it is not judged",
                "the MTA-STS policy of partner.example is in testing: what it would refuse is only told",
            ),
        ),
        (
            plan(TlsLevel.PREFERRED, sts=(D, StsPolicy(Mode.ENFORCE, 86400, ("else.example",)))),
            ("nothing at all: the MTA-STS policy of partner.example does not name mx.partner.example",),
        ),
        (
            plan(TlsLevel.PREFERRED, SIGNED, requiretls=True),
            (
                "nothing without TLS (the message requires it)",
                "the certificate must come from a trusted authority and be in date, and prove the host by its own name,"
                " mx.partner.example (from signed DNS)",
                "the host must offer REQUIRETLS inside TLS",
            ),
        ),
        (
            plan(TlsLevel.PREFERRED, SIGNED, requiretls=True, tlsa=found(EE)),
            (
                "nothing without TLS (the message requires it)",
                "the certificate must match the TLSA record of mx.partner.example (names and dates do not matter then)",
                "the host must offer REQUIRETLS inside TLS",
            ),
        ),
        (
            plan(TlsLevel.PREFERRED, requiretls=True),
            (
                "nothing at all: the message requires TLS, and nothing proves that mx.partner.example takes the mail of"
                " partner.example: neither signed MX records nor an enforced MTA-STS policy",
            ),
        ),
    ],
)
def test_the_words_of_a_plan(made: TlsPlan, words: tuple[str, ...]) -> None:
    assert may_pass(made) == words


answers = st.sampled_from(
    [
        None,
        found(EE),
        found(TA),
        found(EE, TA),
        found(ODD),
        TlsaAnswer(TlsaState.ABSENT),
        TlsaAnswer(TlsaState.FAILED),
    ]
)
policies = st.sampled_from(
    [None, ENFORCED, (D, StsPolicy(Mode.TESTING, 86400, (MX,))), (D, StsPolicy(Mode.NONE, 86400))]
)
plans = st.builds(
    plan_tls,
    st.builds(
        DestinationRule,
        st.sampled_from(TlsLevel),
        dane=st.sampled_from(Dane),
        mta_sts=st.booleans(),
        insecure_names=st.booleans(),
        preferred_clear_after=st.sampled_from([None, 1]),
    ),
    st.sampled_from(
        [HOP, SIGNED, HopNames(D, route_host="relay.example"), HopNames(D, address="192.0.2.1", literal=True)]
    ),
    clear_allowed=st.booleans(),
    broken_attempts=st.integers(0, 2),
    tlsa=answers,
    sts=policies,
    requiretls=st.booleans(),
)


@settings(max_examples=100)
@given(plans, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_a_certificate_that_the_words_allow_passes_and_no_other(
    made: TlsPlan, dane: bool, chain: bool, listed: bool, named: bool, proven: bool
) -> None:
    text = " ".join(may_pass(made))
    level = [name for name in made.names if named and (proven or name not in made.host_names)]
    own = [name for name in made.host_names if proven and (named or name not in made.names)]
    facts = TlsFacts(
        TlsStage.ESTABLISHED,
        chain_judged=True,
        chain_problem=None if chain else CHAIN_EXPIRED,
        match=NameMatch(level[0], "DNS:x") if level else None,
        sts_match=listed and (proven or made.sts is None or made.sts.host not in made.host_names),
        dane_match="DANE-EE 3 1 1" if dane else "",
        host_match=NameMatch(own[0], "DNS:x") if own else None,
    )
    wanted = {
        "match the TLSA record": dane,
        "match one of": dane,
        "from a trusted authority": chain,
        "as MTA-STS wants it": listed,
        "be valid for ": named,
        "prove the host by its own name": proven,
    }
    demands = [fulfilled for words, fulfilled in wanted.items() if "must" in text and words in text]
    if "nothing at all" in text:
        demands = [False]
    assert judge_tls(made, facts).may_pass is all(demands)


@settings(max_examples=100)
@given(plans, st.sampled_from([TlsStage.NOT_OFFERED, TlsStage.REFUSED, TlsStage.NO_ESMTP]))
def test_what_passes_in_clear_is_what_the_words_allow(made: TlsPlan, stage: TlsStage) -> None:
    text = may_pass(made)[0]
    assert judge_tls(made, TlsFacts(stage)).may_pass is ("in clear" in text)
