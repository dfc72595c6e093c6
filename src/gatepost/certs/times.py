"""Times as the contract's JSON has them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_time(at: float) -> str:
    """`2027-01-31T12:00:00Z`."""
    return f"{datetime.fromtimestamp(int(at), UTC):%Y-%m-%dT%H:%M:%SZ}"
