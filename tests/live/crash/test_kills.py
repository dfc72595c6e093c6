"""`kill -9` at random moments under load: of a worker, of the desk, of the supervisor, of everything at once.

Twenty kills in the usual run; GATEPOST_CRASHES says how many else (`make crash`: 200). The seed is printed.
"""

from __future__ import annotations

import os
import random
import time

import pytest
from tests.live.crash.conftest import Site
from tests.live.crash.harness import DESK, WORKER, Gateway, body_files, say, spool_rows
from tests.live.crash.judge import judge
from tests.live.crash.load import Load

pytestmark = [pytest.mark.live, pytest.mark.crash]

ROUNDS = int(os.environ.get("GATEPOST_CRASHES", "20"))
VICTIMS = (WORKER,) * 5 + (DESK,) + ("supervisor",) * 2 + ("all",) * 2
IN_A_ROW = 3  # workers killed in one life of the gateway: its back-off doubles up to a minute, and this is no test of that


def _strike(gateway: Gateway, rng: random.Random, before: list[str]) -> str:
    """Kill something; whatever has to be started again by hand is running again afterwards."""
    tired = before[-IN_A_ROW:].count(WORKER) == IN_A_ROW
    victim = rng.choice(("supervisor", "all") if tired else VICTIMS)
    if victim in (WORKER, DESK):
        pids = gateway.children(victim)
        if pids:
            gateway.kill(rng.choice(pids), victim)
        return victim if pids else "nobody"
    if victim == "all":
        gateway.kill_all()
    else:
        gateway.kill_supervisor()
    gateway.start(workers=rng.choice((1, 2, 2, 3)))
    return victim


def test_no_kill_loses_or_damages_what_was_promised(site: Site, seed: int) -> None:
    rng = random.Random(seed)
    gateway = site.make().start()
    site.sink.order(slow=0.0, spread=0.03, tempfail=0.03)
    load = Load(site.port, seed, sessions=6, pace=0.06).start()
    struck: list[str] = []
    began = time.monotonic()
    for number in range(ROUNDS):
        load.until(more=rng.randrange(5, 60))
        struck.append(_strike(gateway, rng, struck))
        if number % 20 == 19:
            say(f"{number + 1} kills, {len(load.record.promised)} messages, {time.monotonic() - began:.0f} s")
    record = load.stop()
    site.sink.order(slow=0.0, spread=0.0, tempfail=0.0)
    gateway.until_up()
    gateway.until_queue(0)
    assert gateway.stop() == 0
    verdict = judge(record, site.sink.arrivals(), gateway)
    counts = {victim: struck.count(victim) for victim in dict.fromkeys(struck)}
    say(f"{ROUNDS} rounds {counts}: {verdict}; {time.monotonic() - began:.0f} s")
    assert verdict.faults == []
    assert not any(spool_rows(gateway.home).values())
    assert body_files(gateway.home) == []
