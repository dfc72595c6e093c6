"""Half an hour of mixed load with the memory of every process watched: nothing grows but in the beginning (`make soak`).

GATEPOST_SOAK_MINUTES says how long; GATEPOST_SOAK_SECONDS makes a short trial of it, in which growth is not judged. The
load has small and large messages, temporary failures, a peer that is away for a while, and commits, since what leaks does so
on the way that is taken seldom. The table is printed.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict
from pathlib import Path

import pytest
from tests.live.crash.conftest import Site
from tests.live.crash.harness import DESK, WORKER, Gateway, say, until
from tests.live.crash.judge import judge
from tests.live.crash.load import Load

pytestmark = [pytest.mark.live, pytest.mark.soak]

MINUTES = float(os.environ.get("GATEPOST_SOAK_MINUTES", "30"))
SECONDS = float(os.environ.get("GATEPOST_SOAK_SECONDS", "0")) or MINUTES * 60
EVERY = 10.0  # seconds between two samples
WARM = 0.3  # share of the run that may still grow: pools, caches and the table of certificates fill up
NOISE_SHARE, NOISE_KIB = (
    0.10,
    8 * 1024,
)  # what the middle of the last third may lie above that of the first one


def _rss(pid: int) -> int:
    """Resident memory in KiB, without what is shared with files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0


class Memory:
    """Samples by process."""

    def __init__(self, gateway: Gateway) -> None:
        assert gateway.process is not None
        self._pids = {"supervisor": gateway.process.pid}
        self._pids |= {f"worker {n}": pid for n, pid in enumerate(gateway.children(WORKER))}
        [self._pids["desk"]] = gateway.children(DESK)
        self.samples: dict[str, list[tuple[float, int]]] = defaultdict(list)

    def sample(self, at: float) -> None:
        for name, pid in self._pids.items():
            self.samples[name].append((at, _rss(pid)))

    def table(self) -> list[str]:
        """One row a process, ten columns of medians over the run."""
        rows = ["anonymous memory in MiB, medians of ten equal parts of the run"]
        for name, samples in self.samples.items():
            size = max(1, len(samples) // 10)
            parts = [samples[n : n + size] for n in range(0, len(samples), size)]
            columns = " ".join(f"{statistics.median(rss for _, rss in part) / 1024:7.1f}" for part in parts)
            rows.append(f"{name:<12} {columns}")
        return rows

    def growth(self) -> dict[str, tuple[float, float]]:
        """Medians (KiB) of the first and the last third of what comes after the warm-up."""
        found = {}
        for name, samples in self.samples.items():
            warm = [rss for _, rss in samples[int(len(samples) * WARM) :]]
            third = max(1, len(warm) // 3)
            found[name] = statistics.median(warm[:third]), statistics.median(warm[-third:])
        return found


def test_memory_does_not_grow_under_load(site: Site, seed: int) -> None:
    gateway = site.make().start(workers=2)
    site.sink.order(spread=0.02, tempfail=0.02)
    load = Load(site.port, seed, sessions=8, pace=0.05, big=0.02).start()
    memory = Memory(gateway)
    began = time.monotonic()
    tick = 0
    while (elapsed := time.monotonic() - began) < SECONDS:
        tick += 1
        until(lambda: time.monotonic() - began >= tick * EVERY, "the next sample", EVERY + 5)  # noqa: B023
        memory.sample(elapsed)
        load.until(more=1)
        if tick % 12 == 6:
            gateway.apply(site.document(connections=20 + tick % 3))
        if tick % 30 == 15:
            site.sink.order(listen=False, drop=True)
        if tick % 30 == 17:
            site.sink.order(listen=True)
    site.sink.order(listen=True, spread=0.0, tempfail=0.0)
    record = load.stop()
    gateway.until_queue(0, 300)
    memory.sample(time.monotonic() - began)
    restarts = [worker["restarts"] for worker in gateway.until_up()["workers"]]
    assert gateway.stop() == 0
    verdict = judge(record, site.sink.arrivals(), gateway)
    say("\n".join([f"{SECONDS / 60:.1f} minutes: {verdict}", *memory.table()]))
    assert restarts == [0, 0]
    assert [fault for fault in verdict.faults if "without a kill" not in fault] == []
    if SECONDS >= 600:
        for name, (early, late) in memory.growth().items():
            assert late <= early * (1 + NOISE_SHARE) + NOISE_KIB, f"{name} grew from {early} to {late} KiB"
