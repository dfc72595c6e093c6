"""The client engine: greeting and EHLO, 421, replies that nobody asked for, the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.client_talk import PIPELINING, PLAIN, Talk, address, in_body, ready, transaction

from gatepost.core.envelope import Recipient
from gatepost.core.reply import Reply
from gatepost.wire.client_commands import UnsendableText
from gatepost.wire.client_events import (
    Capabilities,
    ClosedByPeer421,
    EnvelopeAnswered,
    Greeting,
    HelloDone,
    HelloRefused,
    ProtocolFault,
    QuitAnswered,
    ResetDone,
    Transaction,
)
from gatepost.wire.smtp_client import ClientEngine, OutOfTurn, State


def test_a_greeting_then_ehlo() -> None:
    talk = Talk()
    assert talk.says(b"220 mx.exam") == []
    assert talk.says(b"ple ESMTP\r\n") == [Greeting(Reply(220, "", ("mx.example ESMTP",)))]
    talk.engine.hello()
    talk.heard()
    (event,) = talk.says(PIPELINING)
    assert isinstance(event, HelloDone)
    assert event.capabilities == Capabilities(
        esmtp=True, pipelining=True, size=1_000_000, greeting_name="mx.example"
    )


def test_a_refusing_greeting_leaves_only_quit() -> None:
    talk = Talk()
    assert talk.says(b"554 5.7.1 no\r\n") == [Greeting(Reply(554, "5.7.1", ("no",)))]
    with pytest.raises(OutOfTurn):
        talk.engine.hello()
    talk.engine.quit()
    assert talk.heard() == b"QUIT\r\n"
    assert talk.says(b"221 bye\r\n") == [QuitAnswered(Reply(221, "", ("bye",)))]


def test_ehlo_refused_for_good_becomes_helo() -> None:
    talk = Talk()
    talk.says(b"220 mx\r\n")
    talk.engine.hello()
    talk.heard()
    assert talk.says(b"502 5.5.1 what?\r\n") == []
    assert talk.heard() == b"HELO gw.example.org\r\n"
    (event,) = talk.says(b"250 mx.example\r\n")
    assert isinstance(event, HelloDone)
    assert event.capabilities == Capabilities(greeting_name="mx.example")
    with pytest.raises(OutOfTurn):
        talk.engine.starttls()


def test_helo_refused_too() -> None:
    talk = Talk()
    talk.says(b"220 mx\r\n")
    talk.engine.hello()
    talk.says(b"500 what?\r\n")
    assert talk.says(b"500 what now?\r\n") == [HelloRefused(Reply(500, "", ("what now?",)))]


def test_ehlo_refused_for_now_is_no_reason_for_helo() -> None:
    talk = Talk()
    talk.says(b"220 mx\r\n")
    talk.engine.hello()
    talk.heard()
    assert talk.says(b"450 later\r\n") == [HelloRefused(Reply(450, "", ("later",)))]
    assert talk.heard() == b""


@pytest.mark.parametrize("name", ["gw\r\nMAIL FROM:<>", "gw x", "", "gw\0", "gü.example"])
def test_the_hello_name_is_one_word(name: str) -> None:
    with pytest.raises(UnsendableText):
        ClientEngine(name)


def test_421_ends_the_connection_at_any_time() -> None:
    closed = [ClosedByPeer421(Reply(421, "4.3.2", ("closing",)))]
    line = b"421 4.3.2 closing\r\n"
    assert Talk().says(line) == closed
    assert ready().says(line) == closed
    assert in_body().says(line) == closed
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    assert talk.says(b"250 ok\r\n" + line) == closed
    assert talk.says(b"250 ok\r\n") == []
    talk = ready()
    talk.engine.receive(line)  # it came before we ask for more
    talk.engine.begin(transaction("bob@example.com"))
    assert talk.events() == closed


def test_a_reply_before_its_command_is_a_fault() -> None:
    talk = Talk()
    talk.engine.receive(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n")
    assert isinstance(talk.engine.next_event(), Greeting)
    talk.engine.hello()
    assert talk.heard() == b""
    assert talk.events() == [ProtocolFault("reply before its command")]


def test_an_unasked_reply_is_a_fault() -> None:
    assert ready().says(b"250 ok\r\n") == [ProtocolFault("reply that no command asked for")]


def test_a_fault_is_reported_once_and_orders_say_nothing_more() -> None:
    talk = ready()
    assert len(talk.says(b"xyz\r\n250 ok\r\n")) == 1
    assert talk.events() == []
    talk.engine.begin(transaction("bob@example.com"))
    talk.engine.reset()
    talk.engine.quit()
    assert talk.heard() == b""


def test_quit_between_commands_only() -> None:
    talk = in_body()
    talk.engine.quit()
    assert talk.heard() == b""
    talk = ready()
    talk.engine.quit()
    assert talk.heard() == b"QUIT\r\n"
    assert talk.says(b"221 2.0.0 bye\r\n") == [QuitAnswered(Reply(221, "2.0.0", ("bye",)))]
    assert talk.engine.state is State.DEAD


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_rubbish_never_raises(pieces: list[bytes]) -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    events = [event for piece in pieces for event in talk.says(piece)]
    faults = [event for event in events if isinstance(event, ProtocolFault)]
    assert faults in ([], events[-1:])  # nothing more is told behind a fault
    assert not faults or talk.says(b"250 ok\r\n") == []


@pytest.mark.parametrize("offer", [PIPELINING, PLAIN])
def test_a_probe_ends_before_data(offer: bytes) -> None:
    talk = Talk()
    talk.says(b"220 mx.example\r\n")
    talk.engine.hello()
    talk.says(offer)
    talk.heard()
    for answer, code in ((b"250 Ok\r\n", 250), (b"550 5.1.1 No such user\r\n", 550)):
        talk.engine.begin(Transaction(address(""), (Recipient(address("bob@example.net")),), probe=True))
        if offer is PIPELINING:
            assert talk.heard() == b"MAIL FROM:<>\r\nRCPT TO:<bob@example.net>\r\n"
            [event] = talk.says(b"250 Ok\r\n" + answer)
        else:
            assert talk.heard() == b"MAIL FROM:<>\r\n"
            assert talk.says(b"250 Ok\r\n") == []
            assert talk.heard() == b"RCPT TO:<bob@example.net>\r\n"
            [event] = talk.says(answer)
        assert isinstance(event, EnvelopeAnswered)
        assert (event.recipients[0].code, event.data, event.go_ahead) == (code, None, False)
        assert talk.engine.transaction_open
        talk.engine.reset()
        assert talk.heard() == b"RSET\r\n"
        assert talk.says(b"250 Ok\r\n") == [ResetDone()]
