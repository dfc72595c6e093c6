"""What a `TlsPlan` lets pass, in plain words, before any connection is made.

Nothing is decided here. The plan is put to `judge_tls` together with made-up facts (no STARTTLS, a broken handshake, certificates that lack one
thing each), and the sentences tell what it answered; so they cannot say anything else than a delivery would.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatepost.core.reasons import Reason, ReasonCode
from gatepost.core.tls import NameMatch, NameSource, ReferenceName, TlsFacts, TlsPlan, TlsStage, TlsVerdict
from gatepost.core.tlsa import Usage
from gatepost.policy.tls_out import judge_tls

SOURCE_WORDS = {
    NameSource.OPERATOR: "as configured or addressed",
    NameSource.DNSSEC: "from signed DNS",
    NameSource.MTA_STS: "from the MTA-STS policy",
    NameSource.INSECURE_DNS: "from unsigned DNS",
}
_MADE_UP = "made up"
_PROBLEM = Reason(ReasonCode.INVALID, _MADE_UP)


def may_pass(plan: TlsPlan) -> tuple[str, ...]:
    """What may be sent on a connection under this plan, sentence by sentence."""
    if unusable := plan.forbidden or plan.returned:
        return (f"nothing at all: {unusable}",)
    untried = judge_tls(plan, TlsFacts(TlsStage.NOT_TRIED))
    if untried.may_pass:
        return (f"everything, in clear: {untried.reason}",)
    promise = ("the host must offer REQUIRETLS inside TLS",) if plan.requiretls else ()
    return (_without_tls(plan), *_certificate(plan), *promise, *_testing(plan))


def _without_tls(plan: TlsPlan) -> str:
    if all(judge_tls(plan, TlsFacts(stage)).may_pass for stage in (TlsStage.NOT_OFFERED, TlsStage.REFUSED)):
        text = "in clear only where the host offers no STARTTLS or refuses it"
        broken = judge_tls(plan, TlsFacts(TlsStage.HANDSHAKE_FAILED, error=_MADE_UP))
        return text if broken.may_pass else f"{text}; nothing after a handshake that breaks"
    reasons = ", ".join(_why_mandatory(plan)) or "a handshake broke in this attempt"
    return f"nothing without TLS ({reasons})"


def _why_mandatory(plan: TlsPlan) -> Iterable[str]:
    if plan.level.mandatory:
        yield f"level {plan.level.value}"
    if plan.dane is not None:
        yield f"{plan.dane.base} has TLSA records"
    if plan.sts is not None and plan.sts_enforced:
        yield f"the MTA-STS policy of {plan.sts.domain} is enforced"
    if plan.requiretls:
        yield "the message requires it"


def _certificate(plan: TlsPlan) -> Iterable[str]:
    """Which certificates are good enough: each need is found by leaving out one thing."""
    wanted = []
    if not _passes(plan, dane=False):
        wanted.append(_records(plan))
    if not _passes(plan, chain=False):
        wanted.append("come from a trusted authority and be in date")
    if not _passes(plan, listed=False) and plan.sts is not None:
        wanted.append(f"carry the host's name, {plan.sts.host.name}, as MTA-STS wants it")
    if not _passes(plan, named=False):
        wanted.append(f"be valid for {_names(plan.names)}")
    if not _passes(plan, proven=False):
        wanted.append(f"prove the host by its own name, {_names(plan.host_names)}")
    if wanted:
        yield f"the certificate must {', and '.join(wanted)}"
    elif not _passes(plan, dane=False, chain=False, listed=False, named=False):
        yield "the certificate must be verified in one of the ways that are left"
    elif plan.speaks_of_trust:
        yield "any certificate will do; whether it is verified is told, by " + _way_of_telling(plan)
    else:
        yield "any certificate will do; it is not judged"


def _way_of_telling(plan: TlsPlan) -> str:
    return f"the authorities and {_names(plan.names)}" if plan.names else "its TLSA records"


def _testing(plan: TlsPlan) -> Iterable[str]:
    if plan.sts is not None and not plan.sts.enforced:
        yield f"the MTA-STS policy of {plan.sts.domain} is in testing: what it would refuse is only told"
    if plan.dane is not None and not plan.dane.records:
        yield f"no TLSA record of {plan.dane.base} is usable: they ask for TLS, and check nothing"


def _passes(
    plan: TlsPlan,
    *,
    dane: bool = True,
    chain: bool = True,
    listed: bool = True,
    named: bool = True,
    proven: bool = True,
) -> bool:
    """Whether mail passes on a session whose certificate is right in all but the things that are False."""
    # One certificate: a name that is asked for twice, as one of the level's and as the host's own, is not there for one of the two only.
    level = [name for name in plan.names if named and (proven or name not in plan.host_names)]
    own = [name for name in plan.host_names if proven and (named or name not in plan.names)]
    match = NameMatch(level[0], _MADE_UP) if level else None
    host = NameMatch(own[0], _MADE_UP) if own else None
    listed = listed and (proven or plan.sts is None or plan.sts.host not in plan.host_names)
    facts = TlsFacts(
        TlsStage.ESTABLISHED,
        chain_judged=True,
        chain_problem=None if chain else _PROBLEM,
        match=match,
        names_tried=plan.names,
        sts_match=listed,
        dane_match=_MADE_UP if dane else "",
        dane_problem=None if dane else _PROBLEM,
        host_match=host,
    )
    return judge_tls(plan, facts).verdict is not TlsVerdict.REFUSED


def _records(plan: TlsPlan) -> str:
    dane = plan.records
    assert dane is not None
    count = len(dane.records)
    which = "the TLSA record" if count == 1 else f"one of the {count} TLSA records"
    usages = {record.usage for record in dane.records}
    if usages == {Usage.DANE_EE}:
        how = "names and dates do not matter then"
    elif usages == {Usage.DANE_TA}:
        how = f"it must be in date then, and valid for {_names(dane.names)}"
    else:
        how = f"by an issuer's record (2) it must be in date and valid for {_names(dane.names)} too"
    return f"match {which} of {dane.base} ({how})"


def _names(names: Iterable[ReferenceName]) -> str:
    texts = [f"{name.name} ({SOURCE_WORDS[name.source]})" for name in names]
    return " or ".join(texts) or "no name that is known"
