"""Trail -> OutboundSession: what is kept of an attempt to connect to one host, and of the certificates that it showed.

The record holds what the plan was made of and what was judged, so that the attempt can be replayed under other rules
(`policy.recorded`). A certificate is told of when it is met for the first time, and again after some hours: whoever
keeps them may have lost it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from gatepost.core.record_events import CertificateSeen, OutboundSession
from gatepost.core.tls import TlsStage
from gatepost.net.trail import Trail
from gatepost.policy.hop import Hop
from gatepost.policy.recorded import plain_names, plain_sts, plain_tlsa
from gatepost.policy.requiretls import strengthened
from gatepost.policy.tls_out import DestinationRule
from gatepost.policy.tls_words import tls_record
from gatepost.relay.services import Services

if TYPE_CHECKING:
    from gatepost.relay.deliver import Connection

TOLD_FOR = 6 * 3600.0  # seconds until a certificate is told of again
MAX_CERTIFICATES = 10  # of one chain


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a hop stands in its attempt: when that began, and the hops behind this one; and whether a TLS report of ours is on its way."""

    began: float = 0.0
    later: Sequence[Hop] = ()
    tls_report: bool = False


def outbound_session(
    services: Services, rule: DestinationRule, hop: Hop, dcid: int, turn: Turn, trail: Trail
) -> OutboundSession:
    """The event of one attempt that has ended, well or not."""
    hello = trail.hello
    capabilities = hello.capabilities if hello is not None else None
    judged = trail.outcome
    sts = None
    if (strengthened(rule) if trail.plan.requiretls else rule).looks_up_sts:
        of, policy = hop.sts or (_policy_domain(hop), None)
        known = services.sts.account(of) if of else None
        sts = plain_sts(of, policy, known.identifier if known else "", known.problem if known else None)
    return OutboundSession(
        services.clock.now(),
        dcid,
        hop.names.domain,
        hop.host,
        str(hop.address),
        hop.port,
        trail.local,
        turn.began,
        plain_names(hop.names),
        plain_tlsa(hop.tlsa),
        sts,
        capabilities is not None and capabilities.esmtp,
        capabilities is not None and capabilities.starttls,
        capabilities.greeting_name if capabilities is not None else "",
        trail.broken if judged is None else "",
        trail.broken if judged is not None else "",
        tls_record(judged) if judged is not None else None,
        [str(other) for other in turn.later],
        turn.tls_report,
    )


def borrowed_session(
    services: Services, rule: DestinationRule, hop: Hop, connection: Connection, turn: Turn
) -> OutboundSession:
    """The event of an attempt that took an open connection, which has been judged for it."""
    outcome, capabilities = connection.outcome, connection.engine.capabilities
    trail = Trail(outcome.plan, connection.stream.local.host, outcome=outcome)
    made = outbound_session(services, rule, hop, connection.dcid, turn, trail)
    inside = (
        outcome.facts.stage is TlsStage.ESTABLISHED
    )  # then STARTTLS was offered, and is not offered again
    made.esmtp = inside or (capabilities is not None and capabilities.esmtp)
    made.starttls = inside or (capabilities is not None and capabilities.starttls)
    made.helo = capabilities.greeting_name if capabilities is not None else ""
    made.borrowed = True
    return made


def _policy_domain(hop: Hop) -> str:
    """The name whose policy counts for a host of an MX record; a host that the operator wrote has none."""
    return (hop.names.route_host or hop.names.domain) if hop.names.mx_host else ""


def tell_certificates(services: Services, chain: Iterable[bytes]) -> None:
    """Tell of those that were not told of lately; before the event that names them."""
    now = services.clock.monotonic()
    for _, der in zip(range(MAX_CERTIFICATES), chain, strict=False):
        digest = sha256(der)
        told = services.certificates_told.get(digest.digest())
        if told is None or now - told >= TOLD_FOR:
            services.certificates_told.put(digest.digest(), now)
            text = b64encode(der).decode("ascii")
            services.journal.emit(CertificateSeen(services.clock.now(), digest.hexdigest(), text))
