"""Limits are the gateway's, not a worker's: counted over two workers under load, and freed when a worker dies."""

from __future__ import annotations

import random
import threading

import pytest
from tests.live.crash.conftest import Site
from tests.live.crash.harness import WORKER, until
from tests.live.crash.judge import judge
from tests.live.crash.load import Client, Load, Record, Refused
from tests.live.crash.messages import Maker

pytestmark = [pytest.mark.live]


def test_a_destination_with_one_connection_sees_one(site: Site, seed: int) -> None:
    gateway = site.make(connections=1).start(workers=2)
    site.sink.order(spread=0.01)
    maker_domains = ("only.example",)
    load = Load(site.port, seed, sessions=6, pace=0.02, per_connection=5, domains=maker_domains).start()
    site.sink.order(watch=True)
    load.until(more=200)
    record = load.stop()
    gateway.until_queue(0)
    assert site.sink.order(watch=True)["peak"] == 1
    busy = [worker["messages"] for worker in gateway.until_up()["workers"]]
    assert len(busy) == 2
    assert gateway.stop() == 0
    verdict = judge(record, site.sink.arrivals(), gateway)
    assert verdict.faults == []
    assert verdict.duplicates == 0


def _hold_connections(port: int, wanted: int) -> tuple[list[Client], int]:
    """Open so many at once; returns those that were let in and how many were not."""
    clients: list[Client] = []
    refused: list[str] = []
    mutex = threading.Lock()

    def one() -> None:
        try:
            client = Client(port, tls=False)
        except Refused as refusal:
            with mutex:
                refused.append(str(refusal))
            return
        with mutex:
            clients.append(client)

    threads = [threading.Thread(target=one) for _ in range(wanted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all("Too many connections from your address" in text for text in refused), refused
    return clients, len(refused)


def test_connections_of_an_address_are_counted_over_workers_and_freed_by_a_death(site: Site) -> None:
    gateway = site.make(policy="max_connections_per_ip: 10").start(workers=2)
    clients, refused = _hold_connections(site.port, 40)
    assert (len(clients), refused) == (10, 30)
    sessions = {worker["pid"]: worker["sessions"] for worker in gateway.until_up()["workers"]}
    assert sum(sessions.values()) == 10
    victim = random.choice([pid for pid, count in sessions.items() if count])
    gateway.kill(victim, WORKER)
    freed = sessions[victim]
    again, refused = _hold_connections_when_freed(site.port, freed)
    assert (len(again), refused) == (freed, 0)
    more, refused = _hold_connections(site.port, 5)
    assert (len(more), refused) == (0, 5)
    for client in (*clients, *again):
        client.close()
    gateway.until_up()
    until(lambda: sum(w["sessions"] for w in gateway.until_up()["workers"]) == 0, "all sessions have ended")
    clients, refused = _hold_connections(site.port, 12)
    assert (len(clients), refused) == (10, 2)
    for client in clients:
        client.close()


def _hold_connections_when_freed(port: int, wanted: int) -> tuple[list[Client], int]:
    """The supervisor clears a dead worker's column a moment after its death; ask until the first place is free."""
    first: list[Client] = []

    def let_in() -> bool:
        found, _ = _hold_connections(port, 1)
        first.extend(found)
        return bool(found)

    until(let_in, "a place of the dead worker is free", 10)
    rest, refused = _hold_connections(port, wanted - 1)
    return first + rest, refused


def _recipient(client: Client, address: str) -> bool:
    try:
        client.command(f"RCPT TO:<{address}>".encode(), 250)
    except Refused as refusal:
        if refusal.code != 452:
            raise
        return False
    return True


def test_recipients_an_hour_are_counted_over_workers(site: Site, seed: int) -> None:
    limit = 200
    gateway = site.make(policy=f"max_recipients_per_hour: {limit}").start(workers=2)
    accepted = [0] * 6

    def one(index: int) -> None:
        maker = Maker(seed, f"hour{index}m", big=0.0)
        for _ in range(6):
            client = Client(site.port, tls=False)
            for _ in range(15):
                message = maker.make(200)
                client.command(b"MAIL FROM:<a@sender.example>", 250)
                for recipient in message.recipients:
                    accepted[index] += _recipient(client, recipient)
                client.command(b"RSET", 250)
            client.close()

    threads = [threading.Thread(target=one, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(accepted) == limit, accepted
    victim = gateway.children(WORKER)[0]
    gateway.kill(victim, WORKER)
    gateway.until_up()
    client = Client(site.port, tls=False)
    client.command(b"MAIL FROM:<a@sender.example>", 250)
    with pytest.raises(Refused):
        client.command(b"RCPT TO:<b@one.example>", 250)
    client.close()


def test_a_killed_workers_connection_to_a_destination_is_free_again(site: Site, seed: int) -> None:
    """With one connection allowed and its owner dead in the middle, the other worker goes on."""
    gateway = site.make(connections=1).start(workers=2)
    site.sink.order(slow=0.05)
    load = Load(site.port, seed, sessions=6, pace=0.05, per_connection=3, domains=("only.example",)).start()
    rng = random.Random(seed)
    for _ in range(3):
        load.until(more=20)
        gateway.kill(rng.choice(gateway.children(WORKER)), WORKER)
        gateway.until_up()
    record: Record = load.stop()
    site.sink.order(slow=0.0)
    gateway.until_queue(0)
    assert gateway.stop() == 0
    assert judge(record, site.sink.arrivals(), gateway).faults == []
