"""Commands and addresses as an attacker writes them (C22 to C24, C29, C31): refused clearly, relayed nowhere, forging nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.live.hostile.house import Hostile, House, check_log_lines, token, unreceived


@pytest.fixture
def client(house: House) -> Iterator[Hostile]:
    made = house.client()
    made.ehlo()
    yield made
    made.close()


# --- commands (C22, C23) --------------------------------------------------------------------------------


VERBS = (
    b"EHLO",
    b"HELO",
    b"MAIL FROM:<a@b.example>",
    b"RCPT TO:<user@example.net>",
    b"RSET",
    b"NOOP",
    b"VRFY",
    b"EXPN",
    b"HELP",
    b"QUIT",
    b"ETRN",
    b"AUTH PLAIN",
    b"XYZZY",
)
JUNK = (b"\0", b"\x1b[31m", b"\r", b"\n250 forged", b"\xff\xfe", "ü".encode(), b"\xc0\xae", b"\x7f")


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_c23_controls_and_octets_in_commands(client: Hostile, junk: bytes) -> None:
    for verb in VERBS:
        client.send(verb + b" " + junk + b"\r\n")
        reply = client.reply()
        assert [line[0] for line in reply] == ["5"], (verb, reply)
        assert client.alive()


def test_c22_command_lines_of_every_length(client: Hostile) -> None:
    assert client.command("NOOP " + "x" * 500)[0].startswith("250")
    assert client.command("NOOP " + "x" * 2_041)[0].startswith("250")  # 2048 with its CRLF
    for length in (2_042, 4_096, 20_000, 60_000):
        assert client.command("NOOP " + "x" * length)[0].startswith("500 5.5.2"), length
        assert client.alive()


def test_c22_too_many_errors_end_the_connection(house: House) -> None:
    start = house.mark()
    client = house.client()
    client.send(b"WHAT\r\n" * 1_000)
    answers = client.rest()
    assert len(answers) == 21
    assert answers[-1].startswith("421 4.7.0")
    house.log(r"ICID \d+ Receiving Failed: Too many errors", start=start)


def test_c31_injections_into_look_ups_are_only_text(house: House, client: Hostile) -> None:
    for command in (
        "ETRN '; DROP TABLE messages; --",
        "VRFY ' OR 1=1 --",
        "EXPN `reboot`",
        "HELP ${run{/bin/sh}}",
    ):
        assert client.command(command)[0][:3] in ("252", "214", "502"), command
    word = token()
    sender = "'; DROP TABLE messages; --@hostile.example"
    assert client.command(f"MAIL FROM:<{sender}>")[0][0] == "5"
    client.envelope("o'brien--@hostile.example", "'a`b${x}|{y}'@example.net", "..\\..\\etc@example.net"[6:])
    assert client.data(f"Subject: {word} $(reboot) `id` %s %n\r\n\r\n".encode())[0].startswith("250")
    (mail,) = house.arrived(word)
    assert mail.recipients[0] == "'a`b${x}|{y}'@example.net"


# --- addresses (C24) ------------------------------------------------------------------------------------


STRANGE_SENDERS = (
    "<a@b.example>junk",
    "a@b.example",
    "<a@b.example",
    "<<a@b.example>>",
    "<a@b@c.example>",
    "<a b@c.example>",
    '<"a\nb"@c.example>',
    '<"a\\\rb"@c.example>',
    "<a@[IPv6:zzzz]>",
    "<a@[300.1.1.1]>",
    "<a@b.example:25>",
    "<a@.example>",
    "<a@b..example>",
    "<.a@b.example>",
    "<a..b@c.example>",
    "<a.@c.example>",
    "<@b.example>",
    "<a@>",
    "<a(comment)@b.example>",
    f"<{'x' * 65}@b.example>",
    f"<a@{'b' * 64}.example>",
    f"<a@{'.'.join(['b' * 60] * 5)}>",
    "<a@b.example> SIZE=-1",
    "<a@b.example> SIZE=99999999999999999999999",
    "<a@b.example> SIZE=1 SIZE=2",
    "<a@b.example> BODY=9BIT",
    "<a@b.example> UNKNOWN=1",
    "<a@b.example> RET=NONE",
    "<a@b.example> =x",
    "<ü@b.example>",
    "<a@bü.example>",
    "<a@b。example>",
)


def test_c24_strange_senders_are_refused(house: House) -> None:
    for path in STRANGE_SENDERS:
        with house.client() as client:
            client.ehlo()
            client.send(b"MAIL FROM:" + path.encode() + b"\r\n")
            reply = client.reply()
            assert [line[0] for line in reply] == ["5"], (path, reply)
            assert client.alive()


@pytest.mark.parametrize(
    "path",
    [
        "<../../../../etc/passwd@example.net>",
        '<"../../etc/passwd"@example.net>',
        '<"a b@c"@example.net>',
        '<"\\"quoted\\""@example.net>',
        "<@relay.example,@other.example:user@example.net>",
        "< user@example.net>",
        "<user@EXAMPLE.net>",
        "<user+~!#$%&*/=?^_`{|}@example.net>",
    ],
)
def test_c24_strange_recipients_are_taken_as_they_are_or_refused(
    house: House, client: Hostile, path: str
) -> None:
    word = token()
    client.command("MAIL FROM:<a@hostile.example>")
    reply = client.command(f"RCPT TO:{path}")
    assert reply[0][:2] in ("25", "50", "55"), reply
    if reply[0].startswith("250"):
        assert client.data(f"Subject: {word}\r\n\r\n".encode())[0].startswith("250")
        (mail,) = house.arrived(word)
        assert mail.recipients[0].lower().endswith("@example.net")


def test_c23_utf8_needs_smtputf8_and_passes_with_it(house: House, client: Hostile) -> None:
    word = token()
    assert client.command("MAIL FROM:<ü@hostile.example>")[0].startswith("553 5.6.7")
    assert client.command("VRFY ü")[0].startswith("553 5.6.7")
    client.envelope("ü@hostile.example", "grün@example.net", mail=" SMTPUTF8")
    client.send(b"RCPT TO:<\xc0\xaf@example.net>\r\n")  # overlong: no UTF-8 at all
    assert client.reply()[0][0] == "5"
    assert client.data(f"Subject: {word}\r\n\r\n".encode())[0].startswith("250")
    (mail,) = house.arrived(word)
    assert "SMTPUTF8" in mail.parameters
    assert "UTF8SMTP" in mail.received[0]


# --- open relay (C29) -----------------------------------------------------------------------------------

VICTIM = "victim@victim.example"
RELAY_TESTS = [
    ("a@hostile.example", VICTIM),
    ("a@example.net", VICTIM),
    ("", VICTIM),
    ("a@[127.0.0.1]", VICTIM),
    ("a@mx.example.net", VICTIM),
    ("a@hostile.example", "victim%victim.example@[127.0.0.1]"),
    ("a@hostile.example", "victim%victim.example@mx.example.net.evil.example"),
    ("a@hostile.example", '"victim@victim.example"'),
    ("a@hostile.example", '"victim%victim.example"'),
    ("a@hostile.example", "victim@victim.example@[127.0.0.1]"),
    ("a@hostile.example", '"victim@victim.example"@[127.0.0.1]'),
    ("a@hostile.example", "victim@victim.example@mx.example.net"),
    ("a@hostile.example", "@[127.0.0.1]:victim@victim.example"),
    ("a@hostile.example", "@mx.example.net:victim@victim.example"),
    ("a@hostile.example", "@example.net:victim@victim.example"),
    ("a@hostile.example", "victim.example!victim"),
    ("a@hostile.example", "victim.example!victim@[127.0.0.1]"),
    ("a@hostile.example", "victim@[203.0.113.9]"),
    ("a@hostile.example", "victim@[IPv6:::ffff:203.0.113.9]"),
    ("a@hostile.example", "victim@victim.example."),
    ("a@hostile.example", "victim@VICTIM.EXAMPLE"),
    ("a@hostile.example", "victim@example.net.victim.example"),
    ("a@hostile.example", "victim@victimexample.net"),
    ("a@hostile.example", "victim@victim。example"),
    ("a@hostile.example", "victim@example.net\\victim.example"),
    ("a@hostile.example", "victim@victim.example,user@example.net"),
    ("a@hostile.example", "victim@victim.example>,<user@example.net"),
    ("a@hostile.example", "user@example.net,victim@victim.example"),
]


def test_c29_nothing_is_relayed(house: House) -> None:
    for sender, recipient in RELAY_TESTS:
        with house.client() as client:
            client.ehlo()
            assert client.command(f"MAIL FROM:<{sender}>")[0].startswith("250")
            client.send(f"RCPT TO:<{recipient}>\r\n".encode())
            reply = client.reply()
            assert reply[0][0] == "5", (recipient, reply)
            assert client.command("DATA")[0][0] == "5"


@pytest.mark.parametrize(
    "recipient",
    [
        "victim%victim.example@example.net",
        '"victim@victim.example"@example.net',
        "victim.example!victim@example.net",
    ],
)
def test_c29_hacks_in_a_local_part_of_ours_are_refused(client: Hostile, recipient: str) -> None:
    """Some host behind us may still read a route in them, so they are relaying to us."""
    client.command("MAIL FROM:<a@hostile.example>")
    assert client.command(f"RCPT TO:<{recipient}>")[0] == "550 5.7.1 Relaying denied"


def test_c29_vrfy_expn_and_failed_auth_open_nothing(house: House, client: Hostile) -> None:
    assert client.command("AUTH PLAIN AGEAYg==")[0].startswith("502")
    assert client.command("AUTH LOGIN")[0].startswith("502")
    client.command("MAIL FROM:<a@example.net>")
    assert client.command(f"RCPT TO:<{VICTIM}>")[0].startswith("5")


def test_c29_the_relaying_listener_knows_its_senders(house: House) -> None:
    """127.0.0.1 may relay there, 127.0.0.2 may not."""
    start = house.mark()
    client = house.client(house.ports.private, greeted=False, source="127.0.0.2")
    assert client.reply()[0].startswith("554 ")
    assert client.command("EHLO x")[0].startswith("503")
    assert client.command("MAIL FROM:<a@example.net>")[0].startswith("503")
    assert client.command("QUIT")[0].startswith("221")
    house.log(r"ICID \d+ REJECT SG ALL match ALL", start=start)


# --- the log and our own fields (C24, C25) ---------------------------------------------------------------

FORGED = "Info: ICID 1 close"


def test_c25_header_fields_forge_no_log_line(house: House, client: Hostile) -> None:
    """Subject and Message-ID go into the log: escapes, controls, quotes, bidirectional marks, and much of it."""
    start, word = house.mark(), token()
    hostile = f"\x1b]0;pwned\x07\x1b[2J\" ' \x85\u2028\u202e MID 99 queued \x00 {'long ' * 2_000}".encode()
    encoded = b"=?utf-8?Q?=0D=0AMon_Jan__1_00:00:00_2024_Info:_ICID_1_close?="
    message = (
        b"Subject: "
        + word.encode()
        + b" "
        + encoded
        + b" "
        + hostile
        + b"\r\nMessage-ID: <a'\x1b[31m\r\n\t"
        + encoded
        + b">\r\n\r\nx\r\n"
    )
    client.envelope()
    assert client.data(message)[0].startswith("250")
    (mail,) = house.arrived(word)
    assert unreceived(mail) == message
    line = house.log(rf'MID \d+ Subject "{word}', start=start).string
    assert line.isprintable()
    assert len(line) < 3_000
    assert not [text for text in house.gateway.log.all[start:] if re.search(r"\d{4} " + FORGED + "$", text)]


@pytest.mark.parametrize(
    "name",
    [
        "x) by forged.example (y",
        "x\\",
        "a b c",
        "[127.0.0.1",
        '"quoted"',
        "-",
        ";for <x@y.example>; Mon",
        "x" * 255,
        "${jndi:ldap://x}",
        "<script>alert(1)</script>",
    ],
)
def test_c25_a_hello_name_cannot_leave_its_place_in_received(house: House, name: str) -> None:
    word = token()
    client = house.client()
    reply = client.command(f"EHLO {name}")
    if reply[0].startswith("5"):
        return
    client.envelope()
    assert client.data(f"Subject: {word}\r\n\r\n".encode())[0].startswith("250")
    (mail,) = house.arrived(word)
    received = mail.received
    assert len(received) == 1
    assert received[0].count(" by ") == 1, received
    assert re.search(r"\(unknown \[127\.0\.0\.1\]\) by mx\.example\.net with ESMTP id \d+", received[0]), (
        received
    )
    assert received[0].count(";") == 1, received


def test_c24_addresses_in_utf8_forge_no_log_line(house: House, client: Hostile) -> None:
    """SMTPUTF8 lets more octets into an address than ASCII has controls; taken or refused, the log stays whole."""
    start = house.mark()
    for hostile in ("\x85", "\u2028", "\u202e", "\ufeff", "\U000e0001", "\ufffe"):
        for path in (f"a{hostile}Info@hostile.example", f'"a{hostile} b"@hostile.example'):
            client.command("RSET")
            reply = client.command(f"MAIL FROM:<{path}> SMTPUTF8")
            assert reply[0][0] in "25"
            if reply[0].startswith("250"):
                client.command(f"RCPT TO:<u{hostile}@example.net>")
                client.command(f"RCPT TO:<u{hostile}@victim.example>")
                client.command(f"EHLO x{hostile}")
    client.command("RSET")
    client.envelope("last@hostile.example")
    house.log("last@hostile.example", start=start)
    check_log_lines(house.gateway.log.all[start:])


def test_c24_the_json_log_stays_one_object_a_line(house: House, client: Hostile) -> None:
    """Text of the peer arrives there whole, and ends no line either."""
    start, word = house.mark(), token()
    client.envelope()
    subject = f'{word} "}}\u2028\x85\\ \x1b[0m'
    assert client.data(f"Subject: {subject}\r\n\r\n".encode())[0].startswith("250")
    house.log(rf'MID \d+ Subject "{word}', start=start)
    assert house.gateway.event("MessageReceived", word)["subject"] == subject
    lines = (house.gateway.home / "logs" / "events.jsonl").read_bytes().split(b"\n")
    assert len([line for line in lines if word.encode() in line]) == 1


def test_c27_a_dictionary_attack_is_answered_to_its_end(client: Hostile) -> None:
    """Every time, or with a farewell."""
    client.command("MAIL FROM:<a@hostile.example>")
    client.send(b"".join(b"RCPT TO:<u%d@victim.example>\r\n" % number for number in range(1_000)))
    codes = set()
    for _ in range(1_000):
        line = client.line()
        if not line:
            break
        codes.add(line[:3])
    assert codes <= {"550", "421"}, codes
