"""SMTP smuggling, early data and BDAT from a hostile client (C13 to C21), in clear and under TLS, over real sockets.

The sink behind the gateway is as lenient as a server can be: it takes a lone LF for a line's end, so a look-alike end of data
that the gateway let through would make a second message there.
"""

from __future__ import annotations

import re

import pytest
from tests.live.hostile.house import Hostile, House, token, unreceived

BARE = "554 5.6.0 Bare CR or LF in message"
SMUGGLED = b"MAIL FROM:<evil@hostile.example>\r\nRCPT TO:<user@example.net>\r\nDATA\r\nSubject: WORD-smuggled\r\n\r\nevil\r\n.\r\n"
BROKEN_ENDS = [
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\r\n.\r\n\n"[:-3] + b"\n",
    b"\n\n.\r\n",
]
STRANGE_ENDS = [
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n. \r\n",
    b"\r\n..\r\n",
    b"\r\n.\xe2\x80\xa8\r\n",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\x85.\x85",
    b"\x0b.\x0b",
    b"\x0c.\x0c",
]


def check_nothing_arrived(house: House, word: str) -> None:
    house.check_message_passes()  # sent behind it, so what was queued before has had its turn
    assert not [mail for mail in house.sink.mails if word.encode() in mail.content]


def open_session(house: House, secure: bool) -> Hostile:
    client = house.client()
    if secure:
        client.secure()
    else:
        client.ehlo()
    client.envelope()
    assert client.command("DATA")[0].startswith("354")
    return client


@pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("end", BROKEN_ENDS, ids=repr)
def test_c13_c14_a_look_alike_end_refuses_all_of_it(house: House, end: bytes, secure: bool) -> None:
    start, word = house.mark(), token()
    client = open_session(house, secure)
    client.send(f"Subject: {word}\r\n\r\nhello".encode() + end + SMUGGLED.replace(b"WORD", word.encode()))
    # The end of the smuggled message is the one real end: one answer, and nothing of it was a command.
    assert client.reply() == [BARE]
    assert client.alive()
    house.log(r"ICID \d+ Receiving Failed: SMTP smuggling: bare CR or LF in message", start=start)
    check_nothing_arrived(house, word)


@pytest.mark.parametrize("end", STRANGE_ENDS, ids=repr)
def test_c13_c14_what_only_looks_like_a_line_passes_as_text(house: House, end: bytes) -> None:
    word = token()
    client = open_session(house, secure=False)
    text = f"Subject: {word}\r\n\r\nhello".encode() + end + SMUGGLED.replace(b"WORD", word.encode())
    client.send(text)
    assert client.reply()[0].startswith("250")
    assert client.alive()
    (mail,) = house.arrived(word)
    assert unreceived(mail) == text.removesuffix(b".\r\n").replace(b"\r\n.", b"\r\n")
    assert len(house.arrived(word)) == 1


def test_c15_dots_at_every_place_arrive_as_they_were(house: House) -> None:
    """Stuffed dots, cut at many places on the way in and at 64 KiB on the way out, by DATA and by BDAT."""
    word = token()
    line = b"." * 61 + b"\r\n"
    message = f"Subject: {word}\r\n\r\n".encode() + line * 3_500 + b".\r\n..\r\n...\r\n\r\n.\r\n"
    client = open_session(house, secure=True)
    wire = message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    for at in range(0, len(wire), 4_097):
        client.send(wire[at : at + 4_097])
    assert client.reply()[0].startswith("250")
    client.envelope()
    for at in range(0, len(message), 65_535):
        piece = message[at : at + 65_535]
        last = b" LAST" if at + 65_535 >= len(message) else b""
        client.send(b"BDAT %d%b\r\n" % (len(piece), last) + piece)
        assert client.reply()[0].startswith("250")
    for mail in house.arrived(word, 2):
        assert unreceived(mail) == message


@pytest.mark.parametrize(
    "body",
    [
        b"a\nb\r\n",
        b"a\rb\r\n",
        b"a\r\n.\n",
        b"\n.\r\nMAIL FROM:<x@y.example>\r\n",
        b"ends with\r",
        b"a\r\n.\r",
    ],
    ids=repr,
)
def test_c15_bare_line_ends_by_bdat_are_refused_too(house: House, body: bytes) -> None:
    word = token()
    client = house.client()
    client.ehlo()
    client.envelope()
    message = f"Subject: {word}\r\n\r\n".encode() + body
    client.send(b"BDAT %d LAST\r\n" % len(message) + message)
    assert client.reply() == [BARE]
    assert client.alive()
    check_nothing_arrived(house, word)


def test_c15_an_end_of_data_by_bdat_is_text_and_stays_it(house: House) -> None:
    """Chunks may hold what DATA could not: it leaves dot-stuffed, as one message."""
    word = token()
    message = f"Subject: {word}\r\n\r\nhello\r\n.\r\n".encode() + SMUGGLED.replace(b"WORD", word.encode())
    client = house.client()
    client.ehlo()
    client.envelope()
    client.send(b"BDAT %d LAST\r\n" % len(message) + message)
    assert client.reply()[0].startswith("250")
    (mail,) = house.arrived(word)
    assert unreceived(mail) == message


@pytest.mark.parametrize(
    "first",
    [
        b"\r\n",
        b".\r\n\r\n",
        b"\tfolded first\r\n\r\n",
        b"no header at all",
        b": empty name\r\n\r\n",
        b"From mbox Mon Jan 1\r\n\r\n",
        b"\r\n.\r\n",
    ],
    ids=repr,
)
def test_c17_c22_our_own_field_never_meets_a_strange_beginning_badly(house: House, first: bytes) -> None:
    """Whatever a message begins with, Received stands whole in front of it and the rest is byte for byte what was sent."""
    word = token()
    message = first + f" {word}\r\n".encode()
    client = house.client()
    client.ehlo()
    client.envelope()
    client.send(b"BDAT %d LAST\r\n" % len(message) + message)
    reply = client.reply()
    if reply[0].startswith("5"):  # a clear refusal is an answer, too
        check_nothing_arrived(house, word)
        return
    (mail,) = house.arrived(word)
    assert mail.content.endswith(message)
    head = mail.content[: -len(message)]
    assert re.fullmatch(rb"Received: [^\r\n]+\r\n(?:\t[^\r\n]+\r\n)*", head), head


def test_c18_data_before_it_was_asked_for(house: House) -> None:
    start, word = house.mark(), token()
    client = house.client()
    client.ehlo()
    client.envelope()
    client.send(b"DATA\r\nSubject: " + word.encode() + b"\r\n\r\n.\r\n")
    assert client.rest() == ["554 5.5.0 Data sent before it was asked for, closing connection"]
    house.log(r"ICID \d+ Receiving Failed: Data sent before it was asked for", start=start)
    house.log(r"Message aborted", start=start)
    check_nothing_arrived(house, word)


def test_c18_a_legal_pipeline_behind_the_last_chunk_loses_nothing(house: House) -> None:
    word = token()
    one = f"Subject: {word}\r\n\r\n1\r\n".encode()
    transaction = (
        b"MAIL FROM:<a@hostile.example>\r\nRCPT TO:<user@example.net>\r\nBDAT %d LAST\r\n" % len(one) + one
    )
    client = house.client()
    client.ehlo()
    client.send(transaction * 20 + b"QUIT\r\n")
    answers = client.rest()
    assert len([line for line in answers if "queued as" in line]) == 20
    assert answers[-1].startswith("221")
    assert {unreceived(mail) for mail in house.arrived(word, 20)} == {one}


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "",
        "0x10",
        "10 LASTX",
        "10 LAST X",
        "4294967296",
        "9223372036854775808",
        "1e3",
        "٣",
        "+5",
        "10\tLAST",
    ],
)
def test_c20_a_size_that_cannot_be_read_ends_the_connection(house: House, text: str) -> None:
    start = house.mark()
    client = house.client()
    client.ehlo()
    client.envelope()
    client.send(f"BDAT {text}\r\n".encode() + b"x" * 100 + b"\r\nNOOP\r\n")
    answers = client.rest()
    assert len(answers) == 1, answers
    assert answers[0][0] == "5", answers
    house.log(
        r"ICID \d+ Receiving Failed: (BDAT without a readable size|Message size exceeds limit)", start=start
    )


def test_c20_chunks_and_their_order(house: House) -> None:
    word = token()
    client = house.client()
    client.ehlo()
    client.send(b"BDAT 6\r\nQUIT\r\n")  # without a transaction: the octets are eaten all the same
    assert client.reply()[0].startswith("503")
    client.envelope()
    client.send(b"BDAT 000005\r\nSubje")
    assert client.reply()[0].startswith("250")
    assert client.command("DATA")[0].startswith("503")
    assert client.command("STARTTLS")[0].startswith("503")
    assert client.command("MAIL FROM:<b@hostile.example>")[0].startswith("503")
    rest = f"ct: {word}\r\n\r\nend\r\n".encode()
    client.send(b"BDAT %d\r\n" % len(rest) + rest)
    assert client.reply()[0].startswith("250")
    client.send(b"BDAT 0 LAST\r\n")
    assert "queued as" in client.reply()[0]
    (mail,) = house.arrived(word)
    assert unreceived(mail) == b"Subje" + rest
    client.envelope()
    client.send(b"BDAT 10\r\n0123456789")
    client.reply()
    assert client.command("RSET")[0].startswith("250")
    client.envelope()
    client.send(b"BDAT 0\r\n")
    assert client.reply()[0].startswith("250")
    client.send(b"BDAT 0 LAST\r\n")
    reply = client.reply()[0]
    assert reply.startswith(("250", "5")), reply  # an empty message is answered, one way or the other


def test_c20_the_connection_ends_inside_a_chunk(house: House) -> None:
    start, word = house.mark(), token()
    client = house.client()
    client.ehlo()
    client.envelope()
    client.send(b"BDAT 1000 LAST\r\nSubject: " + word.encode())
    client.close()
    house.log(r"MID (\d+) Message aborted MID \1 Receiving aborted by sender", start=start)
    check_nothing_arrived(house, word)
