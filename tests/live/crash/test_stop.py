"""SIGTERM under load with a slow peer: the end comes in time, what is unfinished stays and arrives after the next start."""

from __future__ import annotations

import time

import pytest
from tests.live.crash.conftest import Site
from tests.live.crash.harness import body_files, spool_rows
from tests.live.crash.judge import judge
from tests.live.crash.load import Load, Record, send_many

pytestmark = [pytest.mark.live]


def test_a_stop_with_a_slow_peer_ends_in_time_and_loses_nothing(site: Site, seed: int) -> None:
    stop_wait = 4.0
    gateway = site.make(connections=8).start(workers=2, stop_wait=stop_wait)
    site.sink.order(slow=1.0, spread=1.0)
    load = Load(site.port, seed, sessions=6, pace=0.05).start()
    load.until(more=100)
    asked = time.monotonic()
    code = gateway.stop()
    took = time.monotonic() - asked
    record = load.stop()
    assert code == 0
    assert took <= stop_wait + 2
    left = sum(spool_rows(gateway.home).values())
    assert left > 0, "the peer was not slow enough for this test"
    site.sink.order(slow=0.0, spread=0.0)
    gateway.start(workers=2)
    gateway.until_queue(0)
    assert gateway.stop() == 0
    verdict = judge(record, site.sink.arrivals(), gateway)
    assert verdict.faults == []
    # The peer answers within 2 s and the stop waits 4: every dot that was sent was answered.
    assert verdict.duplicates == 0
    assert not any(spool_rows(gateway.home).values())
    assert body_files(gateway.home) == []


def test_a_peer_that_never_answers_does_not_hold_up_the_stop(site: Site, seed: int) -> None:
    stop_wait = 2.0
    gateway = site.make(connections=4).start(workers=2, stop_wait=stop_wait)
    site.sink.order(slow=3600.0)
    record = Record(promised=send_many(site.port, seed, "never", 30))
    asked = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - asked <= stop_wait + 2
    assert sum(spool_rows(gateway.home).values()) == len(record.promised)
    site.sink.order(slow=0.0)
    gateway.start(workers=1)
    gateway.until_queue(0)
    assert gateway.stop() == 0
    assert judge(record, site.sink.arrivals(), gateway).faults == []


def test_an_idle_gateway_stops_at_once(site: Site, seed: int) -> None:
    gateway = site.make().start(workers=2)
    send_many(site.port, seed, "idle", 3)
    gateway.until_queue(0)
    asked = time.monotonic()
    assert gateway.stop() == 0
    assert time.monotonic() - asked < 3
