"""`gatepost tlsrpt …`: screens and JSON, on a stopped and a running gateway."""

from __future__ import annotations

import json

import pytest
from tests.control.kit import Bench
from tests.control.ops.test_tls_reports import ON, YESTERDAY, _counted
from tests.control.shell.running import desk, gatepost

from gatepost.core.errors import Exit
from gatepost.store.home import Home
from gatepost.store.tls_report_rows import State

NEWER, OLDER = "2026-01-02", "2026-01-01"  # past days for the command's own clock


@pytest.fixture
def stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    return home


def test_an_empty_list_says_how_to_fill_it(stopped: Home) -> None:
    said = gatepost("tlsrpt", "list")
    assert said.out.splitlines() == [
        "No sessions were counted.",
        "TLS reports are off: set tls_reports.send to count sessions and send them.",
    ]


def test_a_stopped_gateway_shows_what_it_counted(stopped: Home) -> None:
    bench = Bench(stopped)
    bench.apply(ON)
    store = _counted(bench, OLDER)
    store.stand(OLDER, "a.example", State.FAILED, "its record does not count: 2 records")
    _counted(bench, NEWER).close()
    store.close()
    bench.store.close()
    lines = gatepost("tlsrpt", "list").out.splitlines()
    assert lines[0].split() == ["Day", "Domain", "Sessions", "Failed", "Report"]
    assert lines[1].startswith(f"{NEWER}  a.example  4         1       due ")
    assert lines[2] == (f"{OLDER}  a.example  4         1       failed: its record does not count: 2 records")
    shown = gatepost("tlsrpt", "show", "a.example", "--day", NEWER).out
    assert "no-policy-found of a.example: 4 sessions, 1 failed" in shown
    assert "  1 starttls-not-supported at mx.a.example" in shown
    report = json.loads(gatepost("tlsrpt", "show", "a.example", "--json").out)
    assert report["date-range"]["start-datetime"] == f"{NEWER}T00:00:00Z"
    assert gatepost("tlsrpt", "send").code == Exit.NOT_RUNNING


def test_sending_shows_what_became_of_it_and_ends_with_1_where_something_is_left(stopped: Home) -> None:
    bench = Bench(stopped)
    bench.apply(ON)
    store = _counted(bench)
    with desk(bench):
        assert bench.gateway is not None

        async def nothing_to_send() -> None:
            store.stand(YESTERDAY, "a.example", State.NO_RECORD, "it asks for no reports")

        async def not_taken() -> None:
            standing = store.standing(YESTERDAY, "a.example")
            if standing is not None and standing.asked:
                store.keep_report(standing, "n", b"body", ["https://b.example/"], bench.clock.at, whole=True)

        bench.gateway.jobs["tls-reports"] = nothing_to_send
        said = gatepost("tlsrpt", "send", "a.example")
        assert (said.code, said.out.splitlines()[1].split()[-2:]) == (0, ["no", "record"])
        bench.gateway.jobs["tls-reports"] = not_taken
        said = gatepost("tlsrpt", "send")
        assert said.code == Exit.REFUSED
        assert "waits for 1" in said.out
        assert "  https://b.example/: waiting; next try " in said.out
    store.close()
    bench.store.close()
