"""A message that takes its worker down each time is held after three crashes; everything else goes on.

No message crashes this product that we know of, so the test does what such a message would do: when the sink has the
body of the poisoned one, the worker that sent it is killed before it hears an answer.
"""

from __future__ import annotations

import pytest
from tests.live.crash.conftest import Site
from tests.live.crash.harness import WORKER, owner_of, shell, until
from tests.live.crash.judge import judge
from tests.live.crash.load import Client, Load, Promise
from tests.live.crash.messages import Maker

pytestmark = [pytest.mark.live]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_message_that_crashes_its_worker_is_held_after_three_times(
    site: Site, seed: int, workers: int
) -> None:
    gateway = site.make().start(workers=workers)
    poison = Maker(seed, "poison").make(5_000, recipients=1)
    site.sink.order(hold=[poison.name])
    load = Load(site.port, seed, sessions=4, pace=0.05).start()
    load.until(more=20)
    client = Client(site.port, tls=False)
    mid = client.send(poison)
    client.close()
    for crash in range(1, 4):
        told = site.sink.until_told(crash)
        assert told["held"] == poison.name
        victim = owner_of(told["port"], gateway.children(WORKER))
        assert victim, "the connection that brought the message has no owner"
        gateway.kill(victim, "worker")
    gateway.until_up()
    load.until(more=20)
    record = load.stop()
    record.promised[poison.name] = Promise(mid, poison.recipients, 0.0)
    gateway.until_queue(1)  # the one that is held
    assert len(site.sink.told) == 3, "it was tried again"
    status = gateway.until_up()
    assert status["queue"]["held"] == 1
    _release(site, mid, poison.name, len(poison.recipients))
    assert gateway.stop() == 0
    held = [event for event in gateway.events() if event["event"] == "SpoolProblem"]
    assert [(event["mid"], event["reason"]) for event in held] == [
        (mid, "it was being worked on in 3 crashes")
    ]
    alerts = [line for line in gateway.mail_log().splitlines() if "Critical" in line]
    assert len(alerts) == 1
    assert f"MID {mid}" in alerts[0]
    verdict = judge(record, site.sink.arrivals(), gateway)
    faults = [fault for fault in verdict.faults if "SpoolProblem" not in fault]
    assert faults == []


def _release(site: Site, mid: int, name: str, recipients: int) -> None:
    """An administrator lets it go: now the sink takes it."""
    site.sink.order(hold=[])
    shell(site.gateway.home.root, "queue", "release", str(mid))
    until(
        lambda: sum(len(a["recipients"]) for a in site.sink.arrivals() if a["id"] == name) == recipients,
        "the released message arrives",
    )
    site.gateway.until_queue(0)
