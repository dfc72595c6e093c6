"""The log's lines about rules in monitor mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatepost.core import monitor_events as ev
from gatepost.core.event import Event
from gatepost.track.certificate_lines import Row
from gatepost.track.log_text import safe

_WOULD = {"refuse": "would refuse", "untold": "cannot be told"}


def _destination(e: ev.DestinationMonitored) -> Row:
    what = _WOULD.get(e.would)
    if what is None:
        return ()
    return f"DCID {e.dcid} monitor: {safe(e.domain)} ({e.rule}, {e.asks}) {what}: {safe(e.reason)}"


def _policy(e: ev.PolicyMonitored) -> Row:
    if e.would != "refuse":
        return ()
    return f"ICID {e.icid} monitor: {safe(e.policy)} would refuse: {safe(e.reason)}"


MONITOR_ROWS: Mapping[type[Event], Callable[[Any], Row]] = {
    ev.DestinationMonitored: _destination,
    ev.PolicyMonitored: _policy,
}
