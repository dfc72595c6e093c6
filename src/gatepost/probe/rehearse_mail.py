"""Recorded deliveries under another policy, message by message: would each have passed, and over which host?

A message for one domain is delivered in attempts, an attempt goes over hosts in their order, and the first host that may be used takes the
message. Here the attempts are gone through as they were made: a host that the policy refuses gives way to the next one of the same attempt,
one that broke the handshake lets no later host be taken in clear (R24), and `preferred_clear_after` counts the attempts that ended so. A host
that the recorded attempt did not come to is known when another attempt of those days called it; otherwise there is a doubt.

A message passes when some attempt passes; it fails when every attempt is refused for certain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gatepost.core.tls import TlsOutcome, TlsStage, TlsWishes
from gatepost.policy.destinations import NOTICE_PATH
from gatepost.policy.recorded import names_of
from gatepost.policy.route import FixedHosts, NextHop, Reject, RouteHost, UseAddress, UseDns
from gatepost.policy.tls_out import HopNames
from gatepost.probe.rehearse_facts import Doubt, Hosts, Verdict, try_connection
from gatepost.probe.rehearse_trial import Answers, Memory, Trial
from gatepost.store.records import ConnectionRow, DeliveryRow

DELIVERED = "delivered"


class Fate(StrEnum):
    """What would have become of a message, as far as TLS decides it."""

    PASSES = "passes"
    FAILS = "fails"
    UNKNOWN = "unknown"
    UNREACHED = "unreached"  # no host answered then, whatever the policy


@dataclass(frozen=True, slots=True)
class Refused:
    """One host that the policy refuses: where, why, and the judgement where there is one."""

    row: ConnectionRow | None
    reason: str
    outcome: TlsOutcome | None = None


@dataclass(slots=True)
class Replayed:
    """One message for one domain. `before` is the recorded judgement of its delivery, None where nothing was delivered."""

    mid: int
    domain: str
    sender_domain: str
    recipients: int
    delivered: bool
    at: float
    fate: Fate
    before: dict[str, Any] | None = None
    outcome: TlsOutcome | None = None  # that of the host that takes it
    refused: tuple[Refused, ...] = ()
    doubt: Doubt | None = None
    doubtful: str = ""  # the host in doubt
    today: bool = False


@dataclass(slots=True)
class _Attempt:
    """How one attempt goes. `broken`: a handshake broke; `no_clear`: TLS failed behind the 220, so no later host is taken in clear."""

    domain: str
    wishes: TlsWishes
    passed: Verdict | None = None
    refused: list[Refused] = field(default_factory=list)
    doubt: Doubt | None = None
    doubtful: str = ""
    broken: bool = False
    no_clear: bool = False
    today: bool = False


class Deliveries:
    """The recorded deliveries of some days. `connections` and `deliveries` are in the order of time."""

    def __init__(self, connections: Iterable[ConnectionRow], deliveries: Iterable[DeliveryRow]) -> None:
        self.hosts = Hosts()
        self._by_dcid: dict[int, ConnectionRow] = {}
        self._borrowed: dict[tuple[int, str], list[ConnectionRow]] = {}
        self._attempts: dict[tuple[str, float], list[ConnectionRow]] = {}
        self._of_domain: dict[str, list[list[ConnectionRow]]] = {}
        for row in connections:
            self.hosts.add(row)
            if row.facts.get("borrowed"):
                self._borrowed.setdefault((row.dcid, row.domain), []).append(row)
            elif row.dcid:
                self._by_dcid[row.dcid] = row
            attempt = self._attempts.setdefault((row.domain, row.began), [])
            if not attempt:
                self._of_domain.setdefault(row.domain, []).append(attempt)
            attempt.append(row)
        self._tried: Trial | None = None
        self._answers: Answers = {}
        self._attempted: Memory[_Attempt] = Memory()
        self._messages: dict[tuple[int, str], list[DeliveryRow]] = {}
        for delivery in deliveries:
            self._messages.setdefault((delivery.mid, delivery.domain), []).append(delivery)

    def __len__(self) -> int:
        return len(self._messages)

    def replay(self, trial: Trial) -> Iterator[Replayed]:
        """Each message under the policy, in the order in which they were tried first."""
        self._remember_for(trial)
        for rows in self._messages.values():
            yield self._message(trial, rows)

    def _remember_for(self, trial: Trial) -> None:
        """What was worked out holds for one trial; where its answers are others now, not for their domains."""
        if trial is not self._tried:
            self._tried, self._attempted = trial, Memory()
        elif trial.answers is not self._answers:
            changed = {domain for domain, *_ in (*trial.answers, *self._answers)}
            self._attempted.forget(lambda attempt: attempt.domain in changed)
        self._answers = trial.answers

    def _message(self, trial: Trial, rows: Sequence[DeliveryRow]) -> Replayed:
        last = next((row for row in reversed(rows) if row.result == DELIVERED), rows[-1])
        made = Replayed(
            last.mid,
            last.domain,
            last.sender_domain,
            last.recipients,
            last.result == DELIVERED,
            last.at,
            Fate.UNREACHED,
        )
        connection = self._connection(last)
        if made.delivered and connection is not None:
            made.before = connection.facts["tls"]
        broken, wishes = 0, _wishes(last, connection)
        attempts: list[_Attempt] = []
        called: list[ConnectionRow] = []
        for row in rows:
            hops = self._hops(row)
            if hops is None:
                attempts.append(_Attempt(row.domain, wishes, doubt=Doubt.NO_RECORD))
                continue
            if not hops:
                continue  # no host was found at all
            called = hops
            attempt = self._attempt(trial, hops, row.domain, broken, wishes)
            attempts.append(attempt)
            if attempt.passed is not None:
                break
            broken += attempt.broken
        else:
            # Tried again, as the recorded policy had no reason to: in clear in the end, if the rule says so.
            after = trial.destinations.find(last.domain, trial.today).preferred_clear_after
            if called and broken and after is not None:
                attempts.append(self._attempt(trial, called, last.domain, after, wishes))
        _decide(made, attempts)
        return made

    def _hops(self, row: DeliveryRow) -> list[ConnectionRow] | None:
        """The connections of the attempt; none where no host was found, None where they are not recorded any more."""
        if not row.dcid:
            if not row.status[1:].startswith(".7."):
                return []
            attempts = reversed(self._of_domain.get(row.domain, []))
            return next((rows for rows in attempts if rows[0].began <= row.at), [])
        connection = self._connection(row)
        if connection is None:
            return None
        if connection.domain != row.domain:
            return [connection]  # borrowed, when no release told of that
        return self._attempts[connection.domain, connection.began]

    def _connection(self, row: DeliveryRow) -> ConnectionRow | None:
        """How the message came to its connection: as its destination opened it, or borrowed it last."""
        borrowed = self._borrowed.get((row.dcid, row.domain), ())
        before = [one for one in borrowed if one.at <= row.at]
        return before[-1] if before else self._by_dcid.get(row.dcid)

    def _attempt(
        self,
        trial: Trial,
        hops: Sequence[ConnectionRow],
        domain: str,
        broken: int,
        wishes: TlsWishes,
    ) -> _Attempt:
        key = (domain, broken, wishes, *(_likeness(trial, row) for row in hops))
        if (before := self._attempted.get(key)) is not None:
            return before
        made = self._attempted.put(key, _Attempt(domain, wishes))
        for number, row in enumerate(hops):
            again = number + 1 < len(hops) and _same_host(row, hops[number + 1])
            if again and row.facts.get("borrowed"):
                continue  # it was dead already: the next one was made in its place
            self._host(trial, row, domain, made, broken, tried_again=again)
            if made.passed is not None:
                break
        if made.passed is None:
            self._later(trial, hops[-1], domain, made, broken)
        return made

    def _host(
        self,
        trial: Trial,
        row: ConnectionRow,
        domain: str,
        made: _Attempt,
        broken: int,
        *,
        tried_again: bool = False,
    ) -> None:
        """One host in its turn. `tried_again`: without our certificate, which it did not stand; that is the next row."""
        if (elsewhere := _elsewhere(trial.routes.find(domain), names_of(row.facts["hop"]), row)) is not None:
            if isinstance(elsewhere, Doubt):
                _doubt(made, elsewhere, row)
            else:
                made.refused.append(Refused(row, elsewhere))
            return
        if tried_again:
            offers = trial.destinations.find(domain, trial.today).client_certificate
            made.no_clear = made.no_clear or offers
            return
        # Behind a host in doubt a pass in clear would be one too: it may have broken a handshake.
        clear_allowed = not made.no_clear and made.doubt is None
        verdict = try_connection(
            trial,
            self.hosts,
            row,
            domain,
            clear_allowed=clear_allowed,
            broken_attempts=broken,
            wishes=made.wishes,
        )
        if verdict.doubt is not None:
            _doubt(made, verdict.doubt, row)
            return
        outcome = verdict.outcome
        if outcome is None:
            return
        made.today = made.today or verdict.today
        if not outcome.may_pass:
            made.refused.append(Refused(row, outcome.reason, outcome))
            made.broken = made.broken or outcome.facts.stage is TlsStage.HANDSHAKE_FAILED
            made.no_clear = made.no_clear or made.broken
        elif not row.facts["lost"]:
            made.passed = verdict
        else:
            made.no_clear = made.no_clear or outcome.facts.stage is TlsStage.ESTABLISHED

    def _later(self, trial: Trial, last: ConnectionRow, domain: str, made: _Attempt, broken: int) -> None:
        """The hosts that the recorded attempt did not come to."""
        for place in last.facts["later"]:
            row = self.hosts.named(domain, place) or self.hosts.placed(place)
            if row is None:
                if made.doubt is None:
                    made.doubt, made.doubtful = Doubt.NOT_CALLED, place
                continue
            self._host(trial, row, domain, made, broken)
            if made.passed is not None:
                return


def _likeness(trial: Trial, row: ConnectionRow) -> tuple[Any, ...]:
    """What a decision about a connection rests on. Equal facts are one object, which the records that are replayed keep alive."""
    tls = row.facts["tls"]
    epoch = trial.epoch(tls["chain"], row.at) if tls is not None else None
    return id(row.facts), row.domain, row.host, row.address, row.port, bool(row.dcid), epoch


def _wishes(last: DeliveryRow, connection: ConnectionRow | None) -> TlsWishes:
    """What the message asked: as its delivery says, or as the connection was made for it."""
    tls = (connection.facts["tls"] if connection is not None else None) or {}
    in_clear = tls.get("rule") == NOTICE_PATH
    if last.result == DELIVERED:
        return TlsWishes(last.wishes == "requiretls", last.wishes == "tls-optional", in_clear)
    return TlsWishes(bool(tls.get("requiretls")), bool(tls.get("tls_optional")), in_clear)


def _doubt(made: _Attempt, doubt: Doubt, row: ConnectionRow) -> None:
    if made.doubt is None:
        made.doubt, made.doubtful = doubt, row.host


def _same_host(one: ConnectionRow, other: ConnectionRow) -> bool:
    return (one.address, one.port) == (other.address, other.port)


def _decide(made: Replayed, attempts: Sequence[_Attempt]) -> None:
    """The message's fate from that of its attempts."""
    made.today = any(attempt.today for attempt in attempts)
    for attempt in attempts:
        if attempt.passed is not None:
            made.fate, made.outcome = Fate.PASSES, attempt.passed.outcome
            return
    doubtful = next((attempt for attempt in attempts if attempt.doubt is not None), None)
    made.refused = tuple(one for attempt in reversed(attempts) for one in attempt.refused)
    if doubtful is not None:
        made.fate, made.doubt, made.doubtful = Fate.UNKNOWN, doubtful.doubt, doubtful.doubtful
    elif made.refused:
        made.fate = Fate.FAILS


def _elsewhere(route: NextHop, names: HopNames, row: ConnectionRow) -> Doubt | str | None:
    """None when the policy's route leads to this host as it did; why the mail is refused; or a doubt."""
    match route:
        case Reject(reason):
            return reason
        case UseDns():
            same = not names.route_host and not names.literal
        case UseAddress(address):
            same = names.literal and names.domain.startswith("[") and str(address) == row.address
        case FixedHosts(hosts):
            same = any(_leads(host, names, row) for host in hosts)
    return None if same else Doubt.OTHER_ROUTE


def _leads(host: RouteHost, names: HopNames, row: ConnectionRow) -> bool:
    if host.port != row.port:
        return False
    if host.address is not None:
        return names.literal and str(host.address) == row.address
    if host.host != names.route_host:
        return False
    return bool(names.mx_host) is host.mx
