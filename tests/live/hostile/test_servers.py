"""Hostile servers on the way out (C7 to C11, C15, C26, C33): what they do, and what becomes of the message at `preferred` and at `required`.

All conversations of the table run at once; each test then looks at its own. Whatever happens behind the 220 of STARTTLS, no
message goes in clear (R24); at `required` none does in any case, and nothing counts as delivered but what the server said yes to.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import pytest
from OpenSSL import SSL
from tests.fakes.ca import Issued, TestAuthority
from tests.live.hostile.house import House, Outcome, token
from tests.live.hostile.server import CAPABILITIES, PLAIN, Behaviour, HostileServer, Talk

CLEAR = "TLS failed: STARTTLS unexpected response - continuing in clear"
FIRST_ROUTE = 100


@cache
def authority() -> TestAuthority:
    return TestAuthority("Servers CA")


@cache
def good() -> Issued:
    return authority().issue(["mx.hostile.example"])


def context(issued: Issued | None = None, **changes: object) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = issued or good()
    with tempfile.NamedTemporaryFile() as file:
        file.write(issued.key_pem + issued.chain_pem)
        file.flush()
        if changes.pop("weak", False):
            made.set_ciphers("ALL:@SECLEVEL=0")
        made.load_cert_chain(file.name)
    for name, value in changes.items():
        if name == "ciphers":
            made.set_ciphers(str(value))
        else:
            setattr(made, name, value)
    return made


# --- behaviours ---------------------------------------------------------------------------------------


def behind_220(data: bytes, *, wait: bool = False, then: str = "rest") -> Behaviour:
    """Says 220 and `data`, in one segment or once the ClientHello has begun."""

    def behave(talk: Talk) -> None:
        talk.starttls()
        if wait:
            talk.say(b"220 go\r\n")
            talk.recv(1)
            talk.say(data)
        else:
            talk.say(b"220 go\r\n" + data)
        if then == "rest":
            talk.rest()

    return behave


def answers(reply: bytes, *, close: bool = False) -> Behaviour:
    """Answers STARTTLS like this and goes on in clear."""

    def behave(talk: Talk) -> None:
        talk.starttls()
        talk.say(reply)
        if close:
            return
        talk.serve()

    return behave


def offers(capabilities: bytes) -> Behaviour:
    def behave(talk: Talk) -> None:
        talk.greet(capabilities)
        first = talk.line()
        if first == b"STARTTLS":
            talk.secure(context())
        else:
            talk.say(b"250 ok\r\n")
        talk.serve(capabilities)

    return behave


def secured(
    make: Callable[[], ssl.SSLContext | SSL.Context], then: Callable[[Talk], None] = Talk.serve
) -> Behaviour:
    """A handshake with this context, and then."""

    def behave(talk: Talk) -> None:
        talk.starttls()
        talk.secure(make())
        then(talk)

    return behave


def in_clear(say: bytes, *, drip: float = 0.0) -> Behaviour:
    """Says this instead of a greeting, and again without end."""

    def behave(talk: Talk) -> None:
        for _ in range(10_000):
            talk.say(say)
            if drip:
                time.sleep(drip)  # the peer's own slowness, not a wait for anything
        talk.rest()

    return behave


def helo_only(talk: Talk) -> None:
    talk.say(b"220 old.example\r\n")
    talk.line()
    talk.say(b"502 what?\r\n")
    talk.line()
    talk.say(b"250 old.example\r\n")
    talk.serve()


def old_tls() -> SSL.Context:
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_cipher_list(b"ALL:@SECLEVEL=0")
    made.set_max_proto_version(SSL.TLS1_VERSION)
    made.set_min_proto_version(SSL.TLS1_VERSION)
    made.use_certificate(good().leaf)
    made.use_privatekey(good().key)  # type: ignore[arg-type]
    return made


def anonymous() -> SSL.Context:
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_options(SSL.OP_NO_TLSv1_3)
    made.set_cipher_list(b"aNULL:@SECLEVEL=0")
    return made


def only(ciphers: str) -> Callable[[], ssl.SSLContext]:
    return lambda: context(
        rsa("rsa2048"), ciphers=f"{ciphers}:@SECLEVEL=0", maximum_version=ssl.TLSVersion.TLSv1_2
    )


@cache
def rsa(key: str, hash_name: str = "sha256") -> Issued:
    return TestAuthority(f"CA of {key} {hash_name}", key="rsa2048").issue(
        ["mx.hostile.example"], key=key, hash_name=hash_name
    )


# The smallest that the peer's library takes itself.
SMALL_DH = """-----BEGIN DH PARAMETERS-----
MIGHAoGBANhXHtoiMzSuuHgA6RROaPQawMQKIXVvTE/NXc9pC1CEIcV3ZTcYLxZw
la57dI1a3ndnuzeCrQujn8CuX3HZ9uIZ5LNnLy2yXbOFMzcnP30fcKySfz/NGRrL
R0pNnWZlIav26A590OpLgme2kvtqq61Wq6RPFvldzteiUjfzQDn/AgEC
-----END DH PARAMETERS-----
"""


def small_dh() -> ssl.SSLContext:
    made = only("DHE-RSA-AES256-GCM-SHA384")()
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(SMALL_DH)
        file.flush()
        made.load_dh_params(file.name)
    return made


def huge() -> ssl.SSLContext:
    """A handshake of more octets than anybody needs."""
    many = [f"{number:04d}.{'x' * 50}.{'y' * 50}.hostile.example" for number in range(600)]
    return context(authority().issue(many, common_name="huge"))


def without_close_notify(talk: Talk) -> None:
    """Takes the message, answers, and drops the connection from under TLS."""
    while (verb := talk.line().split(b" ")[0]) != b"DATA":
        talk.say(PLAIN if verb == b"EHLO" else b"250 ok\r\n")
    talk.say(b"354 go\r\n")
    talk.message()
    talk.say(b"250 2.0.0 taken\r\n")
    talk.socket.close()
    assert isinstance(talk.secured, ssl.SSLSocket)
    socket.socket(fileno=talk.secured.detach()).close()


def says(data: bytes, *, times: int = 1) -> Callable[[Talk], None]:
    """Answers EHLO inside TLS like this, `times` over."""

    def then(talk: Talk) -> None:
        talk.line()
        for _ in range(times):
            talk.say(data)
        talk.rest()

    return then


def early_yes(talk: Talk) -> None:
    """Says yes to the message together with the 354."""
    talk.line()
    talk.say(PLAIN)
    while talk.line() != b"DATA":
        talk.say(b"250 ok\r\n")
    talk.say(b"354 go\r\n250 2.0.0 taken, whatever it is\r\n")
    talk.rest()


# --- the table ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """`preferred` and `required` are what the log must say at that level; a message passes where it begins with `Message done`.

    `clear` says that it may pass in clear.
    """

    name: str
    behaviour: Behaviour
    preferred: str
    required: str
    clear: bool = False


BEHIND = "(Connection Error: .* details:|TLS failed:) bytes behind STARTTLS … Delayed: "
# Each is a row of patterns that lines of the log match in this order, others between them.
DELAYED_TLS = r"TLS failed: … Delayed: .* 4\.7\.5 - "
REQUIRED_TLS = (
    r"TLS failed: … TLS was required but could not be successfully negotiated … Delayed: .* 4\.7\.5 - "
)
NO_TLS = r" … TLS was required but could not be successfully negotiated … Delayed: .* 4\.7\.4 - "
SUCCESS = r"TLS success … Message done"
DONE = r"Message done"


def broken(details: str = ".*") -> str:
    return rf"Connection Error: .* details: {details} interface: 127\.0\.0\.1 reason: … Delayed: "


def in_order(expected: str, lines: list[str]) -> bool:
    left = iter(lines)
    return all(any(re.search(part, line) for line in left) for part in expected.split(" … "))


CASES = [
    Case(
        "c7 capabilities behind 220",
        behind_220(b"250-AUTH PLAIN\r\n250 SIZE 1\r\n"),
        BEHIND,
        BEHIND,
    ),
    Case(
        "c7 half a line behind 220",
        behind_220(b"250-AU"),
        BEHIND,
        BEHIND,
    ),
    Case("c8 421 instead of ServerHello", behind_220(b"421 bye\r\n", wait=True), DELAYED_TLS, REQUIRED_TLS),
    Case(
        "c8 greeting instead of ServerHello",
        behind_220(b"220 hostile.example\r\n250 ok\r\n", wait=True),
        DELAYED_TLS,
        REQUIRED_TLS,
    ),
    Case("c9 plain text", behind_220(b"\x00" * 200, wait=True), DELAYED_TLS, REQUIRED_TLS),
    Case("c9 close behind 220", behind_220(b"", then="close"), DELAYED_TLS, REQUIRED_TLS),
    Case(
        "c9 silence behind 220",
        behind_220(b""),
        r"TLS failed: timeout … Delayed: .* 4\.7\.5",
        r"TLS failed: timeout … TLS was required",
    ),
    Case(
        "c9 454",
        answers(b"454 4.7.0 not now\r\n"),
        CLEAR,
        r"Connection Error: .* details: 454-'4\.7\.0 not now' … TLS failed: STARTTLS unexpected response"
        + NO_TLS,
        clear=True,
    ),
    Case(
        "c9 501",
        answers(b"501 what\r\n"),
        CLEAR,
        "TLS failed: STARTTLS unexpected response" + NO_TLS,
        clear=True,
    ),
    Case(
        "c9 502",
        answers(b"502 what\r\n"),
        CLEAR,
        "TLS failed: STARTTLS unexpected response" + NO_TLS,
        clear=True,
    ),
    Case(
        "c9 250 instead of 220",
        answers(b"250 sure\r\n"),
        CLEAR,
        "TLS failed: STARTTLS unexpected response" + NO_TLS,
        clear=True,
    ),
    Case(
        "c9 421",
        answers(b"421 4.3.2 bye\r\n", close=True),
        broken("421-'4.3.2 bye'"),
        broken("421-'4.3.2 bye'"),
    ),
    Case("c9 two digits", answers(b"22\r\n"), broken("malformed reply"), broken("malformed reply")),
    Case(
        "c9 nine digits", answers(b"220000000 ok\r\n"), broken("malformed reply"), broken("malformed reply")
    ),
    Case(
        "c9 a line of 600",
        answers(b"220 " + b"x" * 600 + b"\r\n"),
        broken("over-long reply line"),
        broken("over-long reply line"),
    ),
    Case("c9 NUL", answers(b"220 a\0b\r\n"), broken("NUL in a reply"), broken("NUL in a reply")),
    Case(
        "c9 bare LF",
        answers(b"220 ok\n"),
        broken("bare CR or LF in a reply"),
        broken("bare CR or LF in a reply"),
    ),
    Case(
        "c9 mixed codes",
        answers(b"220-a\r\n250 b\r\n"),
        broken("mixed codes in a multi-line reply"),
        broken("mixed codes in a multi-line reply"),
    ),
    Case("c9 multi-line 220", secured(context, Talk.serve), DONE, DONE),
    Case(
        "c10 not offered",
        offers(PLAIN),
        DONE,
        "TLS failed: remote host does not offer STARTTLS" + NO_TLS,
        clear=True,
    ),
    Case(
        "c10 lower case",
        offers(PLAIN.replace(b"HELP", b"starttls")),
        SUCCESS,
        SUCCESS,
    ),
    Case(
        "c10 with words",
        offers(PLAIN.replace(b"HELP", b"STARTTLS foo bar")),
        SUCCESS,
        SUCCESS,
    ),
    Case(
        "c10 EHLO refused",
        helo_only,
        DONE,
        "TLS failed: remote host does not speak ESMTP" + NO_TLS,
        clear=True,
    ),
    Case(
        "c11 crossed out",
        offers(PLAIN.replace(b"HELP", b"XXXXXXXA")),
        r"is it being held back on the way\? … Message done",
        r"is it being held back on the way\? … TLS failed: remote host does not offer STARTTLS" + NO_TLS,
        clear=True,
    ),
    Case("c33 TLS 1.0 only", secured(old_tls), DELAYED_TLS, REQUIRED_TLS),
    Case("c33 anonymous", secured(anonymous), DELAYED_TLS, REQUIRED_TLS),
    Case("c33 NULL cipher", secured(only("eNULL")), DELAYED_TLS, REQUIRED_TLS),
    Case(
        "c33 DH 1024",
        secured(small_dh),
        r"TLS success protocol TLSv1\.2 cipher DHE|TLS failed: .*dh key too small",
        r"TLS success protocol TLSv1\.2 cipher DHE|TLS failed: .*dh key too small",
    ),
    Case(
        "c33 RSA 1024",
        secured(lambda: context(rsa("rsa1024"), weak=True)),
        SUCCESS,
        SUCCESS,
    ),
    Case(
        "c33 SHA-1 certificate",
        secured(lambda: context(rsa("rsa2048", "sha1"), weak=True)),
        SUCCESS,
        SUCCESS,
    ),
    Case(
        "c33 huge handshake",
        secured(huge),
        r"TLS failed: handshake of more than 65536 octets … Delayed: ",
        REQUIRED_TLS,
    ),
    Case("c33 no close_notify", secured(context, without_close_notify), DONE, DONE),
    Case(
        "c33 421 behind TLS",
        secured(context, says(b"421 4.3.2 changed my mind\r\n")),
        broken("421-'4.3.2 changed my mind'"),
        broken("421-'4.3.2 changed my mind'"),
    ),
    Case("c33 close behind TLS", secured(context, lambda talk: None), broken(), broken()),
    Case(
        "c33 EHLO lines without end",
        secured(context, says(b"250-x\r\n", times=200_000)),
        broken("over-long multi-line reply"),
        broken("over-long multi-line reply"),
    ),
    Case(
        "c33 a line without end",
        secured(context, says(b"x" * 16_384, times=2_000)),
        broken("(over-long reply line|the peer sends more than was asked for)"),
        broken("(over-long reply line|the peer sends more than was asked for)"),
    ),
    Case("c33 garbage records", secured(context, lambda talk: talk.socket.close()), broken(), broken()),
    Case(
        "greeting without end",
        in_clear(b"220-x\r\n"),
        broken("over-long multi-line reply"),
        broken("over-long multi-line reply"),
    ),
    Case(
        "greeting drips",
        in_clear(b"2", drip=0.2),
        broken("(timeout|malformed reply)"),
        broken("(timeout|malformed reply)"),
    ),
    Case(
        "greeting 554",
        lambda talk: talk.say(b"554 5.7.1 go away\r\n"),
        broken("554-'5.7.1 go away'"),
        broken("554-'5.7.1 go away'"),
    ),
    Case(
        "replies before commands",
        lambda talk: (talk.say(b"220 x\r\n" + CAPABILITIES + b"250 ok\r\n" * 5), talk.rest())[0],
        broken("reply before its command"),
        broken("reply before its command"),
    ),
    Case(
        "yes before the message",
        secured(context, early_yes),
        broken("reply before its command"),
        broken("reply before its command"),
    ),
]


@dataclass(frozen=True)
class Sent:
    preferred: int
    required: int
    server: HostileServer
    words: tuple[str, str]


@pytest.fixture(scope="module")
def campaign(shared_house: House) -> Iterator[dict[str, Sent]]:
    """Every server of the table, and two messages on their way to each."""
    sent = {}
    for number, case in enumerate(CASES):
        _, port = shared_house.route(FIRST_ROUTE + number)
        server = HostileServer(port, case.behaviour)
        words = token(), token()
        one, two = (
            shared_house.send(f"x@h{FIRST_ROUTE + number}.{kind}.example", f"{word}\r\n".encode())
            for kind, word in zip(("hostile", "required"), words, strict=True)
        )
        sent[case.name] = Sent(one, two, server, words)
    yield sent
    for each in sent.values():
        each.server.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_server(house: House, campaign: dict[str, Sent], case: Case) -> None:
    sent = campaign[case.name]
    for mid, word, expected in (
        (sent.preferred, sent.words[0], case.preferred),
        (sent.required, sent.words[1], case.required),
    ):
        outcome: Outcome = house.outcome(mid)
        assert in_order(expected, outcome.lines), outcome.text
        arrived = [message for message in sent.server.heard.messages if word.encode() in message]
        assert len(arrived) == (outcome.what == "Message done"), outcome.text
    assert outcome.what != "Message done" or not case.clear, "it passed in clear at a required level"
    if not case.clear:
        assert not [
            line for line in sent.server.heard.clear if line[:4].upper() in (b"MAIL", b"DATA", b"RCPT")
        ]
    mails = [line for line in sent.server.heard.clear if line.startswith(b"MAIL")]
    assert len(mails) <= 1  # the preferred one; the required one never
    if case.name.startswith("c10 not"):
        assert b"STARTTLS" not in sent.server.heard.clear


# --- what a server says (C24, C25), and how it takes a message (C15, C26) -----------------------------

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
