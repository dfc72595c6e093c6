"""What a server says, and how it takes a message (C15, C24 to C26): nothing it says forges anything, and nothing is lost or split on the way to it."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from tests.live.hostile.house import House, token
from tests.live.hostile.server import PLAIN, Behaviour, HostileServer, Talk

FORGERY = b"\x1b[2J\x07 \xc2\x85 \xe2\x80\xa8 \xff'] [] Message finished MID 1 done"


@pytest.fixture
def serve(house: House) -> Iterator[Callable[[Behaviour], tuple[str, HostileServer]]]:
    """`serve(behaviour)`: a domain that leads to it, and the server."""
    made: list[HostileServer] = []

    def start(behaviour: Behaviour) -> tuple[str, HostileServer]:
        domain, port = house.route()
        made.append(HostileServer(port, behaviour))
        return domain, made[-1]

    yield start
    for server in made:
        server.close()


Serve = Callable[[Behaviour], tuple[str, HostileServer]]


def test_c25_replies_forge_nothing_in_log_and_report(house: House, serve: Serve) -> None:
    """A reply goes into the log, and when it refuses into the report to the sender. All kinds at once."""
    start = house.mark()
    sent = []
    for verb in ("MAIL", "RCPT", "DATA", "dot"):
        for code in ("450 4.2.0", "550 5.1.1", *(["250 2.0.0"] if verb == "dot" else [])):
            word = token()
            reply = f"{code} said {word}".encode() + FORGERY + b"\r\n"

            def behave(talk: Talk, replies: dict[str, bytes]) -> None:
                talk.greet(PLAIN)
                talk.serve(PLAIN, **replies)

            domain, _ = serve(partial(behave, replies={verb: reply}))
            sent.append((code, word, house.send(f"x@{domain}", sender="reports@example.net")))
    for code, word, mid in sent:
        outcome = house.outcome(mid)
        assert outcome.what == {"2": "Message done", "4": "Delayed", "5": "Bounced"}[code[0]]
        shown = [line for line in house.gateway.log.all[start:] if word in line]
        assert shown
        assert all(line.isprintable() for line in shown)
        if outcome.what == "Bounced":
            (report,) = house.arrived(word)
            assert b"\x1b" not in report.content
            assert b"\x07" not in report.content
            assert report.message.get_content_type() == "multipart/report"
            assert report.sender == ""


def test_c26_envelope_parameters_bring_no_command_and_no_header(house: House, serve: Serve) -> None:
    """ENVID and ORCPT in xtext may hide line ends: they pass on as xtext, and a report shows them harmlessly."""
    word = token()

    def behave(talk: Talk) -> None:
        talk.greet(PLAIN)
        talk.serve(PLAIN, RCPT=b"550 5.1.1 " + word.encode() + b"\r\n")

    domain, server = serve(behave)
    with house.client(house.ports.private) as client:
        client.ehlo()
        client.command("MAIL FROM:<reports@example.net> ENVID=a+0D+0ABcc:+20evil+40x.example RET=HDRS")
        client.command(f"RCPT TO:<x@{domain}> ORCPT=rfc822;x+0D+0ADATA+0D+0A@x.example NOTIFY=FAILURE")
        client.data(b"Subject: x\r\n\r\n")
    (report,) = house.arrived(word)
    assert not report.message.get_all("Bcc")
    assert not re.search(rb"^(Bcc|DATA)", report.content, re.MULTILINE)
    verbs = server.heard.verbs()
    assert verbs[:4] == ["EHLO", "MAIL", "RCPT", "DATA"] or verbs[:3] == ["EHLO", "MAIL", "RCPT"], verbs
    mail = next(line for line in server.heard.clear if line.startswith(b"MAIL"))
    assert b"ENVID=a+0D+0ABcc:+20evil+40x.example" in mail


def test_c15_a_message_from_chunks_is_dot_stuffed_on_the_wire(house: House, serve: Serve) -> None:
    """Octet for octet at the server, before it takes the dots away; also where a buffer of 64 KiB ends inside CRLF-dot."""

    def behave(talk: Talk) -> None:
        talk.greet(PLAIN)
        talk.serve(PLAIN)

    domain, server = serve(behave)
    body = b"Subject: x\r\n\r\n" + b".\r\n" * 30_000 + b"no end of line"
    with house.client(house.ports.private) as client:
        client.ehlo()
        client.envelope("a@example.net", f"x@{domain}")
        client.send(b"BDAT %d LAST\r\n" % len(body) + body)
        reply = client.reply()[0]
        assert reply.startswith("250")
    outcome = house.outcome(int(reply.rpartition(" ")[2]))
    assert outcome.what == "Message done"
    (wire,) = server.heard.messages
    expected = body.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n"
    assert wire.endswith(expected)
    assert wire[: -len(expected)].startswith(b"Received: ")
    assert wire[: -len(expected)].count(b"\n") < 10


@pytest.mark.parametrize("where", ["MAIL", "354", "body"])
def test_a_server_that_vanishes_delays_the_message(house: House, serve: Serve, where: str) -> None:
    def behave(talk: Talk) -> None:
        talk.greet(PLAIN)
        talk.line()
        if where != "MAIL":
            talk.say(b"250 ok\r\n")
            talk.line()
            talk.say(b"250 ok\r\n354 go\r\n")
        if where == "body":
            talk.recv(100_000)
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    domain, server = serve(behave)
    outcome = house.outcome(house.send(f"x@{domain}", b"y" * 70 + b"\r\n" * 100_000))
    assert outcome.what == "Delayed"
    assert "Connection Error: " in outcome.text
    assert server.heard.messages == []


def test_a_server_that_takes_no_octet_is_left(house: House, serve: Serve) -> None:
    def behave(talk: Talk) -> None:
        talk.greet(PLAIN)
        for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            talk.line()
            talk.say(answer)
        talk.heard.clear.append(b"(waits)")
        release.wait(20)

    release = threading.Event()
    domain, _ = serve(behave)
    began = time.monotonic()
    outcome = house.outcome(house.send(f"x@{domain}", (b"y" * 70 + b"\r\n") * 200_000))
    release.set()
    assert outcome.what == "Delayed"
    assert time.monotonic() - began < 12


def test_a_slow_server_that_keeps_reading_gets_its_message(house: House, serve: Serve) -> None:
    """The patience is for a piece, not for the whole message: this takes half as long again."""

    def behave(talk: Talk) -> None:
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        talk.greet(PLAIN)
        for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            talk.line()
            talk.say(answer)
        tail = b""
        began = time.monotonic()
        size = 0
        while not tail.endswith(b"\r\n.\r\n"):
            data = talk.recv(65_536)
            if not data:
                raise EOFError
            size += len(data)
            tail = (tail + data)[-5:]
            if time.monotonic() - began < 4.5:
                time.sleep(0.03)  # the peer's slowness
        talk.heard.messages.append(b"%d" % size)
        talk.say(b"250 ok\r\n")
        talk.serve(PLAIN)

    domain, server = serve(behave)
    outcome = house.outcome(house.send(f"x@{domain}", (b"y" * 70 + b"\r\n") * 200_000))
    assert outcome.what == "Message done", outcome.text
    assert int(server.heard.messages[0]) > 14_400_000
