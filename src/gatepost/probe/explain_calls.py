"""What a host showed when it was called: TCP, greeting, ESMTP, STARTTLS, session, chain, names, and the verdict, which is `judge_tls`'s."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gatepost.core.reply import Reply
from gatepost.core.tls import PeerCertificate, TlsOutcome
from gatepost.net.trail import Call, Trail
from gatepost.pki.doctor import Diagnosis
from gatepost.pki.judge import ChainVerdict
from gatepost.policy.monitor import monitoring
from gatepost.policy.tls_out import verification_text
from gatepost.probe.tree import Node, moment
from gatepost.wire.client_events import HelloDone

MAX_SHOWN = 10  # certificates of a chain, names of a certificate


@dataclass(frozen=True, slots=True)
class Looked:
    """What judge and doctor say of a chain."""

    verdict: ChainVerdict
    diagnosis: Diagnosis


Look = Callable[[Sequence[bytes]], Looked]
"""Looks at a chain as the delivery's judge does: the same authorities, revocation lists and moment."""


@dataclass(frozen=True, slots=True)
class FindingView(Node):
    """One thing that is to be said of a chain; `severity` is error, warning or info."""

    code: str
    severity: str
    text: str


@dataclass(frozen=True, slots=True)
class CertificateView(Node):
    """One certificate as it was sent; `problems` are those of the judge."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_after: str
    sha256: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChainView(Node):
    """The chain. `trusted`: it leads to a trusted authority and is in order; else `problem` says why not, whether the level asks or not."""

    trusted: bool
    problem: str
    certificates: tuple[CertificateView, ...]
    findings: tuple[FindingView, ...]


@dataclass(frozen=True, slots=True)
class NameView(Node):
    """A name that was tried; `matched` is the certificate's name that it matched, or empty."""

    name: str
    source: str
    matched: str


@dataclass(frozen=True, slots=True)
class Session(Node):
    """An established TLS session. `certificate_asked`: the host asked for ours, and `certificate_shown` names what it got."""

    protocol: str
    cipher: str
    group: str
    sni: str
    certificate_asked: bool
    certificate_shown: str
    chain: ChainView
    names: tuple[NameView, ...]
    dane_match: str
    dane_problem: str


@dataclass(frozen=True, slots=True)
class MonitorVerdict(Node):
    """What a rule in monitor mode would have done: `would` is pass, refuse or untold."""

    rule: str
    level: str
    would: str
    reason: str
    reason_code: str = ""


@dataclass(frozen=True, slots=True)
class Verdict(Node):
    """What `judge_tls` said. `verdict` is clear, encrypted, verified or refused; `verified` is as the log has it behind that word."""

    verdict: str
    reason: str
    verified: str
    note: str
    monitor: MonitorVerdict | None = None
    reason_code: str = ""
    note_code: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionView(Node):
    """One connection, step by step. `source` is our own address, empty where none came up; `esmtp` and `starttls` are null before EHLO."""

    source: str
    greeting: str
    hello: str
    esmtp: bool | None
    starttls_offered: bool | None
    starttls: str
    session: Session | None
    hello_inside: str
    broken: str
    outcome: Verdict | None


@dataclass(frozen=True, slots=True)
class CallView(Node):
    """One address that was called. `passes`: a message would have gone; else `failure` is what it would be put off with.

    `skipped` says why nothing can be told. `clear_allowed` false: a handshake broke before, so that this host had to speak TLS.
    """

    passes: bool
    failure: str
    status: str
    skipped: str
    clear_allowed: bool
    connections: tuple[ConnectionView, ...]


def call_view(call: Call, look: Look) -> CallView:
    """What came of one call."""
    connections = tuple(_connection(trail, look) for trail in call.trails)
    return CallView(call.passes, call.failure, call.status, call.skipped, call.clear_allowed, connections)


def _connection(trail: Trail, look: Look) -> ConnectionView:
    capabilities = trail.hello.capabilities if trail.hello is not None else None
    return ConnectionView(
        trail.local,
        _said(trail.greeting),
        _hello(trail.hello),
        capabilities.esmtp if capabilities is not None else None,
        capabilities.starttls if capabilities is not None else None,
        _said(trail.starttls),
        _session(trail, look),
        _hello(trail.hello_inside),
        trail.broken,
        _verdict(trail.outcome) if trail.outcome is not None else None,
    )


def _said(reply: Reply | None) -> str:
    return f"{reply.code} {reply.text}" if reply is not None else ""


def _hello(done: HelloDone | None) -> str:
    """The first line of the answer: the others are the extensions."""
    return f"{done.reply.code} {done.reply.lines[0]}" if done is not None else ""


def _verdict(outcome: TlsOutcome) -> Verdict:
    seen = monitoring(outcome)
    monitor = None
    if seen is not None:
        monitor = MonitorVerdict(seen.rule, seen.wanted, seen.would.value, seen.reason, seen.code)
    return Verdict(
        outcome.verdict.value,
        outcome.reason,
        verification_text(outcome),
        outcome.note,
        monitor,
        outcome.why.code.value if outcome.why is not None else "",
        outcome.noted.code.value if outcome.noted is not None else "",
    )


def _session(trail: Trail, look: Look) -> Session | None:
    session, outcome = trail.session, trail.outcome
    if session is None:
        return None
    facts = outcome.facts if outcome is not None else None
    match = facts.match if facts is not None else None
    names = tuple(
        NameView(
            name.name,
            name.source.value,
            match.presented if match is not None and match.reference == name else "",
        )
        for name in trail.plan.names
    )
    return Session(
        session.protocol,
        session.cipher,
        session.group,
        trail.plan.sni,
        session.certificate_requested,
        trail.plan.certificate if session.certificate_requested else "",
        _chain(session.peer_chain, look),
        names,
        facts.dane_match if facts is not None else "",
        str(facts.dane_problem or "") if facts is not None else "",
    )


def _chain(sent: Sequence[bytes], look: Look) -> ChainView:
    looked = look(sent)
    verdict = looked.verdict
    worst = verdict.worst
    problems: dict[int, list[str]] = {}
    for found in verdict.findings:
        problems.setdefault(found.depth, []).append(found.text)
    return ChainView(
        verdict.ok,
        worst.text if worst is not None else "",
        tuple(
            _certificate(one, problems.get(depth, ()))
            for depth, one in enumerate(verdict.presented[:MAX_SHOWN])
        ),
        tuple(FindingView(note.code, note.severity, note.text) for note in looked.diagnosis.findings),
    )


def _certificate(one: PeerCertificate, problems: Iterable[str]) -> CertificateView:
    return CertificateView(
        one.subject,
        one.issuer,
        one.names[:MAX_SHOWN],
        moment(one.not_after),
        one.fingerprint,
        tuple(dict.fromkeys(problems)),
    )
