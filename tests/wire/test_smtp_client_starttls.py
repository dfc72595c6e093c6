"""STARTTLS of the client engine: when it is sent, what is forgotten, what ends the connection."""

from __future__ import annotations

import pytest
from tests.wire.client_talk import PLAIN, STARTTLS, ready, transaction

from gatepost.wire.client_events import (
    HelloDone,
    ProtocolFault,
    StartTlsAnswered,
)
from gatepost.wire.smtp_client import OutOfTurn


def test_starttls_forgets_what_was_said_in_clear() -> None:
    talk = ready(STARTTLS)
    talk.engine.starttls()
    assert talk.heard() == b"STARTTLS\r\n"
    (event,) = talk.says(b"220 2.0.0 go\r\n")
    assert isinstance(event, StartTlsAnswered)
    assert event.accepted
    talk.engine.tls_started()
    assert talk.engine.capabilities is None
    with pytest.raises(OutOfTurn):
        talk.engine.begin(transaction("bob@example.com"))
    talk.engine.hello()
    (hello,) = talk.says(PLAIN)
    assert isinstance(hello, HelloDone)
    assert not hello.capabilities.pipelining
    assert talk.engine.tls_active
    with pytest.raises(OutOfTurn):
        talk.engine.starttls()


def test_starttls_is_not_sent_unless_offered() -> None:
    talk = ready(PLAIN)
    with pytest.raises(OutOfTurn):
        talk.engine.starttls()
    assert talk.heard() == b""


@pytest.mark.parametrize("offer", [b"STARTTLS", b"starttls", b"StartTLS foo", b"STARTTLS "])
def test_an_offer_counts_in_any_form(offer: bytes) -> None:
    talk = ready(b"250-mx\r\n250 " + offer + b"\r\n")
    talk.engine.starttls()
    assert talk.heard() == b"STARTTLS\r\n"


@pytest.mark.parametrize(
    "injected",
    [
        b"220 ok\r\n250-AUTH PLAIN\r\n",
        b"220 ok\r\n250-AUTH PLAIN",  # without its line end
        b"220 ok\r\n2",
        b"220 ok\r\n250 PIPELINING\r\n",
        b"220 ok\r\n421 bye\r\n",
        b"220-go\r\n220 on\r\n220 mx.example\r\n",
    ],
)
def test_bytes_behind_starttls_end_the_connection(injected: bytes) -> None:
    for cut in range(1, len(injected)):
        talk = ready(STARTTLS)
        talk.engine.starttls()
        events = talk.says(injected[:cut]) + talk.says(injected[cut:])
        assert events[-1] == ProtocolFault("bytes behind STARTTLS", injected=True)
        assert len(events) <= 2  # the 220 itself may have come alone
        talk.engine.tls_started()
        assert not talk.engine.tls_active
        talk.heard()
        talk.engine.hello()
        assert talk.heard() == b""


def test_a_handshake_that_goes_on_in_spite_of_injected_bytes_uses_nothing() -> None:
    talk = ready(STARTTLS)
    talk.engine.starttls()
    talk.says(b"220 go\r\n")
    talk.engine.receive(b"250-PIPELINING\r\n")  # read before the handshake began
    talk.engine.tls_started()
    assert talk.events() == [ProtocolFault("bytes behind STARTTLS", injected=True)]
    talk.engine.hello()
    assert talk.heard() == b""


@pytest.mark.parametrize("reply", [b"454 4.7.0 not now\r\n", b"501 no\r\n", b"502 no\r\n", b"250 ok?\r\n"])
def test_any_other_answer_is_a_refusal_and_the_session_goes_on(reply: bytes) -> None:
    talk = ready(STARTTLS)
    talk.engine.starttls()
    (event,) = talk.says(reply)
    assert isinstance(event, StartTlsAnswered)
    assert not event.accepted
    talk.heard()
    talk.engine.begin(transaction("bob@example.com"))
    assert talk.heard().startswith(b"MAIL FROM:")


@pytest.mark.parametrize(
    "reply",
    [b"22\r\n", b"123456789 x\r\n", b"220 " + b"x" * 600 + b"\r\n", b"220 a\0b\r\n", b"220-a\r\n250 b\r\n"],
)
def test_a_malformed_answer_ends_the_connection(reply: bytes) -> None:
    talk = ready(STARTTLS)
    talk.engine.starttls()
    (event,) = talk.says(reply)
    assert isinstance(event, ProtocolFault)
    assert talk.says(b"220 ok\r\n") == []
    assert talk.heard() == b""
