"""Any number of workers on the same spool: every shard is read, none has two owners, nothing waits for a worker that is gone."""

from __future__ import annotations

import fcntl
import os
import re
import signal

import pytest
from tests.live.crash.conftest import Site
from tests.live.crash.harness import Gateway, body_files, spool_rows
from tests.live.crash.judge import judge
from tests.live.crash.load import Load, Record, send_many

pytestmark = [pytest.mark.live]


def _owners(gateway: Gateway) -> dict[int, list[int]]:
    """Shard and the workers that say they own it; every lock is really held."""
    found = gateway.until_up()
    owners: dict[int, list[int]] = {}
    for worker in found["workers"]:
        for shard in worker["shards"]:
            owners.setdefault(shard, []).append(worker["pid"])
    for directory in gateway.home.spool.iterdir():
        if re.fullmatch(r"\d+", directory.name):
            descriptor = os.open(directory / "lock", os.O_RDWR)
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(descriptor)
    return owners


def _held_by(gateway: Gateway) -> dict[int, set[int]]:
    """Shard and the processes that have its database open, as the kernel knows it."""
    users: dict[int, set[int]] = {}
    for pid in gateway.children():
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                found = re.search(r"/spool/(\d+)/queue\.db$", os.readlink(entry.path))
            except FileNotFoundError:
                continue
            if found:
                users.setdefault(int(found[1]), set()).add(pid)
    return users


def test_all_shards_are_read_whatever_the_number_of_workers(site: Site, seed: int) -> None:
    gateway = site.make().start(workers=4)
    site.sink.order(listen=False)
    record = Record()
    for batch in range(8):
        record.promised |= send_many(site.port, seed, f"b{batch}m", 10)
    # Connections go to whichever worker is first, so not every shard need have mail: add until each has.
    for batch in range(8, 60):
        counts = [worker["messages"] for worker in gateway.until_up()["workers"]]
        if all(counts):
            break
        record.promised |= send_many(site.port, seed, f"b{batch}m", 5)
    assert gateway.stop() == 0
    rows = spool_rows(gateway.home)
    assert sorted(rows) == [0, 1, 2, 3]
    assert all(rows.values()), rows
    assert sum(rows.values()) == len(record.promised)
    for workers, expected in ((2, 2), (1, 1), (3, 3)):
        gateway.start(workers=workers)
        owners = _owners(gateway)
        assert sorted(owners) == [0, 1, 2, 3]
        assert all(len(pids) == 1 for pids in owners.values()), owners
        assert {shard: set(pids) for shard, pids in owners.items()} == _held_by(gateway)
        assert len({pid for pids in owners.values() for pid in pids}) == expected
        gateway.until_queue(len(record.promised))
        if workers != 3:
            assert gateway.stop() == 0
            assert sum(spool_rows(gateway.home).values()) == len(record.promised)
    site.sink.order(listen=True)
    gateway.until_queue(0)
    assert gateway.stop() == 0
    verdict = judge(record, site.sink.arrivals(), gateway)
    assert verdict.faults == []
    assert verdict.duplicates == 0
    assert not any(spool_rows(gateway.home).values())
    assert body_files(gateway.home) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_dead_supervisor_takes_its_children_along_and_a_new_start_works_at_once(
    site: Site, seed: int, number: signal.Signals
) -> None:
    gateway = site.make().start(workers=2)
    site.sink.order(slow=0.02)
    load = Load(site.port, seed, sessions=4, pace=0.02).start()
    load.until(more=40)
    gateway.kill_supervisor(number)
    gateway.start(workers=2)
    load.until(more=40)
    record = load.stop()
    site.sink.order(slow=0.0)
    gateway.until_queue(0)
    assert gateway.stop() == 0
    verdict = judge(record, site.sink.arrivals(), gateway)
    assert verdict.faults == []
    assert not any(spool_rows(gateway.home).values())
