"""The report of a day for one domain, made of its sums; and how long a destination that fails is tried again (RFC 8460 §4.1, §5.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from gatepost.policy.tls_report import DAY, midnight
from gatepost.wire.tlsrpt import PolicyResult, TlsReport

TRIED_FOR = 86_400.0  # seconds from the first attempt (RFC 8460 §5.5)
MAX_LOOK_UPS = 13  # with the pauses between them that is a day, too
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 4 * 3_600.0


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports. `submitter` is the domain that signs, `gateway` tells this gateway from others of the same."""

    organization: str
    contact: str
    sender: str
    submitter: str
    gateway: str


@dataclass(frozen=True, slots=True)
class NamedReport:
    """A report, and the letters and digits that make it unique."""

    report: TlsReport
    name: str


def day_report(
    reporter: Reporter, day: str, domain: str, results: Sequence[PolicyResult], until: float | None = None
) -> NamedReport:
    """The report of a whole day, or of its hours until a moment. Asked again it is the same, with the same name."""
    begin = midnight(day)
    end = begin + DAY - 1 if until is None else int(until)
    seed = f"{reporter.gateway} {day} {domain}" + ("" if until is None else f" {end}")
    name = hashlib.sha256(seed.encode()).hexdigest()[:16]
    report_id = f"{day}.{name}@{reporter.submitter}"
    made = TlsReport(reporter.organization, begin, end, reporter.contact, report_id, tuple(results))
    return NamedReport(made, name)


def next_try(tries: int, since: float, now: float) -> float | None:
    """When a destination that has failed so often is tried again; None when it is given up."""
    if now - since >= TRIED_FOR:
        return None
    # The last attempt is not left out for a pause that would end just behind the day.
    return max(
        now + 1.0, min(now + min(FIRST_PAUSE * 2.0 ** min(tries, 20), LONGEST_PAUSE), since + TRIED_FOR)
    )


def next_look_up(tries: int, now: float) -> float | None:
    """When a record is looked up again that could not be so often before; None when it is given up, after about a day."""
    return None if tries >= MAX_LOOK_UPS else now + min(FIRST_PAUSE * 2.0**tries, LONGEST_PAUSE)
