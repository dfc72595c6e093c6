"""What a handshake left, as facts: the one way from a peer's chain to `TlsFacts` and `ClientFacts`.

The delivery and the incoming session ask with what they just saw, a rehearsal with what was recorded; so both judge alike. The chain is
judged by whoever is passed in, for which a verdict is one of `pki.judge`; names are matched by `pki.names`, TLSA records by `pki.dane`.
Nothing here decides whether mail may pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from gatepost.core.tls import PeerCertificate, TlsFacts, TlsPlan, TlsStage
from gatepost.pki.certificate import read_certificate
from gatepost.pki.dane import judge_dane
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.findings import Code, Finding
from gatepost.pki.judge import ChainVerdict, Purpose
from gatepost.pki.names import match_names
from gatepost.policy.dane import record_name
from gatepost.policy.tls_in import ClientFacts

MAX_DESCRIBED = 10  # certificates of one chain that facts tell of

Judged = Callable[[Sequence[bytes], Purpose], ChainVerdict]
"""The verdict on a chain at the time in question, under the authorities in question."""

Described = Callable[[bytes], PeerCertificate]


@dataclass(frozen=True, slots=True)
class Handshake:
    """An established session: what was agreed on, and the peer's chain, DER, its own certificate first."""

    protocol: str
    cipher: str
    group: str
    chain: Sequence[bytes]


def server_facts(
    plan: TlsPlan, seen: Handshake, now: float, judged: Judged, described: Described
) -> TlsFacts:
    """The facts of a delivery's session, and those for a plan that is monitored: each by its own names and records."""
    facts = _server_facts(plan, seen, now, judged, described)
    if plan.monitored is None:
        return facts
    return replace(facts, monitored=_server_facts(plan.monitored, seen, now, judged, described))


def _server_facts(
    plan: TlsPlan, seen: Handshake, now: float, judged: Judged, described: Described
) -> TlsFacts:
    """The chain is judged only where the plan wants that, or TLSA records do."""
    chain = seen.chain
    common: dict[str, Any] = {
        "stage": TlsStage.ESTABLISHED,
        "protocol": seen.protocol,
        "cipher": seen.cipher,
        "group": seen.group,
        "chain": tuple(described(der) for der in chain[:MAX_DESCRIBED]),
        **_by_dane(plan, chain, now),
    }
    if not plan.judges_chain:
        return TlsFacts(**common)
    verdict = judged(chain, Purpose.SERVER)
    finding = verdict.worst
    match = match_names(chain[0], plan.names) if chain else None
    listed = match_names(chain[0], [plan.sts.host]) if plan.sts and chain else None
    own = match_names(chain[0], plan.host_names) if plan.host_names and chain else None
    return TlsFacts(
        **common,
        chain_judged=True,
        chain_problem=finding.reason if finding else None,
        chain_problem_subject=finding.subject if finding else "",
        chain_problem_issuer=finding.issuer if finding else "",
        chain_warning=_warning(verdict) if finding is None else "",
        match=match,
        names_tried=plan.names,
        sts_match=listed is not None
        and listed.presented.startswith("DNS:"),  # no common name (RFC 8461 §4.2)
        host_match=own,
    )


def _by_dane(plan: TlsPlan, chain: Sequence[bytes], now: float) -> dict[str, Any]:
    records = plan.records
    if records is None:
        return {}
    verdict = judge_dane(chain, records, now)
    if verdict.record is None:
        return {"dane_problem": verdict.problem}
    return {"dane_match": record_name(verdict.record)}


def client_facts(chain: Sequence[bytes], judged: Judged, described: Described) -> ClientFacts:
    """What the chain of a client is worth."""
    if not chain:
        return ClientFacts()
    verdict = judged(chain, Purpose.CLIENT)
    problem, server_only = _problem(verdict), False
    if problem is not None and problem.code is Code.WRONG_USAGE:
        as_server = judged(chain, Purpose.CLIENT_OR_SERVER)
        if as_server.ok:
            verdict, server_only = as_server, True
        else:
            problem = _problem(as_server)  # more is wrong than the usage: that is the better reason
    return ClientFacts(
        described(chain[0]),
        verdict.names,
        _key(chain[0]),
        problem,
        server_only,
        _authorities(verdict.path),
        _warning(verdict),
    )


def _warning(verdict: ChainVerdict) -> str:
    return next((found.text for found in verdict.findings if found.code is Code.CRL_STALE), "")


def _problem(verdict: ChainVerdict) -> Finding | None:
    """A revocation before all else, since it alone speaks against a pinned key too."""
    return next((found for found in verdict.findings if found.code is Code.REVOKED), verdict.worst)


def _key(der: bytes) -> str:
    try:
        return sha256(read_certificate(der).public_key_der).hexdigest()
    except MalformedCertificate:
        return ""


def _authorities(path: tuple[bytes, ...]) -> tuple[str, ...]:
    """Common names and subjects above the client's certificate; its own where it is itself among the trusted ones."""
    above = [read_certificate(der) for der in path[1:] or path]
    return tuple(name for one in above for name in (one.common_name, one.subject) if name)
