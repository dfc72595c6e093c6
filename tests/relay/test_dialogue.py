"""What ended a dialogue is known by its kind: a peer that is silent, one that hung up, bytes behind STARTTLS, a 421."""

from __future__ import annotations

import asyncio

import pytest

from gatepost.core.reply import Reply
from gatepost.net.errors import StreamError, StreamLost, StreamTimeout
from gatepost.relay.dialogue import ConnectionBroken, expect
from gatepost.wire.client_events import Greeting
from gatepost.wire.smtp_client import ClientEngine


class Stream:
    """Gives the octets, or the error, that a test says."""

    def __init__(self, *reads: bytes | StreamError) -> None:
        self.reads = list(reads)
        self.written = b""

    async def read(self) -> bytes:
        following = self.reads.pop(0)
        if isinstance(following, StreamError):
            raise following
        return following

    def write(self, data: bytes) -> None:
        self.written += data


def broken(engine: ClientEngine, *reads: bytes | StreamError) -> ConnectionBroken:
    with pytest.raises(ConnectionBroken) as told:
        asyncio.run(expect(Stream(*reads), engine))  # type: ignore[arg-type]
    return told.value


def offering_starttls() -> ClientEngine:
    """An engine that has sent STARTTLS."""
    engine = ClientEngine("gw.example.org")
    engine.receive(b"220 mx.example ESMTP\r\n")
    assert isinstance(engine.next_event(), Greeting)
    engine.hello()
    engine.receive(b"250-mx.example\r\n250 STARTTLS\r\n")
    assert engine.next_event() is not None
    engine.starttls()
    return engine


@pytest.mark.parametrize(
    ("read", "text", "silent"),
    [
        (StreamTimeout(), "timeout", True),
        (StreamLost("timeout"), "timeout", False),
        (StreamLost("[Errno 104] Connection reset by peer"), "[Errno 104] Connection reset by peer", False),
        (b"", "the remote host closed the connection", False),
        (b"no reply at all\r\n", "malformed reply", False),
    ],
)
def test_only_a_deadline_is_silence(read: bytes | StreamError, text: str, silent: bool) -> None:
    ended = broken(ClientEngine("gw.example.org"), read)
    assert ended.text.startswith(text)
    assert (ended.silent, ended.injected, ended.reply) == (silent, False, None)


def test_bytes_behind_starttls_are_injected() -> None:
    ended = broken(offering_starttls(), b"220 go\r\n250 mx.example\r\n")
    assert (ended.injected, ended.silent) == (True, False)


def test_421_brings_its_reply() -> None:
    ended = broken(ClientEngine("gw.example.org"), b"421 4.3.2 later\r\n")
    assert (ended.reply, ended.injected, ended.silent) == (Reply(421, "4.3.2", ("later",)), False, False)
