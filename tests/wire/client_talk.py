"""A client engine and its peer's words, for the tests of the engine."""

from __future__ import annotations

from gatepost.core.address import Address
from gatepost.core.envelope import Recipient
from gatepost.wire.client_events import (
    ClientEvent,
    EnvelopeAnswered,
    HelloDone,
    Transaction,
)
from gatepost.wire.smtp_client import ClientEngine

PIPELINING = b"250-mx.example\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n"
PLAIN = b"250-mx.example\r\n250 8BITMIME\r\n"
STARTTLS = b"250-mx.example\r\n250-STARTTLS\r\n250 PIPELINING\r\n"


def address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(text, local, domain)


def transaction(*recipients: str, size: int = 0) -> Transaction:
    return Transaction(
        address("alice@example.org"), tuple(Recipient(address(text)) for text in recipients), size
    )


class Talk:
    """Plays the peer: `says(…)` feeds bytes and returns the events, `heard()` is what the engine sent."""

    def __init__(self) -> None:
        self.engine = ClientEngine("gw.example.org")

    def says(self, data: bytes) -> list[ClientEvent]:
        self.engine.receive(data)
        return self.events()

    def events(self) -> list[ClientEvent]:
        found = []
        while (event := self.engine.next_event()) is not None:
            found.append(event)
        return found

    def heard(self) -> bytes:
        return self.engine.take_output()


def ready(ehlo: bytes = PIPELINING) -> Talk:
    talk = Talk()
    talk.says(b"220 mx.example ESMTP\r\n")
    talk.engine.hello()
    assert talk.heard() == b"EHLO gw.example.org\r\n"
    (event,) = talk.says(ehlo)
    assert isinstance(event, HelloDone)
    return talk


def in_body() -> Talk:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    (event,) = talk.says(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert event.go_ahead
    talk.heard()
    return talk
