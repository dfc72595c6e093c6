"""TlsSession -> ClientOutcome: who a client is by the certificate that it showed (R22).

`observe_client` turns what a handshake left into facts with the one chain judge of `pki`; the verdict is `policy.tls_in.judge_client`'s.
It is asked again before every MAIL, so a commit, a revocation list or the end of the certificate's life counts at
once; the judge remembers chains, so that costs next to nothing. Only sessions that were asked for a certificate
come here, and only these keep a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from gatepost.net.tls import TlsSession
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.judge import ChainVerdict, Code, Finding, Purpose
from gatepost.policy.tls_in import ClientFacts, ClientOutcome, ClientRule, InboundTlsRule, judge_client
from gatepost.relay.services import Runtime, Services


def verify_client(
    services: Services, runtime: Runtime, rule: InboundTlsRule, session: TlsSession
) -> ClientOutcome:
    """The verdict of a policy that asks for a certificate."""
    return judge_client(
        rule.level, rule.client or ClientRule(), observe_client(services, runtime, session.peer_chain)
    )


def observe_client(services: Services, runtime: Runtime, chain: tuple[bytes, ...]) -> ClientFacts:
    """What the chain is worth under the trusted authorities, now."""
    if not chain:
        return ClientFacts()

    def judged(purpose: Purpose) -> ChainVerdict:
        return services.judge.judge_chain(chain, runtime.anchors, services.clock.now(), purpose, runtime.crls)

    verdict = judged(Purpose.CLIENT)
    problem, server_only = _problem(verdict), False
    if problem is not None and problem.code is Code.WRONG_USAGE:
        as_server = judged(Purpose.CLIENT_OR_SERVER)
        if as_server.ok:
            verdict, server_only = as_server, True
        else:
            problem = _problem(as_server)  # more is wrong than the usage: that is the better reason
    return ClientFacts(
        services.described(chain[0]),
        verdict.names,
        _key(chain[0]),
        problem,
        server_only,
        _authorities(verdict.path),
        next((found.text for found in verdict.findings if found.code is Code.CRL_STALE), ""),
    )


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


def client_record(outcome: ClientOutcome, chain: Sequence[bytes]) -> dict[str, Any]:
    """What the JSON log keeps of a verdict. Keys are stable; `key` is what an entry may pin, `chain` has fingerprints."""
    facts = outcome.facts
    seen = facts.certificate
    return {
        "verified": outcome.verified,
        "names": list(outcome.names),
        "reason": outcome.reason,
        "code": facts.problem.code.value if facts.problem is not None else "",
        "server_only": facts.server_only,
        "subject": seen.subject if seen else "",
        "issuer": seen.issuer if seen else "",
        "presented": list(seen.names) if seen else [],
        "not_after": seen.not_after if seen else 0.0,
        "fingerprint": seen.fingerprint if seen else "",
        "key": facts.key,
        "authorities": list(facts.authorities),
        "chain": [sha256(der).hexdigest() for der in chain[:10]],
    }
