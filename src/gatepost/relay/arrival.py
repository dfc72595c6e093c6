"""Before a session may speak: its places under the connection limits, and the name and the score of its peer.

How it works. The look-ups take at most 2 s, are cached and shared (reference/mail-log), and a flood of connections must not
wait there beyond the limits (C27). So the listener's place is taken before anything is asked. Those of one address that
are still being looked up are counted too: with its sessions they may be as many as the most generous policy allows that the
address may come to. When name and score have chosen the policy, the address's place is taken under that policy's limit.
A connection without a place is decided by what is known without asking, and told so at once. A peer that leaves ends the
look-ups made for it alone, and its session.

Places are counted over all workers, those of an address by listener (an IPv6 peer's /64 as one). Who is refused gives them back
and has one of a few others while it is told so and says QUIT; without one it is told and cut off.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass, replace

from gatepost.core.address import IPAddress
from gatepost.core.events import ConnectionAdmitted, ConnectionOpened, Warned
from gatepost.core.reply import Reply
from gatepost.net.dns_answer import HostName, NoName, PtrAnswer, Undetermined
from gatepost.net.errors import StreamLost
from gatepost.net.leaving import unless_gone
from gatepost.net.stream import Stream
from gatepost.policy.admit import Admission, ListenerRules, admit, network_of
from gatepost.policy.arriving import may_come_to, most_connections, refused_unseen
from gatepost.policy.hat import NameState, NoScore, PeerName, Score
from gatepost.policy.reputation import NOT_ENABLED, ScoreRules, Standing, score_text, standing_record
from gatepost.relay.services import Services
from gatepost.store.limits import Kind

TOO_MANY = Reply(421, "4.7.0", ("Too many connections from your address, please try again later",))
BUSY = Reply(421, "4.3.2", ("Too many connections, please try again later",))

MOST_TURNED_AWAY = 500  # of a listener, at a time: those that are told why and have not gone yet

NOT_ASKED = Undetermined("reverse look-ups are off")
NOT_TOLD = Undetermined("nobody was asked")
NO_STANDING = Standing(NoScore.NONE, note="nobody was asked")


@dataclass(frozen=True, slots=True)
class Arrived:
    """A connection that may be decided about. With `refusal` there was no place to find out who it is.

    `certain` is False when its name or its score might have changed the decision. `gone`: the peer left meanwhile.
    """

    host: PtrAnswer = NOT_TOLD
    standing: Standing = NO_STANDING
    refusal: Reply | None = None
    certain: bool = True
    gone: bool = False


async def arrive(
    services: Services, scores: ScoreRules, rules: ListenerRules, stream: Stream, places: Places
) -> Arrived:
    """Take the places that can be taken now, and find out who the peer is; at once where that is known."""
    peer = ipaddress.ip_address(stream.peer.host)
    host = services.resolver.known_name(peer) if rules.reverse else NOT_ASKED
    standing = services.scores.known(scores, peer) if scores.asked else NOT_ENABLED
    entered = places.enter(rules)
    if host is not None and standing is not None:
        return Arrived(host, standing)
    unseen = Arrived(host or NOT_TOLD, standing or NO_STANDING)
    policies = may_come_to(rules, peer, scored=scores.asked)
    if not scores.asked and refused_unseen(policies):
        return unseen
    refusal = BUSY
    if entered:
        if places.wait(rules, network_of(peer), most_connections(policies)):
            try:
                return Arrived(*await unless_gone(stream, learn(services, scores, rules, peer)))
            except StreamLost:
                return replace(unseen, gone=True)
        refusal = TOO_MANY
    return replace(unseen, refusal=refusal, certain=len(policies) <= 1)


async def look_up(services: Services, rules: ListenerRules, peer: IPAddress) -> PtrAnswer:
    """The confirmed name of the peer, or why there is none."""
    return await services.resolver.ptr_confirmed(peer) if rules.reverse else NOT_ASKED


async def learn(
    services: Services, scores: ScoreRules, rules: ListenerRules, peer: IPAddress
) -> tuple[PtrAnswer, Standing]:
    """Name and score of the peer, looked up side by side where scores are wanted."""
    if not scores.asked:
        return await look_up(services, rules, peer), NOT_ENABLED
    host, standing = await asyncio.gather(
        look_up(services, rules, peer), services.scores.standing(services.resolver, scores, peer)
    )
    for text in services.scores.complaints(standing):
        services.journal.emit(Warned(services.clock.now(), text))
    return host, standing


def name_of(answer: PtrAnswer) -> PeerName:
    """The answer as the HAT takes it."""
    match answer:
        case HostName(name):
            return name
        case NoName():
            return NameState.NONE
        case Undetermined():
            return NameState.UNDETERMINED


def admission_of(
    services: Services, rules: ListenerRules, peer: str, name: PeerName, score: Score
) -> Admission:
    """The HAT's decision; the same peer under the same rules is decided once while it is remembered."""
    key = (id(rules), peer, name, score)
    known = services.admissions.get(key)
    if known is not None and known[0] is rules:
        return known[1]
    admission = admit(rules, ipaddress.ip_address(peer), name, score)
    services.admissions.put(key, (rules, admission))
    return admission


def opened_event(
    at: float, icid: int, rules: ListenerRules, stream: Stream, host: PtrAnswer
) -> ConnectionOpened:
    """The line `New SMTP ICID`."""
    match host:
        case HostName(name):
            shown, verified = name, "yes"
        case NoName():
            shown, verified = "unknown", "no"
        case Undetermined():
            shown, verified = "unknown", "None"
    local, peer = stream.local.host, stream.peer.host
    return ConnectionOpened(at, icid, rules.interface, local, peer, shown, verified, rules.name)


def admitted_event(
    at: float, icid: int, admission: Admission, standing: Standing = NOT_ENABLED
) -> ConnectionAdmitted:
    """The line of the HAT's decision, for the JSON log with what each list said."""
    policy = admission.policy
    return ConnectionAdmitted(
        at,
        icid,
        admission.action.value,
        admission.group,
        admission.match,
        score_text(admission.score),
        policy.name if policy is not None else "",
        standing_record(standing) if standing.answers else None,
        policy.tls.value if policy is not None else "",
    )


class Places:
    """What one session takes of the connection limits."""

    __slots__ = ("_claims", "_services")

    def __init__(self, services: Services) -> None:
        self._services = services
        self._claims: list[tuple[Kind, str]] = []

    def enter(self, rules: ListenerRules) -> bool:
        """A place of the listener, before anything is known of the peer."""
        return self._claim(Kind.LISTENER, rules.name, rules.max_connections)

    def wait(self, rules: ListenerRules, network: str, most: int) -> bool:
        """A place to wait for the look-ups: with the sessions of the address there may be `most`."""
        key, limits = f"{rules.name}/{network}", self._services.limits
        if not self._claim(Kind.ARRIVING, key, most):
            return False
        # In this order: one that becomes a session meanwhile is counted twice, not missed.
        arriving = limits.in_use(Kind.ARRIVING, key)
        if arriving + limits.in_use(Kind.LISTENER_ADDRESS, key) <= most:
            return True
        limits.release(*self._claims.pop())
        return False

    def take(self, rules: ListenerRules, admission: Admission) -> Reply | None:
        """A place of the address under the policy that it came to; the refusal when a limit is reached."""
        assert admission.policy is not None
        if (Kind.LISTENER, rules.name) not in self._claims:
            return BUSY
        key = f"{rules.name}/{admission.network}"
        taken = self._claim(Kind.LISTENER_ADDRESS, key, admission.policy.max_connections_per_ip)
        if (Kind.ARRIVING, key) in self._claims:
            self._claims.remove((Kind.ARRIVING, key))
            self._services.limits.release(Kind.ARRIVING, key)
        return None if taken else TOO_MANY

    def turn_away(self, rules: ListenerRules) -> bool:
        """Give back what it has, for one of the few places of those who are told why. False when none is left."""
        self.give_back()
        return self._claim(Kind.TURNED_AWAY, rules.name, MOST_TURNED_AWAY)

    def _claim(self, kind: Kind, key: str, limit: int) -> bool:
        if not self._services.limits.acquire(kind, key, limit):
            return False
        self._claims.append((kind, key))
        return True

    def give_back(self) -> None:
        for kind, key in self._claims:
            self._services.limits.release(kind, key)
        self._claims.clear()
