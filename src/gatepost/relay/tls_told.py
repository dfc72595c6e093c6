"""TlsOutcome -> events and Failure: what a connection's TLS came to, for the log, for the counters, and for who waits for the mail.

Nothing is decided here; the words are those of `policy.tls_words`.
"""

from __future__ import annotations

from gatepost.core.delivery_events import (
    OutboundTlsEstablished,
    OutboundTlsFailed,
    OutboundTlsRequired,
    RequiredTlsFailed,
)
from gatepost.core.events import Warned
from gatepost.core.tls import TlsOutcome, TlsStage, TlsVerdict
from gatepost.policy.hop import Hop
from gatepost.policy.tls_out import verification_text
from gatepost.policy.tls_words import failure_line, failure_status, required_words, tls_record
from gatepost.relay.monitoring import report_monitored
from gatepost.relay.outcome import Failure, Stage
from gatepost.relay.services import Services

_STAGES = {"4.7.4": Stage.TLS_UNSUPPORTED, "4.7.5": Stage.TLS, "5.7.10": Stage.TLS_NEEDED}


def tell_outcome(services: Services, hop: Hop, dcid: int, outcome: TlsOutcome) -> None:
    """The TLS lines of a connection, in the order of reference/mail-log (Delivery)."""
    emit, now, record = services.journal.emit, services.clock.now(), tls_record(outcome)
    plan, facts = outcome.plan, outcome.facts
    if outcome.note:
        emit(Warned(now, f"DCID {dcid} {outcome.note}"))
    if line := failure_line(outcome):
        services.counters.tls_out_failed += 1
        emit(OutboundTlsFailed(now, dcid, line, outcome.verdict is TlsVerdict.CLEAR, record))
    elif facts.stage is TlsStage.ESTABLISHED:
        services.counters.tls_out += 1
        domain = plan.domain if plan.speaks_of_trust else ""
        verification = verification_text(outcome)
        emit(OutboundTlsEstablished(now, dcid, facts.protocol, facts.cipher, domain, verification, record))
    report_monitored(services, dcid, outcome)
    if outcome.verdict is TlsVerdict.REFUSED and plan.deciding.mandatory:
        emit(OutboundTlsRequired(now, dcid, str(hop.address)))
        tell_required(services, hop, outcome)


def tell_required(services: Services, hop: Hop, outcome: TlsOutcome) -> None:
    """R30. What only this message required is told, and no alert: its destination may be as it always was."""
    plan = outcome.plan.deciding
    alert = plan.alert_on_failure and not plan.requiretls
    address, wanted = str(hop.address), required_words(plan)
    code = outcome.why.code if outcome.why is not None else ""
    services.journal.emit(
        RequiredTlsFailed(services.clock.now(), plan.domain, address, wanted, outcome.reason, alert, code)
    )


def refusal(outcome: TlsOutcome, hop: Hop) -> Failure:
    """What a refused connection means for the recipients that wait."""
    status, facts = failure_status(outcome), outcome.facts
    code = str(facts.reply.code) if facts.reply is not None else "000"
    broken = facts.stage is TlsStage.HANDSHAKE_FAILED
    stage = _STAGES[status.status]
    return Failure(stage, outcome.permanent, (status.text,), code, status.status, str(hop), broken)
