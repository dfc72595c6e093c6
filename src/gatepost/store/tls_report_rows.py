"""What the store of TLS reports keeps, as values, and how policies and failures are written into its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from gatepost.wire.tlsrpt import FailureDetails, ReportedPolicy


class State(StrEnum):
    """How a day of a domain stands."""

    COUNTED = "counted"  # being added up, or waiting for its time
    UNKNOWN = "unknown"  # its record could not be looked up, and is again
    NO_RECORD = "no record"
    FAILED = "failed"  # `detail` says why there is no report
    REPORTED = "reported"  # a report was made; its sendings tell the rest


class SendingState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Count:
    """Sessions that count alike. `due` is when the report of this day and domain goes out; `failure` None is success."""

    day: str
    domain: str
    due: float
    policy: ReportedPolicy
    failure: FailureDetails | None
    sessions: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A day of a domain."""

    day: str
    domain: str
    state: State
    due: float
    tries: int
    asked: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Sending:
    """A report on its way to one destination. `name` is the report's unique part, `since` when it was first due."""

    report: int
    day: str
    domain: str
    name: str
    uri: str
    state: SendingState
    since: float
    due: float
    tries: int
    detail: str


@dataclass(frozen=True, slots=True)
class Sum:
    """A line of the overview."""

    standing: Standing
    successful: int
    failed: int
    sendings: tuple[Sending, ...]


def policy_columns(policy: ReportedPolicy) -> tuple[str, str, str]:
    """What makes a policy the same as another: `type`, `policy_domain` and `body`."""
    body = orjson.dumps([policy.strings, policy.mx_hosts]).decode("utf-8", "replace")
    return str(policy.type), policy.domain, body


def policy_of(kind: str, domain: str, body: str) -> ReportedPolicy:
    """Back again."""
    strings, hosts = orjson.loads(body)
    return ReportedPolicy(kind, domain, tuple(strings), tuple(hosts))


def detail_text(failure: FailureDetails) -> str:
    """What failures have in common that are counted together."""
    return orjson.dumps(
        [
            str(failure.result),
            failure.sending_ip,
            failure.receiving_host,
            failure.receiving_helo,
            failure.receiving_ip,
            failure.information,
            failure.reason_code,
        ]
    ).decode()


def detail_of(what: str) -> FailureDetails:
    """Back again, without the number of sessions."""
    result, *rest = orjson.loads(what)
    return FailureDetails(result, 0, *rest)


def standing_of(row: Sequence[Any]) -> Standing:
    """A row of the table `standing`."""
    day, domain, state, due, tries, asked, detail = row
    return Standing(day, domain, State(state), due, tries, bool(asked), detail)


def sending_of(row: Sequence[Any]) -> Sending:
    """A row of the table `sending` with day, domain and name of its report."""
    report, day, domain, name, uri, state, since, due, tries, detail = row
    return Sending(report, day, domain, name, uri, SendingState(state), since, due, tries, detail)
