"""Commits while mail flows: nobody is dropped, but where the rule says so with 421 at MAIL; new certificates are seen at once."""

from __future__ import annotations

import hashlib
import signal

import pytest
from tests.live.crash.conftest import Site
from tests.live.crash.harness import shell
from tests.live.crash.judge import judge
from tests.live.crash.load import Client, Load, Refused
from tests.live.crash.messages import Maker

pytestmark = [pytest.mark.live]

COMMITS = 20


def test_twenty_commits_under_load_drop_nobody(site: Site, seed: int) -> None:
    """What changes is delivery, policy numbers and routes' neighbours; SIGHUP comes in between."""
    gateway = site.make().start(workers=2)
    load = Load(site.port, seed, sessions=20, pace=0.3, big=0.01, per_connection=1000).start()
    load.until(more=40)
    version = gateway.until_up()["configuration"]["version"]
    for number in range(COMMITS):
        if number % 5 == 4:
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGHUP)
        else:
            gateway.apply(site.document(policy=f"max_message_size: {10 + number}MB", connections=20 + number))
            version += 1
        load.until(more=5)
    status = gateway.until_up()
    assert status["configuration"]["version"] == version
    assert [worker["version"] for worker in status["workers"]] == [version] * 2
    assert [worker["restarts"] for worker in status["workers"]] == [0, 0]
    record = load.stop()
    assert (record.lost, record.refused_connections, record.sessions, record.refusals) == (0, 0, 20, {})
    gateway.until_queue(0)
    assert gateway.stop() == 0
    verdict = judge(record, site.sink.arrivals(), gateway)
    assert verdict.faults == []
    assert verdict.duplicates == 0


def test_a_session_whose_rule_changed_gets_421_at_mail_and_no_other_does(site: Site, seed: int) -> None:
    second = site.ports.free()
    listeners = f"""\
  - name: Other
    type: private
    interface: Data 1
    port: {second}
    certificate: gw
    host_access: [{{group: RELAYLIST, senders: [127.0.0.0/8], policy: %s}}]
"""
    policies = "max_message_size: 10MB}\n  - {name: STRICT, action: relay, tls: required"
    gateway = site.make(listeners=listeners % "RELAYED", policy=policies).start(workers=2)
    maker = Maker(seed, "rule", big=0.0)
    unchanged = [Client(site.port, tls=bool(n % 2)) for n in range(6)]
    changed = [Client(second, tls=bool(n % 2)) for n in range(6)]
    in_message = Client(second, tls=True)
    message = maker.make(2_000)
    in_message.envelope(message)
    for client in (*unchanged, *changed):
        client.send(maker.make())
    gateway.apply(site.document(listeners=listeners % "STRICT", policy=policies))
    for client in unchanged:
        client.send(maker.make())
        client.quit()
    for client in changed:
        with pytest.raises(Refused) as refusal:
            client.send(maker.make())
        assert refusal.value.code == 421
        assert client.socket.recv(100) == b""
        client.close()
    assert in_message.body(message) > 0  # what had begun goes on under the rule it began with
    in_message.close()
    in_clear = Client(second, tls=False)
    with pytest.raises(Refused) as refusal:
        in_clear.send(maker.make())
    assert refusal.value.code == 530
    in_clear.close()
    fresh = Client(second, tls=True)
    fresh.send(maker.make())
    fresh.quit()
    gateway.until_queue(0)
    assert gateway.stop() == 0


def _presented(port: int) -> str:
    client = Client(port, tls=True)
    client.quit()
    return hashlib.sha256(client.certificate).hexdigest()


def test_a_replaced_certificate_is_seen_by_every_new_handshake_once_the_commit_is_over(
    site: Site, seed: int
) -> None:
    gateway = site.make().start(workers=2)
    load = Load(site.port, seed, sessions=8, pace=0.1, big=0.0, per_connection=20).start()
    load.until(more=20)
    before = _presented(site.port)
    assert {_presented(site.port) for _ in range(6)} == {before}
    open_session = Client(site.port, tls=True)
    shell(gateway.home.root, "cert", "new", "next", "--common-name", "mx2.example", "--key", "p256")
    for name, other in (("next", before), ("gw", ""), ("next", "")):
        gateway.apply(site.document(certificate=name))
        seen = {_presented(site.port) for _ in range(12)}
        assert len(seen) == 1, "the commit is over and a worker still shows the old certificate"
        assert other not in seen
    open_session.send(Maker(seed, "open").make(500))
    open_session.quit()
    record = load.stop()
    assert (record.lost, record.refused_connections, record.refusals) == (0, 0, {})
    gateway.until_queue(0)
    assert gateway.stop() == 0
