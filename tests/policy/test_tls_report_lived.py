"""Judgements as deliveries make and record them, counted: whatever the level and the message's wishes, the result is about what was published."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes.reasons import no_record
from tests.policy.test_mta_sts import CLEAR, ELSEWHERE, ENFORCE, EXPIRED, GOOD, TESTING, UP

from gatepost.config.outbound import Dane
from gatepost.core.record_events import OutboundSession
from gatepost.core.tls import TlsFacts, TlsLevel, TlsStage
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.recorded import plain_names, plain_sts, plain_tlsa
from gatepost.policy.tls_out import HopNames, judge_tls, plan_tls
from gatepost.policy.tls_report import counted
from gatepost.policy.tls_words import tls_record
from gatepost.wire.mta_sts import Mode, StsPolicy
from gatepost.wire.tlsrpt import PolicyType, ResultType

HOST = "mx1.partner.example"
NAMES = HopNames("partner.example", mx_host=HOST, mx_signed=True, mx_secure=True)
RECORD = Tlsa(3, 1, 1, b"x" * 32)
FOUND = TlsaAnswer(TlsaState.FOUND, (RECORD,), HOST)
UNUSABLE = TlsaAnswer(TlsaState.FOUND, (Tlsa(1, 1, 1, b"x" * 32),), HOST)
FAILED = TlsaAnswer(TlsaState.FAILED, detail="SERVFAIL")
ABSENT = TlsaAnswer(TlsaState.ABSENT, detail=f"{HOST} has no TLSA records")
UNKNOWN = TlsaAnswer(TlsaState.UNAVAILABLE, detail="no resolver is known to validate DNSSEC")
MATCHED = replace(UP, dane_match="DANE-EE 3 1 1")
STRANGE = replace(UP, dane_problem=no_record(f"certificate is not of the TLSA records of {HOST}"))
BROKEN = TlsFacts(TlsStage.HANDSHAKE_FAILED, error="no shared cipher")
NONE = PolicyType.NONE

# what DNS says of TLSA, the MTA-STS policy, what was seen; what it counts as
CASES: dict[str, tuple[TlsaAnswer | None, StsPolicy | None, TlsFacts, str, str]] = {
    "nothing published": (ABSENT, None, UP, NONE, ""),
    "nothing published, in clear": (ABSENT, None, CLEAR, NONE, ResultType.STARTTLS_NOT_SUPPORTED),
    "a resolver that does not validate": (UNKNOWN, None, UP, NONE, ""),
    "DANE": (FOUND, None, MATCHED, PolicyType.TLSA, ""),
    "DANE, another certificate": (FOUND, None, STRANGE, PolicyType.TLSA, ResultType.VALIDATION_FAILURE),
    "DANE beside a policy that fails": (FOUND, ENFORCE, MATCHED, PolicyType.TLSA, ""),
    "DANE, in clear": (FOUND, None, CLEAR, PolicyType.TLSA, ResultType.STARTTLS_NOT_SUPPORTED),
    "unusable records": (UNUSABLE, None, UP, PolicyType.TLSA, ResultType.TLSA_INVALID),
    "unusable records beside a policy": (UNUSABLE, ENFORCE, GOOD, PolicyType.STS, ""),
    "records without an answer": (FAILED, ENFORCE, GOOD, PolicyType.TLSA, ResultType.DNSSEC_INVALID),
    "enforced": (ABSENT, ENFORCE, GOOD, PolicyType.STS, ""),
    "enforced, expired": (ABSENT, ENFORCE, EXPIRED, PolicyType.STS, ResultType.CERTIFICATE_EXPIRED),
    "enforced, another name": (ABSENT, ENFORCE, UP, PolicyType.STS, ResultType.CERTIFICATE_HOST_MISMATCH),
    "enforced, another host": (ABSENT, ELSEWHERE, GOOD, PolicyType.STS, ResultType.VALIDATION_FAILURE),
    "enforced, broken": (ABSENT, ENFORCE, BROKEN, PolicyType.STS, ResultType.VALIDATION_FAILURE),
    "tested": (ABSENT, TESTING, GOOD, PolicyType.STS, ""),
    "tested, expired": (ABSENT, TESTING, EXPIRED, PolicyType.STS, ResultType.CERTIFICATE_EXPIRED),
    "tested, in clear": (ABSENT, TESTING, CLEAR, PolicyType.STS, ResultType.STARTTLS_NOT_SUPPORTED),
    "withdrawn": (ABSENT, replace(ENFORCE, mode=Mode.NONE), UP, NONE, ""),
}


def lived(
    level: TlsLevel,
    tlsa: TlsaAnswer | None,
    policy: StsPolicy | None,
    facts: TlsFacts,
    *,
    dane: Dane = Dane.OPPORTUNISTIC,
    tls_optional: bool = False,
) -> OutboundSession:
    """The record of an attempt, made as the relay makes it: a host that may not be used is not called."""
    rule = DestinationRule(level, dane=dane, mta_sts=True)
    sts = ("partner.example", policy) if policy is not None else None
    plan = plan_tls(rule, NAMES, tlsa=tlsa, sts=sts, tls_optional=tls_optional)
    relaxed = plan.relaxed
    called = not plan.forbidden or (relaxed is not None and not relaxed.forbidden)
    outcome = judge_tls(plan, facts if called else TlsFacts(TlsStage.NOT_TRIED))
    return OutboundSession(
        1e9,
        1,
        "partner.example",
        HOST,
        "192.0.2.1",
        25,
        "192.0.2.9",
        1e9,
        plain_names(NAMES),
        plain_tlsa(tlsa),
        plain_sts("partner.example", policy, "1", None),
        True,
        True,
        HOST,
        "",
        "",
        tls_record(outcome),
    )


@pytest.mark.parametrize("level", [level for level in TlsLevel if level.tries])
@pytest.mark.parametrize("case", CASES)
def test_what_was_published_decides(case: str, level: TlsLevel) -> None:
    tlsa, policy, facts, kind, failure = CASES[case]
    found = counted(lived(level, tlsa, policy, facts))
    assert found is not None
    assert found.policy.type == kind
    assert (found.failure.result if found.failure else "") == failure


@pytest.mark.parametrize("case", CASES)
def test_a_message_that_waives_what_was_published_is_not_counted(case: str) -> None:
    tlsa, policy, facts, *_ = CASES[case]
    assert counted(lived(TlsLevel.PREFERRED, tlsa, policy, facts, tls_optional=True)) is None


@pytest.mark.parametrize(
    ("tlsa", "failure"),
    [
        (ABSENT, ResultType.DANE_REQUIRED),
        (UNUSABLE, ResultType.TLSA_INVALID),
        (FAILED, ResultType.DNSSEC_INVALID),
    ],
)
def test_dane_that_we_require_and_they_lack(tlsa: TlsaAnswer, failure: ResultType) -> None:
    found = counted(lived(TlsLevel.REQUIRED, tlsa, None, UP, dane=Dane.MANDATORY))
    assert found is not None
    assert found.failure is not None
    assert found.failure.result == failure


@pytest.mark.parametrize("tlsa", [UNKNOWN, None])
def test_dane_that_we_require_and_cannot_look_up(tlsa: TlsaAnswer | None) -> None:
    assert counted(lived(TlsLevel.REQUIRED, tlsa, None, UP, dane=Dane.MANDATORY)) is None


def test_level_none_counts_nothing() -> None:
    assert counted(lived(TlsLevel.NONE, ABSENT, ENFORCE, TlsFacts(TlsStage.NOT_TRIED))) is None
