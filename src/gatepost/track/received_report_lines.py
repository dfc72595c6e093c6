"""The log's lines about TLS reports that came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from gatepost.core import received_report_events as ev
from gatepost.core.event import Event
from gatepost.track.certificate_lines import Row
from gatepost.track.log_text import safe

_SHOWN = 5


def _received(e: ev.TlsReportReceived) -> Row:
    failures = sorted(e.results.items(), key=lambda item: -item[1])[:_SHOWN]
    why = f" ({', '.join(f'{safe(name)} {count}' for name, count in failures)})" if failures else ""
    day = f"{datetime.fromtimestamp(e.begin, UTC):%Y-%m-%d}"
    about = ", ".join(e.domains[:_SHOWN])
    return (
        f"TLS report {e.report} from {safe(e.organization) or 'nobody named'} ({_proof(e)}) about {safe(about)} for {day}:"
        f" {e.successful + e.failed} sessions, {e.failed} failed{why}; by {e.way} from {safe(e.origin) or '<>'}"
    )


def _proof(e: ev.TlsReportReceived | ev.TlsReportJudged) -> str:
    reason = f": {safe(e.reason)}" if e.reason else ""
    return f"verified{reason}" if e.submitter_verified else f"not verified{reason}"


def _judged(e: ev.TlsReportJudged) -> Row:
    return (f"TLS report {e.report} from {safe(e.organization) or 'nobody named'} is {_proof(e)}",)


RECEIVED_REPORT_ROWS: Mapping[type[Event], Callable[[Any], Row]] = {
    ev.TlsReportReceived: _received,
    ev.TlsReportJudged: _judged,
    ev.TlsReportRefused: lambda e: (
        f"TLS report by {e.way} from {safe(e.origin) or '<>'} not taken: {safe(e.reason)}"
        + (f"; kept as {e.kept}" if e.kept else ""),
    ),
}
