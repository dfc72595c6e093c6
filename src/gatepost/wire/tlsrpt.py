"""TLS reports as values, and the JSON they travel in (RFC 8460 §4.4), read and written.

A report tells one domain of one day: for each policy that applied how many SMTP sessions had TLS as the policy wants it, how many had not,
and why. Sessions are counted, not messages.

Reading is tolerant of what reports in the world look like: `mx-host` as a text where a list belongs (erratum 6241), one policy without
its list, numbers as text, members that are missing, null or unknown. `policy-domain` is empty where the sender left it out. Result and policy
types stay texts, since IANA may add some. What is no report is a fault with a sentence.

What it trusts: nothing. Every text that was read is on one line, without control characters, and cut at 2,000 characters, so it can be shown.
Before anything is parsed the number of values is bounded, since each costs far more memory than its octets; the JSON
parser itself refuses nesting deeper than a thousand, and nothing here descends further than the schema does.

Limits. 20 MiB of JSON, half a million values, 5,000 policies, 20,000 failure details in all, 500 lines or hosts of a policy. A report beyond
them is refused whole: half of one would be read as the truth.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

MAX_REPORT = 20 << 20  # octets of JSON
MAX_VALUES = 500_000
MAX_POLICIES = 5_000
MAX_DETAILS = 20_000
MAX_TEXTS = 500  # lines of a policy, and its hosts
MAX_TEXT = 2_000
MAX_COUNT = 1 << 40  # sessions: all of a report together stay within 53 bits
_GZIP = b"\x1f\x8b"
_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS

JSON_TYPE = "application/tlsrpt+json"  # RFC 8460 §6.4
GZIP_TYPE = "application/tlsrpt+gzip"  # RFC 8460 §6.5


class TlsReportFault(ValueError):
    """Octets that are no report; the text says why."""


class PolicyType(StrEnum):
    """Which policy applied to the sessions of a row (RFC 8460 §4.4)."""

    TLSA = "tlsa"
    STS = "sts"
    NONE = "no-policy-found"


class ResultType(StrEnum):
    """Why a session failed (RFC 8460 §4.3; IANA "STARTTLS Validation Result Types")."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


@dataclass(frozen=True, slots=True)
class ReportedPolicy:
    """The policy that was applied: its type (a `PolicyType`, or what the sender wrote), its lines, and the hosts it speaks of.

    `strings` are TLSA records in their written form, or the lines of an MTA-STS policy.
    """

    type: str
    domain: str
    strings: tuple[str, ...] = ()
    mx_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FailureDetails:
    """Sessions that failed alike. `result` is a `ResultType`, or what the sender wrote; empty texts are left out when written."""

    result: str
    sessions: int
    sending_ip: str = ""
    receiving_host: str = ""
    receiving_helo: str = ""
    receiving_ip: str = ""
    information: str = ""
    reason_code: str = ""


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One row of a report: a policy, its sessions with and without success, and what failed."""

    policy: ReportedPolicy
    successful: int
    failed: int
    details: tuple[FailureDetails, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsReport:
    """One report. `begin` and `end` are seconds since the epoch, both inside the range."""

    organization: str
    begin: int
    end: int
    contact: str
    report_id: str
    policies: tuple[PolicyResult, ...]

    @property
    def successful(self) -> int:
        """The sessions of all policies that succeeded."""
        return sum(row.successful for row in self.policies)

    @property
    def failed(self) -> int:
        """The sessions of all policies that failed."""
        return sum(row.failed for row in self.policies)


# --- writing ----------------------------------------------------------------------------------------------


def write_report(report: TlsReport) -> bytes:
    """The JSON of a report (RFC 8460 §4.4). `mx-host` is a list (erratum 6241), `policy-domain` always there."""
    return orjson.dumps(report_object(report))


def report_object(report: TlsReport) -> dict[str, Any]:
    """What the JSON of a report holds."""
    return {
        "organization-name": report.organization,
        "date-range": {"start-datetime": _date(report.begin), "end-datetime": _date(report.end)},
        "contact-info": report.contact,
        "report-id": report.report_id,
        "policies": [_row(row) for row in report.policies],
    }


def _row(row: PolicyResult) -> dict[str, Any]:
    policy: dict[str, Any] = {"policy-type": str(row.policy.type)}
    if row.policy.strings:
        policy["policy-string"] = list(row.policy.strings)
    policy["policy-domain"] = row.policy.domain
    if row.policy.mx_hosts:
        policy["mx-host"] = list(row.policy.mx_hosts)
    written: dict[str, Any] = {
        "policy": policy,
        "summary": {
            "total-successful-session-count": row.successful,
            "total-failure-session-count": row.failed,
        },
    }
    if row.details:
        written["failure-details"] = [_detail(detail) for detail in row.details]
    return written


def _detail(detail: FailureDetails) -> dict[str, Any]:
    texts = (
        ("result-type", str(detail.result)),
        ("sending-mta-ip", detail.sending_ip),
        ("receiving-mx-hostname", detail.receiving_host),
        ("receiving-mx-helo", detail.receiving_helo),
        ("receiving-ip", detail.receiving_ip),
    )
    written: dict[str, Any] = {name: text for name, text in texts if text}
    written["failed-session-count"] = detail.sessions
    if detail.information:
        written["additional-information"] = detail.information
    if detail.reason_code:
        written["failure-reason-code"] = detail.reason_code
    return written


def _date(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def file_name(submitter: str, domain: str, begin: int, end: int, unique: str = "") -> str:
    """The name of the compressed report's file (RFC 8460 §5.1). `unique` is letters and digits."""
    middle = f"!{unique}" if unique else ""
    return f"{submitter}!{domain}!{begin}!{end}{middle}.json.gz"


# --- reading ----------------------------------------------------------------------------------------------


def unpacked(data: bytes, limit: int = MAX_REPORT) -> bytes:
    """The octets of a report that may be compressed; what begins like gzip is, whatever it was called.

    Raises TlsReportFault for what is damaged, cut off, or longer than `limit` when unpacked: no more than that is ever unpacked.
    """
    if not data.startswith(_GZIP):
        if len(data) > limit:
            raise _too_long(limit)
        return data
    unpacker = zlib.decompressobj(_WITH_GZIP_HEADER)
    try:
        plain = unpacker.decompress(data, limit + 1)
    except zlib.error:
        raise TlsReportFault("the compressed report is damaged") from None
    if len(plain) > limit:
        raise _too_long(limit)
    if not unpacker.eof:
        raise TlsReportFault("the compressed report is cut off")
    if unpacker.unused_data.startswith(_GZIP):
        raise TlsReportFault("the compressed report has several parts")
    return plain


def read_report(data: bytes) -> TlsReport:
    """The report in JSON octets. Raises TlsReportFault."""
    if len(data) > MAX_REPORT:
        raise _too_long(MAX_REPORT)
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise TlsReportFault(f"the report holds more than {MAX_VALUES} values")
    try:
        raw = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        raise TlsReportFault("the report is not JSON") from None
    if not isinstance(raw, dict):
        raise TlsReportFault("the report is no JSON object")
    begin, end = _range(raw.get("date-range"))
    return TlsReport(
        organization=_text(raw.get("organization-name")),
        begin=begin,
        end=end,
        contact=_text(raw.get("contact-info")),
        report_id=_text(raw.get("report-id")),
        policies=tuple(_policies(raw.get("policies"))),
    )


def _too_long(limit: int) -> TlsReportFault:
    return TlsReportFault(f"the report is longer than {limit >> 20} MiB")


def _range(raw: Any) -> tuple[int, int]:
    if not isinstance(raw, dict):
        raise TlsReportFault("the report has no date-range")
    begin, end = _moment(raw.get("start-datetime")), _moment(raw.get("end-datetime"))
    if end < begin:
        raise TlsReportFault("the date-range of the report ends before it begins")
    return begin, end


def _moment(raw: Any) -> int:
    try:
        at = datetime.fromisoformat(raw) if isinstance(raw, str) and len(raw) <= 40 else None
        if at is None:
            raise ValueError
        # RFC 3339 has an offset always; without one the day is UTC's (RFC 8460 §4.1).
        return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise TlsReportFault("the date-range of the report holds no dates of RFC 3339") from None


def _policies(raw: Any) -> Iterator[PolicyResult]:
    rows = _list(raw)
    if not rows:
        raise TlsReportFault("the report holds no policies")
    if len(rows) > MAX_POLICIES:
        raise TlsReportFault(f"the report holds more than {MAX_POLICIES} policies")
    details = 0
    for row in rows:
        if not isinstance(row, dict):
            raise TlsReportFault("a policy of the report is no JSON object")
        failures = _list(row.get("failure-details"))
        details += len(failures)
        if details > MAX_DETAILS:
            raise TlsReportFault(f"the report holds more than {MAX_DETAILS} failure details")
        summary = _members(row.get("summary"))
        yield PolicyResult(
            _policy(_members(row.get("policy"))),
            _count(summary.get("total-successful-session-count", 0)),
            _count(summary.get("total-failure-session-count", 0)),
            tuple(_failure(_members(failure)) for failure in failures),
        )


def _policy(raw: Mapping[str, Any]) -> ReportedPolicy:
    return ReportedPolicy(
        type=_text(raw.get("policy-type")),
        domain=_text(raw.get("policy-domain")).rstrip(".").lower(),
        strings=_texts(raw.get("policy-string")),
        mx_hosts=_texts(raw.get("mx-host")),
    )


def _failure(raw: Mapping[str, Any]) -> FailureDetails:
    return FailureDetails(
        result=_text(raw.get("result-type")),
        sessions=_count(raw.get("failed-session-count", 0)),
        sending_ip=_text(raw.get("sending-mta-ip")),
        receiving_host=_text(raw.get("receiving-mx-hostname")),
        receiving_helo=_text(raw.get("receiving-mx-helo")),
        receiving_ip=_text(raw.get("receiving-ip")),
        information=_text(raw.get("additional-information")),
        reason_code=_text(raw.get("failure-reason-code")),
    )


def _list(raw: Any) -> list[Any]:
    """A list, or the one value that stands in its place."""
    if raw is None:
        return []
    return raw if isinstance(raw, list) else [raw]


def _members(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, dict) else {}


def _texts(raw: Any) -> tuple[str, ...]:
    found = _list(raw)
    if len(found) > MAX_TEXTS:
        raise TlsReportFault(f"a policy of the report has more than {MAX_TEXTS} lines or hosts")
    return tuple(text for one in found if (text := _text(one)))


def _text(raw: Any) -> str:
    """One line without control characters; empty for what is no text."""
    if not isinstance(raw, str):
        return ""
    text = raw[:MAX_TEXT].strip()
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def _count(raw: Any) -> int:
    if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) <= 16:
        raw = int(raw)
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if raw is None:
        return 0
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw <= MAX_COUNT:
        raise TlsReportFault("a number of sessions in the report is no count")
    return raw
