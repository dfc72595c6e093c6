"""Why mail for a domain goes where it goes, and under which TLS: the tree of decisions, from what the delivery's own steps found.

How it works. Somebody else walks (`relay.walk`): resolves, plans, and calls the hosts if that was asked for. What was found is given
here as values of the lower rooms, and becomes one tree that reads from the top: the configuration's rules, what DNS said, each host with its plan,
what it showed, and what would become of a message. Nothing is decided on the way: plans are `plan_tls`'s, outcomes `judge_tls`'s, chains the judge's.

Without a walk (a stopped gateway) the tree has its first branch only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.core.tls import TlsPlan
from gatepost.net.dns_answer import DnsAnswer, Mx
from gatepost.net.dns_trust import Validation
from gatepost.net.overheard import LookUp, PolicySeen
from gatepost.net.trail import Call
from gatepost.policy.hop import Hop, LeftOut
from gatepost.probe.explain_calls import Look
from gatepost.probe.explain_dns import Dnssec, LookUpView, PolicyView, dnssec, look_up_view, policy_view
from gatepost.probe.explain_hosts import HostView, hosts_view
from gatepost.probe.explain_rules import Rules, Tables, rules_for
from gatepost.probe.tree import Node
from gatepost.wire.smtp_syntax import parse_domain, parse_path


@dataclass(frozen=True, slots=True)
class Walked:
    """What a walk found. `planned` are the hops in order; `failure` says why there is none, `calls` are None where none were asked for."""

    planned: Sequence[tuple[Hop, TlsPlan]]
    look_ups: Sequence[LookUp]
    policies: Sequence[PolicySeen]
    left_out: Sequence[LeftOut]
    verdicts: Sequence[Validation]
    failure: str = ""
    status: str = ""
    permanent: bool = False
    calls: Sequence[Call] | None = None
    calls_failure: str = ""
    calls_status: str = ""


@dataclass(frozen=True, slots=True)
class LeftOutView(Node):
    """A host or address that DNS names and that is not called."""

    host: str
    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class Result(Node):
    """What would become of a message. `result` is deliverable, bounce, delay, or unknown where nothing was called.

    `host` and `address` are where it would go; `failure` and `status` why it would not.
    """

    result: str
    host: str
    address: str
    verdict: str
    reason: str
    failure: str
    status: str


@dataclass(frozen=True, slots=True)
class Delivery(Node):
    """The branches that need a running gateway."""

    dnssec: Dnssec
    look_ups: tuple[LookUpView, ...]
    policies: tuple[PolicyView, ...]
    left_out: tuple[LeftOutView, ...]
    hosts: tuple[HostView, ...]
    result: Result


@dataclass(frozen=True, slots=True)
class Explanation(Node):
    """The tree. `delivery` is null where the gateway does not run; `notes` are what differs from a delivery.

    `requiretls`: it is about a message with REQUIRETLS.
    """

    domain: str
    version: int
    pending: bool
    live: bool
    rules: Rules
    delivery: Delivery | None
    notes: tuple[str, ...] = ()
    requiretls: bool = False


def recipient_domain(text: str) -> str:
    """The domain of `user@domain`, of a domain or of an address literal, as RCPT takes it. Raises SyntaxFault."""
    octets = text.strip().encode("utf-8", "surrogatepass")
    if b"@" in octets:
        return parse_path(b"<" + octets + b">", allow_utf8=True, allow_null=False).domain
    return parse_domain(octets)


def delivery_view(tables: Tables, walked: Walked, look: Look) -> Delivery:
    """The branches of a walk."""
    return Delivery(
        dnssec(tables.document, tables.destinations, walked.verdicts),
        tuple(look_up_view(one) for one in walked.look_ups),
        tuple(policy_view(one) for one in walked.policies),
        tuple(LeftOutView(one.host, one.address, one.reason) for one in walked.left_out),
        hosts_view(walked.planned, walked.calls, _preferences(walked.look_ups), look),
        _result(walked),
    )


def explain(
    tables: Tables,
    domain: str,
    *,
    version: int,
    pending: bool = False,
    live: bool = False,
    delivery: Delivery | None = None,
    notes: Sequence[str] = (),
    requiretls: bool = False,
) -> Explanation:
    """The whole tree for a recipient domain in its normalised form."""
    rules = rules_for(tables, domain)
    return Explanation(domain, version, pending, live, rules, delivery, tuple(notes), requiretls)


def _preferences(look_ups: Sequence[LookUp]) -> dict[tuple[str, str], int]:
    """The preference of each MX record, by the name that was asked for and the host; the best of several."""
    found: dict[tuple[str, str], int] = {}
    for one in look_ups:
        for value in one.answer.values if isinstance(one.answer, DnsAnswer) else ():
            if isinstance(value, Mx):
                found.setdefault((one.name, value.host), value.preference)
    return found


def _result(walked: Walked) -> Result:
    if not walked.planned:
        kind = "bounce" if walked.permanent else "delay"
        return Result(kind, "", "", "", "", walked.failure, walked.status)
    if walked.calls is None:
        return Result("unknown", "", "", "", "", "", "")
    for (hop, _), call in zip(walked.planned, walked.calls, strict=True):
        outcome = call.trails[-1].outcome if call.passes and call.trails else None
        if outcome is not None:
            verdict = outcome.verdict.value
            return Result("deliverable", hop.host, str(hop.address), verdict, outcome.reason, "", "")
    kind = "bounce" if walked.calls_status.startswith("5") else "delay"
    return Result(kind, "", "", "", "", walked.calls_failure, walked.calls_status)
