"""What one attempt to connect to a host counts as in a TLS report (RFC 8460 §4.2, §4.3), and when a day's report goes out.

Each attempt counts once, under the one policy that it was judged by: usable TLSA records, else the MTA-STS policy, else TLSA records of which
none is usable, else none. What does not count: a host that could not be reached or broke off before TLS could be judged, a destination without
a domain of its own (an address), TLS left out by a rule of ours, an attempt for a message that waives what was published (`TLS-Required: No`,
case C37), and the deliveries of our own reports (case C38).

The sum is of what the *recipient* published. Where nothing was published a session with TLS is a success, whatever a rule of ours may ask
of its certificate, and one without is a failure. A policy in testing counts what it would have refused, as RFC 8461 §5 wants it.

A policy's domain is the one it stands under: for TLSA records the name of their base (RFC 8460 §1.1), for the others the next hop's domain.
Reports go to the next hop's domain: the recipients', or the host of an smtp route.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from gatepost.core.reasons import AskedBy
from gatepost.core.reasons import ReasonCode as Why
from gatepost.core.record_events import OutboundSession
from gatepost.core.tls import TlsStage, TlsVerdict
from gatepost.wire.tlsrpt import FailureDetails, PolicyType, ReportedPolicy, ResultType

DAY = 86_400
MARGIN = 60  # seconds behind midnight in which the day's last sessions are still being read
SPREAD = 4 * 3_600  # seconds behind midnight within which reports go out (RFC 8460 §4.1)
MAX_REASON = 200
_OTHER = ResultType.VALIDATION_FAILURE

_RESULTS = {
    Why.EXPIRED: ResultType.CERTIFICATE_EXPIRED,
    Why.NAME_MISMATCH: ResultType.CERTIFICATE_HOST_MISMATCH,
    **dict.fromkeys(
        (
            Why.NOT_YET_VALID,
            Why.SELF_SIGNED,
            Why.MISSING_INTERMEDIATE,
            Why.UNTRUSTED_ROOT,
            Why.WEAK_KEY,
            Why.WEAK_HASH,
            Why.WRONG_USAGE,
            Why.BAD_SIGNATURE,
            Why.NOT_A_CA,
            Why.PATH_LENGTH,
            Why.TOO_LONG,
            Why.NAME_CONSTRAINTS,
            Why.UNKNOWN_CRITICAL,
            Why.MALFORMED,
            Why.NO_CERTIFICATE,
            Why.REVOKED,
            Why.CRL_STALE,
            Why.INVALID,
        ),
        ResultType.CERTIFICATE_NOT_TRUSTED,
    ),
    Why.DANE_LOOKUP_FAILED: ResultType.DNSSEC_INVALID,
    Why.DANE_UNUSABLE: ResultType.TLSA_INVALID,
    Why.DANE_ABSENT: ResultType.DANE_REQUIRED,
    Why.DANE_UNSIGNED_MX: ResultType.DANE_REQUIRED,
    Why.STS_FETCH_FAILED: ResultType.STS_POLICY_FETCH_ERROR,
    Why.STS_POLICY_INVALID: ResultType.STS_POLICY_INVALID,
    Why.STS_WEB_TLS: ResultType.STS_WEBPKI_INVALID,
}
"""The registered type of each reason (RFC 8460 §4.3); every other one, and one that an older release wrote, is a `validation-failure`."""


@dataclass(frozen=True, slots=True)
class CountedSession:
    """One session as it counts: for which domain's report, under which policy, and why it failed, if it did."""

    at: float
    domain: str
    policy: ReportedPolicy
    failure: FailureDetails | None = None


def counted(session: OutboundSession) -> CountedSession | None:
    """How an attempt counts; None where it does not."""
    tls, domain = session.tls, _report_domain(session)
    if tls is None or not domain or session.tls_report or session.borrowed or tls.get("tls_optional"):
        return None
    if tls["stage"] == TlsStage.NOT_TRIED and not tls["forbidden"]:
        return None  # level none, or STARTTLS left out: our rule, not their TLS
    found = _judged(session, tls, domain)
    if found is None:
        return None
    policy, failed = found
    return CountedSession(session.at, domain, policy, _details(session, *failed) if failed else None)


def _report_domain(session: OutboundSession) -> str:
    hop = session.hop
    if hop.get("literal") or session.domain.startswith("["):
        return ""
    return str(hop.get("route_host") or session.domain).rstrip(".").lower()


Failed = tuple[ResultType, str]
"""What failed, and the words for `failure-reason-code`."""


def _judged(
    session: OutboundSession, tls: Mapping[str, Any], domain: str
) -> tuple[ReportedPolicy, Failed | None] | None:
    sts = session.sts or {}
    code = _code(tls.get("reason_code"))
    if tls["forbidden"] and code is not Why.STS_NOT_LISTED:
        return _forbidden(session, code, str(tls["forbidden"]), domain)
    if tls["dane"]:
        return _tlsa_policy(session, tls["dane_base"]), _by_dane(tls)
    if tls["sts"]:
        return _sts_policy(sts, domain), _by_sts(tls)
    if tls["dane"] is not None:
        unusable = (ResultType.TLSA_INVALID, "none of the TLSA records is usable")
        return _tlsa_policy(session, tls["dane_base"]), _without_tls(tls) or unusable
    if sts.get("problem") and not sts.get("policy"):
        problem = _failed(sts.get("problem_code", Why.STS_FETCH_FAILED), sts["problem"])
        return _sts_policy(sts, domain), _without_tls(tls) or problem
    return ReportedPolicy(PolicyType.NONE, domain), _without_tls(tls)


def _tlsa_policy(session: OutboundSession, base: str) -> ReportedPolicy:
    """TLSA records in their written form; a set in DNS has no order, so they are put into one."""
    records = tuple(sorted(session.tlsa.get("records", ())))
    return ReportedPolicy(PolicyType.TLSA, str(base or session.host).lower(), records)


def _sts_policy(sts: Mapping[str, Any], domain: str) -> ReportedPolicy:
    lines = tuple(sts.get("policy", ()))
    hosts = tuple(line.removeprefix("mx: ") for line in lines if line.startswith("mx: "))
    return ReportedPolicy(PolicyType.STS, str(sts.get("domain") or domain), lines, hosts)


# --- what failed ------------------------------------------------------------------------------------------


def _code(text: str | None) -> Why | None:
    """The code of a record; None where it has none, or one that is not known."""
    try:
        return Why(text or "")
    except ValueError:
        return None


def _failed(code: str | None, text: str) -> Failed:
    known = _code(code)
    return _RESULTS.get(known, _OTHER) if known is not None else _OTHER, str(text)


def _forbidden(
    session: OutboundSession, code: Why | None, reason: str, domain: str
) -> tuple[ReportedPolicy, Failed | None] | None:
    """A host that its TLSA records forbid, or their lack.

    None for all else: what the message asks, or that our resolver does not validate or the host is an address, is nothing that they
    could mend.
    """
    match code:
        case Why.DANE_LOOKUP_FAILED:
            policy = _tlsa_policy(session, "")
        case Why.DANE_UNUSABLE:
            policy = _tlsa_policy(session, session.tlsa["base"])
        case Why.DANE_ABSENT | Why.DANE_UNSIGNED_MX:
            policy = ReportedPolicy(PolicyType.NONE, domain)
        case _:
            return None
    return policy, (_RESULTS[code], reason)


def _by_dane(tls: Mapping[str, Any]) -> Failed | None:
    if failed := _without_tls(tls):
        return failed
    if tls["dane_match"]:
        return None
    return _failed(tls.get("reason_code"), tls.get("reason_text") or "none of the TLSA records matches")


def _by_sts(tls: Mapping[str, Any]) -> Failed | None:
    """An enforced policy that refused the host or the connection, or one in testing that would have."""
    if failed := _without_tls(tls):
        return failed
    if tls["verdict"] == TlsVerdict.REFUSED and tls.get("asked_by") == AskedBy.MTA_STS:
        return _failed(tls["reason_code"], tls["reason_text"])
    if tls.get("note_code"):
        return _failed(tls["note_code"], tls["note_text"])
    return None


def _without_tls(tls: Mapping[str, Any]) -> Failed | None:
    match tls["stage"]:
        case TlsStage.NO_ESMTP | TlsStage.NOT_OFFERED:
            return ResultType.STARTTLS_NOT_SUPPORTED, ""
        case TlsStage.REFUSED:
            return ResultType.VALIDATION_FAILURE, f"STARTTLS was refused: {tls['reply'] or ''}".rstrip(": ")
        case TlsStage.HANDSHAKE_FAILED:
            return ResultType.VALIDATION_FAILURE, str(tls["reason"])
        case _:
            return None


def _details(session: OutboundSession, result: ResultType, reason: str) -> FailureDetails:
    plain = "".join(character if character.isprintable() else "?" for character in reason)
    return FailureDetails(
        result,
        1,
        sending_ip=session.local_address,
        receiving_host=session.host if session.host != session.address else "",
        receiving_helo=session.helo[:MAX_REASON],
        receiving_ip=session.address,
        reason_code=plain[:MAX_REASON],
    )


# --- days -------------------------------------------------------------------------------------------------


def day_of(at: float) -> str:
    """The day of a moment, UTC: `2026-11-24`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def midnight(day: str) -> int:
    """The first second of a day. Raises ValueError for what is no day."""
    when = date.fromisoformat(day)
    return int(datetime(when.year, when.month, when.day, tzinfo=UTC).timestamp())


def day_before(day: str, days: int = 1) -> str:
    return f"{date.fromisoformat(day) - timedelta(days=days):%Y-%m-%d}"


def send_time(day: str, domain: str, gateway: str) -> float:
    """When the report of a day goes to a domain: some time in the four hours behind its end, the same whenever it is asked.

    `gateway` tells gateways apart, so that they do not all come to a domain at once.
    """
    digest = hashlib.sha256(f"{gateway} {day} {domain}".encode()).digest()
    return midnight(day) + DAY + MARGIN + int.from_bytes(digest[:4], "big") % (SPREAD - MARGIN)
