"""Before a session may speak: the name and the score of its peer, and its places under the connection limits.

Reverse look-ups take at most 2 s, are cached and shared (reference/mail-log). Places are counted over all workers,
for the listener as a whole and for the peer's address (an IPv6 peer's /64).
"""

from __future__ import annotations

import asyncio
import ipaddress

from gatepost.core.events import ConnectionAdmitted, ConnectionOpened, Warned
from gatepost.core.reply import Reply
from gatepost.net.dns_answer import HostName, NoName, PtrAnswer, Undetermined
from gatepost.net.stream import Stream
from gatepost.policy.admit import Admission, ListenerRules, admit
from gatepost.policy.hat import NameState, PeerName, Score
from gatepost.policy.reputation import NOT_ENABLED, ScoreRules, Standing, score_text, standing_record
from gatepost.relay.services import Services
from gatepost.store.limits import Kind

TOO_MANY = Reply(421, "4.7.0", ("Too many connections from your address, please try again later",))
BUSY = Reply(421, "4.3.2", ("Too many connections, please try again later",))

NOT_ASKED = Undetermined("reverse look-ups are off")


async def look_up(services: Services, rules: ListenerRules, peer: str) -> PtrAnswer:
    """The confirmed name of the peer, or why there is none."""
    return await services.resolver.ptr_confirmed(ipaddress.ip_address(peer)) if rules.reverse else NOT_ASKED


async def learn(
    services: Services, scores: ScoreRules, rules: ListenerRules, peer: str
) -> tuple[PtrAnswer, Standing]:
    """Name and score of the peer, looked up side by side where scores are wanted."""
    if not scores.asked:
        return await look_up(services, rules, peer), NOT_ENABLED
    standing = services.scores.begin(services.resolver, scores, ipaddress.ip_address(peer))
    host = await look_up(services, rules, peer)
    if isinstance(standing, Standing):
        return host, standing
    found = await asyncio.shield(standing)
    for text in services.scores.complaints(found):
        services.journal.emit(Warned(services.clock.now(), text))
    return host, found


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

    def take(self, rules: ListenerRules, admission: Admission) -> Reply | None:
        """Take a place of the listener and one of the address; the refusal when one of them is used up.

        A connection that may do nothing (no policy) needs none: it is told so and soon ends.
        """
        if admission.policy is None:
            return None
        limit = admission.policy.max_connections_per_ip
        if not self._claim(Kind.LISTENER, rules.name, rules.max_connections):
            return BUSY
        if not self._claim(Kind.LISTENER_ADDRESS, f"{rules.name}/{admission.network}", limit):
            return TOO_MANY
        return None

    def _claim(self, kind: Kind, key: str, limit: int) -> bool:
        if not self._services.limits.acquire(kind, key, limit):
            return False
        self._claims.append((kind, key))
        return True

    def give_back(self) -> None:
        for kind, key in self._claims:
            self._services.limits.release(kind, key)
        self._claims.clear()
