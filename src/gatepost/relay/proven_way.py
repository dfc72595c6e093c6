"""Where a message that requires TLS may go: the hops, with all that may prove the way to each (RFC 8689 §4.2.1).

What the recipient published is looked up whatever the destination's rule says, and name servers are tried for DNSSEC where
nothing else asked for that. What could not be learnt (a validating server that is out of order, a policy that is announced and could not
be fetched) stands with the hop as a doubt: such a message waits instead of going back to its sender.

Such mail is rare, and the resolver and the policies remember their answers: nothing is kept here.
"""

from __future__ import annotations

from dataclasses import replace

from gatepost.core.tlsa import TlsaState
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.hop import Hop
from gatepost.policy.requiretls import strengthened
from gatepost.relay.resolve import Told, nobody, resolve
from gatepost.relay.services import Runtime, Services


async def resolve_proven(
    services: Services, runtime: Runtime, domain: str, rule: DestinationRule, told: Told = nobody
) -> list[Hop]:
    """As `resolve`, for a message that requires TLS. Raises Unresolved."""
    if rule.level.tries:
        await services.resolver.want_proof()
    hops = await resolve(services, runtime, domain, strengthened(rule), told)
    doubts: dict[str, str] = {}
    found = []
    for hop in hops:
        if hop.names.mx_host and not hop.names.mx_signed:
            of = hop.names.route_host or hop.names.domain
            if of not in doubts:
                doubts[of] = _of_dns(services, hop) or await services.sts.doubt(of)
            found.append(replace(hop, doubt=doubts[of]))
        else:
            found.append(hop)
    return found


def _of_dns(services: Services, hop: Hop) -> str:
    """Why no answer can be known to be signed at this moment, if that may change."""
    if hop.tlsa is None or hop.tlsa.state is not TlsaState.UNAVAILABLE:
        return ""
    untried = next((one for one in services.resolver.verdicts if one.untried), None)
    return f"name server {untried.server} {untried.reason}" if untried is not None else ""
