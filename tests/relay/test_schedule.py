"""The queue with a fake clock, fake limits and couriers that the test plays itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from tests.fakes.time_travel import FakeClock, run

from gatepost.core.address import Address
from gatepost.core.envelope import Envelope, Recipient
from gatepost.core.tls import TlsLevel
from gatepost.policy.destinations import DestinationRule
from gatepost.relay.outcome import Due
from gatepost.relay.schedule import Destination, Scheduler
from gatepost.store.limits import Kind
from gatepost.store.spool import Progress, RecipientState, StoredMessage


@dataclass
class FakeLimits:
    """Implements what the scheduler uses of `LimitTable`; `taken` is what other workers hold."""

    held: dict[tuple[Kind, str], int] = field(default_factory=dict)
    others_want: bool = False
    wants: list[str] = field(default_factory=list)

    def acquire(self, kind: Kind, key: str, limit: int) -> bool:
        if self.held.get((kind, key), 0) >= limit:
            return False
        self.held[kind, key] = self.held.get((kind, key), 0) + 1
        return True

    def release(self, kind: Kind, key: str) -> bool:
        assert self.held[kind, key] > 0
        self.held[kind, key] -= 1
        return self.others_want

    def want(self, kind: Kind, key: str) -> None:
        self.wants.append(key)

    def wanted(self, kind: Kind, key: str) -> bool:
        return self.others_want


class Rule:
    """A table with one rule for everybody."""

    def __init__(self, connections: int) -> None:
        self._rule = DestinationRule(TlsLevel.PREFERRED, max_connections=connections)

    def find(self, domain: str, today: date) -> DestinationRule:
        return self._rule


class Stage:
    """A scheduler on a stage of fakes; `started` are the couriers that it has called."""

    def __init__(self, connections: int = 500, total: int = 10_000) -> None:
        self.clock = FakeClock(asyncio.get_running_loop(), 1_000.0)
        self.limits = FakeLimits()
        delivery = type("Delivery", (), {"max_connections": total})
        document = type("Document", (), {"delivery": delivery})
        self.runtime: Any = type("Runtime", (), {"document": document, "destinations": Rule(connections)})
        self.started: list[tuple[Destination, Due]] = []
        self.scheduler = Scheduler(self, self._start)  # type: ignore[arg-type]

    def today(self) -> date:
        return date(2026, 11, 24)

    def _start(self, destination: Destination, due: Due, connection: object) -> None:
        assert connection is None
        self.started.append((destination, due))

    def message(self, mid: int, *to: str, **more: Any) -> StoredMessage:
        recipients = tuple(Recipient(Address(f"b@{domain}", "b", domain)) for domain in to or ("x.example",))
        envelope = Envelope(Address("a@s.example", "a", "s.example"), recipients)
        it = StoredMessage(mid, 0.0, envelope, progress=[Progress() for _ in recipients], **more)
        self.scheduler.add(it)
        return it

    def settle(self, due: Due, state: RecipientState = RecipientState.DELIVERED, again: float = 0.0) -> None:
        """What a courier says at the end of an attempt."""
        for rid in due.rids:
            due.message.progress[rid].state = state
            due.message.progress[rid].next_attempt = again
            due.message.progress[rid].attempts += 1
        self.scheduler.settled(due)

    def end(self, destination: Destination) -> None:
        self.scheduler.courier_ended(destination, None)

    def dues(self) -> list[tuple[int, list[int]]]:
        return [(due.message.mid, due.rids) for _, due in self.started]


def on_stage(play: Callable[[Stage], Any], **choices: int) -> None:
    async def main() -> None:
        result = play(Stage(**choices))
        if asyncio.iscoroutine(result):
            await result

    run(main)


async def turn() -> None:
    """Let timers that are due fire."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_recipients_are_grouped_by_domain() -> None:
    def play(it: Stage) -> None:
        it.message(1, "x.example", "y.example", "x.example")
        assert it.dues() == [(1, [0, 2]), (1, [1])]

    on_stage(play)


def test_couriers_follow_the_queue_up_to_the_limit() -> None:
    def play(it: Stage) -> None:
        for mid in range(1, 20):
            it.message(mid)
        assert len(it.started) == 3
        assert it.limits.held[Kind.DESTINATION, "x.example"] == 3
        destination = it.started[0][0]
        assert len(destination.ready) == 16
        # A courier takes the next by itself, in order of arrival.
        due = destination.take()
        assert due is not None
        assert due.message.mid == 4

    on_stage(play, connections=3)


def test_a_short_queue_does_not_open_a_connection_for_each_message() -> None:
    def play(it: Stage) -> None:
        for mid in range(1, 9):
            it.message(mid)
        assert len(it.started) < 8

    on_stage(play)


def test_all_deliveries_together_are_limited() -> None:
    def play(it: Stage) -> None:
        for mid, domain in enumerate(("a.example", "b.example", "c.example")):
            it.message(mid, domain)
        assert len(it.started) == 2
        assert it.limits.held[Kind.DELIVERY, "all"] == 2

    on_stage(play, total=2)


def test_a_starved_destination_asks_again() -> None:
    async def play(it: Stage) -> None:
        it.limits.held[Kind.DESTINATION, "x.example"] = 1  # another worker's
        it.message(1)
        assert it.started == []
        assert it.limits.wants == ["x.example"]
        it.limits.held[Kind.DESTINATION, "x.example"] = 0
        it.clock.advance(0.2)
        await turn()
        assert it.dues() == [(1, [0])]

    on_stage(play, connections=1)


def test_a_place_that_another_worker_waits_for_is_left_to_it_first() -> None:
    async def play(it: Stage) -> None:
        it.message(1)
        it.message(2)
        (destination, due) = it.started[0]
        it.limits.others_want = True
        it.settle(due)
        it.end(destination)
        assert len(it.started) == 1
        assert it.limits.held[Kind.DESTINATION, "x.example"] == 0
        it.clock.advance(0.3)
        await turn()
        assert it.dues() == [(1, [0]), (2, [0])]

    on_stage(play, connections=1)


def test_a_deferred_recipient_comes_back_at_its_time() -> None:
    async def play(it: Stage) -> None:
        it.message(1)
        destination, due = it.started[0]
        it.settle(due, RecipientState.WAITING, again=1_060.0)
        it.end(destination)
        it.clock.advance(59)
        await turn()
        assert len(it.started) == 1
        it.clock.advance(1)
        await turn()
        assert len(it.started) == 2
        it.settle(it.started[1][1])
        it.end(it.started[1][0])
        assert it.scheduler.messages == {}
        assert it.scheduler.destinations == {}

    on_stage(play)


def test_recipients_of_one_domain_with_different_times_all_come_back() -> None:
    async def play(it: Stage) -> None:
        stored = it.message(1, "x.example", "x.example", held="not yet")
        stored.held = ""
        stored.progress[0].next_attempt, stored.progress[1].next_attempt = 1_060.0, 1_300.0
        it.scheduler.replan(stored)
        it.clock.advance(61)
        await turn()
        assert it.dues() == [(1, [0])]
        it.settle(it.started[0][1])
        it.clock.advance(240)
        await turn()
        assert it.dues() == [(1, [0]), (1, [1])]

    on_stage(play)


def test_held_messages_are_known_and_not_tried() -> None:
    def play(it: Stage) -> None:
        it.message(1, held="by hand")
        assert it.started == []
        assert it.scheduler.messages.keys() == {1}

    on_stage(play)


def test_a_withdrawn_due_is_passed_over() -> None:
    def play(it: Stage) -> None:
        first, second = it.message(1), it.message(2)
        destination, due = it.started[0]
        assert it.scheduler.in_flight(first)
        assert not it.scheduler.in_flight(second)
        it.scheduler.withdraw(second)
        it.settle(due)
        assert destination.take() is None
        it.scheduler.replan(second)
        it.end(destination)
        assert it.dues() == [(1, [0]), (2, [0])]

    on_stage(play, connections=1)


def test_a_retry_by_hand_replaces_the_one_in_time() -> None:
    async def play(it: Stage) -> None:
        stored = it.message(1)
        it.settle(it.started[0][1], RecipientState.WAITING, again=1_060.0)
        it.scheduler.retry(stored)
        assert len(it.started) == 2
        it.clock.advance(61)
        await turn()
        assert len(it.started) == 2

    on_stage(play)


def test_a_reserved_message_is_not_woken() -> None:
    async def play(it: Stage) -> None:
        stored = it.message(1)
        it.settle(it.started[0][1], RecipientState.WAITING, again=1_060.0)
        it.scheduler.reserve(stored)
        assert it.scheduler.in_flight(stored)
        it.clock.advance(61)
        await turn()
        assert len(it.started) == 1
        it.scheduler.replan(stored)
        assert len(it.started) == 2

    on_stage(play)


def test_suspects_one_at_a_time_and_a_later_one_lets_others_pass() -> None:
    def play(it: Stage) -> None:
        waiting = it.message(1, held="not yet")
        waiting.held, waiting.crashes = "", 1
        waiting.progress[0].next_attempt = 5_000.0
        it.scheduler.replan(waiting)
        for mid in (2, 3):
            it.message(mid, crashes=1)
        assert it.dues() == [(2, [0])]
        it.settle(it.started[0][1])
        assert it.dues() == [(2, [0]), (3, [0])]

    on_stage(play)


def test_after_stop_nothing_starts() -> None:
    async def play(it: Stage) -> None:
        it.message(1)
        it.settle(it.started[0][1], RecipientState.WAITING, again=1_060.0)
        it.scheduler.stop()
        it.message(2)
        it.clock.advance(100)
        await turn()
        assert len(it.started) == 1

    on_stage(play)


def test_the_next_that_fares_alike_is_taken_from_among_others() -> None:
    def play(it: Stage) -> None:
        for mid in range(1, 5):
            it.message(mid)
        destination, plain = it.started[0]
        ready = destination.ready
        ready.clear()
        for mid in (5, 6, 7):
            made = StoredMessage(mid, 0.0, replace(plain.message.envelope, requiretls=mid != 7))
            ready.append(Due(made, "x.example", [0]))
        ready[0].withdrawn = True
        taken = destination.take(like=plain)
        assert taken is not None
        assert (taken.message.mid, taken.taken) == (7, True)
        assert destination.take(like=plain) is None
        assert [due.message.mid for due in ready] == [6]
        assert not ready[0].taken

    on_stage(play)
