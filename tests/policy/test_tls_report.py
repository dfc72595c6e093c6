"""What each ending of an attempt counts as; each result type of the registry comes up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.core.reasons import AskedBy, ReasonCode
from gatepost.core.record_events import OutboundSession
from gatepost.pki.findings import Code
from gatepost.policy.tls_report import (
    DAY,
    MAX_REASON,
    SPREAD,
    counted,
    day_before,
    day_of,
    midnight,
    send_time,
)
from gatepost.wire.tlsrpt import FailureDetails, PolicyType, ReportedPolicy, ResultType

AT = 1_793_577_600.0  # 2026-11-02
RECORD, OTHER = "3 1 1 " + "ab" * 32, "2 0 1 " + "cd" * 32
LINES = ("version: STSv1", "mode: enforce", "mx: *.example.org", "max_age: 86400")
NONE = ReportedPolicy(PolicyType.NONE, "example.org")
TLSA = ReportedPolicy(PolicyType.TLSA, "mx.example.org", (OTHER, RECORD))
STS = ReportedPolicy(PolicyType.STS, "example.org", LINES, ("*.example.org",))

_TLS: dict[str, Any] = {
    "verdict": "encrypted",
    "stage": "established",
    "reason": "",
    "reason_code": "",
    "reason_text": "",
    "asked_by": "",
    "forbidden": "",
    "dane": None,
    "dane_base": None,
    "dane_match": "",
    "sts": None,
    "note": "",
    "note_code": "",
    "note_text": "",
    "reply": None,
}
_NOT_ASKED = {"state": "not-asked", "base": "", "records": [], "problem": ""}
_FOUND = {"state": "found", "base": "mx.example.org", "records": [RECORD, OTHER], "problem": ""}
_DANE = {"dane": [RECORD], "dane_base": "mx.example.org"}
_STS = {"domain": "example.org", "mode": "enforce", "id": "1", "policy": list(LINES), "problem": ""}


def session(
    tls: dict[str, Any] | None = None,
    *,
    tlsa: dict[str, Any] | None = None,
    sts: dict[str, Any] | None = None,
    **fields: Any,
) -> OutboundSession:
    made = OutboundSession(
        AT,
        7,
        "example.org",
        "mx.example.org",
        "192.0.2.1",
        25,
        "192.0.2.99",
        AT,
        {"domain": "example.org", "route_host": "", "mx_host": "mx.example.org", "literal": False},
        tlsa or _NOT_ASKED,
        sts,
        True,
        True,
        "mx.example.org",
        "",
        "",
        {**_TLS, **(tls or {})},
    )
    return replace(made, **fields)


def why(code: ReasonCode, text: str = "", asked_by: AskedBy = AskedBy.RULE) -> dict[str, str]:
    """The reason of a judgement, as the record has it; the log's own words are others on purpose."""
    return {"reason": "in other words", "reason_code": code, "reason_text": text, "asked_by": asked_by}


def forbidden(code: ReasonCode, text: str) -> dict[str, Any]:
    """A host that was not called."""
    return {"verdict": "refused", "stage": "not-tried", "forbidden": text, **why(code, text)}


def noted(code: ReasonCode, text: str) -> dict[str, str]:
    return {"note": "in other words", "note_code": code, "note_text": text}


def failed(result: ResultType, reason: str = "") -> FailureDetails:
    return FailureDetails(
        result, 1, "192.0.2.99", "mx.example.org", "mx.example.org", "192.0.2.1", reason_code=reason
    )


NOT_NAMED = "the policy names other hosts"
MISMATCH = "host name mismatch: mx.example.org not in DNS:other.example"
ENDINGS: dict[str, tuple[OutboundSession, ReportedPolicy, FailureDetails | None]] = {
    "nothing published": (session(), NONE, None),
    "nothing published, our own rule not met": (
        session({"verdict": "refused", **why(ReasonCode.EXPIRED)}),
        NONE,
        None,
    ),
    "no STARTTLS": (
        session({"verdict": "clear", "stage": "not-offered"}),
        NONE,
        failed(ResultType.STARTTLS_NOT_SUPPORTED),
    ),
    "no ESMTP": (
        session({"verdict": "clear", "stage": "no-esmtp"}),
        NONE,
        failed(ResultType.STARTTLS_NOT_SUPPORTED),
    ),
    "STARTTLS refused": (
        session({"verdict": "clear", "stage": "refused", "reply": "454 4.7.0 Not now"}),
        NONE,
        failed(ResultType.VALIDATION_FAILURE, "STARTTLS was refused: 454 4.7.0 Not now"),
    ),
    "a broken handshake": (
        session({"verdict": "refused", "stage": "handshake-failed", "reason": "no shared cipher\r\n"}),
        NONE,
        failed(ResultType.VALIDATION_FAILURE, "no shared cipher??"),
    ),
    "DANE": (
        session({**_DANE, "verdict": "verified", "dane_match": "DANE-EE 3 1 1"}, tlsa=_FOUND),
        TLSA,
        None,
    ),
    "DANE before MTA-STS": (
        session({**_DANE, "dane_match": "DANE-EE 3 1 1"}, tlsa=_FOUND, sts=_STS),
        TLSA,
        None,
    ),
    "DANE without STARTTLS": (
        session({**_DANE, "verdict": "refused", "stage": "not-offered"}, tlsa=_FOUND),
        TLSA,
        failed(ResultType.STARTTLS_NOT_SUPPORTED),
    ),
    "another certificate than the records'": (
        session(
            {
                **_DANE,
                "verdict": "refused",
                **why(ReasonCode.DANE_MISMATCH, "certificate is not of it", AskedBy.DANE),
            },
            tlsa=_FOUND,
        ),
        TLSA,
        failed(ResultType.VALIDATION_FAILURE, "certificate is not of it"),
    ),
    "an expired certificate under DANE-TA": (
        session(
            {
                **_DANE,
                "verdict": "refused",
                **why(ReasonCode.EXPIRED, "certificate has expired", AskedBy.DANE),
            },
            tlsa=_FOUND,
        ),
        TLSA,
        failed(ResultType.CERTIFICATE_EXPIRED, "certificate has expired"),
    ),
    "unusable records": (
        session({"dane": [], "dane_base": "mx.example.org"}, tlsa=_FOUND),
        TLSA,
        failed(ResultType.TLSA_INVALID, "none of the TLSA records is usable"),
    ),
    "unusable records beside a policy": (
        session({"dane": [], "dane_base": "mx.example.org", "sts": "enforce"}, tlsa=_FOUND, sts=_STS),
        STS,
        None,
    ),
    "records that could not be looked up": (
        session(
            forbidden(ReasonCode.DANE_LOOKUP_FAILED, "its TLSA records could not be looked up: no answer"),
            tlsa={**_NOT_ASKED, "state": "failed"},
        ),
        ReportedPolicy(PolicyType.TLSA, "mx.example.org"),
        failed(ResultType.DNSSEC_INVALID, "its TLSA records could not be looked up: no answer"),
    ),
    "DANE required and absent": (
        session(
            forbidden(ReasonCode.DANE_ABSENT, "none is there"),
            tlsa={**_NOT_ASKED, "state": "absent"},
        ),
        NONE,
        failed(ResultType.DANE_REQUIRED, "none is there"),
    ),
    "DANE required and unusable": (
        session(
            forbidden(ReasonCode.DANE_UNUSABLE, "no record is usable"),
            tlsa=_FOUND,
        ),
        TLSA,
        failed(ResultType.TLSA_INVALID, "no record is usable"),
    ),
    "MTA-STS": (session({"sts": "enforce", "verdict": "verified"}, sts=_STS), STS, None),
    "MTA-STS in testing, fine": (session({"sts": "testing"}, sts=_STS), STS, None),
    "MTA-STS in testing, another name": (
        session(
            {"sts": "testing", **noted(ReasonCode.NAME_MISMATCH, MISMATCH)},
            sts=_STS,
        ),
        STS,
        failed(ResultType.CERTIFICATE_HOST_MISMATCH, MISMATCH),
    ),
    "MTA-STS enforced, expired": (
        session(
            {
                "sts": "enforce",
                "verdict": "refused",
                **why(ReasonCode.EXPIRED, "certificate has expired", AskedBy.MTA_STS),
            },
            sts=_STS,
        ),
        STS,
        failed(ResultType.CERTIFICATE_EXPIRED, "certificate has expired"),
    ),
    "MTA-STS enforced, unknown authority": (
        session(
            {
                "sts": "enforce",
                "verdict": "refused",
                **why(
                    ReasonCode.MISSING_INTERMEDIATE, "unable to get local issuer certificate", AskedBy.MTA_STS
                ),
            },
            sts=_STS,
        ),
        STS,
        failed(ResultType.CERTIFICATE_NOT_TRUSTED, "unable to get local issuer certificate"),
    ),
    "MTA-STS enforced and met, but our own rule not": (
        session(
            {"sts": "enforce", "verdict": "refused", **why(ReasonCode.NAME_MISMATCH, MISMATCH)}, sts=_STS
        ),
        STS,
        None,
    ),
    "a host that the policy does not name": (
        session(
            {"sts": "enforce", **forbidden(ReasonCode.STS_NOT_LISTED, NOT_NAMED), "asked_by": "mta-sts"},
            sts=_STS,
        ),
        STS,
        failed(ResultType.VALIDATION_FAILURE, NOT_NAMED),
    ),
    "a policy that names no such host, in testing": (
        session(
            {"sts": "testing", **noted(ReasonCode.STS_NOT_LISTED, NOT_NAMED)},
            sts=_STS,
        ),
        STS,
        failed(ResultType.VALIDATION_FAILURE, NOT_NAMED),
    ),
    "records that could not be looked up, beside a policy": (
        session(
            {"sts": "enforce", **forbidden(ReasonCode.DANE_LOOKUP_FAILED, "SERVFAIL")},
            tlsa={**_NOT_ASKED, "state": "failed"},
            sts=_STS,
        ),
        ReportedPolicy(PolicyType.TLSA, "mx.example.org"),
        failed(ResultType.DNSSEC_INVALID, "SERVFAIL"),
    ),
    "MX records that are not signed, where DANE is required": (
        session(
            forbidden(ReasonCode.DANE_UNSIGNED_MX, "the MX records of x are not signed"),
            tlsa=_FOUND,
        ),
        NONE,
        failed(
            ResultType.DANE_REQUIRED,
            "the MX records of x are not signed",
        ),
    ),
    "records that were only looked up for REQUIRETLS": (
        session({"requiretls": True}, tlsa=_FOUND),
        NONE,
        None,
    ),
    "a policy of mode none": (
        session(sts={**_STS, "mode": "", "policy": [], "problem": ""}),
        NONE,
        None,
    ),
    "an old policy that cannot be fetched anew": (
        session(
            {"sts": "enforce", "verdict": "verified"}, sts={**_STS, "problem": "the web server answered 404"}
        ),
        STS,
        None,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_ending_counts_as(ending: str) -> None:
    event, policy, failure = ENDINGS[ending]
    found = counted(event)
    assert found is not None
    assert (found.at, found.domain) == (AT, "example.org")
    assert (found.policy, found.failure) == (policy, failure)


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (ReasonCode.STS_FETCH_FAILED, ResultType.STS_POLICY_FETCH_ERROR),
        (ReasonCode.STS_WEB_TLS, ResultType.STS_WEBPKI_INVALID),
        (ReasonCode.STS_POLICY_INVALID, ResultType.STS_POLICY_INVALID),
    ],
)
def test_a_policy_that_cannot_be_had(code: ReasonCode, result: ResultType) -> None:
    sts = {**_STS, "mode": "", "policy": [], "problem": "it broke", "problem_code": code}
    found = counted(session(sts=sts))
    assert found is not None
    assert found.policy == ReportedPolicy(PolicyType.STS, "example.org")
    assert found.failure == failed(result, "it broke")


@pytest.mark.parametrize("code", ReasonCode)
def test_every_reason_of_a_refusal_has_a_type(code: ReasonCode) -> None:
    """Certificates that do not lead to a trusted authority, or are unsound, are one type; what no type is about is the general one."""
    found = counted(
        session({"sts": "enforce", "verdict": "refused", **why(code, "x", AskedBy.MTA_STS)}, sts=_STS)
    )
    assert found is not None
    assert found.failure is not None
    assert (found.failure.result in _OF_CERTIFICATES) is (code in {ReasonCode(one) for one in _BREAKING})


_OF_CERTIFICATES = {
    ResultType.CERTIFICATE_EXPIRED,
    ResultType.CERTIFICATE_HOST_MISMATCH,
    ResultType.CERTIFICATE_NOT_TRUSTED,
}
_BREAKING = {code.value for code in Code if code.value in set(ReasonCode)}


# --- records of an older release, which have no codes ---------------------------------------------------------


def without_codes(event: OutboundSession) -> OutboundSession:
    new = {"reason_code", "reason_text", "asked_by", "note_code", "note_text"}
    assert event.tls is not None
    tls = {key: value for key, value in event.tls.items() if key not in new}
    sts = {key: value for key, value in (event.sts or {}).items() if key != "problem_code"}
    return replace(event, tls=tls, sts=sts if event.sts is not None else None)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_record_without_codes_is_read(ending: str) -> None:
    """What the stage says is counted as ever; a certificate that TLSA records refuse is a general failure, and nothing is made up."""
    event, policy, failure = ENDINGS[ending]
    found = counted(without_codes(event))
    if found is not None and found.failure is not None:
        assert found.policy == policy
        assert failure is not None
        assert found.failure.result in (failure.result, ResultType.VALIDATION_FAILURE)


def test_an_old_record_of_a_policy_that_cannot_be_had() -> None:
    found = counted(session(sts={**_STS, "mode": "", "policy": [], "problem": "the web server answered 404"}))
    assert found is not None
    assert found.failure == failed(ResultType.STS_POLICY_FETCH_ERROR, "the web server answered 404")


def test_a_code_that_this_release_does_not_know() -> None:
    unknown = {"reason_code": "of-tomorrow", "reason_text": "x", "asked_by": "mta-sts"}
    found = counted(session({"sts": "enforce", "verdict": "refused", **unknown}, sts=_STS))
    assert found is not None
    assert found.failure == failed(ResultType.VALIDATION_FAILURE, "x")


@pytest.mark.parametrize(
    "event",
    [
        session(tls_report=True),
        replace(session(), tls=None, broken="Connection refused"),
        session({"stage": "not-tried", "verdict": "clear"}),
        session(domain="[192.0.2.1]"),
        session(hop={"domain": "example.org", "literal": True}),
        session(
            forbidden(ReasonCode.DANE_UNAVAILABLE, "no resolver"),
            tlsa={**_NOT_ASKED, "state": "unavailable"},
        ),
    ],
)
def test_what_tells_nothing_of_their_tls_does_not_count(event: OutboundSession) -> None:
    assert counted(event) is None


def test_an_attempt_that_made_no_connection_does_not_count() -> None:
    assert counted(session()) is not None
    assert counted(session(borrowed=True)) is None


@pytest.mark.parametrize(
    "code", [ReasonCode.REQUIRETLS_OFF, ReasonCode.REQUIRETLS_UNPROVEN, ReasonCode.REQUIRETLS_DOUBT]
)
def test_what_only_the_message_asked_for_does_not_count(code: ReasonCode) -> None:
    event = session(
        forbidden(code, "the way to the host is not proven"), tlsa={**_NOT_ASKED, "state": "absent"}
    )
    assert counted(event) is None


def test_a_route_to_a_host_counts_for_that_host() -> None:
    found = counted(session(hop={"domain": "example.org", "route_host": "Relay.example.", "literal": False}))
    assert found is not None
    assert (found.domain, found.policy.domain) == ("relay.example", "relay.example")


def test_words_of_a_peer_are_bounded_and_harmless() -> None:
    event = session({"stage": "handshake-failed", "reason": "\x1b" + "x" * 5_000})
    found = counted(replace(event, helo="y" * 900))
    assert found is not None
    assert found.failure is not None
    assert len(found.failure.reason_code) == len(found.failure.receiving_helo) == MAX_REASON
    assert found.failure.reason_code.isprintable()


def test_all_result_types_come_up() -> None:
    seen = {failure.result for _, _, failure in ENDINGS.values() if failure}
    seen |= {
        ResultType.STS_POLICY_FETCH_ERROR,
        ResultType.STS_WEBPKI_INVALID,
        ResultType.STS_POLICY_INVALID,
    }
    assert seen == set(ResultType)


# --- days -------------------------------------------------------------------------------------------------


def test_days_are_those_of_utc() -> None:
    assert day_of(AT) == "2026-11-02"
    assert day_of(AT - 0.001) == "2026-11-01"
    assert midnight("2026-11-02") == AT
    assert day_before("2026-03-01") == "2026-02-28"
    with pytest.raises(ValueError):
        midnight("tomorrow")


@given(st.text(max_size=20), st.text(max_size=8))
def test_reports_go_out_within_four_hours_and_always_at_the_same_time(domain: str, gateway: str) -> None:
    at = send_time("2026-11-02", domain, gateway)
    assert 60 <= at - (AT + DAY) < SPREAD
    assert at == send_time("2026-11-02", domain, gateway)


def test_gateways_and_domains_do_not_come_all_at_once() -> None:
    times = {send_time("2026-11-02", f"d{n}.example", gateway) for n in range(50) for gateway in ("a", "b")}
    assert len(times) > 90
