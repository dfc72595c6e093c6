"""Hop -> TlsOutcome: what TLS must be like on this connection, and what it turned out to be.

`plan_for` asks `policy.tls_out` for the plan, `observe_session` lets `policy.observed` turn a finished handshake into `TlsFacts`
with the worker's judge. The verdict is `policy.tls_out.judge_tls`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatepost.core.tls import NO_WISHES, TlsFacts, TlsOutcome, TlsPlan, TlsWishes
from gatepost.net.tls import TlsSession
from gatepost.pki.judge import ChainVerdict, Purpose
from gatepost.policy.destinations import NOTICE_PATH, notice_rule
from gatepost.policy.hop import Hop
from gatepost.policy.observed import Handshake, Judged, server_facts
from gatepost.policy.tls_out import DestinationRule, plan_tls
from gatepost.relay.services import Runtime, Services


def plan_for(
    runtime: Runtime,
    rule: DestinationRule,
    hop: Hop,
    *,
    clear_allowed: bool,
    broken_attempts: int,
    wishes: TlsWishes = NO_WISHES,
) -> TlsPlan:
    """The plan for a connection to this hop, for messages with these wishes."""
    return plan_tls(
        notice_rule(rule) if wishes.in_clear else rule,
        hop.names,
        tlsa=hop.tlsa,
        sts=hop.sts,
        clear_allowed=clear_allowed,
        alert=runtime.document.destination_controls.global_.alert_on_required_tls_failure,
        certificate=runtime.client_certificate,
        broken_attempts=broken_attempts,
        requiretls=wishes.requiretls,
        tls_optional=wishes.tls_optional,
        doubt=hop.doubt,
    )


def observe_session(services: Services, runtime: Runtime, plan: TlsPlan, session: TlsSession) -> TlsFacts:
    """The facts of an established session, as they are now."""
    now = services.clock.now()
    seen = Handshake(session.protocol, session.cipher, session.group, session.peer_chain)
    return server_facts(plan, seen, now, judged_by(services, runtime, now), services.described)


def judged_by(services: Services, runtime: Runtime, now: float) -> Judged:
    """The worker's judge, which remembers, under the authorities of a configuration."""

    def judged(chain: Sequence[bytes], purpose: Purpose) -> ChainVerdict:
        return services.judge.judge_chain(chain, runtime.anchors, now, purpose, runtime.crls)

    return judged


def expires(outcome: TlsOutcome) -> float:
    """When the seen leaf expires: no connection is reused after that (architecture 4, Reuse)."""
    return outcome.facts.chain[0].not_after if outcome.facts.chain else float("inf")


def pool_key(hop: Hop, plan: TlsPlan, runtime: Runtime) -> tuple[Any, ...]:
    """What two messages must have in common to share a connection (architecture 4, Reuse)."""
    return (
        runtime.sources.get(hop.address.version),
        hop.address,
        hop.port,
        *_of_plan(plan),
        plan.rule == NOTICE_PATH,  # a notice has a connection of its own
        plan.monitored and _of_plan(plan.monitored),  # nobody judges a certificate again
        (runtime.anchors.version, runtime.crls.version) if plan.judges_chain else "",
    )


def _of_plan(plan: TlsPlan) -> tuple[Any, ...]:
    return (plan.level, plan.sni, plan.certificate, plan.client_hello, plan.names, plan.dane, plan.sts)
