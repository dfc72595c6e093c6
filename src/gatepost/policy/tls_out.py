"""Outgoing TLS: what a delivery connection must be like, and what may pass on the one that came up.

`plan_tls` turns the destination's rule and the names of the hop into a `TlsPlan`; the relay connects and
observes `TlsFacts`; `judge_tls` turns both into a `TlsOutcome`. Both are pure, and nothing else decides.
Before every message that reuses a connection `judge_tls` is asked again with the new plan and
the recorded facts.

The table is requirements D, R23 to R27h. Where it is silent:

- A failure behind the 220 of STARTTLS always ends that connection; on the other hosts of the same attempt
  the preferred levels then pass only over TLS (R24, `clear_allowed=False`). Only an entry's
  `preferred_clear_after` lets a later attempt leave TLS out.
- What the recipient published binds at every level but None: TLSA records (RFC 7672, `dane`) make TLS mandatory, and a certificate
  that matches none of them is refused, and an enforced MTA-STS policy (RFC 8461, `mta_sts`) makes TLS and a certificate for the
  host's name mandatory; where they could not be looked up the host is not used. Only a match on a signed way
  verifies the domain; a match for a host that unsigned DNS named counts for nothing beyond the host (D8).
- Which names a certificate may be valid for is told in `reference_names`, what a message itself may ask in `requiretls` (RFC 8689).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import assert_never

from gatepost.core.reasons import AskedBy, Reason, ReasonCode
from gatepost.core.tls import (
    DanePlan,
    NameSource,
    ReferenceName,
    StsPlan,
    TlsFacts,
    TlsLevel,
    TlsOutcome,
    TlsPlan,
    TlsStage,
    TlsVerdict,
)
from gatepost.core.tlsa import TlsaAnswer
from gatepost.policy.dane import plan_dane
from gatepost.policy.destinations import DestinationEntry, DestinationRule, DestinationTable
from gatepost.policy.mta_sts import plan_sts, sts_problem
from gatepost.policy.reference_names import HopNames, mismatch, not_judged, reference_names
from gatepost.policy.requiretls import (
    Way,
    heedless,
    proof,
    required,
    waived,
    way_to,
)
from gatepost.wire.mta_sts import StsPolicy

__all__ = [
    "LEVELS_BY_STRICTNESS",
    "DestinationEntry",
    "DestinationRule",
    "DestinationTable",
    "HopNames",
    "judge_tls",
    "plan_tls",
    "reference_names",
    "verification_text",
]

LEVELS_BY_STRICTNESS = (
    TlsLevel.NONE,
    TlsLevel.PREFERRED,
    TlsLevel.PREFERRED_VERIFY,
    TlsLevel.REQUIRED,
    TlsLevel.REQUIRED_VERIFY_HOSTED,
    TlsLevel.REQUIRED_VERIFY,
)
"""A later level never lets pass what an earlier one refuses, and never encrypts less."""

NO_ESMTP = Reason(ReasonCode.NO_ESMTP, "remote host does not speak ESMTP")
NOT_OFFERED = Reason(ReasonCode.NOT_OFFERED, "remote host does not offer STARTTLS")
STARTTLS_REFUSED = Reason(ReasonCode.STARTTLS_REFUSED, "STARTTLS unexpected response")
NOT_TRIED = Reason(ReasonCode.NOT_TRIED, "STARTTLS was not sent on this connection")
SWITCHED_OFF = Reason(ReasonCode.SWITCHED_OFF, "TLS is off for this destination")
GIVEN_UP = Reason(
    ReasonCode.GIVEN_UP, "STARTTLS was left out after broken handshakes, as preferred_clear_after says"
)


def plan_tls(
    rule: DestinationRule,
    hop: HopNames,
    *,
    clear_allowed: bool = True,
    alert: bool = False,
    certificate: str = "",
    broken_attempts: int = 0,
    tlsa: TlsaAnswer | None = None,
    sts: tuple[str, StsPolicy] | None = None,
    requiretls: bool = False,
    tls_optional: bool = False,
    doubt: str = "",
) -> TlsPlan:
    """The plan for one connection.

    `clear_allowed` is False once a handshake failed behind the 220 in this attempt; `alert` is the global
    switch of R30; `certificate` the outbound client profile; `broken_attempts` counts the earlier attempts of
    this message that ended with a broken handshake; `tlsa` what DNS says of the host's TLSA records, where the rule asks; `sts` the
    MTA-STS policy of the next hop with the domain that it belongs to. `requiretls` and `tls_optional` are the message's wishes
    (RFC 8689); the first wins. `doubt` says what could not be learnt of the way to the host (`requiretls.way_to`).
    """
    make = partial(
        _plan,
        hop=hop,
        clear_allowed=clear_allowed,
        certificate=certificate,
        broken_attempts=broken_attempts,
        tlsa=tlsa,
        sts=sts,
    )

    def wished(rule: DestinationRule, *, alert: bool) -> TlsPlan:
        plan = make(rule, alert=alert, requiretls=requiretls, doubt=doubt)
        if tls_optional and not requiretls:
            return replace(plan, relaxed=make(heedless(rule), alert=alert))
        return plan

    plan = wished(rule, alert=alert)
    return plan if rule.monitored is None else replace(plan, monitored=wished(rule.monitored, alert=False))


def _plan(
    rule: DestinationRule,
    *,
    hop: HopNames,
    clear_allowed: bool,
    alert: bool,
    certificate: str,
    broken_attempts: int,
    tlsa: TlsaAnswer | None,
    sts: tuple[str, StsPolicy] | None,
    requiretls: bool = False,
    doubt: str = "",
) -> TlsPlan:
    """The plan of one rule."""
    level = rule.level
    proven = hop.mx_signed or bool(hop.route_host and not hop.mx_host)
    dane, forbidden = plan_dane(rule, tlsa, hop.asked, domain_proven=proven)
    policy_of, policy = sts or ("", None)
    sts_plan, unlisted = plan_sts(rule, policy, policy_of, hop.mx_host, dane)
    published = dane is not None or (sts_plan is not None and sts_plan.enforced)
    optional = level.tries and not level.mandatory and not published and not requiretls
    way = way_to(rule, hop, tlsa, policy, doubt) if requiretls else Way()
    skip = (
        optional and rule.preferred_clear_after is not None and broken_attempts >= rule.preferred_clear_after
    )
    return TlsPlan(
        level=level,
        domain=hop.domain,
        rule=rule.path,
        names=_names(rule, hop, sts_plan) if level.verifies else (),
        sni=_sni(hop, dane or way.records) if level.tries else "",
        clear_allowed=level is TlsLevel.NONE or skip or (optional and clear_allowed),
        certificate=certificate if level.tries and rule.client_certificate else "",
        alert_on_failure=alert and (level.mandatory or published),
        skip_starttls=skip,
        dane=dane,
        sts=sts_plan,
        forbidden=forbidden or unlisted or way.forbidden,
        client_hello=rule.client_hello,
        requiretls=requiretls,
        host_names=way.names,
        returned=way.returned,
        proving=way.records,
    )


def _names(rule: DestinationRule, hop: HopNames, sts: StsPlan | None) -> tuple[ReferenceName, ...]:
    """The reference names of a level that verifies; a host that an enforced policy names is believed for it."""
    names = reference_names(rule, hop)
    if sts is None or not sts.enforced or not sts.listed:
        return names
    return (sts.host, *(name for name in names if (name.name, name.is_address) != (sts.host.name, False)))


def _sni(hop: HopNames, dane: DanePlan | None) -> str:
    """The name under which the TLSA records stand, else that of the host we connect to; none for an address (RFC 6066 §3)."""
    if dane is not None:
        return dane.base
    if hop.literal:
        return ""
    return (hop.mx_host or hop.route_host or hop.domain).rstrip(".").lower()


def judge_tls(plan: TlsPlan, facts: TlsFacts) -> TlsOutcome:
    """What may pass on a connection with these facts under this plan; `reason` is in the log's words.

    A plan in monitor mode is judged beside it, by what was seen for it; the verdict does not know of it.
    """
    outcome = _judge(plan, facts)
    if plan.requiretls:
        outcome = required(outcome)
    elif plan.relaxed is not None:
        outcome = waived(outcome, _judge(plan.relaxed, facts))
    if plan.monitored is None:
        return outcome
    return replace(outcome, monitored=judge_tls(plan.monitored, facts.monitored or facts))


def _judge(plan: TlsPlan, facts: TlsFacts) -> TlsOutcome:
    stage = facts.stage
    if unusable := plan.forbidden or plan.returned:
        return TlsOutcome(TlsVerdict.REFUSED, plan, facts, unusable.text, unusable)
    if stage is TlsStage.ESTABLISHED:
        return _judge_established(plan, facts)
    why = _stage_reason(plan, facts)
    if stage is TlsStage.HANDSHAKE_FAILED:
        # R24: never in clear because of a failure behind the 220; and the connection is dead anyway.
        return TlsOutcome(TlsVerdict.REFUSED, plan, facts, why.text, why)
    if stage is TlsStage.NOT_TRIED and plan.level.tries and not plan.skip_starttls:
        # A pooled connection that was opened under a rule without TLS.
        return TlsOutcome(TlsVerdict.REFUSED, plan, facts, why.text, why)
    passes = plan.clear_allowed and not plan.mandatory
    return TlsOutcome(TlsVerdict.CLEAR if passes else TlsVerdict.REFUSED, plan, facts, why.text, why)


def _judge_established(plan: TlsPlan, facts: TlsFacts) -> TlsOutcome:
    outcome = _judge_certificate(plan, facts)
    if plan.sts is None or plan.sts.enforced or not (problem := sts_problem(plan.sts, facts)):
        return outcome
    return replace(
        outcome, note=f"MTA-STS of {plan.sts.domain}, in testing, would refuse: {problem}", noted=problem
    )


def _judge_certificate(plan: TlsPlan, facts: TlsFacts) -> TlsOutcome:
    if plan.dane is not None and plan.dane.records:
        if not facts.dane_match:
            return _refused(plan, facts, facts.dane_problem or not_judged(AskedBy.DANE))
        if plan.dane.domain_proven:
            return _passed(TlsVerdict.VERIFIED, plan, facts)
    if plan.sts is not None and plan.sts.enforced:
        if problem := sts_problem(plan.sts, facts):
            return _refused(plan, facts, problem)
        if not plan.level.verifies:
            return _passed(TlsVerdict.VERIFIED, plan, facts)
    if not plan.level.verifies:
        if plan.speaks_of_trust:
            return _passed(TlsVerdict.ENCRYPTED, plan, facts)
        return TlsOutcome(TlsVerdict.ENCRYPTED, plan, facts)
    problem = _verification_problem(plan, facts)
    if problem is None:
        return _passed(TlsVerdict.VERIFIED, plan, facts)
    if plan.level.verification_mandatory:
        return _refused(plan, facts, problem, _whose(facts))
    return TlsOutcome(TlsVerdict.ENCRYPTED, plan, facts, f"verified no: {problem}", problem)


def _refused(plan: TlsPlan, facts: TlsFacts, why: Reason, whose: str = "") -> TlsOutcome:
    return TlsOutcome(TlsVerdict.REFUSED, plan, facts, f"verify error: {_words(why)}{whose}", why)


def _passed(verdict: TlsVerdict, plan: TlsPlan, facts: TlsFacts) -> TlsOutcome:
    words, why = _verification(plan, facts)
    return TlsOutcome(verdict, plan, facts, f"verified {words}", why)


def _words(why: Reason) -> str:
    """The sentence, and in front of it that it is a policy's demand and not that of a rule of ours."""
    return f"MTA-STS: {why.text}" if why.asked_by is AskedBy.MTA_STS else why.text


def _stage_reason(plan: TlsPlan, facts: TlsFacts) -> Reason:
    match facts.stage:
        case TlsStage.NO_ESMTP:
            return NO_ESMTP
        case TlsStage.NOT_OFFERED:
            return NOT_OFFERED
        case TlsStage.REFUSED:
            return STARTTLS_REFUSED
        case TlsStage.HANDSHAKE_FAILED:
            return Reason(ReasonCode.HANDSHAKE_FAILED, facts.error or "the TLS handshake failed")
        case TlsStage.NOT_TRIED:
            if plan.level is TlsLevel.NONE:
                return SWITCHED_OFF
            return GIVEN_UP if plan.skip_starttls else NOT_TRIED
        case TlsStage.ESTABLISHED:
            raise ValueError("an established session is judged by its certificate")
        case _:
            assert_never(facts.stage)


def _verification_problem(plan: TlsPlan, facts: TlsFacts) -> Reason | None:
    """Why the certificate is not verified; None when it is."""
    if not facts.chain_judged:
        return not_judged()
    if facts.chain_problem is not None:
        return facts.chain_problem
    # A match that was found under another plan counts only when this plan names it with the same source.
    if facts.match is None or facts.match.reference not in plan.names:
        return mismatch(plan.names, facts)
    return None


def _whose(facts: TlsFacts) -> str:
    """Whose certificate has the problem, in brackets, where that can be told."""
    if facts.chain_problem is None:
        return ""
    subject, issuer = facts.chain_problem_subject, facts.chain_problem_issuer
    who = ", ".join(part for part in (subject, issuer and f"issuer {issuer}") if part)
    return f" ({who})" if who else ""


Verification = tuple[str, Reason]
"""What follows `verified ` in the log (`yes: NAME`, `no: why`), and the reason."""


def _yes(text: str, asked_by: AskedBy = AskedBy.RULE) -> Verification:
    return f"yes: {text}", Reason(ReasonCode.VERIFIED, text, asked_by)


def _no(why: Reason) -> Verification:
    return f"no: {_words(why)}", why


def _verification(plan: TlsPlan, facts: TlsFacts) -> Verification:
    """`yes: NAME`, `yes: NAME (from unsigned DNS)`, `yes: DANE-EE 3 1 1` or `no: why`; behind a yes also what warns, in brackets."""
    if plan.requiretls and (proven := proof(plan, facts)):
        return _yes(proven, AskedBy.REQUIRETLS)
    if (told := _by_what_was_published(plan, facts)) is not None:
        return told
    problem = _verification_problem(plan, facts)
    if problem is not None:
        return _no(problem)
    assert facts.match is not None
    unsigned = facts.match.reference.source is NameSource.INSECURE_DNS
    warning = f" ({facts.chain_warning})" if facts.chain_warning else ""
    return _yes(f"{facts.match.reference.name}{' (from unsigned DNS)' if unsigned else ''}{warning}")


def _by_what_was_published(plan: TlsPlan, facts: TlsFacts) -> Verification | None:
    """What TLSA records or an enforced policy say of the certificate; None where the level's names decide.

    A failure is told here only where the message waived it (`TLS-Required: No`): else nothing passes.
    """
    dane, sts = plan.dane, plan.sts
    if dane is not None and dane.records:
        if not facts.dane_match:
            return _no(facts.dane_problem or not_judged(AskedBy.DANE))
        if dane.domain_proven:
            return _yes(facts.dane_match, AskedBy.DANE)
        if not plan.level.verifies:
            # The host is who DNS says, but nobody vouches that the domain's mail belongs there (D8).
            text = f"{facts.dane_match} of {dane.base}, a name from unsigned DNS"
            return _no(Reason(ReasonCode.UNSIGNED_NAME, text, AskedBy.DANE))
    if sts is not None and sts.enforced and not plan.level.verifies:
        problem = sts_problem(sts, facts)
        return _no(problem) if problem else _yes(f"{sts.host.name} (MTA-STS)", AskedBy.MTA_STS)
    return None


def verification_text(outcome: TlsOutcome) -> str:
    """What follows `verified ` in the `TLS success` line; empty where nothing is verified."""
    if not outcome.plan.speaks_of_trust or outcome.facts.stage is not TlsStage.ESTABLISHED:
        return ""
    return _verification(outcome.plan, outcome.facts)[0]
