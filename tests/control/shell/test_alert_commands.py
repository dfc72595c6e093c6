"""`gatepost alert test`, on a running and on a stopped gateway."""

from __future__ import annotations

import json

import pytest
from tests.control.kit import Bench
from tests.control.ops.test_alerts import ALERTS, Taker
from tests.control.shell.running import desk, gatepost

from gatepost.core.errors import Exit
from gatepost.store.home import Home


@pytest.fixture
def stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    return home


def test_it_says_to_whom_it_went(stopped: Home) -> None:
    bench = Bench(stopped)
    with desk(bench):
        bench.apply(ALERTS)
        assert bench.gateway is not None
        bench.gateway.workers[:] = [Taker()]
        said = gatepost("alert", "test", "--severity", "warning")
        assert (said.code, said.err) == (0, "")
        assert said.out == "A test alert (warning) is in the queue as MID 77, to admin@example.net.\n"
        found = json.loads(gatepost("alert", "test", "--severity", "warning", "--json").out)
        assert found == {"severity": "warning", "recipients": ["admin@example.net"], "mids": [77]}
        assert gatepost("alert", "test").code == Exit.REFUSED
    bench.store.close()


def test_a_stopped_gateway_sends_nothing(stopped: Home) -> None:
    assert gatepost("alert", "test").code == Exit.NOT_RUNNING


def test_status_says_what_expires(stopped: Home) -> None:
    bench = Bench(stopped)
    with desk(bench):
        fine = gatepost("status")
        assert "1 in use; certificate Demo ends first, " in fine.out
        bench.clock.at += bench.call("status")["certificates"]["soonest"]["seconds_left"] - 2 * 86_400
        soon = gatepost("status")
        assert "1 in use, 1 expiring soon; certificate Demo ends first" in soon.out
        assert "certificate Demo: expires in 2 days, on " in soon.err
        bench.clock.at += 3 * 86_400
        over = gatepost("status")
        assert "1 expired; certificate Demo ended first" in over.out
        assert "certificate Demo: expired 1 day ago" in over.err
    bench.store.close()
