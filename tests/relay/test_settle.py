"""The decision about each recipient of an attempt: pure, so every rule is one call."""

from __future__ import annotations

import pytest
from tests.relay.test_outcome import message

from gatepost.config.outbound import BounceProfile
from gatepost.policy.retry import RetrySchedule
from gatepost.relay.outcome import Failure, Outcome, Stage
from gatepost.relay.settle import decide, schedule_of
from gatepost.store.spool import Progress, StoredMessage

SCHEDULE = RetrySchedule(60, 3600, 7200, 5, 1800)
GONE = Failure(Stage.ADDRESS, True, ("5.1.1 No such user",), "550", "5.1.1")
LATER = Failure(Stage.NETWORK, False, ("timeout",))


def outcome(**failures: Failure) -> Outcome:
    return Outcome(1, failures={int(rid[1:]): failure for rid, failure in failures.items()})


def test_a_permanent_failure_bounces_and_a_temporary_one_waits() -> None:
    decision = decide(message(0, 0, 0), outcome(r0=GONE, r2=LATER), SCHEDULE, 100.0, 0.0)
    assert decision.bounced == {0: GONE}
    assert decision.again == {2: 160.0}
    assert decision.warn == []
    assert decision.retry_until == 7200.0


@pytest.mark.parametrize(("attempts", "wait"), [(0, 60), (1, 120), (2, 240), (3, 480)])
@pytest.mark.parametrize("jitter", [-1.0, 0.0, 1.0])
def test_the_wait_doubles_and_is_varied(attempts: int, wait: float, jitter: float) -> None:
    decision = decide(message(attempts), outcome(r0=LATER), SCHEDULE, 0.0, jitter)
    assert decision.again[0] == pytest.approx(wait * (1 + jitter / 10))


def test_the_last_attempt_bounces_as_expired_with_the_last_reason() -> None:
    (bounced,) = decide(message(4), outcome(r0=LATER), SCHEDULE, 0.0, 0.0).bounced.values()
    assert (bounced.status, bounced.permanent) == ("5.4.7", True)
    assert bounced.texts == ("given up after 5 attempts", "timeout")


@pytest.mark.parametrize("stage", [Stage.TLS, Stage.TLS_UNSUPPORTED])
def test_a_tls_reason_survives_expiry(stage: Stage) -> None:
    failure = Failure(stage, False, ("TLS required: no",), "454", "4.7.4", "mx [192.0.2.1]:25")
    (bounced,) = decide(message(0), outcome(r0=failure), SCHEDULE, 7200.0, 0.0).bounced.values()
    assert (bounced.stage, bounced.permanent, bounced.remote) == (stage, True, "mx [192.0.2.1]:25")
    assert bounced.texts == ("given up after 2 hours", "TLS required: no")
    assert bounced.report_status == bounced.status


def test_the_sender_is_warned_when_it_is_time_and_once() -> None:
    waiting: StoredMessage = message(1, 1)
    waiting.progress[1].warned = True
    assert decide(waiting, outcome(r0=LATER, r1=LATER), SCHEDULE, 1799.0, 0.0).warn == []
    assert decide(waiting, outcome(r0=LATER, r1=LATER), SCHEDULE, 1800.0, 0.0).warn == [0]


def test_the_schedule_of_a_profile() -> None:
    profile = BounceProfile.model_validate({"name": "x", "initial_retry": "5m", "delay_warning": "never"})
    assert schedule_of(profile) == RetrySchedule(300, 3600, 72 * 3600, 100, 0.0)
    assert schedule_of(BounceProfile(name="x")).delay_warning == 4 * 3600
    assert Progress().attempts == 0
