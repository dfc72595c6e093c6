"""Monitor mode: what a rule that is not enforced would have done with a connection, in words and as a record.

A destination entry with `monitor: true` is evaluated beside the rule that holds without it, on the same connection and by the same
`judge_tls`; the verdict of the connection does not know of it (`DestinationRule.monitored`, `TlsPlan.monitored`). What was not tried under the
enforced rule cannot be told: where that is `none`, no STARTTLS is sent for the sake of a monitored one (R23), and where a message came to
a connection whose certificate nobody judged, nobody judges it afterwards.

The TLS rule of a mail flow policy is evaluated at each MAIL that is taken (`InboundTlsRule.monitored`).

One session has one SNI, that of the enforced rule. Where the monitored rule would have sent another name, a refusal says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gatepost.core.address import Address
from gatepost.core.tls import TlsOutcome, TlsStage
from gatepost.policy.tls_in import ClientFacts, InboundTlsRule, judge_client

NO_TLS = "TLS was required but remote host did not initiate it"


class Would(StrEnum):
    """What the monitored rule would have done."""

    PASS = "pass"
    REFUSE = "refuse"
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True)
class Monitoring:
    """The account of one connection: `rule` is the entry's path, `wanted` its level, `reason` in the words of the log."""

    domain: str
    rule: str
    wanted: str
    would: Would
    reason: str
    code: str = ""

    def record(self) -> dict[str, str]:
        """Its part of the record of a delivery; keys are stable."""
        return {
            "rule": self.rule,
            "wanted": self.wanted,
            "would": self.would.value,
            "reason": self.reason,
            "reason_code": self.code,
        }


def monitoring(outcome: TlsOutcome) -> Monitoring | None:
    """What was monitored on a connection; None where nothing was."""
    seen = outcome.monitored
    if seen is None:
        return None
    would = _would(seen)
    reason, why = seen.reason, seen.why
    if would is Would.REFUSE and _asked_otherwise(outcome.plan.sni, seen):
        reason += (
            f" (the host was asked for {outcome.plan.sni or 'no name'}, this rule asks for {seen.plan.sni})"
        )
    if would is Would.UNTOLD and seen.facts.stage is TlsStage.NOT_TRIED:
        reason, why = f"not tried: {outcome.reason}", outcome.why
    wanted = seen.plan.level.value
    if seen.plan.dane is not None:
        wanted += " with DANE"
    elif seen.plan.sts_enforced:
        wanted += " with MTA-STS"
    return Monitoring(seen.plan.domain, seen.plan.rule, wanted, would, reason, why.code.value if why else "")


def policy_refusal(rule: InboundTlsRule, sender: Address, facts: Callable[[], ClientFacts] | None) -> str:
    """Why the TLS rule of a mail flow policy would refuse MAIL from this sender; empty where it would not.

    `facts` is None without TLS, else gives what the client showed; it is asked only where the rule wants to know.
    """
    tls = facts is not None
    if rule.gate(tls_active=tls) is not None:
        return NO_TLS
    refusal = rule.sender_gate(sender, tls_active=tls)
    if refusal is None and facts is not None and rule.client is not None:
        refusal = judge_client(rule.level, rule.client, facts()).refusal
    return refusal.cause or refusal.text if refusal is not None else ""


def _would(seen: TlsOutcome) -> Would:
    plan, facts = seen.plan, seen.facts
    if plan.forbidden is not None:
        return Would.REFUSE
    if facts.stage is TlsStage.NOT_TRIED and plan.level.tries and not plan.skip_starttls:
        return Would.UNTOLD
    unjudged = plan.judges_chain and not facts.chain_judged
    unmatched = (
        plan.dane is not None and bool(plan.dane.records) and not (facts.dane_match or facts.dane_problem)
    )
    if facts.stage is TlsStage.ESTABLISHED and not seen.may_pass and (unjudged or unmatched):
        return Would.UNTOLD
    return Would.PASS if seen.may_pass else Would.REFUSE


def _asked_otherwise(sni: str, seen: TlsOutcome) -> bool:
    return seen.facts.stage is TlsStage.ESTABLISHED and bool(seen.plan.sni) and seen.plan.sni != sni
