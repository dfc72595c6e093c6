"""TLS reports as others write them, as we write them, and as nobody should (C38)."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.tlsrpt import (
    MAX_DETAILS,
    MAX_POLICIES,
    MAX_VALUES,
    FailureDetails,
    PolicyResult,
    PolicyType,
    ReportedPolicy,
    ResultType,
    TlsReport,
    TlsReportFault,
    file_name,
    read_report,
    unpacked,
    write_report,
)

DAY = 1_793_577_600  # 2026-11-02
REPORT = TlsReport(
    organization="Example Ltd",
    begin=DAY,
    end=DAY + 86_399,
    contact="tls@sender.example",
    report_id="one.two@sender.example",
    policies=(
        PolicyResult(
            ReportedPolicy(
                PolicyType.STS,
                "example.org",
                ("version: STSv1", "mode: testing", "mx: *.mail.example.org", "max_age: 86400"),
                ("*.mail.example.org",),
            ),
            5326,
            303,
            (
                FailureDetails(
                    ResultType.CERTIFICATE_EXPIRED,
                    100,
                    "2001:db8::1",
                    "mx1.mail.example.org",
                    "",
                    "192.0.2.1",
                ),
                FailureDetails("something-new", 203, reason_code="X5", information="https://example.org/why"),
            ),
        ),
    ),
)


def plain() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(write_report(REPORT))
    return loaded


def read(raw: Any) -> TlsReport:
    return read_report(json.dumps(raw).encode())


def test_what_is_written_has_the_members_of_the_rfc() -> None:
    assert plain() == {
        "organization-name": "Example Ltd",
        "date-range": {"start-datetime": "2026-11-02T00:00:00Z", "end-datetime": "2026-11-02T23:59:59Z"},
        "contact-info": "tls@sender.example",
        "report-id": "one.two@sender.example",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": [
                        "version: STSv1",
                        "mode: testing",
                        "mx: *.mail.example.org",
                        "max_age: 86400",
                    ],
                    "policy-domain": "example.org",
                    "mx-host": ["*.mail.example.org"],
                },
                "summary": {
                    "total-successful-session-count": 5326,
                    "total-failure-session-count": 303,
                },
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "2001:db8::1",
                        "receiving-mx-hostname": "mx1.mail.example.org",
                        "receiving-ip": "192.0.2.1",
                        "failed-session-count": 100,
                    },
                    {
                        "result-type": "something-new",
                        "failed-session-count": 203,
                        "additional-information": "https://example.org/why",
                        "failure-reason-code": "X5",
                    },
                ],
            }
        ],
    }


def test_what_is_written_is_read() -> None:
    assert read_report(write_report(REPORT)) == REPORT
    assert (REPORT.successful, REPORT.failed) == (5326, 303)


def test_the_file_name_has_the_parts_of_the_rfc() -> None:
    name = file_name("mail.sender.example", "example.org", DAY, DAY + 86_399, "a1")
    assert name == f"mail.sender.example!example.org!{DAY}!{DAY + 86_399}!a1.json.gz"
    assert file_name("a.example", "b.example", 1, 2) == "a.example!b.example!1!2.json.gz"


# --- as others write them ---------------------------------------------------------------------------------


def test_a_host_may_be_a_text() -> None:
    raw = plain()
    raw["policies"][0]["policy"]["mx-host"] = "*.mail.example.org"
    assert read(raw) == REPORT


def test_one_policy_may_stand_without_its_list_and_numbers_as_text() -> None:
    raw = plain()
    raw["policies"] = raw["policies"][0]
    raw["policies"]["summary"]["total-successful-session-count"] = "5326"
    raw["policies"]["failure-details"][0]["failed-session-count"] = 100.0
    assert read(raw) == REPORT


@pytest.mark.parametrize(
    "date", ["2026-11-02T00:00:00+00:00", "2026-11-02T01:00:00+01:00", "2026-11-02T00:00:00", "2026-11-02"]
)
def test_dates_are_read_in_any_zone(date: str) -> None:
    raw = plain()
    raw["date-range"]["start-datetime"] = date
    assert read(raw).begin == DAY


def test_members_may_be_missing_null_or_more() -> None:
    raw = plain()
    del raw["organization-name"], raw["policies"][0]["policy"]["policy-domain"]
    raw["contact-info"] = None
    raw["policies"][0]["failure-details"] = None
    raw["policies"][0]["more"] = {"of": ["this"]}
    report = read(raw)
    assert (report.organization, report.contact) == ("", "")
    assert report.policies[0].policy.domain == ""
    assert report.policies[0].details == ()


def test_a_mark_of_byte_order_does_not_matter() -> None:
    assert read_report(b"\xef\xbb\xbf" + write_report(REPORT)) == REPORT


def test_texts_can_be_shown() -> None:
    raw = plain()
    raw["organization-name"] = "Evil\r\nBcc: a\x1b[2J" + "x" * 5_000
    name = read(raw).organization
    assert name.startswith("Evil??Bcc: a?[2J")
    assert len(name) == 2_000


# --- as nobody should -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"date-range": None}, "no date-range"),
        ({"date-range": {"start-datetime": "yesterday", "end-datetime": "today"}}, "no dates"),
        ({"date-range": {"start-datetime": 5, "end-datetime": "2026-11-02T00:00:00Z"}}, "no dates"),
        (
            {"date-range": {"start-datetime": "2026-11-03", "end-datetime": "2026-11-02"}},
            "ends before it begins",
        ),
        ({"policies": []}, "no policies"),
        ({"policies": [5]}, "no JSON object"),
        ({"policies": [{}] * (MAX_POLICIES + 1)}, "more than 5000 policies"),
        ({"policies": [{"failure-details": [0] * (MAX_DETAILS + 1)}]}, "more than 20000 failure details"),
        ({"policies": [{"policy": {"mx-host": ["a"] * 501}}]}, "more than 500 lines or hosts"),
        *(
            ({"policies": [{"summary": {"total-failure-session-count": number}}]}, "no count")
            for number in (-1, 1.5, True, "many", 1 << 60, "9" * 17, [1])
        ),
    ],
)
def test_what_is_no_report_is_refused_with_a_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(TlsReportFault, match=reason):
        read(plain() | change)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "no JSON object"),
        (b"<feedback/>", "not JSON"),
        (b'{"policies":[' * 5_000, "not JSON"),
        (b"[" * (MAX_VALUES + 1), "more than 500000 values"),
        (b" " * ((20 << 20) + 1), "longer than 20 MiB"),
    ],
)
def test_octets_that_are_no_report_are_refused_cheaply(data: bytes, reason: str) -> None:
    with pytest.raises(TlsReportFault, match=reason):
        read_report(data)


def test_compressed_octets_are_unpacked_whatever_they_are_called() -> None:
    data = write_report(REPORT)
    assert unpacked(gzip.compress(data)) == data
    assert unpacked(data) == data


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * (30 << 20))
    assert len(bomb) < 1 << 20
    with pytest.raises(TlsReportFault, match="longer than 20 MiB"):
        unpacked(bomb)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x1f\x8bnothing of the kind", "damaged"),
        (gzip.compress(write_report(REPORT))[:-5], "cut off"),
        (gzip.compress(write_report(REPORT)) * 2, "several parts"),
    ],
)
def test_damaged_octets_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(TlsReportFault, match=reason):
        unpacked(data)


# --- any --------------------------------------------------------------------------------------------------

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted({*plain(), *plain()["policies"][0], *plain()["policies"][0]["policy"]})),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_values, st.sampled_from(["date-range", "policies", "organization-name", "report-id"]))
@settings(max_examples=100)
def test_any_value_is_read_or_refused(value: Any, member: str) -> None:
    with suppress(TlsReportFault):
        assert isinstance(read(plain() | {member: value}), TlsReport)


_texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
_counts = st.integers(0, 1 << 40)
_rows = st.builds(
    PolicyResult,
    st.builds(
        ReportedPolicy,
        st.sampled_from(PolicyType),
        st.just("example.org"),
        st.lists(_texts.filter(bool), max_size=3).map(tuple),
        st.lists(_texts.filter(bool), max_size=3).map(tuple),
    ),
    _counts,
    _counts,
    st.lists(st.builds(FailureDetails, st.sampled_from(ResultType), _counts, *[_texts] * 6), max_size=3).map(
        tuple
    ),
)


@given(
    st.builds(
        TlsReport,
        _texts,
        st.integers(0, DAY),
        st.integers(DAY, 2 * DAY),
        _texts,
        _texts,
        st.lists(_rows, min_size=1, max_size=3).map(tuple),
    )
)
@settings(max_examples=60)
def test_any_report_survives_writing_and_reading(report: TlsReport) -> None:
    assert read_report(unpacked(gzip.compress(write_report(report)))) == report
