"""Monitor mode on the way of a message: what a rule that is not enforced would have done is told and counted, and nothing else."""

from __future__ import annotations

from gatepost.core.address import Address
from gatepost.core.monitor_events import DestinationMonitored, PolicyMonitored
from gatepost.core.tls import TlsOutcome
from gatepost.net.tls import TlsSession
from gatepost.policy.admit import EffectivePolicy
from gatepost.policy.monitor import Would, monitoring, policy_refusal
from gatepost.relay.client_certificates import observe_client
from gatepost.relay.services import Runtime, Services


def report_monitored(services: Services, dcid: int, outcome: TlsOutcome) -> None:
    """Tell and count what a monitored destination entry says of this connection, if there is one.

    Asked once for each connection, and again when another destination takes the connection over.
    """
    seen = monitoring(outcome) if outcome.monitored is not None else None
    if seen is None:
        return
    counters = services.counters
    match seen.would:
        case Would.PASS:
            counters.monitor_out_pass += 1
        case Would.REFUSE:
            counters.monitor_out_refuse += 1
        case Would.UNTOLD:
            counters.monitor_out_untold += 1
    services.journal.emit(
        DestinationMonitored(
            services.clock.now(),
            dcid,
            seen.domain,
            seen.rule,
            seen.wanted,
            seen.would.value,
            seen.reason,
            outcome.may_pass,
        )
    )


def watch_mail(
    services: Services,
    runtime: Runtime,
    icid: int,
    policy: EffectivePolicy,
    sender: Address,
    session: TlsSession | None,
) -> None:
    """Tell and count what a policy in monitor mode would have said to this MAIL, once a session and reason.

    Whether it was told is remembered for many sessions together: none of them carries anything for it.
    """
    rule = policy.tls_rule.monitored
    if rule is None:
        return
    facts = (lambda: observe_client(services, runtime, session.peer_chain)) if session is not None else None
    reason = policy_refusal(rule, sender, facts)
    if services.monitored.get((icid, reason)):
        return
    services.monitored.put((icid, reason), True)
    if reason:
        services.counters.monitor_in_refuse += 1
    else:
        services.counters.monitor_in_pass += 1
    would = Would.REFUSE if reason else Would.PASS
    services.journal.emit(
        PolicyMonitored(services.clock.now(), icid, policy.name, would.value, reason, sender.text)
    )
