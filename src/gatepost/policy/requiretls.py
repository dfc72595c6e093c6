"""What a message asks of TLS on its way: REQUIRETLS, and `TLS-Required: No` (RFC 8689 §4.2; architecture 4, Combining rules).

A message that requires TLS passes to a host only when four things hold: the host's name was learnt securely (signed MX records, an
enforced MTA-STS policy that names the host, or a route or address that was written), TLS is up, the certificate is proven by the host's TLSA
records or by an authority and one of these names, and the host offers REQUIRETLS inside TLS (`relay.deliver` looks at that, before MAIL).
They come on top of everything else: the plan of any other message holds as well. Level `none` cannot carry such a message.

What the recipient published may prove the way and the host, so it is looked up for such a message whatever the destination's entry says
(`strengthened`), and read for this proof only. What could not be learnt puts the message off; what is known to be missing returns it to its sender, once no
host is left that might still do.

`TLS-Required: No` is the other way round, and takes less away than it adds: DANE that the entry only heeds, and MTA-STS, are judged and told,
and do not refuse. The level, and DANE that the entry makes mandatory, are the operator's and stay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gatepost.config.outbound import Dane
from gatepost.core.reasons import AskedBy, Reason, ReasonCode
from gatepost.core.tls import (
    DanePlan,
    NameSource,
    ReferenceName,
    TlsFacts,
    TlsOutcome,
    TlsPlan,
    TlsStage,
    TlsVerdict,
)
from gatepost.core.tlsa import TlsaAnswer
from gatepost.policy.dane import plan_dane
from gatepost.policy.destinations import DestinationRule
from gatepost.policy.reference_names import HopNames, literal_address, mismatch, not_judged
from gatepost.wire.mta_sts import Mode, StsPolicy

WAIVED = "passes because of TLS-Required: No, else refused:"


def strengthened(rule: DestinationRule) -> DestinationRule:
    """The rule for a message that requires TLS: all that may prove the way to the host is looked up."""
    if not rule.level.tries or (rule.asks_dane and rule.mta_sts):
        return rule
    return replace(rule, dane=rule.dane if rule.asks_dane else Dane.OPPORTUNISTIC, mta_sts=True)


def heedless(rule: DestinationRule) -> DestinationRule:
    """The rule without what it only heeds: what is left is what the operator asks."""
    dane = Dane.MANDATORY if rule.dane is Dane.MANDATORY else Dane.NONE
    return replace(rule, dane=dane, mta_sts=False, monitored=None)


@dataclass(frozen=True, slots=True)
class Way:
    """How far a host is proven: the names that its certificate may carry, or the records that it has to match.

    `returned` says why it is not, `forbidden` the same where that may change.
    """

    names: tuple[ReferenceName, ...] = ()
    records: DanePlan | None = None
    returned: Reason | None = None
    forbidden: Reason | None = None


def way_to(
    rule: DestinationRule, hop: HopNames, tlsa: TlsaAnswer | None, policy: StsPolicy | None, doubt: str
) -> Way:
    """What a message that requires TLS can hold a host against. `doubt` says what could not be learnt, or is empty."""
    if not rule.level.tries:
        text = f"the message requires TLS, and {rule.path} turns it off"
        return Way(returned=_of_message(ReasonCode.REQUIRETLS_OFF, text))
    names = _proven_names(hop, policy)
    if names:
        records, forbidden = plan_dane(strengthened(rule), tlsa, hop.asked, domain_proven=True)
        return Way(names, records, forbidden=forbidden)
    host = hop.mx_host.rstrip(".").lower()
    text = f"the message requires TLS, and nothing proves that {host} takes the mail of {hop.route_host or hop.domain}"
    if doubt:
        return Way(forbidden=_of_message(ReasonCode.REQUIRETLS_DOUBT, f"{text}: {doubt}"))
    text += ": neither signed MX records nor an enforced MTA-STS policy"
    return Way(returned=_of_message(ReasonCode.REQUIRETLS_UNPROVEN, text))


def _of_message(code: ReasonCode, text: str) -> Reason:
    return Reason(code, text, AskedBy.REQUIRETLS)


def _proven_names(hop: HopNames, policy: StsPolicy | None) -> tuple[ReferenceName, ...]:
    if hop.literal:
        address = ReferenceName(hop.address, NameSource.OPERATOR, is_address=True)
        if hop.domain.startswith("["):
            return (replace(address, name=literal_address(hop.domain).lower()),)
        return (ReferenceName(hop.domain, NameSource.OPERATOR), address)
    if not hop.mx_host:
        return (ReferenceName(hop.route_host.rstrip(".").lower(), NameSource.OPERATOR),)
    host = hop.mx_host.rstrip(".").lower()
    names = []
    if hop.mx_signed:
        names.append(ReferenceName(host, NameSource.DNSSEC))
    if policy is not None and policy.mode is Mode.ENFORCE and policy.allows(host):
        names.append(ReferenceName(host, NameSource.MTA_STS))
    return tuple(names)


def required(outcome: TlsOutcome) -> TlsOutcome:
    """The judgement of a connection, for a message that requires TLS."""
    plan, facts = outcome.plan, outcome.facts
    if outcome.may_pass:
        proven = proof(plan, facts)
        if not proven:
            problem = _unproven(plan, facts)
            return replace(
                outcome,
                verdict=TlsVerdict.REFUSED,
                reason=f"verify error: {problem}",
                why=problem,
                permanent=True,
            )
        if outcome.verdict is TlsVerdict.VERIFIED:
            return outcome
        why = Reason(ReasonCode.VERIFIED, proven, AskedBy.REQUIRETLS)
        return replace(outcome, verdict=TlsVerdict.VERIFIED, reason=f"verified yes: {proven}", why=why)
    if plan.forbidden:
        return outcome
    return replace(outcome, permanent=plan.returned is not None or _lacks_for_good(facts))


def _lacks_for_good(facts: TlsFacts) -> bool:
    """What was seen is no mishap of this connection: there is no TLS here, or a certificate that will not do."""
    if facts.stage is TlsStage.REFUSED:
        return facts.reply is not None and facts.reply.permanent
    return facts.stage in (TlsStage.NO_ESMTP, TlsStage.NOT_OFFERED, TlsStage.ESTABLISHED)


def _unproven(plan: TlsPlan, facts: TlsFacts) -> Reason:
    """Why the certificate does not prove that this is the host."""
    if plan.records is not None:
        problem = facts.dane_problem
    elif facts.chain_judged:
        problem = facts.chain_problem or mismatch(plan.host_names, facts)
    else:
        problem = None
    return replace(problem or not_judged(), asked_by=AskedBy.REQUIRETLS)


def proof(plan: TlsPlan, facts: TlsFacts) -> str:
    """What proves the host: the record that matched, or the name; empty when nothing does."""
    if plan.records is not None:
        return facts.dane_match
    if not facts.chain_judged or facts.chain_problem:
        return ""
    for match in (facts.host_match, facts.match):
        if match is not None and match.reference in plan.host_names:
            return match.reference.name
    if facts.sts_match and plan.sts is not None and plan.sts.host in plan.host_names:
        return plan.sts.host.name
    return ""


def waived(strict: TlsOutcome, relaxed: TlsOutcome) -> TlsOutcome:
    """The judgement for a message with `TLS-Required: No`: `strict` by all that holds, `relaxed` by what the operator asks."""
    if strict.may_pass:
        return strict
    if not relaxed.may_pass:
        return replace(relaxed, plan=strict.plan)
    return replace(relaxed, plan=strict.plan, note=f"{WAIVED} {strict.reason}", noted=strict.why)
