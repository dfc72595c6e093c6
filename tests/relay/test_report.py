"""Which reports an attempt asks for (RFC 3461 §4.1)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.relay.test_outcome import message

from gatepost.core.address import NULL_ADDRESS
from gatepost.core.envelope import Notify
from gatepost.relay.outcome import Decision, Failure, Outcome, Stage
from gatepost.relay.report import wanted_reports
from gatepost.store.spool import StoredMessage
from gatepost.wire.dsn import Kind

GONE = Failure(Stage.ADDRESS, True, ("no",))
FAILED = Outcome(1, failures={0: GONE})


def asking(*notify: set[Notify]) -> StoredMessage:
    it = message(*(0 for _ in notify))
    to = it.envelope.recipients[0]
    it.envelope = replace(it.envelope, recipients=tuple(replace(to, notify=frozenset(n)) for n in notify))
    return it


@pytest.mark.parametrize(
    ("notify", "failed", "delayed", "relayed"),
    [
        (set(), True, True, False),
        ({Notify.NEVER}, False, False, False),
        ({Notify.FAILURE}, True, False, False),
        ({Notify.DELAY}, False, True, False),
        ({Notify.SUCCESS}, False, False, True),
        ({Notify.SUCCESS, Notify.FAILURE, Notify.DELAY}, True, True, True),
    ],
)
def test_notify(notify: set[Notify], failed: bool, delayed: bool, relayed: bool) -> None:
    it = asking(notify)
    assert bool(wanted_reports(it, FAILED, Decision(bounced={0: GONE}))) is failed
    assert bool(wanted_reports(it, FAILED, Decision(warn=[0]))) is delayed
    assert bool(wanted_reports(it, Outcome(1, delivered=[0]), Decision())) is relayed
    passed_on = Outcome(1, delivered=[0], dsn_passed_on=True)
    assert wanted_reports(it, passed_on, Decision()) == []


def test_recipients_are_grouped_by_kind() -> None:
    it = asking(set(), {Notify.NEVER}, set(), {Notify.SUCCESS})
    decision = Decision(bounced={0: GONE, 1: GONE}, warn=[2])
    assert wanted_reports(it, Outcome(1, delivered=[3], failures={0: GONE}), decision) == [
        (Kind.FAILED, [0]),
        (Kind.DELAYED, [2]),
        (Kind.RELAYED, [3]),
    ]


def test_nothing_is_reported_about_a_report() -> None:
    it = asking(set())
    it.envelope = replace(it.envelope, sender=NULL_ADDRESS)
    assert wanted_reports(it, FAILED, Decision(bounced={0: GONE})) == []
