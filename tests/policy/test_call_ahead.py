"""What a host's answer about a recipient means."""

from __future__ import annotations

import pytest

from gatepost.config.call_ahead import CallAhead
from gatepost.core.reply import Reply
from gatepost.policy.call_ahead import could_not_tell, read_answer

OK = Reply(250, "2.1.0", ("Ok",))
SETTINGS = CallAhead()


@pytest.mark.parametrize("code", [250, 251, 252])
def test_an_accepted_recipient_is_known_for_an_hour(code: int) -> None:
    answer = read_answer(OK, Reply(code, "2.1.5", ("Fine",)), SETTINGS)
    assert (answer.refusal, answer.keep, answer.invalid) == (None, 3_600, False)


@pytest.mark.parametrize(
    ("said", "told", "keep"),
    [
        (Reply(550, "5.1.1", ("No such user",)), (550, "5.1.1"), 300),
        (Reply(554, "", ("Go away",)), (550, "5.1.1"), 300),
        (Reply(552, "5.2.2", ("Full",)), (550, "5.2.2"), 300),
        (Reply(550, "2.0.0", ("Odd",)), (550, "5.1.1"), 300),
        (Reply(450, "4.2.0", ("Greylisted",)), (451, "4.2.0"), 0),
        (Reply(452, "", ("Full",)), (451, "4.3.0"), 0),
    ],
)
def test_a_refusal_is_passed_on_in_words_of_ours(said: Reply, told: tuple[int, str], keep: int) -> None:
    answer = read_answer(OK, said, SETTINGS)
    assert answer.refusal is not None
    assert (answer.refusal.code, answer.refusal.enhanced) == told
    assert said.lines[0] not in answer.refusal.text
    assert answer.refusal.cause == f"Rejected by call-ahead ({said.code} {said.text})"
    assert (answer.keep, answer.invalid) == (keep, said.code >= 500)


@pytest.mark.parametrize("code", [450, 550])
def test_a_host_that_refuses_the_null_sender_says_nothing_of_the_recipient(code: int) -> None:
    said = Reply(code, "", ("No <> here",))
    answer = read_answer(said, said, SETTINGS)
    assert answer.refusal is not None
    assert (answer.refusal.code, answer.refusal.enhanced, answer.keep, answer.invalid) == (
        451,
        "4.4.0",
        0,
        False,
    )
    assert f"the null sender is refused: {code} No <> here" in answer.refusal.cause


def test_no_answer_defers() -> None:
    answer = could_not_tell("4.4.1", "no answer within 10 s")
    assert answer.refusal is not None
    assert answer.refusal.reply().encode() == (
        b"451 4.4.1 The recipient's mail server does not answer, try again later\r\n"
    )
    assert answer.refusal.cause == "Rejected by call-ahead (no answer within 10 s)"
