"""The shared table: exact claims, hourly counters, and what is left of a worker that died."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import blake2b

import pytest

from gatepost.store.limits import CLAIM_BUCKETS, HOURLY_BUCKETS, WAYS, WINDOW, Kind, LimitTable


class Clock:
    def __init__(self) -> None:
        self.time = 100_000.0

    def __call__(self) -> float:
        return self.time


Attach = Callable[[int | None], LimitTable]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attach(clock: Clock) -> Iterator[Attach]:
    descriptor = LimitTable.create(4)
    tables: list[LimitTable] = []

    def make(worker: int | None) -> LimitTable:
        tables.append(LimitTable.attach(os.dup(descriptor), worker, clock=clock))
        return tables[-1]

    yield make
    for table in tables:
        table.close()
    os.close(descriptor)


def test_places_are_counted_over_all_workers(attach: Attach) -> None:
    one, two = attach(0), attach(1)
    assert one.acquire(Kind.DESTINATION, "a.example", 2)
    assert two.acquire(Kind.DESTINATION, "a.example", 2)
    assert not one.acquire(Kind.DESTINATION, "a.example", 2)
    assert one.in_use(Kind.DESTINATION, "a.example") == 2
    two.release(Kind.DESTINATION, "a.example")
    assert one.acquire(Kind.DESTINATION, "a.example", 2)


def test_kinds_and_keys_are_apart(attach: Attach) -> None:
    table = attach(0)
    assert table.acquire(Kind.DESTINATION, "a.example", 1)
    assert table.acquire(Kind.USER, "a.example", 1)
    assert table.acquire(Kind.DESTINATION, "b.example", 1)


def test_a_limit_of_nothing_admits_nobody(attach: Attach) -> None:
    assert not attach(0).acquire(Kind.DELIVERY, "", 0)


def test_a_lowered_limit_holds_for_the_next(attach: Attach) -> None:
    table = attach(0)
    assert all(table.acquire(Kind.DELIVERY, "", 3) for _ in range(3))
    assert not table.acquire(Kind.DELIVERY, "", 1)


def test_releasing_what_is_not_held_is_a_fault(attach: Attach) -> None:
    one, two = attach(0), attach(1)
    one.acquire(Kind.DELIVERY, "", 1)
    with pytest.raises(ValueError, match="held"):
        two.release(Kind.DELIVERY, "")
    assert one.in_use(Kind.DELIVERY, "") == 1


def test_a_dead_workers_places_are_freed_and_no_others(attach: Attach) -> None:
    one, two, supervisor = attach(0), attach(1), attach(None)
    one.acquire(Kind.DELIVERY, "", 9)
    two.acquire(Kind.DELIVERY, "", 9)
    two.want(Kind.DESTINATION, "a.example")
    supervisor.clear_worker(1)
    assert one.in_use(Kind.DELIVERY, "") == 1
    assert not one.wanted(Kind.DESTINATION, "a.example")


def test_a_wish_is_seen_by_others_and_fades(attach: Attach, clock: Clock) -> None:
    one, two = attach(0), attach(1)
    one.acquire(Kind.DESTINATION, "a.example", 1)
    assert not one.wanted(Kind.DESTINATION, "a.example")
    two.want(Kind.DESTINATION, "a.example")
    assert one.wanted(Kind.DESTINATION, "a.example")
    assert not two.wanted(Kind.DESTINATION, "a.example")
    clock.time += 2
    assert not one.wanted(Kind.DESTINATION, "a.example")


def test_a_wish_ends_when_it_is_granted(attach: Attach) -> None:
    one, two = attach(0), attach(1)
    one.acquire(Kind.DESTINATION, "a.example", 1)
    two.want(Kind.DESTINATION, "a.example")
    one.release(Kind.DESTINATION, "a.example")
    assert one.wanted(Kind.DESTINATION, "a.example")
    assert two.acquire(Kind.DESTINATION, "a.example", 1)
    assert not one.wanted(Kind.DESTINATION, "a.example")


def test_slots_of_keys_that_nobody_holds_are_used_again(attach: Attach) -> None:
    table = attach(0)
    for number in range(200_000 // WAYS):
        assert table.acquire(Kind.LISTENER_ADDRESS, f"In 192.0.2.{number}", 1)
        table.release(Kind.LISTENER_ADDRESS, f"In 192.0.2.{number}")
    assert table.acquire(Kind.LISTENER_ADDRESS, "In 192.0.2.1", 1)


def test_a_full_bucket_refuses_instead_of_forgetting(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatepost.store.limits._bucket", lambda _digest, _buckets: 7)
    table = attach(0)
    taken = [table.acquire(Kind.LISTENER_ADDRESS, str(number), 1) for number in range(WAYS + 1)]
    assert taken == [True] * WAYS + [False]
    assert all(table.in_use(Kind.LISTENER_ADDRESS, str(number)) == 1 for number in range(WAYS))


def test_an_hour_holds_exactly_its_limit_over_all_workers(attach: Attach) -> None:
    tables = [attach(index) for index in range(4)]
    accepted = sum(tables[number % 4].count_recipients("In 192.0.2.1", 1, 20) for number in range(100))
    assert accepted == 20


def test_a_count_that_does_not_fit_is_not_counted_at_all(attach: Attach) -> None:
    table = attach(0)
    assert table.count_recipients("k", 15, 20)
    assert not table.count_recipients("k", 6, 20)
    assert table.count_recipients("k", 5, 20)


def test_no_sixty_minutes_ever_exceed_the_limit_and_all_is_free_within_five_percent(
    attach: Attach, clock: Clock
) -> None:
    table = attach(0)
    limit = 100
    times: list[float] = []
    start = clock.time
    while clock.time < start + 4 * 3600:
        # Bursts at awkward moments: everything that is allowed, at once.
        while table.count_recipients("k", 1, limit):
            times.append(clock.time)
        clock.time += 61
    for at in times:
        assert sum(1 for other in times if at - 3600 < other <= at) <= limit
    assert len(times) >= 3 * limit
    later = [at for at in times if at > start]
    assert min(later) - start <= 3600 + WINDOW + 61


def test_a_quiet_counter_gives_way_in_a_full_bucket(
    attach: Attach, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatepost.store.limits._bucket", lambda _digest, _buckets: 7)
    table = attach(0)
    for number in range(WAYS):
        assert table.count_recipients(str(number), 1, 1)
        clock.time += WINDOW
    assert table.count_recipients("new", 1, 1)
    assert not table.count_recipients(str(WAYS - 1), 1, 1)


def test_places_taken_while_we_looked_are_seen(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker fills the key between our look and our step."""
    ours, other = attach(0), attach(1)
    assert ours.acquire(Kind.DELIVERY, "k", 10)
    looks = ours._total

    def look_late(slot: int) -> int:
        seen = looks(slot)
        while other.acquire(Kind.DELIVERY, "k", 10):
            pass
        return seen

    monkeypatch.setattr(ours, "_total", look_late)
    assert not ours.acquire(Kind.DELIVERY, "k", 10)
    assert other.in_use(Kind.DELIVERY, "k") == 10


CONTENDER = """
import sys
from gatepost.store.limits import Kind, LimitTable
table = LimitTable.attach(int(sys.argv[1]), int(sys.argv[2]))
claims = sum(table.acquire(Kind.DELIVERY, "", 500) for _ in range(1000))
counts = sum(table.count_recipients("k", 1, 700) for _ in range(1000))
print(claims, counts)
"""


def test_processes_that_race_never_pass_a_limit() -> None:
    descriptor = LimitTable.create(3)
    try:
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", CONTENDER, str(descriptor), str(index)],
                pass_fds=[descriptor],
                stdout=subprocess.PIPE,
                text=True,
            )
            for index in range(3)
        ]
        results = [run.communicate()[0].split() for run in runs]
    finally:
        os.close(descriptor)
    assert sum(int(claims) for claims, _ in results) == 500
    assert sum(int(counts) for _, counts in results) == 700


def test_a_killed_process_leaves_neither_lock_nor_places() -> None:
    script = (
        "import os, sys\n"
        "from gatepost.store.limits import Kind, LimitTable, CLAIM_BUCKETS\n"
        "table = LimitTable.attach(int(sys.argv[1]), 0)\n"
        "table.acquire(Kind.DELIVERY, '', 5)\n"
        "for bucket in range(CLAIM_BUCKETS): table._lock(bucket)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    descriptor = LimitTable.create(2)
    run = subprocess.run([sys.executable, "-c", script, str(descriptor)], pass_fds=[descriptor], check=False)
    assert run.returncode == -9
    table = LimitTable.attach(descriptor, 1)
    assert table.in_use(Kind.DELIVERY, "") == 1
    table.clear_worker(0)
    assert table.acquire(Kind.DELIVERY, "", 1)
    table.close()


def test_what_was_counted_can_be_looked_at_and_taken_back(attach: Attach, clock: Clock) -> None:
    one, two = attach(0), attach(1)
    assert one.recent("k") == 0
    two.take_back("k")
    assert one.count_recipients("k", 1, 2)
    assert two.count_recipients("k", 1, 2)
    assert one.recent("k") == two.recent("k") == 2
    assert not one.count_recipients("k", 1, 2)
    one.take_back("k")
    assert two.recent("k") == 1
    clock.time += WINDOW
    one.take_back("k")
    assert one.recent("k") == 0, "a window that has just ended counts too"
    one.take_back("k")
    assert one.recent("k") == 0


def test_what_is_older_is_not_taken_back(attach: Attach, clock: Clock) -> None:
    table = attach(0)
    table.count_recipients("k", 1, 5)
    clock.time += 3 * WINDOW
    table.take_back("k")
    assert table.recent("k") == 1
    clock.time += 3600
    assert table.recent("k") == 0


def _chosen(key: str, buckets: int, prefix: str) -> list[str]:
    """Names that share a bucket with a key, for whoever knows how keys are found and no secret."""

    def bucket(name: str, kind: int) -> int:
        digest = blake2b(name.encode(), digest_size=16, salt=bytes([kind])).digest()
        return int.from_bytes(digest[:4], "little") % buckets

    kind = Kind.LISTENER_ADDRESS if buckets == CLAIM_BUCKETS else 0
    mine = bucket(key, kind)
    return [name for name in (f"{prefix}{n}" for n in range(buckets * 40)) if bucket(name, kind) == mine]


def test_chosen_names_do_not_drive_a_counter_out(attach: Attach) -> None:
    """C30: who may name users must not find names that clear the failures of his address."""
    table = attach(0)
    assert table.count_recipients("address", 10, 20)
    names = _chosen("address", HOURLY_BUCKETS, "user/")
    assert len(names) > WAYS
    for name in names:
        table.count_recipients(name, 1, 20)
    assert table.recent("address") == 10


def test_chosen_networks_do_not_shut_another_one_out(attach: Attach) -> None:
    table = attach(0)
    names = _chosen("192.0.2.1", CLAIM_BUCKETS, "2001:db8:0:")
    assert len(names) > WAYS
    for name in names:
        table.acquire(Kind.LISTENER_ADDRESS, name, 1)
    assert table.acquire(Kind.LISTENER_ADDRESS, "192.0.2.1", 1)


def test_tables_find_their_keys_in_different_places(clock: Clock) -> None:
    """The secret belongs to the table: all who attach share it, and the next table has another."""
    places = set()
    for _ in range(2):
        descriptor = LimitTable.create(1)
        table = LimitTable.attach(descriptor, 0, clock=clock)
        for n in range(20):
            assert table.count_recipients(f"user/{n}", 1, 1)
        places.add(bytes(os.pread(descriptor, os.fstat(descriptor).st_size, 0)))
        table.close()
    assert len(places) == 2


def test_among_counters_of_the_same_moment_the_smallest_gives_way(
    attach: Attach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of names does not make a locked one free."""
    monkeypatch.setattr("gatepost.store.limits._bucket", lambda _digest, _buckets: 7)
    table = attach(0)
    assert table.count_recipients("locked", 10, 10)
    for n in range(100):
        assert table.count_recipients(f"user/{n}", 1, 10)
    assert table.recent("locked") == 10
