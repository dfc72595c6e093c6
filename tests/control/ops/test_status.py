"""status: one object of processes, listeners, queue, counters and warnings."""

from __future__ import annotations

from tests.control.kit import CONTRACT_LIKE, Bench, message


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
