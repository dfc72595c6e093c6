"""A courier takes what is ready at one destination through resolve, secure, deliver and settle.

One courier is one task with at most one connection. It starts with one due and, where there is one, an idle
connection of its destination; it ends when nothing is ready any more, and leaves its connection idle for the
next. What fails for a whole destination (no DNS answer, no host reachable) fails everything that stands ready
there, so that a dead destination costs one attempt and not one for each message.

This is one of the named boundaries that catch everything: a bug defers the message with an id that is in the
log, and never loses it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gatepost.core.events import SpoolProblem
from gatepost.policy.hop import Hop
from gatepost.policy.tls_out import DestinationRule
from gatepost.relay.connect import HopFailed, Opener
from gatepost.relay.deliver import Connection, Stale
from gatepost.relay.outcome import Due, Failure, Outcome, Stage, failed, telling
from gatepost.relay.proven_way import resolve_proven
from gatepost.relay.report_mail import ReportMail
from gatepost.relay.resolve import Unresolved, resolve
from gatepost.relay.schedule import Destination, Scheduler
from gatepost.relay.services import Runtime, Services
from gatepost.relay.session_record import Turn, borrowed_session
from gatepost.relay.settle import Settler
from gatepost.relay.tasks import Tasks
from gatepost.store.spool import BodyDamaged, MessageKind

SWEEP = 0.25  # seconds between looks at idle connections
ROUTE_AGE = 60.0  # seconds for which a destination's hops are used without asking again


class Couriers:
    """All couriers of a worker, and the idle connections they leave."""

    def __init__(self, services: Services, reports: ReportMail | None = None) -> None:
        self._services = services
        self.reports = reports
        self._loop = asyncio.get_running_loop()
        self.tasks = Tasks("courier", services.on_bug)
        self._closing = Tasks("closing a connection", services.on_bug)
        self.scheduler = Scheduler(services, self._start)
        self.settler = Settler(services, self.scheduler)
        self._working: set[_Courier] = set()
        self._pool: dict[tuple[Any, ...], list[Connection]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def _start(self, destination: Destination, due: Due, connection: Connection | None) -> None:
        if connection is not None:
            self._unpool(connection)
        self.tasks.spawn(self._run(destination, due, connection))

    async def _run(self, destination: Destination, due: Due, connection: Connection | None) -> None:
        courier = _Courier(self._services, self, destination, due, connection)
        self._working.add(courier)
        left: Connection | None = None
        try:
            left = await courier.work()
        except asyncio.CancelledError:
            courier.cut()
            raise
        finally:
            self._working.discard(courier)
            if left is not None:
                self._to_pool(left)
            self.scheduler.courier_ended(destination, left)

    # --- idle connections --------------------------------------------------------------------

    def _to_pool(self, connection: Connection) -> None:
        connection.idle_since = self._services.clock.monotonic()
        self._pool.setdefault(connection.key, []).append(connection)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    def _unpool(self, connection: Connection) -> None:
        same = self._pool.get(connection.key)
        if same is not None and connection in same:
            same.remove(connection)
            if not same:
                del self._pool[connection.key]

    def borrow(self, key: tuple[Any, ...]) -> Connection | None:
        """An idle connection of another destination that leads to the same hop under the same plan."""
        same = self._pool.get(key)
        if not same:
            return None
        connection = same[-1]
        self._unpool(connection)
        self.scheduler.idle_moved(connection)
        return connection

    def _sweep(self) -> None:
        """Close what has been idle too long, what the peer closed, and what another worker waits for."""
        self._sweeping = None
        now = self._services.clock.monotonic()
        for same in list(self._pool.values()):
            for connection in list(same):
                idle_for = connection.runtime.document.delivery.timeouts.idle
                if (
                    now - connection.idle_since > idle_for
                    or connection.stream.unread
                    or connection.stream.gone
                    or connection.runtime is not self._services.runtime
                    or self.scheduler.wanted_elsewhere(connection.destination)
                ):
                    self._drop_idle(connection)
        if self._pool:
            self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    def _drop_idle(self, connection: Connection) -> None:
        """Close an idle connection in the background: nobody waits for a peer that takes its time."""
        self._unpool(connection)
        self.scheduler.idle_closing(connection)
        self._closing.spawn(self._close(connection))

    async def _close(self, connection: Connection) -> None:
        destination = connection.destination
        try:
            await connection.close()
        finally:
            self.scheduler.closed(destination)

    # --- the end -----------------------------------------------------------------------------

    async def stop(self, seconds: float) -> None:
        """Start nothing new, cut what has not sent its final dot, wait for the others' answers."""
        self.scheduler.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for same in list(self._pool.values()):
            for connection in list(same):
                self._drop_idle(connection)
        for courier in list(self._working):
            courier.stop()
        await self.tasks.wait(seconds)
        await self.tasks.cancel()
        await self._closing.wait(1.0)
        await self._closing.cancel()


class _Courier:
    """One courier's work."""

    def __init__(
        self,
        services: Services,
        couriers: Couriers,
        destination: Destination,
        due: Due,
        connection: Connection | None,
    ) -> None:
        self._services = services
        self._couriers = couriers
        self._destination = destination
        self._due: Due | None = due
        self._connection = connection
        self._task = asyncio.current_task()
        self._stopping = False
        self._settling = False

    def stop(self) -> None:
        """The gateway stops: go on only to read the answer to a final dot, and to write down what it was."""
        self._stopping = True
        owned = self._connection is not None and self._connection.dot_sent
        if self._task is not None and not owned and not self._settling:
            self._task.cancel()

    def cut(self) -> None:
        """The task was cancelled: what was not answered stays queued, as if it had not been tried."""
        self._part_at_once()

    async def work(self) -> Connection | None:
        """Deliver until nothing is ready; returns a connection worth keeping, or None."""
        while self._due is not None:
            try:
                await self._one(self._due)
            except Exception as error:  # noqa: BLE001 - the named boundary: a bug defers, it never loses mail
                await self._bug(self._due, error)
            if self._connection is not None and not self._keeps(self._connection):
                await self._part()
            self._due = None if self._stopping else self._destination.take()
        if self._stopping:
            await self._part()
        return self._connection

    async def _part(self) -> None:
        """Close the connection at hand, and wait for it: its place counts until the peer saw it go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _part_at_once(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _keeps(self, connection: Connection) -> bool:
        """Whether the connection may take another message, or wait for one."""
        if not connection.usable or connection.worn(self._rule().max_messages_per_connection):
            return False
        return connection.runtime is self._services.runtime

    def _rule(self) -> DestinationRule:
        return self._couriers.scheduler.rule(self._destination)

    async def _bug(self, due: Due, error: Exception) -> None:
        """Our own bug: the message is tried again later, or held where even that cannot be written down."""
        reference = self._services.on_bug(f"delivering MID {due.message.mid}", error)
        self._part_at_once()
        text = f"internal error, reference {reference}"
        try:
            await self._settle(due, failed(due, Failure(Stage.SYSTEM, False, (text,))))
        except Exception as again:  # noqa: BLE001 - the same boundary: no report can be made of this message
            reference = self._services.on_bug(f"settling MID {due.message.mid}", again)
            self._couriers.settler.hold(due, f"internal error, reference {reference}")

    # --- one due -----------------------------------------------------------------------------

    async def _one(self, due: Due) -> None:
        """One attempt: on the connection at hand, else on the first hop that works."""
        spool = self._services.spool
        spool.mark_in_work(due.message.mid)
        try:
            if await self._was_report(due):
                return
            outcome = await self._on_hand(due)
            if outcome is None:
                outcome = await self._on_new(due)
        except BodyDamaged as damage:
            self._part_at_once()
            self._services.journal.emit(
                SpoolProblem(self._services.clock.now(), due.message.shard, str(damage), due.message.mid)
            )
            self._couriers.settler.hold(due, f"its stored body is damaged: {damage}")
            return
        finally:
            spool.unmark_in_work(due.message.mid)
        await self._settle(due, outcome)

    async def _was_report(self, due: Due) -> bool:
        """Hand over what is a TLS report for a mailbox of ours; True when nothing is left of the due."""
        reports = self._couriers.reports
        if reports is None or not self._services.runtime.report_mailboxes:
            return False
        taken = await reports.take(due)
        if taken is None:
            return False
        await self._settle(*taken)
        return taken[0] is due

    async def _settle(self, due: Due, outcome: Outcome) -> None:
        self._settling = True
        try:
            await self._couriers.settler.settle(due, outcome)
        finally:
            self._settling = False

    async def _on_hand(
        self, due: Due, hop: Hop | None = None, turn: Turn = Turn(), *, clear_allowed: bool = True
    ) -> Outcome | None:
        """Try the connection that is open; None when there is none that fits, or it was dead.

        `hop` is what led, in its turn, to a connection that another destination left; without it the connection is this destination's own.
        """
        connection = self._connection
        if connection is None:
            return None
        broken = _broken_attempts(due)
        if not connection.fits(due, self._destination, hop, broken, clear_allowed=clear_allowed):
            await self._part()
            return None
        if hop is not None:
            services = self._services
            services.journal.emit(borrowed_session(services, self._rule(), hop, connection, turn))
        try:
            return await connection.send(due)
        except Stale:
            self._part_at_once()
            return None

    async def _on_new(self, due: Due) -> Outcome:
        """Try the hops in order. What fails for all of them fails all that is ready at the destination and asks the same of TLS."""
        runtime = self._services.runtime
        try:
            hops = await self._hops(runtime, due)
        except Unresolved as error:
            return await self._all_fail(due, failed(due, error.failure))
        clear_allowed, began = True, self._services.clock.now()
        last: Outcome | None = None
        for number, hop in enumerate(hops, 1):
            await self._part()
            try:
                turn = Turn(began, hops[number:], due.message.kind is MessageKind.REPORT)
                outcome = await self._on_hop(runtime, hop, due, turn, clear_allowed=clear_allowed)
            except HopFailed as error:
                clear_allowed = clear_allowed and not error.handshake_broken
                last = _telling(due, last, failed(due, error.failure, error.dcid))
                continue
            if not outcome.elsewhere:
                return outcome
            last = _telling(due, last, outcome)
        nowhere = Failure(Stage.HOST, False, ("no host to deliver to",))
        return await self._all_fail(due, last or failed(due, nowhere))

    async def _on_hop(
        self, runtime: Runtime, hop: Hop, due: Due, turn: Turn, *, clear_allowed: bool
    ) -> Outcome:
        """Try one address: on an idle connection of another destination, or on a new one. Raises HopFailed."""
        opener = Opener(self._services, runtime, self._destination, self._rule(), hop, turn, due.wishes)
        broken = _broken_attempts(due)
        self._connection = self._couriers.borrow(
            opener.key(clear_allowed=clear_allowed, broken_attempts=broken)
        )
        outcome = await self._on_hand(due, hop, turn, clear_allowed=clear_allowed)
        if outcome is not None:
            return outcome
        self._connection = await opener.open(clear_allowed=clear_allowed, broken_attempts=broken)
        return await self._connection.send(due)

    async def _hops(self, runtime: Runtime, due: Due) -> list[Hop]:
        destination, now = self._destination, self._services.clock.monotonic()
        if due.message.envelope.requiretls:
            return await resolve_proven(self._services, runtime, destination.domain, self._rule())
        if destination.hops is not None and destination.hops_of is runtime and now < destination.hops_until:
            return destination.hops
        destination.hops = await resolve(self._services, runtime, destination.domain, self._rule())
        destination.hops_of = runtime
        destination.hops_until = now + ROUTE_AGE
        return destination.hops

    async def _all_fail(self, due: Due, outcome: Outcome) -> Outcome:
        """The destination is out of reach: all that stands ready there, and asks the same of TLS, shares the failure."""
        failure = outcome.failures[due.rids[0]]
        self._destination.hops = None
        while (other := self._destination.take(like=due)) is not None:
            if await self._was_report(other):
                continue
            await self._settle(other, failed(other, failure, outcome.dcid))
        return outcome


def _broken_attempts(due: Due) -> int:
    """How many earlier attempts of these recipients ended with a broken handshake."""
    return min(due.message.progress[rid].broken for rid in due.rids)


def _telling(due: Due, known: Outcome | None, other: Outcome) -> Outcome:
    """Of two hosts' outcomes the one to report."""
    if known is None:
        return other
    first, second = known.failures[due.rids[0]], other.failures[due.rids[0]]
    return known if telling(first, second) is first else other
