"""queue.*: the workers' queues as one."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control.kit import NOW, Bench, FakeGateway, message

from gatepost.core.errors import Exit, OperatorError
from gatepost.core.events import Noted


@pytest.fixture
def gateway(bench: Bench) -> FakeGateway:
    gateway = bench.start()
    one, two = gateway.workers
    one.messages = {7: message(7, "b@one.example", received=NOW + 2)}
    two.messages = {
        8: message(8, "b@two.example", "c@two.example", received=NOW + 1, state="held"),
        9: message(9, "d@two.example", received=NOW + 3),
    }
    return gateway


def test_the_list_is_of_all_workers_oldest_first(bench: Bench, gateway: FakeGateway) -> None:
    found = bench.call("queue.list")
    assert [row["mid"] for row in found["messages"]] == [8, 7, 9]
    assert found["messages"][0]["received"] == "2027-01-15T08:00:01Z"
    domain = bench.call("queue.list", domain="TWO.example.")
    assert [row["mid"] for row in domain["messages"]] == [8, 9]


def test_a_worker_that_is_down_is_named_and_the_others_are_shown(bench: Bench, gateway: FakeGateway) -> None:
    gateway.workers[1].down = "worker 1 is not running"
    found = bench.call("queue.list")
    assert [row["mid"] for row in found["messages"]] == [7]
    assert found["problems"] == ["worker 1 is not running"]
    with pytest.raises(OperatorError) as caught:
        bench.call("queue.show", mid=8)
    assert caught.value.code == Exit.TRY_AGAIN


def test_a_list_that_is_cut_says_so(bench: Bench, gateway: FakeGateway) -> None:
    gateway.workers[0].messages = {mid: message(mid, "b@one.example") for mid in range(1, 10_001)}
    found = bench.call("queue.list")
    assert len(found["messages"]) == 10_002
    assert "name a domain" in found["problems"][0]


def test_a_message_that_is_not_there(bench: Bench, gateway: FakeGateway) -> None:
    for op in ("show", "retry", "hold", "release", "delete", "bounce"):
        with pytest.raises(OperatorError, match="no message 77"):
            bench.call(f"queue.{op}", mid=77)


@pytest.mark.parametrize("chosen", [{}, {"mid": 7, "all": True}, {"mid": 7, "domain": "x.example"}])
@pytest.mark.parametrize("action", ["retry", "delete"])
def test_a_selection_is_exactly_one_thing(
    bench: Bench, gateway: FakeGateway, action: str, chosen: dict[str, Any]
) -> None:
    with pytest.raises(OperatorError) as caught:
        bench.call(f"queue.{action}", **chosen)
    assert caught.value.code == Exit.USAGE
    assert len(bench.call("queue.list")["messages"]) == 3


def test_hold_and_release(bench: Bench, gateway: FakeGateway) -> None:
    assert bench.call("queue.hold", all=True)["done"] == [7, 9]
    with pytest.raises(OperatorError, match="held already"):
        bench.call("queue.hold", mid=7)
    with pytest.raises(OperatorError) as caught:
        bench.call("queue.retry", mid=7)
    assert "queue release 7" in caught.value.hint
    assert bench.call("queue.release", mid=7)["done"] == [7]
    with pytest.raises(OperatorError, match="is not held"):
        bench.call("queue.release", mid=7)


def test_what_is_in_flight_is_not_touched_and_said(bench: Bench, gateway: FakeGateway) -> None:
    gateway.workers[1].busy = {9}
    answer = bench.call("queue.delete", domain="two.example")
    assert (answer["done"], answer["busy"]) == ([8], [9])
    with pytest.raises(OperatorError) as caught:
        bench.call("queue.bounce", mid=9)
    assert caught.value.code == Exit.TRY_AGAIN


def test_who_did_what_is_in_the_log(bench: Bench, gateway: FakeGateway) -> None:
    bench.call("queue.delete", all=True, uid=42)
    (event,) = [event for event in gateway.events if isinstance(event, Noted)]
    assert event.text == "queue.delete by local:42: all: 3 messages"


def test_a_stopped_gateway_has_no_queue_to_show(bench: Bench) -> None:
    for op, args in (("queue.list", {}), ("queue.hold", {"mid": 1}), ("status", {})):
        with pytest.raises(OperatorError) as caught:
            bench.call(op, **args)
        assert caught.value.code == Exit.NOT_RUNNING
        assert "gatepost start" in caught.value.hint
