"""metrics: what collectors read, name by name and octet by octet."""

from __future__ import annotations

import re

from tests.control.kit import Bench, message

from gatepost.control.ops.metrics import Metric, exposition


def test_every_worker_has_its_samples(bench: Bench) -> None:
    gateway = bench.start()
    gateway.workers[0].messages = {1: message(1, "a@x.example"), 2: message(2, "b@x.example", state="held")}
    text = bench.call("metrics")["text"]
    rows = text.splitlines()
    assert "# TYPE gatepost_messages_accepted_total counter" in rows
    assert 'gatepost_messages{worker="0"} 2' in rows
    assert 'gatepost_messages{worker="1"} 0' in rows
    assert 'gatepost_held{worker="0"} 1' in rows
    assert 'gatepost_worker_up{worker="1"} 1' in rows
    assert "gatepost_configuration_version 1" in rows
    assert all(
        re.fullmatch(r'(# (HELP|TYPE) .*)|([a-z_]+(\{[a-z0-9]+="[^"]*"(,[a-z0-9]+="[^"]*")*\})? \S+)', row)
        for row in rows
    )
    assert text.endswith("\n")


def test_certificates_in_use_are_counted_by_state_with_their_ends(bench: Bench) -> None:
    bench.start()
    rows = bench.call("metrics")["text"].splitlines()
    assert 'gatepost_certificates{state="valid"} 1' in rows
    assert 'gatepost_certificates{state="expired"} 0' in rows
    (end,) = [row for row in rows if row.startswith("gatepost_certificate_not_after_seconds{")]
    assert 'what="certificate",name="Demo"' in end
    assert float(end.rsplit(" ", 1)[1]) > bench.clock.now()


def test_a_worker_that_is_down_is_down_and_has_no_counters(bench: Bench) -> None:
    gateway = bench.start()
    gateway.workers[0].down = "worker 0 is not running"
    rows = bench.call("metrics")["text"].splitlines()
    assert 'gatepost_worker_up{worker="0"} 0' in rows
    assert not any(row.startswith("gatepost_sessions{") and 'worker="0"' in row for row in rows)


def test_caches_are_told_with_their_bounds_and_how_often_they_help(bench: Bench) -> None:
    bench.start().workers[1].counters |= {"monitor_out_refuse": 2}
    rows = bench.call("metrics")["text"].splitlines()
    assert 'gatepost_cache_hits_total{worker="0",cache="dns"} 3' in rows
    assert 'gatepost_cache_misses_total{worker="0",cache="dns"} 1' in rows
    assert 'gatepost_cache_entries{worker="1",cache="dns"} 1' in rows
    assert 'gatepost_cache_limit{worker="0",cache="dns"} 10000' in rows
    assert 'gatepost_cache_hit_ratio{worker="0",cache="dns"} 0.75' in rows
    assert 'gatepost_monitor_out_total{worker="1",would="refuse"} 2' in rows


def test_values_and_labels_are_written_as_the_format_wants_them() -> None:
    metric = Metric("x", "gauge", "About.", (({"a": 'q"\\\n'}, 0.25), ({}, 3.0)))
    assert exposition([metric, Metric("none", "gauge", "", ())]) == (
        '# HELP gatepost_x About.\n# TYPE gatepost_x gauge\ngatepost_x{a="q\\"\\\\\\n"} 0.25\ngatepost_x 3\n'
    )
