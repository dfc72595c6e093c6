"""alert.test: whom it tells, and what it says where it can tell nobody."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control.kit import CONTRACT_LIKE, Bench, FakeWorker

from gatepost.control.alert_hooks import JOB, SECRET, postings
from gatepost.core.certificate_events import AlertRaised
from gatepost.core.errors import Exit, OperatorError

ALERTS = CONTRACT_LIKE + "alerts: {recipients: [{address: admin@example.net, severities: [warning]}]}\n"


class Taker(FakeWorker):
    """A worker that keeps mail."""

    def answer(self, kind: str, args: object) -> object:  # type: ignore[override]
        assert kind == "mail.submit"
        return {"mid": 77}


def test_it_says_whom_it_told_and_as_which_message(bench: Bench) -> None:
    gateway = bench.start()
    bench.apply(ALERTS)
    gateway.workers[:] = [Taker()]
    answer = bench.call("alert.test", severity="warning")
    assert answer["recipients"] == ["admin@example.net"]
    assert answer["mids"] == [77]
    (raised,) = [event for event in gateway.events if isinstance(event, AlertRaised)]
    assert (raised.severity, raised.recipients, raised.reason) == ("warning", 1, "")


def test_a_severity_that_nobody_takes_is_said(bench: Bench) -> None:
    bench.start()
    bench.apply(ALERTS)
    with pytest.raises(OperatorError, match="nobody is subscribed to System alerts of severity critical"):
        bench.call("alert.test", severity="critical")


def test_a_word_that_is_no_severity_is_a_wrong_use(bench: Bench) -> None:
    bench.start()
    with pytest.raises(OperatorError) as refusal:
        bench.call("alert.test", severity="loud")
    assert refusal.value.code is Exit.USAGE


def test_without_a_worker_the_reason_is_told_to_who_asked(bench: Bench) -> None:
    gateway = bench.start()
    bench.apply(ALERTS)
    for worker in gateway.workers:
        worker.down = "worker is not running"
    with pytest.raises(OperatorError, match="worker is not running"):
        bench.call("alert.test", severity="warning")


def test_it_needs_a_running_gateway(bench: Bench) -> None:
    with pytest.raises(OperatorError) as refusal:
        bench.call("alert.test")
    assert refusal.value.code is Exit.NOT_RUNNING


HOOKED = CONTRACT_LIKE + "alerts: {webhooks: [{url: 'https://alerts.example/x', severities: [critical]}]}\n"


def warned(answer: Any) -> list[str]:
    return [one["path"] for one in answer["warnings"] if one["path"] == "alerts.webhooks"]


def test_a_test_goes_to_webhooks_too(bench: Bench) -> None:
    gateway = bench.start()
    bench.apply(HOOKED)
    answer = bench.call("alert.test", severity="critical")
    assert (answer["recipients"], answer["webhooks"]) == ([], 1)
    assert [one.url for one in postings(bench.store)] == ["https://alerts.example/x"]
    assert JOB in gateway.looked
    with pytest.raises(OperatorError, match="nobody is subscribed"):
        bench.call("alert.test", severity="warning")


def test_the_secret_is_kept_sealed_and_missed_where_there_are_webhooks(bench: Bench) -> None:
    bench.start()
    bench.apply(CONTRACT_LIKE)
    assert warned(bench.call("status")) == []
    bench.apply(HOOKED)
    assert warned(bench.call("status")) == ["alerts.webhooks"]
    secret = "0123456789abcdef"
    assert bench.call("alert.secret", value=f" {secret}\n")["stored"] is True
    assert warned(bench.call("status")) == []
    sealed = bench.store.get_meta(SECRET)
    assert sealed
    assert secret.encode() not in sealed
    assert bench.call("alert.secret", value="")["stored"] is False
    assert bench.store.get_meta(SECRET) is None


@pytest.mark.parametrize(
    "value", ["too short", "x" * 1_001, "sixteen characters\x07", "f\u00fcnfzehn zeichen und mehr"]
)
def test_what_cannot_be_a_secret_is_refused_and_not_repeated(bench: Bench, value: str) -> None:
    with pytest.raises(OperatorError, match="that is no secret") as refusal:
        bench.call("alert.secret", value=value)
    assert value not in refusal.value.message + refusal.value.hint
