"""The walk through a certificate that does not verify: its order, and the step at which each fault shows (R37)."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import Issued, TestAuthority, self_signed

from gatepost.pki.anchors import Anchors
from gatepost.pki.troubleshooting import Outcome, Question, Step, first_failure, troubleshoot

AT = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)
HOST = "mx.example.com"
ROOT = TestAuthority("Example Root", at=AT)
SUB = ROOT.intermediate("Example Sub CA")
LOW = SUB.intermediate("Example Low CA")
GOOD = LOW.issue([HOST])
ANCHORS = Anchors.from_pem(ROOT.root_pem)


def walk(issued: Issued, **choices: Any) -> tuple[Step, ...]:
    return troubleshoot(issued.chain_der, ANCHORS, AT.timestamp(), **{"host": HOST, "mx": [HOST], **choices})


def test_a_sound_certificate_passes_every_step_in_order() -> None:
    steps = walk(GOOD)
    assert [step.question for step in steps] == list(Question)
    assert {step.outcome for step in steps} == {Outcome.PASSED}
    assert first_failure(steps) is None


def test_one_that_signed_itself_is_expected_to_fail_and_nothing_else_is_asked() -> None:
    (step,) = walk(self_signed(["other.example"], at=AT))
    assert (step.question, step.outcome) == (Question.SELF_SIGNED, Outcome.EXPECTED)
    assert "expected to fail" in step.text
    assert step.repair


@pytest.mark.parametrize(
    ("issued", "question", "words"),
    [
        (LOW.issue([HOST], common_name="other.example"), Question.COMMON_NAME, "other.example"),
        (LOW.issue([], common_name="A B"), Question.COMMON_NAME, "no name that a host can have"),
        (LOW.issue(["other.example"]), Question.HOST_NAME, HOST),
        (GOOD.sending(leaf_only=True), Question.MISSING, "Example Low CA is missing"),
        (GOOD.sending(duplicate=True), Question.DUPLICATE, "twice"),
        (
            GOOD.sending(extra=[LOW.again(start=AT - datetime.timedelta(days=800), end=AT).certificate]),
            Question.DUPLICATE,
            "older",
        ),
        (GOOD.sending(reverse=True), Question.ORDER, "order"),
        (LOW.issue([HOST], expired=True), Question.REST, "expired on 2027-01-14"),
        (LOW.issue([HOST], key="rsa1024"), Question.REST, "1024 bits"),
    ],
)
def test_each_fault_shows_at_its_step(issued: Issued, question: Question, words: str) -> None:
    failed = first_failure(walk(issued))
    assert failed is not None
    assert failed.question is question
    assert words in failed.text
    assert failed.repair


def test_the_names_of_mx_records_are_compared_one_by_one() -> None:
    failed = first_failure(walk(GOOD, mx=[HOST + ".", "mx2.example.com"]))
    assert failed is not None
    assert failed.question is Question.MX_NAME
    assert "mx2.example.com" in failed.text
    assert HOST not in failed.text
    both = walk(LOW.issue([HOST, "mx2.example.com"]), mx=["mx2.example.com"])
    assert first_failure(both) is None
    assert f"calls itself {HOST}" in next(step.text for step in both if step.question is Question.MX_NAME)


def test_without_names_there_is_nothing_to_compare_with() -> None:
    steps = walk(GOOD, host="", mx=())
    unknown = [step.question for step in steps if step.outcome is Outcome.UNKNOWN]
    assert unknown == [Question.HOST_NAME, Question.MX_NAME]
    assert first_failure(steps) is None


def test_a_missing_intermediate_that_is_known_says_how_to_put_it_in() -> None:
    known = [c.public_bytes(Encoding.DER) for c in GOOD.intermediates]
    failed = first_failure(walk(GOOD.sending(leaf_only=True), known=known))
    assert failed is not None
    assert "--repair" in failed.repair


def test_nothing_and_rubbish_are_answered() -> None:
    for chain in ((), (b"rubbish",)):
        (step,) = troubleshoot(chain, ANCHORS, AT.timestamp())
        assert step.question is Question.REST
        assert step.outcome is Outcome.FAILED
