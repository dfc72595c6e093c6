"""The words of outgoing TLS: log lines, DSN codes, and the one record of each delivery.

All of them are renderings of a `TlsOutcome`; what was decided, and why, stands there (`tls_out`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gatepost.core.tls import TlsOutcome, TlsPlan, TlsStage, TlsVerdict
from gatepost.policy.monitor import monitoring


def failure_line(outcome: TlsOutcome) -> str:
    """The text after `DCID n TLS failed: `, or empty where the log has no such line.

    Without ESMTP or STARTTLS there is a line only where TLS is mandatory (mail-log, Delivery); a refused
    STARTTLS always has one, and the delivery goes on in clear when the verdict is CLEAR.
    """
    stage = outcome.facts.stage
    if stage in (TlsStage.NO_ESMTP, TlsStage.NOT_OFFERED):
        return outcome.reason if outcome.plan.mandatory else ""
    if stage is TlsStage.REFUSED or outcome.verdict is TlsVerdict.REFUSED:
        return outcome.reason
    return ""


@dataclass(frozen=True, slots=True)
class FailureStatus:
    """How a refused connection is put in `Delayed:` lines and in the DSN (RFC 3463 §3.8, X.7.Z)."""

    status: str
    problem: str
    text: str


def failure_status(outcome: TlsOutcome) -> FailureStatus:
    """The enhanced code, its phrase and the TLS reason of a refused connection.

    A 4.y.z: kept, retried; but for a message that requires TLS and can never have it here (RFC 8689 §4.2.1).
    """
    plan = outcome.plan
    text = f"{'REQUIRETLS' if plan.requiretls else f'TLS {plan.level.value}'}: {outcome.reason}"
    if outcome.permanent:
        return FailureStatus("5.7.10", "Encryption needed", text)
    if outcome.facts.stage in (TlsStage.HANDSHAKE_FAILED, TlsStage.ESTABLISHED):
        return FailureStatus("4.7.5", "Cryptographic failure", text)
    return FailureStatus("4.7.4", "Security features not supported", text)


def required_words(plan: TlsPlan) -> str:
    """What made TLS mandatory, for the line of R30: `required`, `preferred with DANE`, `preferred with MTA-STS`, `REQUIRETLS`."""
    if plan.requiretls:
        return "REQUIRETLS"
    if plan.sts is not None and plan.sts_enforced:
        return f"{plan.level.value} with MTA-STS"
    if plan.dane is not None or plan.forbidden:
        return f"{plan.level.value} with DANE"
    return plan.level.value


_OF_A_DELIVERY = (
    "wanted",
    "rule",
    "verdict",
    "stage",
    "reason",
    "reason_code",
    "protocol",
    "cipher",
    "matched",
    "name_source",
    "monitor",
    "requiretls",
    "tls_optional",
    "note",
)


def delivery_record(record: dict[str, Any]) -> dict[str, Any]:
    """What each delivery's event says itself; the whole record stands once, in the events of its connection (DCID)."""
    return {key: record[key] for key in _OF_A_DELIVERY}


def tls_record(outcome: TlsOutcome) -> dict[str, Any]:
    """The one record that answers "why was this (not) encrypted?", for the JSON log.

    Keys are stable. `reason` is in the log's words; `reason_code`, `reason_text` and `asked_by` are the same taken apart (`core.reasons`), as
    are those of `note`. `matched` is null unless the verdict rests on a name; `clear_allowed` shows R24; `monitor` is null
    unless a rule in monitor mode was evaluated.
    """
    plan, facts = outcome.plan, outcome.facts
    verified = outcome.verdict is TlsVerdict.VERIFIED
    match = (facts.host_match if plan.requiretls else None) or facts.match if verified else None
    seen = monitoring(outcome) if outcome.monitored is not None else None
    return {
        "wanted": plan.level.value,
        "rule": plan.rule,
        "domain": plan.domain,
        "verdict": outcome.verdict.value,
        "stage": facts.stage.value,
        "reason": outcome.reason,
        **_taken_apart(outcome),
        "clear_allowed": plan.clear_allowed,
        "protocol": facts.protocol,
        "cipher": facts.cipher,
        "group": facts.group,
        "sni": plan.sni,
        "client_certificate": plan.certificate,
        "client_hello": plan.client_hello.value,
        "forbidden": str(plan.forbidden or plan.returned or ""),
        "requiretls": plan.requiretls,
        "tls_optional": plan.tls_optional,
        "dane": plan.dane and [record.text() for record in plan.dane.records],
        "dane_base": plan.dane and plan.dane.base,
        "dane_match": facts.dane_match,
        "sts": plan.sts and ("enforce" if plan.sts.enforced else "testing"),
        "note": outcome.note,
        "monitor": seen and seen.record(),
        "matched": match and match.reference.name,
        "matched_presented": match and match.presented,
        "name_source": match and match.reference.source.value,
        "names_tried": [f"{name.name} ({name.source.value})" for name in plan.names],
        "chain": [certificate.fingerprint for certificate in facts.chain],
        "chain_code": facts.chain_problem.code.value if facts.chain_problem else "",
        "chain_warning": facts.chain_warning,
        "reply": facts.reply and f"{facts.reply.code} {facts.reply.text}",
    }


def _taken_apart(outcome: TlsOutcome) -> dict[str, str]:
    """The reason, and that of the note, for programs."""
    why, noted = outcome.why, outcome.noted
    return {
        "reason_code": why.code.value if why is not None else "",
        "reason_text": why.text if why is not None else "",
        "asked_by": why.asked_by.value if why is not None else "",
        "note_code": noted.code.value if noted is not None else "",
        "note_text": noted.text if noted is not None else "",
    }
