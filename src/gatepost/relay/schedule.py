"""Which recipients are due, and how many connections a destination gets.

The scheduler holds every message of the worker's shards in memory (the spool holds it on disk) and sorts
waiting recipients by destination, the domain of the recipient. A recipient that is due stands in its destination's
ready queue; one that is not waits in a heap by time. For each destination, `couriers` (tasks, see
`courier.py`) take from the ready queue; their number follows the queue, up to the destination's connection
limit, which counts over all workers (`store.limits`).

State changes here contain no await. Whatever a courier has taken it gives back by `settled`; a message
is in the ready queues or the heap, or with couriers, never in two places for the same recipient.

Messages that were being worked on when a worker crashed ("suspects", architecture 5 Poison) are tried one
at a time, after everything else could start, so that a second crash points at one message.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from gatepost.config.values import limit_number
from gatepost.policy.hop import Hop
from gatepost.policy.tls_out import DestinationRule
from gatepost.relay.outcome import Due
from gatepost.relay.services import Runtime, Services
from gatepost.store.limits import Kind
from gatepost.store.spool import RecipientState, StoredMessage

if TYPE_CHECKING:
    from gatepost.relay.deliver import Connection

EASY_COURIERS = 4  # connections that a destination gets before its queue must be longer than their number
ALL = "all"  # the key under which all delivery connections are counted
STARVED_RETRY = 0.1  # seconds between looks when other workers hold all of a destination's connections


class Destination:
    """One recipient domain: its ready queue, its couriers, and its idle connections.

    Each courier, and each connection that is idle or closing, holds one claim on the destination's connection limit.
    """

    __slots__ = (
        "active",
        "closing",
        "domain",
        "hops",
        "hops_of",
        "hops_until",
        "idle",
        "ready",
        "rule",
        "rule_of",
        "starved",
    )

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.ready: deque[Due] = deque()
        self.idle: list[Connection] = []
        self.active = 0
        self.closing = 0
        self.starved: asyncio.TimerHandle | None = None
        self.rule: DestinationRule | None = None
        self.rule_of: Runtime | None = None
        self.hops: list[Hop] | None = None
        self.hops_of: Runtime | None = None
        self.hops_until = 0.0

    def take(self, like: Due | None = None) -> Due | None:
        """The next due, or the next that fares `like` another; those that were withdrawn meanwhile are dropped."""
        passed: list[Due] = []
        found: Due | None = None
        while self.ready and found is None:
            due = self.ready.popleft()
            if due.withdrawn:
                continue
            if like is None or due.fares_like(like):
                found = due
                due.taken = True
            else:
                passed.append(due)
        if passed:
            self.ready.extendleft(reversed(passed))
        return found

    @property
    def quiet(self) -> bool:
        """Nothing is known or held of this destination that is worth keeping."""
        return not (self.ready or self.idle or self.active or self.closing or self.starved)


StartCourier = Callable[[Destination, Due, "Connection | None"], None]


class Scheduler:
    """The queue of one worker."""

    def __init__(self, services: Services, start_courier: StartCourier) -> None:
        self._services = services
        self._start_courier = start_courier
        self._loop = asyncio.get_running_loop()
        self.messages: dict[int, StoredMessage] = {}
        self.own: set[int] = set()  # MIDs of our own mail
        self.destinations: dict[str, Destination] = {}
        self._waiting: list[tuple[float, int, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._out: dict[int, list[Due]] = {}  # mid -> dues with couriers or in ready queues
        self._suspects: deque[StoredMessage] = deque()
        self._suspect: StoredMessage | None = None
        self._reserved: set[int] = set()
        self.stopping = False

    # --- adding ------------------------------------------------------------------------------

    def add(self, message: StoredMessage) -> None:
        """A message that has just been committed, or was found in the spool at start."""
        self.messages[message.mid] = message
        if message.kind.urgent:
            self.own.add(message.mid)
        if not message.held:
            self._place(message)

    def _place(self, message: StoredMessage) -> None:
        if message.crashes:
            self._suspects.append(message)
            self._next_suspect()
        else:
            self._plan(message)

    def _next_suspect(self) -> None:
        """Let one suspect out. One that waits for a later time lets the next one go first."""
        while self._suspect is None and self._suspects:
            message = self._suspects.popleft()
            self._suspect = message
            self._plan(message)
            if message.mid not in self._out and self._suspect is message:
                self._suspect = None

    def _plan(self, message: StoredMessage) -> None:
        """Put every waiting recipient where it belongs: a ready queue, or the heap."""
        if len(message.progress) == 1:  # the usual case, without the grouping
            if message.progress[0].state is not RecipientState.WAITING:
                return
            self._enlist(message, message.envelope.recipients[0].address.domain, [0])
            return
        groups: dict[str, list[int]] = {}
        for rid, progress in enumerate(message.progress):
            if progress.state is RecipientState.WAITING:
                groups.setdefault(message.envelope.recipients[rid].address.domain, []).append(rid)
        for domain, rids in groups.items():
            self._enlist(message, domain, rids)

    def _enlist(self, message: StoredMessage, domain: str, rids: list[int]) -> None:
        at = min(message.progress[rid].next_attempt for rid in rids)
        if at > self._services.clock.now():
            heapq.heappush(self._waiting, (at, message.mid, domain))
            self._arm()
            return
        due = Due(message, domain, rids)
        self._out.setdefault(message.mid, []).append(due)
        destination = self.destinations.get(domain)
        if destination is None:
            destination = self.destinations[domain] = Destination(domain)
        if message.kind.urgent:
            destination.ready.appendleft(due)  # our own mail does not stand in line
        else:
            destination.ready.append(due)
        self.pump(destination)

    # --- time --------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Keep one timer, at the earliest waiting time."""
        if not self._waiting or self.stopping:
            return
        at = self._waiting[0][0]
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.0, at - self._services.clock.now())
        self._timer = self._loop.call_later(delay, self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self._services.clock.now()
        while self._waiting and self._waiting[0][0] <= now:
            _, mid, domain = heapq.heappop(self._waiting)
            self._wake_one(mid, domain, now)
        self._arm()

    def _wake_one(self, mid: int, domain: str, now: float) -> None:
        """An entry of the heap came up; it may be out of date (retried by hand, deleted, held)."""
        message = self.messages.get(mid)
        if message is None or message.held:
            return
        rids, later = [], []
        for rid, progress in enumerate(message.progress):
            if progress.state is not RecipientState.WAITING:
                continue
            if message.envelope.recipients[rid].address.domain == domain:
                if progress.next_attempt <= now:
                    rids.append(rid)
                else:
                    later.append(progress.next_attempt)
        if rids and later:
            heapq.heappush(self._waiting, (min(later), mid, domain))
        out = mid in self._reserved or any(due.domain == domain for due in self._out.get(mid, ()))
        if rids and not out:
            self._enlist(message, domain, rids)

    # --- couriers ----------------------------------------------------------------------------

    def rule(self, destination: Destination) -> DestinationRule:
        """The destination's rule in the configuration in force, looked up once a version."""
        runtime = self._services.runtime
        if destination.rule is None or destination.rule_of is not runtime:
            destination.rule = runtime.destinations.find(destination.domain, self._services.today())
            destination.rule_of = runtime
        return destination.rule

    def pump(self, destination: Destination) -> None:
        """Start couriers while the ready queue asks for more and the limits allow it."""
        while (
            destination.ready
            and not self.stopping
            and (
                destination.active < EASY_COURIERS
                or len(destination.ready) > destination.active
                or destination.ready[0].message.kind.urgent
            )
        ):
            connection = destination.idle.pop() if destination.idle else None
            if connection is None and not self._claim(destination):
                return
            destination.active += 1
            due = destination.take()
            if due is None:
                self.courier_ended(destination, connection)
                return
            self._start_courier(destination, due, connection)

    def _claim(self, destination: Destination) -> bool:
        """One of the destination's connections, counted over all workers. Mail of our own may have one above the limit."""
        limits = self._services.limits
        more = 1 if destination.ready[0].message.kind.urgent else 0
        limit = self.rule(destination).max_connections + more
        if destination.active + destination.closing < limit and limits.acquire(
            Kind.DESTINATION, destination.domain, limit
        ):
            total = limit_number(self._services.runtime.document.delivery.max_connections) + more
            if limits.acquire(Kind.DELIVERY, ALL, total):
                return True
            limits.release(Kind.DESTINATION, destination.domain)
        if destination.active == 0 and destination.starved is None:
            limits.want(Kind.DESTINATION, destination.domain)
            destination.starved = self._loop.call_later(STARVED_RETRY, self._starved, destination)
        return False

    def _unclaim(self, destination: Destination) -> None:
        self._services.limits.release(Kind.DESTINATION, destination.domain)
        self._services.limits.release(Kind.DELIVERY, ALL)

    def _starved(self, destination: Destination) -> None:
        destination.starved = None
        self.pump(destination)
        self._forget(destination)

    def wanted_elsewhere(self, destination: Destination) -> bool:
        """Another worker waits for a connection to this destination."""
        return self._services.limits.wanted(Kind.DESTINATION, destination.domain)

    def courier_ended(self, destination: Destination, connection: Connection | None) -> None:
        """A courier is gone; it leaves its connection idle (and claimed), or none."""
        destination.active -= 1
        if connection is not None:
            destination.idle.append(connection)
        else:
            self._unclaim(destination)
            if destination.ready and destination.active == 0 and self.wanted_elsewhere(destination):
                # Another worker waits for this destination: let it have the place first.
                if destination.starved is None:
                    destination.starved = self._loop.call_later(2 * STARVED_RETRY, self._starved, destination)
                return
        self.pump(destination)
        self._forget(destination)

    def idle_closing(self, connection: Connection) -> None:
        """An idle connection is being closed; its claim stays until `closed`, for the peer still sees it."""
        connection.destination.idle.remove(connection)
        connection.destination.closing += 1

    def closed(self, destination: Destination) -> None:
        """A connection that was closing is gone."""
        destination.closing -= 1
        self._unclaim(destination)
        self.pump(destination)
        self._forget(destination)

    def idle_moved(self, connection: Connection) -> None:
        """An idle connection goes to another destination, which has a claim of its own."""
        destination = connection.destination
        destination.idle.remove(connection)
        self._unclaim(destination)
        self._forget(destination)

    def _forget(self, destination: Destination) -> None:
        if destination.quiet:
            self.destinations.pop(destination.domain, None)

    # --- coming back -------------------------------------------------------------------------

    def settled(self, due: Due) -> None:
        """A courier is done with a due; its message's progress says what became of it."""
        message = due.message
        self._landed(due)
        if all(progress.state is not RecipientState.WAITING for progress in message.progress):
            self._gone(message)
        elif not message.held:
            rids = [rid for rid in due.rids if message.progress[rid].state is RecipientState.WAITING]
            if rids:
                self._enlist(message, due.domain, rids)

    def _landed(self, due: Due) -> None:
        """A due is no longer out; when it was the last one of a suspect, the next suspect may go."""
        message = due.message
        left = self._out.get(message.mid, [])
        if due in left:
            left.remove(due)
        if not left:
            self._out.pop(message.mid, None)
            if self._suspect is message:
                self._suspect = None
                self._next_suspect()

    # --- the administrator -------------------------------------------------------------------

    def in_flight(self, message: StoredMessage) -> bool:
        """True while a courier has recipients of this message (ready ones do not count), or it is reserved."""
        if message.mid in self._reserved:
            return True
        return any(due.taken for due in self._out.get(message.mid, ()))

    def reserve(self, message: StoredMessage) -> None:
        """Withdraw the message and let nobody have it until `replan` or `forget`."""
        self.withdraw(message)
        self._reserved.add(message.mid)

    def withdraw(self, message: StoredMessage) -> None:
        """Take the message out of all ready queues (it is being held, deleted or bounced)."""
        if message in self._suspects:
            self._suspects.remove(message)
        for due in list(self._out.get(message.mid, ())):
            if not due.taken:
                due.withdrawn = True
                self._landed(due)

    def retry(self, message: StoredMessage) -> None:
        """Try all waiting recipients now; the caller has seen that no courier has the message."""
        self.withdraw(message)
        for progress in message.progress:
            progress.next_attempt = 0.0
        self._place(message)

    def replan(self, message: StoredMessage) -> None:
        """Put what is still waiting of a withdrawn message back where it belongs."""
        self._reserved.discard(message.mid)
        if not message.held:
            self._place(message)

    def forget(self, message: StoredMessage) -> None:
        """A withdrawn message of which nothing waits any more."""
        self._reserved.discard(message.mid)
        self._gone(message)

    def _gone(self, message: StoredMessage) -> None:
        self.messages.pop(message.mid, None)
        if message.kind:
            self.own.discard(message.mid)

    def stop(self) -> None:
        """Start nothing more; what is with couriers is theirs to finish or to give back."""
        self.stopping = True
        for handle in (self._timer, *(d.starved for d in self.destinations.values())):
            if handle is not None:
                handle.cancel()
