"""Hop -> TlsOutcome: what TLS must be like on this connection, and what it turned out to be.

`plan_for` asks `policy.tls_out` for the plan, `observe_session` turns a finished handshake into `TlsFacts` with the
one chain judge and the one name matcher of `pki`. The verdict is `policy.tls_out.judge_tls`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gatepost.core.tls import TlsFacts, TlsOutcome, TlsPlan, TlsStage
from gatepost.net.tls import TlsSession
from gatepost.pki.dane import judge_dane
from gatepost.pki.judge import Code, Purpose
from gatepost.pki.names import match_names
from gatepost.policy.dane import record_name
from gatepost.policy.hop import Hop
from gatepost.policy.tls_out import DestinationRule, plan_tls
from gatepost.relay.services import Runtime, Services


def plan_for(
    runtime: Runtime, rule: DestinationRule, hop: Hop, *, clear_allowed: bool, broken_attempts: int
) -> TlsPlan:
    """The plan for a connection to this hop."""
    return plan_tls(
        rule,
        hop.names,
        tlsa=hop.tlsa,
        sts=hop.sts,
        clear_allowed=clear_allowed,
        alert=runtime.document.destination_controls.global_.alert_on_required_tls_failure,
        certificate=runtime.client_certificate,
        broken_attempts=broken_attempts,
    )


def observe_session(services: Services, runtime: Runtime, plan: TlsPlan, session: TlsSession) -> TlsFacts:
    """The facts of an established session, and those for a plan that is monitored: each by its own names and records."""
    facts = _observe(services, runtime, plan, session)
    if plan.monitored is None:
        return facts
    return replace(facts, monitored=_observe(services, runtime, plan.monitored, session))


def _observe(services: Services, runtime: Runtime, plan: TlsPlan, session: TlsSession) -> TlsFacts:
    """The chain is judged only where the level verifies, or TLSA records do."""
    chain = tuple(services.described(der) for der in session.peer_chain[:10])
    common = {
        "stage": TlsStage.ESTABLISHED,
        "protocol": session.protocol,
        "cipher": session.cipher,
        "group": session.group,
        "chain": chain,
        **_by_dane(plan, session, services.clock.now()),
    }
    if not plan.judges_chain:
        return TlsFacts(**common)  # type: ignore[arg-type]
    verdict = services.judge.judge_chain(
        session.peer_chain, runtime.anchors, services.clock.now(), Purpose.SERVER, runtime.crls
    )
    finding = verdict.worst
    warning = next((found.text for found in verdict.findings if found.code is Code.CRL_STALE), "")
    match = match_names(session.peer_chain[0], plan.names) if session.peer_chain else None
    listed = match_names(session.peer_chain[0], [plan.sts.host]) if plan.sts and session.peer_chain else None
    return TlsFacts(
        **common,  # type: ignore[arg-type]
        chain_judged=True,
        chain_problem=finding.text if finding else "",
        chain_code=finding.code if finding else "",
        chain_problem_subject=finding.subject if finding else "",
        chain_problem_issuer=finding.issuer if finding else "",
        chain_warning=warning if finding is None else "",
        match=match,
        names_tried=plan.names,
        sts_match=listed is not None
        and listed.presented.startswith("DNS:"),  # no common name (RFC 8461 §4.2)
    )


def _by_dane(plan: TlsPlan, session: TlsSession, now: float) -> dict[str, str]:
    if plan.dane is None or not plan.dane.records:
        return {}
    verdict = judge_dane(session.peer_chain, plan.dane, now)
    if verdict.record is None:
        return {"dane_problem": verdict.problem}
    return {"dane_match": record_name(verdict.record)}


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
        plan.monitored and _of_plan(plan.monitored),  # nobody judges a certificate again
        (runtime.anchors.version, runtime.crls.version) if plan.judges_chain else "",
    )


def _of_plan(plan: TlsPlan) -> tuple[Any, ...]:
    return (plan.level, plan.sni, plan.certificate, plan.names, plan.dane, plan.sts)
