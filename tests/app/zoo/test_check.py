"""The check itself can fail: every way in which an outcome is not as the table says, and in which a message may be lost."""

from __future__ import annotations

import pytest

from gatepost.app.zoo.check import _difference, _lost, _of_events
from gatepost.app.zoo.table import Outcome, Verdict
from gatepost.core.delivery_events import Delivered, RecipientBounced, RecipientDelayed
from gatepost.core.events import MessageHeld

CLEAR, ENCRYPTED, VERIFIED = (
    Outcome(verdict) for verdict in (Verdict.CLEAR, Verdict.ENCRYPTED, Verdict.VERIFIED)
)
REFUSED, BOUNCED = Outcome(Verdict.REFUSED, "000 why"), Outcome(Verdict.BOUNCED, "550 no")


@pytest.mark.parametrize(
    ("expected", "found", "problem"),
    [
        (CLEAR, CLEAR, ""),
        (Outcome(Verdict.REFUSED, "why"), REFUSED, ""),
        (CLEAR, None, "nothing became of the message"),
        (CLEAR, ENCRYPTED, "encrypted, not clear"),
        (Outcome(Verdict.REFUSED, "because"), REFUSED, "for another reason"),
    ],
)
def test_a_difference_is_told(expected: Outcome, found: Outcome | None, problem: str) -> None:
    assert _difference(expected, found) == problem


@pytest.mark.parametrize(
    ("found", "arrived", "waiting", "problem"),
    [
        (CLEAR, [False], False, ""),
        (VERIFIED, [True], False, ""),
        (REFUSED, [], True, ""),
        (BOUNCED, [], False, ""),
        (None, [], False, ""),
        (CLEAR, [True], False, "clear, but it arrived over TLS"),
        (ENCRYPTED, [False], False, "encrypted, but it arrived in clear"),
        (VERIFIED, [], False, "verified, but it arrived nowhere"),
        (VERIFIED, [True, True], False, "verified, but it arrived over TLS and over TLS"),
        (VERIFIED, [True], True, "it was delivered and is still in the queue"),
        (REFUSED, [True], True, "refused, and yet it arrived"),
        (REFUSED, [], False, "it is neither delivered nor in the queue"),
        (BOUNCED, [], True, "it is still in the queue"),
    ],
)
def test_nothing_is_lost_unseen(
    found: Outcome | None, arrived: list[bool], waiting: bool, problem: str
) -> None:
    assert _lost(found, arrived, waiting=waiting) == problem


def test_events_become_outcomes_and_those_of_others_do_not() -> None:
    tls = {"verdict": "verified", "reason": "verified yes: a.example"}
    events = [
        Delivered(1.0, 1, 7, [0], "250 fine", tls),
        Delivered(1.0, 1, 8, [0], "250 fine", None),
        RecipientDelayed(1.0, 1, 9, 0, "4.7.5", "Cryptographic failure", "000", ["TLS required: why"]),
        RecipientBounced(1.0, 1, 10, 0, "5.1.0", "Unknown address error", "550", ["no"]),
        MessageHeld(1.0, 11, "damaged"),
        Delivered(1.0, 1, 99, [0], "250 fine", tls),
    ]
    assert dict(_of_events(events, {7, 8, 9, 10, 11})) == {
        7: Outcome(Verdict.VERIFIED, "verified yes: a.example"),
        8: CLEAR,
        9: Outcome(Verdict.REFUSED, "000 TLS required: why"),
        10: BOUNCED,
        11: Outcome(Verdict.REFUSED, "held: damaged"),
    }
