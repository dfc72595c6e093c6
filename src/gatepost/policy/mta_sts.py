"""MTA-STS: what the policy of a recipient domain asks of a delivery (RFC 8461; rules (a) to (e), architecture 4).

A policy that is enforced makes TLS mandatory to the hosts that it names, with a certificate for the host's own name from a trusted
authority; other hosts are not used. In testing the same is judged and told, and the mail goes on. A host that usable TLSA records
authenticate needs no policy, and none helps where they fail (rule c, D7). Level `none` knows no policy (R23).
"""

from __future__ import annotations

from dataclasses import replace

from gatepost.core.reasons import AskedBy, Reason, ReasonCode
from gatepost.core.tls import DanePlan, NameSource, ReferenceName, StsPlan, TlsFacts
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.reference_names import mismatch, not_judged
from gatepost.wire.mta_sts import Mode, StsPolicy


def plan_sts(
    rule: DestinationRule, policy: StsPolicy | None, domain: str, host: str, dane: DanePlan | None
) -> tuple[StsPlan | None, Reason | None]:
    """What the policy of `domain` asks for `host`, and why the host may not be used at all, if so."""
    if policy is None or policy.mode is Mode.NONE or not rule.asks_sts or not host:
        return None, None
    if dane is not None and dane.records:
        return None, None
    name = host.rstrip(".").lower()
    made = StsPlan(
        domain, ReferenceName(name, NameSource.MTA_STS), policy.mode is Mode.ENFORCE, policy.allows(name)
    )
    if made.enforced and not made.listed:
        return made, not_listed(made)
    return made, None


def not_listed(plan: StsPlan) -> Reason:
    """The reason of a host that the policy does not name."""
    text = f"the MTA-STS policy of {plan.domain} does not name {plan.host.name}"
    return Reason(ReasonCode.STS_NOT_LISTED, text, AskedBy.MTA_STS)


def sts_problem(plan: StsPlan, facts: TlsFacts) -> Reason | None:
    """What the policy minds about an established session; None when it is as the policy wants it."""
    if not plan.listed:
        return not_listed(plan)
    if not facts.chain_judged:
        return not_judged(AskedBy.MTA_STS)
    if facts.chain_problem is not None:
        return replace(facts.chain_problem, asked_by=AskedBy.MTA_STS)
    return None if facts.sts_match else mismatch([plan.host], facts, AskedBy.MTA_STS)
