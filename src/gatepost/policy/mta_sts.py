"""MTA-STS: what the policy of a recipient domain asks of a delivery (RFC 8461; rules (a) to (e), architecture 4).

A policy that is enforced makes TLS mandatory to the hosts that it names, with a certificate for the host's own name from a trusted
authority; other hosts are not used. In testing the same is judged and told, and the mail goes on. A host that usable TLSA records
authenticate needs no policy, and none helps where they fail (rule c, D7). Level `none` knows no policy (R23).
"""

from __future__ import annotations

from gatepost.core.tls import DanePlan, NameSource, ReferenceName, StsPlan, TlsFacts
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.reference_names import MAX_NAMES_SHOWN
from gatepost.wire.mta_sts import Mode, StsPolicy


def plan_sts(
    rule: DestinationRule, policy: StsPolicy | None, domain: str, host: str, dane: DanePlan | None
) -> tuple[StsPlan | None, str]:
    """What the policy of `domain` asks for `host`, and why the host may not be used at all, if so."""
    if policy is None or policy.mode is Mode.NONE or not rule.asks_sts or not host:
        return None, ""
    if dane is not None and dane.records:
        return None, ""
    name = host.rstrip(".").lower()
    made = StsPlan(
        domain, ReferenceName(name, NameSource.MTA_STS), policy.mode is Mode.ENFORCE, policy.allows(name)
    )
    if made.enforced and not made.listed:
        return made, not_listed(made)
    return made, ""


def not_listed(plan: StsPlan) -> str:
    """The sentence about a host that the policy does not name."""
    return f"the MTA-STS policy of {plan.domain} does not name {plan.host.name}"


def sts_problem(plan: StsPlan, facts: TlsFacts) -> str:
    """What the policy minds about an established session; empty when it is as the policy wants it."""
    if not plan.listed:
        return not_listed(plan)
    if not facts.chain_judged:
        return "the certificate was not judged on this connection"
    if facts.chain_problem:
        return facts.chain_problem
    if not facts.sts_match:
        shown = facts.chain[0].shown_names(MAX_NAMES_SHOWN) if facts.chain else ""
        return f"host name mismatch: {plan.host.name} not in {shown or 'a certificate without names'}"
    return ""
