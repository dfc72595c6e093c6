"""The envelope of the client engine: groups, answers in and out of step, who is accepted."""

from __future__ import annotations

import pytest
from tests.wire.client_talk import PIPELINING, PLAIN, ready, transaction

from gatepost.core.reply import Reply
from gatepost.wire.client_commands import UnsendableText
from gatepost.wire.client_events import (
    BodyAnswered,
    EnvelopeAnswered,
    ProtocolFault,
    ResetDone,
)
from gatepost.wire.smtp_client import GROUP_RECIPIENTS, OutOfTurn


def test_a_pipelined_transaction_is_one_group() -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com", "eve@example.com", size=100))
    assert talk.heard() == (
        b"MAIL FROM:<alice@example.org> SIZE=100\r\n"
        b"RCPT TO:<bob@example.com>\r\nRCPT TO:<eve@example.com>\r\nDATA\r\n"
    )
    assert talk.says(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no\r\n") == []
    (event,) = talk.says(b"354 go\r\n")
    assert event == EnvelopeAnswered(
        Reply(250, "2.1.0", ("ok",)),
        (Reply(250, "2.1.5", ("ok",)), Reply(550, "5.1.1", ("no",))),
        Reply(354, "", ("go",)),
    )
    assert isinstance(event, EnvelopeAnswered)
    assert event.accepted == (0,)
    assert talk.engine.body(b"hi\r\n", stuff=True, last=True) == b"hi\r\n.\r\n"
    assert talk.says(b"250 2.0.0 queued\r\n") == [BodyAnswered(Reply(250, "2.0.0", ("queued",)))]
    assert talk.engine.may_begin


def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    talk = ready(PLAIN)
    talk.engine.begin(transaction("bob@example.com", "eve@example.com"))
    steps = [
        (b"MAIL FROM:<alice@example.org>\r\n", b"250 ok\r\n"),
        (b"RCPT TO:<bob@example.com>\r\n", b"450 later\r\n"),
        (b"RCPT TO:<eve@example.com>\r\n", b"250 ok\r\n"),
    ]
    for sent, answer in steps:
        assert talk.heard() == sent
        assert talk.says(answer) == []
    assert talk.heard() == b"DATA\r\n"
    (event,) = talk.says(b"354 go\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert event.accepted == (1,)
    assert event.go_ahead


def test_without_pipelining_nothing_follows_a_refused_sender() -> None:
    talk = ready(PLAIN)
    talk.engine.begin(transaction("bob@example.com", "eve@example.com"))
    talk.heard()
    no = Reply(550, "", ("no",))
    assert talk.says(b"550 no\r\n") == [EnvelopeAnswered(no, (no, no), None)]
    assert talk.heard() == b""
    assert talk.engine.may_begin


def test_without_pipelining_data_is_not_sent_when_nobody_was_accepted() -> None:
    talk = ready(PLAIN)
    talk.engine.begin(transaction("bob@example.com"))
    talk.says(b"250 ok\r\n")
    talk.heard()
    (event,) = talk.says(b"550 no\r\n")
    assert event == EnvelopeAnswered(Reply(250, "", ("ok",)), (Reply(550, "", ("no",)),), None)
    assert talk.heard() == b""
    assert talk.engine.transaction_open
    with pytest.raises(OutOfTurn):
        talk.engine.begin(transaction("bob@example.com"))
    talk.engine.reset()
    assert talk.heard() == b"RSET\r\n"
    assert talk.says(b"250 ok\r\n") == [ResetDone()]
    assert talk.engine.may_begin


@pytest.mark.parametrize(
    "answers", [b"250 ok\r\n550 no\r\n", b"550 no\r\n503 what?\r\n", b"550 no\r\n250 ?\r\n"]
)
def test_a_go_ahead_for_nobody_is_ended_with_a_lone_dot(answers: bytes) -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    talk.heard()
    (event,) = talk.says(answers + b"354 go\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert not event.go_ahead
    assert event.data is None
    assert event.accepted == ()
    assert talk.heard() == b".\r\n"
    # The answer to the dot matters to nobody, and the next transaction need not wait for it.
    talk.engine.begin(transaction("carol@example.com"))
    assert talk.says(b"554 5.5.1 no valid recipients\r\n") == []
    (event,) = talk.says(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert event.go_ahead


def test_a_refused_data_is_reported_when_somebody_was_accepted() -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    (event,) = talk.says(b"250 ok\r\n250 ok\r\n451 4.3.0 no room\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert event.data == Reply(451, "4.3.0", ("no room",))
    assert not event.go_ahead
    assert talk.engine.transaction_open
    with pytest.raises(OutOfTurn):
        talk.engine.body(b"x", stuff=True, last=True)


def test_many_recipients_go_in_bounded_groups_and_data_with_the_last() -> None:
    talk = ready()
    names = [f"r{i}@example.com" for i in range(250)]
    talk.engine.begin(transaction(*names))
    seen, first = [], True
    while True:
        lines = talk.heard().split(b"\r\n")[:-1]
        if first:
            assert lines.pop(0).startswith(b"MAIL")
            first = False
        asked = [line for line in lines if line.startswith(b"RCPT")]
        assert len(asked) <= GROUP_RECIPIENTS
        seen += asked
        answers = b"250 ok\r\n" * len(asked)
        if len(seen) < 250:
            assert asked == lines
            assert talk.says((b"250 ok\r\n" if len(seen) == GROUP_RECIPIENTS else b"") + answers) == []
        else:
            assert lines[-1] == b"DATA"
            (event,) = talk.says(answers + b"354 go\r\n")
            break
    assert seen == [f"RCPT TO:<{name}>".encode() for name in names]
    assert isinstance(event, EnvelopeAnswered)
    assert len(event.accepted) == 250


def test_groups_are_bounded_in_octets_too() -> None:
    talk = ready()
    long = [f"{'x' * 60}{i}@{'y' * 60}.{'z' * 60}.{'w' * 60}.example" for i in range(100)]
    talk.engine.begin(transaction(*long))
    assert len(talk.heard()) < 17_000


def test_a_refused_sender_stops_further_groups() -> None:
    talk = ready()
    talk.engine.begin(transaction(*(f"r{i}@example.com" for i in range(150))))
    talk.heard()
    (event,) = talk.says(b"550 no\r\n" + b"503 no\r\n" * 100)
    assert isinstance(event, EnvelopeAnswered)
    assert event.recipients == (Reply(550, "", ("no",)),) * 150
    assert talk.heard() == b""


@pytest.mark.parametrize("ehlo", [PIPELINING, PLAIN])
def test_an_address_that_cannot_be_sent_stops_the_transaction_before_it_begins(ehlo: bytes) -> None:
    talk = ready(ehlo)
    with pytest.raises(UnsendableText):
        talk.engine.begin(transaction("bob@example.com", "x\r\nDATA@example.com"))
    assert talk.heard() == b""
    assert talk.engine.may_begin


@pytest.mark.parametrize(
    "answers",
    [
        b"354 go\r\n",
        b"250 ok\r\n354 go\r\n",
        b"250 ok\r\n250 ok\r\n250 ok\r\n",
        b"250 ok\r\n250 ok\r\n300 ?\r\n",
    ],
)
def test_answers_out_of_step_are_a_fault(answers: bytes) -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    assert isinstance(talk.says(answers)[-1], ProtocolFault)
