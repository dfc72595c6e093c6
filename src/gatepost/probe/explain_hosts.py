"""Each host of a destination with what was published about it, the plan that follows, and what that lets pass in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from gatepost.core.tls import DanePlan, ReferenceName, StsPlan, TlsPlan
from gatepost.net.trail import Call
from gatepost.policy.hop import Hop
from gatepost.policy.plan_words import may_pass
from gatepost.probe.explain_calls import CallView, Look, call_view
from gatepost.probe.explain_dns import TlsaView, tlsa_view
from gatepost.probe.tree import Node


@dataclass(frozen=True, slots=True)
class Reference(Node):
    """A name that the certificate may be valid for, and why it is believed: operator, dnssec, mta-sts or insecure-dns."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class DaneView(Node):
    """What the TLSA records ask for; without `records` they ask for TLS only. `domain_proven`: a match speaks for the domain."""

    base: str
    records: tuple[str, ...]
    names: tuple[str, ...]
    domain_proven: bool


@dataclass(frozen=True, slots=True)
class StsView(Node):
    """What the MTA-STS policy asks for; not `enforced` is testing, `listed` says that the policy names the host."""

    domain: str
    host: str
    enforced: bool
    listed: bool


@dataclass(frozen=True, slots=True)
class MonitoredPlan(Node):
    """The plan of a rule in monitor mode: what it would let pass, were it enforced."""

    level: str
    rule: str
    forbidden: str
    may_pass: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanView(Node):
    """The plan of a connection (`core.tls.TlsPlan`); `may_pass` is what it lets pass, in sentences.

    `host_names` are the host's names that were learnt securely, for a message that requires TLS.
    """

    level: str
    rule: str
    mandatory: bool
    forbidden: str
    names: tuple[Reference, ...]
    sni: str
    client_certificate: str
    alert_on_failure: bool
    dane: DaneView | None
    mta_sts: StsView | None
    may_pass: tuple[str, ...]
    monitor: MonitoredPlan | None = None
    requiretls: bool = False
    host_names: tuple[Reference, ...] = ()
    forbidden_code: str = ""


@dataclass(frozen=True, slots=True)
class AddressView(Node):
    """One address of a host, and what it showed when it was called (null unless it was)."""

    address: str
    port: int
    call: CallView | None


@dataclass(frozen=True, slots=True)
class HostView(Node):
    """One host in the order in which it is tried. `source` says who named it: mx, domain, route or address.

    `preference` is that of its MX record; `mx_signed`: the look-up of the MX records was signed; `mx_secure`: its addresses were too.
    `tlsa` is null where the records are not asked for.
    """

    host: str
    source: str
    preference: int | None
    mx_signed: bool
    mx_secure: bool
    tlsa: TlsaView | None
    plan: PlanView
    addresses: tuple[AddressView, ...]


def hosts_view(
    planned: Sequence[tuple[Hop, TlsPlan]],
    calls: Sequence[Call] | None,
    preferences: Mapping[tuple[str, str], int],
    look: Look,
) -> tuple[HostView, ...]:
    """The hosts. `calls` are those of the hops in order, if any; `preferences` has the MX records by owner and host."""
    called = calls if calls is not None else (None,) * len(planned)
    rows = [(hop, plan, call) for (hop, plan), call in zip(planned, called, strict=True)]
    found = []
    for _, group in groupby(rows, key=lambda row: (row[0].names, row[0].port, row[1])):
        same = list(group)
        hop, plan, _ = same[0]
        preference = preferences.get((hop.names.route_host or hop.names.domain, hop.names.mx_host))
        found.append(
            HostView(
                hop.host,
                _source(hop, preference),
                preference,
                hop.names.mx_signed,
                hop.names.mx_secure,
                tlsa_view(hop.tlsa),
                plan_view(plan),
                tuple(_address(one, call, look) for one, _, call in same),
            )
        )
    return tuple(found)


def _address(hop: Hop, call: Call | None, look: Look) -> AddressView:
    return AddressView(str(hop.address), hop.port, call_view(call, look) if call is not None else None)


def _source(hop: Hop, preference: int | None) -> str:
    if hop.names.literal:
        return "address"
    if not hop.names.mx_host:
        return "route"
    return "mx" if preference is not None else "domain"


def plan_view(plan: TlsPlan) -> PlanView:
    """A plan with its words."""
    unusable = plan.forbidden or plan.returned
    return PlanView(
        plan.level.value,
        plan.rule,
        plan.mandatory,
        str(unusable or ""),
        tuple(_reference(name) for name in plan.names),
        plan.sni,
        plan.certificate,
        plan.alert_on_failure,
        _dane(plan.dane) if plan.dane is not None else None,
        _sts(plan.sts) if plan.sts is not None else None,
        may_pass(plan),
        _monitored(plan.monitored) if plan.monitored is not None else None,
        plan.requiretls,
        tuple(_reference(name) for name in plan.host_names),
        unusable.code.value if unusable is not None else "",
    )


def _monitored(plan: TlsPlan) -> MonitoredPlan:
    return MonitoredPlan(plan.level.value, plan.rule, str(plan.forbidden or ""), may_pass(plan))


def _reference(name: ReferenceName) -> Reference:
    return Reference(name.name, name.source.value)


def _dane(dane: DanePlan) -> DaneView:
    records = tuple(record.text() for record in dane.records)
    return DaneView(dane.base, records, tuple(name.name for name in dane.names), dane.domain_proven)


def _sts(sts: StsPlan) -> StsView:
    return StsView(sts.domain, sts.host.name, sts.enforced, sts.listed)
