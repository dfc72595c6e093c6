"""Hostile servers on the way out (C7 to C11, C15, C26, C33): what they do, and what becomes of the message at `preferred` and at `required`.

All conversations of the table run at once; each test then looks at its own. Whatever happens behind the 220 of STARTTLS, no
message goes in clear (R24); at `required` none does in any case, and nothing counts as delivered but what the server said yes to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.live.hostile.behaviours import (
    anonymous,
    answers,
    behind_220,
    context,
    early_yes,
    helo_only,
    huge,
    in_clear,
    offers,
    old_tls,
    only,
    rsa,
    says,
    secured,
    small_dh,
    without_close_notify,
)
from tests.live.hostile.house import House, Outcome, token
from tests.live.hostile.server import CAPABILITIES, PLAIN, Behaviour, HostileServer, Talk

CLEAR = "TLS failed: STARTTLS unexpected response - continuing in clear"
FIRST_ROUTE = 100


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
