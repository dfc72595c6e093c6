"""`gatepost alert test|secret`, on a running and on a stopped gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.control.kit import Bench
from tests.control.ops.test_alerts import ALERTS, Taker
from tests.control.shell.running import desk, gatepost

from gatepost.control.alert_hooks import SECRET
from gatepost.core.errors import Exit
from gatepost.store.config_store import ConfigStore
from gatepost.store.home import Home
from gatepost.store.name_servers import NameServerState, put_name_servers


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
        assert found == {
            "severity": "warning",
            "recipients": ["admin@example.net"],
            "mids": [77],
            "webhooks": 0,
        }
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


def test_the_secret_of_webhooks_comes_from_a_file_or_standard_input(stopped: Home, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef0123\nsomething else\n")
    assert gatepost("alert", "secret", "--file", str(path)).out == "The secret is stored.\n"
    assert gatepost("alert", "secret", stdin=b"another secret of the test\n").code == 0
    assert gatepost("alert", "secret", stdin=b"short\n").code == Exit.REFUSED
    assert gatepost("alert", "secret", stdin=b"\n").code == Exit.USAGE
    store = ConfigStore.open(stopped.config_db)
    assert store.get_meta(SECRET)
    assert gatepost("alert", "secret", "--forget").out == "The secret is forgotten.\n"
    assert store.get_meta(SECRET) is None
    store.close()


def test_status_has_a_line_for_each_name_server(stopped: Home) -> None:
    bench = Bench(stopped)
    with desk(bench):
        assert "Name server" not in gatepost("status").out
        at = bench.clock.at
        states = [
            NameServerState("127.0.0.1:53", "", at, at),
            NameServerState("127.0.0.2:53", "takes the broken signature of x.example", at, at, 2),
        ]
        put_name_servers(bench.store, states)
        out = gatepost("status").out
        assert all(len(line) <= 80 for line in out.splitlines())
        _, first, second = " ".join(out.split()).split("Name server ")
        assert first.startswith("127.0.0.1:53, believed about DNSSEC, since 20")
        assert second.startswith(
            "127.0.0.2:53, not believed about DNSSEC: it takes the broken signature of x.example, since"
        )
    bench.store.close()
