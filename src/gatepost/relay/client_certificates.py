"""TlsSession -> ClientOutcome: who a client is by the certificate that it showed (R22).

`observe_client` lets `policy.observed` turn what a handshake left into facts; the verdict is `policy.tls_in.judge_client`'s.
It is asked again before every MAIL, so a commit, a revocation list or the end of the certificate's life counts at
once; the judge remembers chains, so that costs next to nothing. Only sessions that were asked for a certificate
come here, and only these keep a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from gatepost.net.tls import TlsSession
from gatepost.policy.observed import client_facts
from gatepost.policy.tls_in import ClientFacts, ClientOutcome, ClientRule, InboundTlsRule, judge_client
from gatepost.relay.secure import judged_by
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
    return client_facts(chain, judged_by(services, runtime, services.clock.now()), services.described)


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
