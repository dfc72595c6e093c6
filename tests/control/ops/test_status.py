"""status: one object of processes, listeners, queue, counters and warnings."""

from __future__ import annotations

from tests.control.kit import CONTRACT_LIKE, Bench, message

from gatepost.store.name_servers import NameServerState, put_name_servers
from gatepost.store.records import Batch, DeliveryRow, RecordStore


def test_it_adds_up_what_the_workers_say(bench: Bench) -> None:
    gateway = bench.start()
    gateway.workers[0].messages = {1: message(1, "a@x.example"), 2: message(2, "b@x.example", state="held")}
    found = bench.call("status")
    assert found["queue"] == {"messages": 2, "held": 1, "destinations": 2, "deliveries": 0, "sessions": 6}
    assert found["counters"] == {"messages_accepted": 4, "tls_in": 2}
    assert found["uptime"] == 90_000
    assert found["configuration"]["version"] == 1
    (listener,) = found["listeners"]
    assert listener["certificate"] == "Demo"
    assert [worker["messages"] for worker in found["workers"]] == [2, 0]


def test_a_worker_that_is_down_is_a_problem_and_not_the_end(bench: Bench) -> None:
    gateway = bench.start()
    gateway.workers[0].down = "worker 0 is not running"
    found = bench.call("status")
    assert found["problems"] == ["worker 0 is not running"]
    assert "messages" not in found["workers"][0]
    assert found["queue"]["sessions"] == 3


def test_it_warns_of_what_is_not_enforced(bench: Bench) -> None:
    bench.start()
    bench.apply(CONTRACT_LIKE + "tls_settings: {web: {minimum: TLSv1.3}}\n")
    lines = [(warning["path"], warning["text"]) for warning in bench.call("status")["warnings"]]
    assert ("tls_settings.web", "stored, not yet enforced") in lines


def test_it_says_what_nobody_can_verify_for_as_long_as_it_is_in_use(bench: Bench) -> None:
    """R2: not only at the commit that assigns it."""
    bench.start()
    said = [warning["text"] for warning in bench.call("status")["warnings"]]
    (demo,) = (text for text in said if "nobody can verify it" in text)
    assert demo.startswith("Demo is a demo certificate: it encrypts, but")
    assert "listener IncomingMail" in demo
    bench.call("cert.new", name="own", common_name="mx.example.net", key="p256")
    bench.apply(CONTRACT_LIKE.replace("certificate: Demo", "certificate: own"))
    said = [warning["text"] for warning in bench.call("status")["warnings"]]
    assert [text.split(":")[0] for text in said if "certificate" in text or "self-signed" in text] == [
        "own is self-signed",
        "Demo is a demo certificate",
    ]


def test_it_counts_what_expires_among_the_certificates_in_use(bench: Bench) -> None:
    bench.start()
    found = bench.call("status")["certificates"]
    assert (found["used"], found["expiring"], found["expired"], found["telling"]) == (1, 0, 0, [])
    assert found["soonest"]["name"] == "Demo"
    ten_years = found["soonest"]["seconds_left"]
    bench.clock.at += ten_years - 3 * 86_400
    found = bench.call("status")["certificates"]
    assert (found["expiring"], found["expired"]) == (1, 0)
    assert found["telling"][0]["status"] == "expiring"
    bench.clock.at += 4 * 86_400
    found = bench.call("status")["certificates"]
    assert (found["expiring"], found["expired"]) == (0, 1)


def test_it_has_each_name_server_where_dane_is_asked_for(bench: Bench) -> None:
    bench.start()
    assert bench.call("status")["name_servers"] == []
    at = bench.clock.at
    states = [
        NameServerState("127.0.0.1:53", "", at, at),
        NameServerState("192.0.2.53:53", "is not on this machine", at - 60, at, 7),
    ]
    put_name_servers(bench.store, states)
    one, two = bench.call("status")["name_servers"]
    assert (one["server"], one["believed"], one["reason"]) == ("127.0.0.1:53", True, "")
    assert (two["believed"], two["reason"]) == (False, "is not on this machine")
    assert two["since"] < two["tried"]


def test_how_far_the_records_reach(bench: Bench) -> None:
    bench.start()
    assert bench.call("status")["records"]["from"] == ""
    store = RecordStore.open(bench.home.records_db)
    row = DeliveryRow(1_800_000_000.0, 1, "a.example", 2, "b.example", "delivered", 1)
    store.write(Batch(deliveries=(row,)), b"", 1_800_000_000.0)
    store.close()
    found = bench.call("status")["records"]
    assert found == {
        "deliveries": 1,
        "connections": 0,
        "sessions": 0,
        "from": "2027-01-15T08:00:00Z",
        "to": "2027-01-15T08:00:00Z",
        "problem": "",
    }
    bench.home.records_db.write_bytes(b"damaged" * 1000)
    assert "cannot be read" in bench.call("status")["records"]["problem"]
