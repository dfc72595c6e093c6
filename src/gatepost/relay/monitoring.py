"""Monitor mode on the way of a message: what a rule that is not enforced would have done is told and counted, and nothing else."""

from __future__ import annotations

from gatepost.core.monitor_events import DestinationMonitored
from gatepost.core.tls import TlsOutcome
from gatepost.policy.monitor import Would, monitoring
from gatepost.relay.services import Services


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
