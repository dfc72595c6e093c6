"""Clients and servers that vanish in every moment of a session: reset, ended, or with their last words in one go (C27).

Whatever was begun for them is ended when they are gone. The timeouts of the listeners are minutes, so that what waited for
one of them would not be seen to end here.
"""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from tests.live.hostile.house import Hostile, House
from tests.live.hostile.server import HostileServer, Talk
from tests.live.peers.clients import RawClient, trusting_context

NOW = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: a reset instead of an end
TIMES = 2
BODY = b"Subject: gone\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000


def reset(client: RawClient) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
    client.socket.close()


def end(client: RawClient) -> None:
    client.socket.close()


def half(client: RawClient) -> None:
    """It ends its own side and stays; the other side is to end the rest."""
    client.socket.shutdown(socket.SHUT_WR)


# --- what a client has said when it vanishes: each leaves its last octets unanswered ----------------


def nothing(client: Hostile) -> None:
    return


def a_command(client: Hostile) -> None:
    client.send(b"EHLO gone.example\r\n")


def half_a_command(client: Hostile) -> None:
    client.send(b"EHLO gone.exa")


def an_envelope(client: Hostile) -> None:
    client.ehlo()
    client.send(b"MAIL FROM:<a@gone.example>\r\nRCPT TO:<user@example.net>\r\n")


def in_data(client: Hostile) -> None:
    client.ehlo()
    client.envelope()
    client.command("DATA")
    client.send(BODY)


def at_the_dot(client: Hostile) -> None:
    client.ehlo()
    client.envelope()
    client.command("DATA")
    client.send(b"Subject: gone\r\n\r\nx\r\n.\r\nQUIT\r\n")


def in_a_chunk(client: Hostile) -> None:
    client.ehlo()
    client.envelope()
    client.send(b"BDAT 100000 LAST\r\n" + b"x" * 50_000)


def between_chunks(client: Hostile) -> None:
    client.ehlo()
    client.envelope()
    client.send(b"BDAT 5\r\nSubje")


def with_answers_unread(client: Hostile) -> None:
    """Far more than it reads of its answers; the gateway waits for it."""
    client.socket.settimeout(0.3)
    flood = b"EHLO many.example\r\n" * 4_000
    try:
        while True:
            client.socket.send(flood)
    except OSError:
        client.socket.settimeout(20)


MOMENTS: tuple[Callable[[Hostile], None], ...] = (
    nothing,
    a_command,
    half_a_command,
    an_envelope,
    in_data,
    at_the_dot,
    in_a_chunk,
    between_chunks,
)
MANNERS = (reset, end, half)


def check_gone(house: House, start: int, count: int) -> None:
    """So many connections have ended, and nothing of them is left."""
    house.log(r"ICID \d+ close", start=start, count=count)
    assert not house.gateway.log.matching(r"Receiving Failed: Timeout|TLS failed: timeout", start)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
@pytest.mark.parametrize("way", ["clear", "starttls", "implicit"])
def test_c27_clients_that_vanish(house: House, way: str, moment: Callable[[Hostile], None]) -> None:
    start = house.mark()
    for manner, _ in itertools.product(MANNERS, range(TIMES)):
        client = house.client(house.ports.implicit if way == "implicit" else 0, implicit=way == "implicit")
        if way == "starttls":
            client.ehlo()
            client.command("STARTTLS")
            client.start_tls(trusting_context())
        moment(client)
        manner(client)
    check_gone(house, start, len(MANNERS) * TIMES)


@pytest.mark.parametrize("way", ["clear", "implicit"])
def test_c27_clients_that_do_not_read_and_vanish(house: House, way: str) -> None:
    start = house.mark()
    for manner in (reset, end):
        client = house.client(house.ports.implicit if way == "implicit" else 0, implicit=way == "implicit")
        with_answers_unread(client)
        manner(client)
    check_gone(house, start, 2)


@pytest.mark.parametrize("piece", [0, 1, 5, 60, 200], ids=lambda piece: f"{piece} octets of a hello")
@pytest.mark.parametrize("manner", MANNERS, ids=lambda manner: manner.__name__)
@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
def test_c27_clients_that_vanish_in_a_handshake(
    house: House, implicit: bool, manner: Callable[[RawClient], None], piece: int
) -> None:
    start = house.mark()
    for _ in range(TIMES):
        if implicit:
            client = house.client(house.ports.implicit, greeted=False)
        else:
            client = house.client()
            client.ehlo()
            client.send(b"STARTTLS\r\n")
            client.reply()
        client.send(_hello()[:piece])
        manner(client)
    check_gone(house, start, TIMES)


def _hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    talk = trusting_context().wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        talk.do_handshake()
    return outgoing.read()


# --- servers ------------------------------------------------------------------------------------------


def _say_and_reset(talk: Talk, reply: bytes) -> None:
    """The reply and the reset in one go: both wait when the gateway looks."""
    talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
    talk.say(reply)
    talk.socket.close()


def vanishing(verb: bytes, reply: bytes) -> Callable[[Talk], None]:
    """Honest up to this command, the answer to which is the last that it does."""

    def behave(talk: Talk) -> None:
        if not verb:
            _say_and_reset(talk, reply)
            return
        talk.say(b"220 hostile.example ESMTP\r\n")
        while True:
            said = talk.line().split(b" ")[0].upper()
            if said == verb:
                _say_and_reset(talk, reply)
                return
            if said == b"EHLO":
                talk.say(
                    b"250-hostile.example\r\n250 STARTTLS\r\n"
                    if verb == b"STARTTLS"
                    else b"250 hostile.example\r\n"
                )
            elif said == b"DATA":
                talk.say(b"354 go\r\n")
                talk.message()
                if verb == b".":
                    _say_and_reset(talk, reply)
                    return
                talk.say(b"250 taken\r\n")
            else:
                talk.say(b"250 ok\r\n")

    return behave


@pytest.mark.parametrize(
    ("verb", "reply", "what"),
    [
        (b"", b"220 hostile.example\r\n", "Delayed"),
        (b"", b"220-hosti", "Delayed"),
        (b"EHLO", b"250 hostile.example\r\n", "Delayed"),
        (b"EHLO", b"250-hostile.example\r\n250-PIPE", "Delayed"),
        (b"STARTTLS", b"220 go\r\n", "Delayed"),
        (b"STARTTLS", b"220 go\r\n\x16\x03\x03\x00\x7a\x02", "Delayed"),
        (b"MAIL", b"250 ok\r\n", "Delayed"),
        (b"RCPT", b"250 ok\r\n", "Delayed"),
        (b"RCPT", b"550 no\r\n", "Bounced"),
        (b"DATA", b"354 go\r\n", "Delayed"),
        (b"DATA", b"554 no\r\n", "Bounced"),
        (b".", b"250 2.0.0 taken\r\n", "Message done"),
        (b".", b"25", "Delayed"),
        (b".", b"452 full\r\n", "Delayed"),
    ],
)
def test_c27_servers_that_answer_and_vanish_in_one_go(
    house: House, verb: bytes, reply: bytes, what: str
) -> None:
    """What was said counts, and the end is seen at once: nothing is said of a timeout."""
    domain, port = house.route()
    with ExitStack() as stack:
        server = HostileServer(port, vanishing(verb, reply))
        stack.callback(server.close)
        outcome = house.outcome(house.send(f"user@{domain}"))
        assert outcome.what == what, outcome.text
        assert "timeout" not in outcome.text
