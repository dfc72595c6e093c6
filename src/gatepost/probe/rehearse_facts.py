"""One recorded connection under another policy: what `judge_tls` says of it, or why that cannot be told.

Nothing here decides: `plan_tls` is asked with what was known of the host then, `policy.observed` makes the facts from the recorded chain at
the recorded time under the policy's authorities, and `judge_tls` has the word. A rule may want to know what nobody asked for on that day
(STARTTLS was never sent, TLSA records or an MTA-STS policy were never looked up). Then another connection to the same host may tell, or
today's DNS where it was asked (`Answers`); else there is a `Doubt`, and no guess.

What the message itself asked of TLS (RFC 8689) is asked again; that a host offers REQUIRETLS is not recorded and taken for granted.
What was agreed on in a handshake holds under other settings as far as it must: a host that spoke an older version than the policy wants at
least has no newer one in common with us.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gatepost.config.model import Protocol
from gatepost.core.tls import (
    NO_WISHES,
    TlsFacts,
    TlsOutcome,
    TlsPlan,
    TlsStage,
    TlsWishes,
)
from gatepost.core.tlsa import TlsaAnswer, TlsaState
from gatepost.policy.destinations import notice_rule
from gatepost.policy.dnssec import wants_dnssec
from gatepost.policy.observed import Handshake, server_facts
from gatepost.policy.recorded import NOT_ASKED, names_of, sts_of, tlsa_of
from gatepost.policy.requiretls import strengthened
from gatepost.policy.tls_out import DestinationRule, HopNames, judge_tls, plan_tls
from gatepost.probe.rehearse_trial import Trial
from gatepost.store.records import ConnectionRow
from gatepost.wire.mta_sts import StsPolicy

VERSIONS = tuple(protocol.value for protocol in Protocol)


class Doubt(StrEnum):
    """Why nothing can be said of a delivery."""

    NOT_TRIED = "not-tried"
    NOT_CALLED = "not-called"
    NO_TLSA = "no-tlsa"
    NO_STS = "no-sts"
    NOT_SIGNED = "not-signed"
    NO_CERTIFICATE = "no-certificate"
    OTHER_NAME = "other-name"
    OTHER_ROUTE = "other-route"
    NO_RECORD = "no-record"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it: a judgement, or a doubt, or neither where the connection broke before TLS was decided.

    `today` says that answers of today stood in for what was not looked up then.
    """

    outcome: TlsOutcome | None = None
    doubt: Doubt | None = None
    today: bool = False


class Hosts:
    """What the records know of each host: the newest connection that showed its TLS, and the newest of all for a destination."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int, str], ConnectionRow] = {}
        self._plain: dict[tuple[str, int], ConnectionRow] = {}
        self._of_domain: dict[tuple[str, str, int], ConnectionRow] = {}
        self._named: dict[tuple[str, str], ConnectionRow] = {}
        self._placed: dict[str, ConnectionRow] = {}
        self._led: dict[str, ConnectionRow] = {}
        self._sts: dict[str, Mapping[str, Any]] = {}
        self._tlsa: dict[tuple[str, int], Mapping[str, Any]] = {}

    def add(self, row: ConnectionRow) -> None:
        """In the order of time."""
        self._of_domain[row.domain, row.address, row.port] = row
        place = place_of(row)
        self._named[row.domain, place] = self._placed[place] = row
        if row.facts["hop"]["mx_judged"]:
            self._led[row.domain] = row
        if row.facts["sts"] is not None:
            self._sts[row.domain] = row.facts["sts"]
        if row.facts["tlsa"]["state"] not in (NOT_ASKED, TlsaState.UNAVAILABLE):
            self._tlsa[row.host, row.port] = row.facts["tlsa"]
        tls = row.facts["tls"]
        if tls is None or not row.dcid:
            return
        if tls["stage"] in (TlsStage.ESTABLISHED, TlsStage.HANDSHAKE_FAILED, TlsStage.REFUSED):
            self._seen[row.address, row.port, tls["sni"]] = row
        elif not (row.facts["esmtp"] and row.facts["starttls"]):
            self._plain[row.address, row.port] = row

    def showing_tls(self, row: ConnectionRow, sni: str) -> ConnectionRow | None:
        """A connection to the same host that shows what STARTTLS with this name comes to."""
        found = self._seen.get((row.address, row.port, sni))
        return found if found is not None else self._plain.get((row.address, row.port))

    def of_domain(self, domain: str, row: ConnectionRow) -> ConnectionRow | None:
        """How this destination itself led to the same host."""
        return self._of_domain.get((domain, row.address, row.port))

    def named(self, domain: str, place: str) -> ConnectionRow | None:
        """The newest connection to a host that an attempt did not come to."""
        return self._named.get((domain, place))

    def placed(self, place: str) -> ConnectionRow | None:
        """The newest connection to a host, whatever the destination."""
        return self._placed.get(place)

    def led(self, domain: str) -> ConnectionRow | None:
        """How this destination led to some host, when somebody asked whether its DNS is signed."""
        return self._led.get(domain)

    def sts(self, domain: str) -> Mapping[str, Any] | None:
        """What was learnt last of the MTA-STS policy of a destination; None: nobody asked."""
        return self._sts.get(domain)

    def tlsa(self, row: ConnectionRow) -> Mapping[str, Any]:
        """What was learnt last of the TLSA records of a connection's host, whatever the destination; `not-asked` where nobody did."""
        told: Mapping[str, Any] = row.facts["tlsa"]
        return self._tlsa.get((row.host, row.port), told)


def place_of(row: ConnectionRow) -> str:
    """`host [address]:port`, as a hop is written."""
    where = f"[{row.address}]:{row.port}"
    return where if row.host == row.address else f"{row.host} {where}"


def try_connection(
    trial: Trial,
    hosts: Hosts,
    row: ConnectionRow,
    domain: str,
    *,
    clear_allowed: bool = True,
    broken_attempts: int = 0,
    wishes: TlsWishes = NO_WISHES,
) -> Verdict:
    """What the policy makes of a recorded connection when it carries mail for `domain`."""
    rule = trial.destinations.find(domain, trial.today)
    rule = notice_rule(rule) if wishes.in_clear else rule
    asks = strengthened(rule) if wishes.requiretls else rule
    known = _known(trial, hosts, asks, row, domain)
    if isinstance(known, Doubt):
        return Verdict(doubt=known)
    given = {
        "clear_allowed": clear_allowed,
        "broken_attempts": broken_attempts,
        "requiretls": wishes.requiretls,
        "tls_optional": wishes.tls_optional,
    }
    verdict = _judge(trial, hosts, row, rule, known, given)
    if not known.unsure or verdict.outcome is None:
        return verdict
    signed = replace(known, names=replace(known.names, mx_signed=True, mx_secure=True))
    other = _judge(trial, hosts, row, rule, signed, given)
    if other.outcome is None or other.outcome.verdict is not verdict.outcome.verdict:
        return Verdict(doubt=Doubt.NOT_SIGNED)
    return verdict


@dataclass(frozen=True, slots=True)
class _Known:
    """What the plan is made of. `unsure`: nobody asked whether the DNS that led there is signed."""

    names: HopNames
    tlsa: TlsaAnswer | None
    sts: tuple[str, StsPolicy] | None
    unsure: bool
    today: bool


def _known(
    trial: Trial, hosts: Hosts, rule: DestinationRule, row: ConnectionRow, domain: str
) -> _Known | Doubt:
    """What was known of the host in these days, and for what the rule misses, today's answer."""
    own = row if row.domain == domain else hosts.of_domain(domain, row)
    facts: Mapping[str, Any] = (own or row).facts
    names = replace(names_of(facts["hop"]), domain=domain)
    # TLSA records belong to the host, a policy to the destination: what another delivery asked tells as well.
    told_tlsa = facts["tlsa"] if facts["tlsa"]["state"] != NOT_ASKED else hosts.tlsa(row)
    told_sts = facts["sts"] if own is not None and facts["sts"] is not None else hosts.sts(domain)
    tlsa, asked_tlsa = tlsa_of(told_tlsa), told_tlsa["state"] != NOT_ASKED
    sts = sts_of(told_sts) if told_sts is not None and names.mx_host else None
    miss_tlsa = rule.looks_up_tlsa and not asked_tlsa and not names.literal
    miss_sts = rule.looks_up_sts and bool(names.mx_host) and told_sts is None
    judged = names.mx_secure or names.mx_judged or facts["tlsa"]["state"] != NOT_ASKED
    unsure = bool(names.mx_host) and not judged and wants_dnssec(trial.document, trial.destinations)
    if not trial.document.dns.validate_dnssec:
        names = replace(names, mx_signed=False, mx_secure=False)
    elif own is None and names.mx_host:
        names, unsure = _led_elsewhere(hosts, names, domain)
    if not (miss_tlsa or miss_sts or unsure):
        return _Known(names, tlsa, sts, unsure=False, today=False)
    answer = trial.answers.get((domain, row.host, row.address, row.port))
    if answer is None:
        if miss_tlsa:
            return Doubt.NO_TLSA
        return Doubt.NO_STS if miss_sts else _Known(names, tlsa, sts, unsure=unsure, today=False)
    return _Known(
        answer.names,
        answer.tlsa if miss_tlsa else tlsa,
        answer.sts if miss_sts else sts,
        unsure=False,
        today=True,
    )


def _led_elsewhere(hosts: Hosts, names: HopNames, domain: str) -> tuple[HopNames, bool]:
    """The names by which another destination came to the host, for this one; and whether that leaves in doubt if the way is signed.

    That signed DNS leads another destination to the host says nothing of this one; how this one led to its other hosts does.
    """
    way = hosts.led(domain)
    if way is None:
        return replace(names, mx_signed=False, mx_secure=False), True
    own = names_of(way.facts["hop"])
    if not own.mx_signed:
        return replace(names, mx_signed=False, mx_secure=False), False
    # The other one's way is secure when its MX records and the host's addresses are signed.
    return replace(names, mx_signed=True), not (names.mx_secure or names.mx_signed)


def _judge(
    trial: Trial,
    hosts: Hosts,
    row: ConnectionRow,
    rule: DestinationRule,
    known: _Known,
    given: Mapping[str, Any],
) -> Verdict:
    plan = plan_tls(
        rule,
        known.names,
        certificate=trial.document.destination_controls.global_.certificate,
        tlsa=known.tlsa,
        sts=known.sts,
        **given,
    )
    facts = _facts(trial, hosts, row, plan)
    if facts is None:
        return Verdict()
    if isinstance(facts, Doubt):
        return Verdict(doubt=facts)
    return Verdict(judge_tls(plan, facts), today=known.today)


def _facts(trial: Trial, hosts: Hosts, row: ConnectionRow, plan: TlsPlan) -> TlsFacts | Doubt | None:
    """What a connection under this plan would have shown; None when it broke before."""
    tls = row.facts["tls"]
    if plan.uncalled:
        return TlsFacts(TlsStage.NOT_TRIED)
    if tls is None:
        return None
    if not row.dcid:  # its own rule forbade the host: others may have called it
        other = hosts.showing_tls(row, plan.sni)
        return _facts_of(trial, other, plan) if other is not None else Doubt.NOT_CALLED
    if not plan.level.tries or plan.deciding.skip_starttls:
        return TlsFacts(TlsStage.NOT_TRIED)
    if not row.facts["esmtp"]:
        return TlsFacts(TlsStage.NO_ESMTP)
    if not row.facts["starttls"]:
        return TlsFacts(TlsStage.NOT_OFFERED)
    if tls["stage"] == TlsStage.NOT_TRIED or tls["sni"] != plan.sni:
        other = hosts.showing_tls(row, plan.sni)
        if other is None:
            return Doubt.NOT_TRIED if tls["stage"] == TlsStage.NOT_TRIED else Doubt.OTHER_NAME
        return _facts_of(trial, other, plan)
    return _facts_of(trial, row, plan)


def _facts_of(trial: Trial, row: ConnectionRow, plan: TlsPlan) -> TlsFacts | Doubt:
    """The facts of a connection on which STARTTLS was sent, or was not to be had."""
    if not plan.level.tries or plan.deciding.skip_starttls:
        return TlsFacts(TlsStage.NOT_TRIED)
    tls = row.facts["tls"]
    stage = TlsStage(tls["stage"])
    if stage is not TlsStage.ESTABLISHED:
        return TlsFacts(stage, error=tls["reason"] if stage is TlsStage.HANDSHAKE_FAILED else "")
    if too_old := older(tls["protocol"], trial.document.tls_settings.outbound.minimum.value):
        return TlsFacts(TlsStage.HANDSHAKE_FAILED, error=f"the host {too_old}")
    chain = trial.chain(tls["chain"])
    seen = Handshake(tls["protocol"], tls["cipher"], tls["group"], chain or ())
    if chain is None and _needs_chain(plan):
        return Doubt.NO_CERTIFICATE
    return server_facts(plan, seen, row.at, trial.judged(tls["chain"], row.at), trial.described)


def _needs_chain(plan: TlsPlan) -> bool:
    return (
        plan.judges_chain
        or plan.records is not None
        or (plan.monitored is not None and _needs_chain(plan.monitored))
    )


def older(spoken: str, minimum: str) -> str:
    """Why a peer that agreed on this version has none in common with us any more; empty when it has."""
    if spoken not in VERSIONS or VERSIONS.index(spoken) >= VERSIONS.index(minimum):
        return ""
    return f"speaks {spoken} at most, and {minimum} is the oldest that is wanted"
