"""What DNS said on the way to the hosts: look-ups with their DNSSEC state, TLSA records, MTA-STS policies, and who is believed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gatepost.config.model import Document
from gatepost.core.reasons import Reason
from gatepost.core.tlsa import TlsaAnswer, TlsaState
from gatepost.net.dns_answer import Mx
from gatepost.net.dns_trust import Validation
from gatepost.net.overheard import LookUp, PolicySeen
from gatepost.policy.destinations import DestinationTable
from gatepost.policy.dnssec import wants_dnssec
from gatepost.probe.tree import Node, moment
from gatepost.wire.mta_sts import StsFault, record_id

_KINDS = {"A": "A/AAAA"}


@dataclass(frozen=True, slots=True)
class ServerView(Node):
    """One name server; `reason` says why it is not believed about DNSSEC."""

    server: str
    believed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Dnssec(Node):
    """Whether anybody is believed about DNSSEC; `reason` says why nobody is."""

    believed: bool
    reason: str
    servers: tuple[ServerView, ...]


@dataclass(frozen=True, slots=True)
class LookUpView(Node):
    """One look-up. `status` is found, no-data, nxdomain or temporary, for TLSA also absent, failed or unavailable.

    `secure`: the answer was validated by a resolver that is believed.
    """

    kind: str
    name: str
    status: str
    values: tuple[str, ...]
    secure: bool
    detail: str


@dataclass(frozen=True, slots=True)
class RecordView(Node):
    """One TLSA record; `unusable` says why SMTP cannot use it."""

    record: str
    unusable: str


@dataclass(frozen=True, slots=True)
class TlsaView(Node):
    """The TLSA records of a host. `base` is the name under which they stand."""

    state: TlsaState
    base: str
    records: tuple[RecordView, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class PolicyView(Node):
    """A domain's MTA-STS policy. `mode` is empty where none counts; `problem` says why, or why the last fetch failed."""

    domain: str
    record: tuple[str, ...]
    mode: str
    hosts: tuple[str, ...]
    max_age: int
    id: str
    fetched: str
    until: str
    problem: str
    problem_code: str = ""


def dnssec(document: Document, destinations: DestinationTable, verdicts: Iterable[Validation]) -> Dnssec:
    """Who is believed, and if nobody, why: the probe's own words."""
    servers = tuple(ServerView(str(one.server), one.validates, one.reason) for one in verdicts)
    believed = any(one.believed for one in servers)
    reason = ""
    if not document.dns.validate_dnssec:
        reason = "dns.validate_dnssec is false"
    elif not servers and not wants_dnssec(document, destinations):
        reason = "no destination verifies or asks for DANE, so no name server was tried"
    elif not servers:
        reason = "no name server has been tried yet"
    elif not believed:
        reason = "; ".join(f"{one.server} {one.reason}" for one in servers)
    return Dnssec(believed, reason, servers)


def look_up_view(look_up: LookUp) -> LookUpView:
    """One question and its answer."""
    answer, kind = look_up.answer, _KINDS.get(look_up.kind, look_up.kind)
    if isinstance(answer, TlsaAnswer):
        values = tuple(record.text() for record in answer.records)
        found = answer.state is TlsaState.FOUND
        return LookUpView(kind, look_up.name, answer.state.value, values, found, answer.detail)
    values = tuple(_value(one) for one in answer.values)
    return LookUpView(kind, look_up.name, answer.status.value, values, answer.secure, answer.detail)


def _value(value: object) -> str:
    return f"{value.preference} {value.host or '.'}" if isinstance(value, Mx) else str(value)


def tlsa_view(answer: TlsaAnswer | None) -> TlsaView | None:
    """The records of a host; None where they were not asked for."""
    if answer is None:
        return None
    records = tuple(RecordView(record.text(), record.unusable) for record in answer.records)
    return TlsaView(answer.state, answer.base, records, answer.detail)


def policy_view(seen: PolicySeen) -> PolicyView:
    """What came of a domain's policy."""
    policy, problem = seen.policy, seen.problem or _record_problem(seen)
    return PolicyView(
        seen.domain,
        seen.record.values,
        policy.mode.value if policy is not None else "",
        policy.hosts if policy is not None else (),
        policy.max_age if policy is not None else 0,
        seen.identifier,
        moment(seen.fetched),
        moment(seen.until),
        str(problem or ""),
        problem.code.value if isinstance(problem, Reason) else "",
    )


def _record_problem(seen: PolicySeen) -> Reason | str:
    """Why the record announces nothing, or nothing that can be read."""
    if seen.record.temporary:
        return f"the record could not be looked up: {seen.record.detail}"
    try:
        found = record_id(seen.record.values)
    except StsFault as fault:
        return fault.reason
    return "" if found is not None or seen.policy is not None else "the domain announces no policy"
