"""The log's lines about SMTP AUTH."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gatepost.core import auth_events as ev
from gatepost.core.event import Event
from gatepost.track.log_text import safe


def _line(e: ev.SmtpAuthSucceeded | ev.SmtpAuthFailed, outcome: str) -> str:
    return (
        f"SMTP Auth: (ICID {e.icid}) {outcome} for user: {safe(e.user)}"
        f" using AUTH mechanism: {safe(e.mechanism)} with profile: {safe(e.profile)}"
    )


def _locked(e: ev.SmtpAuthLocked) -> str:
    times = f"{e.failures} failed attempt{'s' if e.failures != 1 else ''} within an hour"
    return f"SMTP Auth: (ICID {e.icid}) locked {e.locked}: {safe(e.name)} after {times}"


AUTH_ROWS: Mapping[type[Event], Callable[[Any], str]] = {
    ev.SmtpAuthSucceeded: lambda e: _line(e, "succeeded"),
    ev.SmtpAuthFailed: lambda e: _line(e, "failed"),
    ev.SmtpAuthLocked: _locked,
}
