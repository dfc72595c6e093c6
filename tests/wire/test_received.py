"""Our trace field, which no outside text may break, and the facts of a header."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.core.address import Address
from gatepost.wire.received import count_received, date_text, received_header, scan_header, with_keyword

USER = Address("user@example.net", "user", "example.net")


def field(**changed: Any) -> bytes:
    values: dict[str, Any] = {
        "helo": "client.example",
        "host": "host.client.example",
        "verified": True,
        "address": "192.0.2.1",
        "by": "mx.example.net",
        "mid": 77,
        "tls": ("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        "extended": True,
        "smtputf8": False,
        "recipient": USER,
        "at": 1_900_000_000.9,
    }
    return received_header(**(values | changed))


def test_whole_field() -> None:
    assert field() == (
        b"Received: from client.example\r\n"
        b"\t(host.client.example [192.0.2.1])\r\n"
        b"\tby mx.example.net with ESMTPS id 77\r\n"
        b"\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384)\r\n"
        b"\tfor <user@example.net>;\r\n"
        b"\tSun, 17 Mar 2030 17:46:40 +0000\r\n"
    )


def test_a_client_known_by_its_certificate() -> None:
    line = b"\r\n\t(verified mx.partner.example)\r\n\tfor <user@example.net>;"
    assert line in field(client="mx.partner.example")
    assert b"verified" not in field(client="mx.partner.example", tls=None)
    assert b"(verified CN=Ann?Lee?evil)" in field(client="CN=Ann Lee)evil")


def test_field_of_an_unknown_host_in_clear() -> None:
    assert field(verified=False, address="2001:db8::1", tls=None, recipient=None, helo="[192.0.2.9]") == (
        b"Received: from [192.0.2.9]\r\n\t(unknown [IPv6:2001:db8::1])\r\n"
        b"\tby mx.example.net with ESMTP id 77;\r\n\tSun, 17 Mar 2030 17:46:40 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("extended", "tls", "smtputf8", "word"),
    [
        (False, False, False, "SMTP"),
        (False, True, False, "SMTP"),
        (True, False, False, "ESMTP"),
        (True, True, False, "ESMTPS"),
        (True, False, True, "UTF8SMTP"),
        (True, True, True, "UTF8SMTPS"),
    ],
)
def test_with_keywords(extended: bool, tls: bool, smtputf8: bool, word: str) -> None:
    assert with_keyword(extended=extended, tls=tls, smtputf8=smtputf8) == word


def test_date() -> None:
    assert date_text(0) == "Thu, 01 Jan 1970 00:00:00 +0000"
    assert date_text(951_782_400) == "Tue, 29 Feb 2000 00:00:00 +0000"


HOSTILE = [
    "a\r\nBcc: x",
    "a\n.\r\n",
    "\r\n.\r\n",
    "a)(b",
    'a"b\\',
    "x;y",
    "\0",
    "é",
    "\x1b[31m",
    "",
    " ",
    "x" * 5000,
]


def assert_sound(header: bytes) -> None:
    lines = header.split(b"\r\n")
    assert lines.pop() == b""
    assert lines[0].startswith(b"Received: from ")
    assert all(line.startswith(b"\t") for line in lines[1:])
    assert all(len(line) < 998 for line in lines)
    rest = header.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest
    assert b"\0" not in rest
    parsed = message_from_bytes(header + b"\r\n.\r\nbody", policy=policy.compat32)
    assert parsed.keys() == ["Received"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["helo", "host", "by", "address"])
def test_c17_c25_outside_text_cannot_break_the_header(text: str, place: str) -> None:
    header = field(**{place: text})
    assert_sound(header)
    assert header.count(b"(") == header.count(b")") == 2
    assert header.count(b";") == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_c25_tls_facts_and_recipient_cannot_break_the_header(text: str) -> None:
    assert_sound(field(tls=(text, text)))
    assert_sound(field(client=text))
    header = field(recipient=Address(f"{text}@example.net", text, "example.net"))
    assert_sound(header)


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=60))
@settings(max_examples=100)
def test_c25_any_text(helo: str, host: str, recipient: str) -> None:
    assert_sound(field(helo=helo, host=host, recipient=Address(recipient, recipient, ""), smtputf8=True))


def test_utf8_recipient_only_with_smtputf8() -> None:
    address = Address("é@example.net", "é", "example.net")
    assert b"for <" not in field(recipient=address)
    assert "for <é@example.net>".encode() in field(recipient=address, smtputf8=True)
    assert b"with UTF8SMTPS" in field(smtputf8=True)


HEADER = (
    b"received: one\r\n\tReceived: not\r\nReceived: two\r\nFrom: a@b\r\nSUBJECT: hello\r\n world\r\n\tagain\r\n"
    b"Message-Id:<1@x>\r\nSubject: second\r\n\r\nSubject: body\r\nReceived: body\r\n"
)


def test_header_facts() -> None:
    facts = scan_header(HEADER)
    assert (facts.subject, facts.message_id, facts.received_count) == ("hello world\tagain", "<1@x>", 2)
    assert HEADER[facts.ends_at :].startswith(b"Subject: body")
    assert not facts.eight_bit
    assert count_received(HEADER[: facts.ends_at]) == 2


@pytest.mark.parametrize(
    ("data", "subject", "count", "end"),
    [
        (b"", "", 0, -1),
        (b"\r\nSubject: x\r\n\r\n", "", 0, 2),
        (b"Subject: x", "x", 0, -1),
        (b"Subject: x\r\n", "x", 0, -1),
        (b"Subject:\r\n\r\n", "", 0, 12),
        (b"Subject:\r\n folded\r\n\r\n", "folded", 0, 21),
        (b"Subject: x\r\nReceived: a\r\n\r", "x", 1, -1),
        (b"X-Subject: x\r\n\r\n", "", 0, 16),
        (b"body only\r\n", "", 0, -1),
        (b": empty\r\nFrom x\r\n\r\n", "", 0, 19),
    ],
)
def test_odd_headers(data: bytes, subject: str, count: int, end: int) -> None:
    facts = scan_header(data)
    assert (facts.subject, facts.received_count, facts.ends_at) == (subject, count, end)


@pytest.mark.parametrize(
    ("header", "heeded"),
    [
        (b"TLS-Required: No\r\n", True),
        (b"Subject: x\r\ntls-required:no\r\nFrom: a@b\r\n", True),
        (b"TLS-Required:\r\n NO \r\n", True),
        (b"TLS-Required: Yes\r\n", False),
        (b"TLS-Required: No, please\r\n", False),
        (b"TLS-Required:\r\n", False),
        (b"TLS-Required: No\r\nTLS-Required: No\r\n", False),
        (b"TLS-Required: No\r\nSubject: x\r\nTLS-REQUIRED: Yes\r\n", False),
        (b"X-TLS-Required: No\r\n", False),
        (b"Subject: x\r\n TLS-Required: No\r\n", False),
        (b"Subject: x\r\n\r\nTLS-Required: No\r\n", False),
    ],
)
def test_tls_required_is_one_field_that_says_no(header: bytes, heeded: bool) -> None:
    """C37: a second field, or any other value, is as if there were none."""
    assert scan_header(header + b"\r\n").tls_optional is heeded


def test_eight_bit_and_undecodable_headers() -> None:
    facts = scan_header("Subject: grüße\r\n\r\n".encode())
    assert (facts.subject, facts.eight_bit) == ("grüße", True)
    facts = scan_header(b"Subject: \xff\r\n\r\n")
    assert (facts.subject, facts.eight_bit) == ("\\xff", True)
    assert not scan_header(b"Subject: x\r\n\r\n\xff").eight_bit


def test_c22_hostile_headers_are_bounded() -> None:
    facts = scan_header(b"A: b\r\n" * 100_000 + b"\r\n")
    assert facts.ends_at == -1
    facts = scan_header(b"Subject: " + b"x" * 10_000_000)
    assert len(facts.subject) <= 1024
    facts = scan_header(b"Subject: x" + b"\r\n y" * 50_000 + b"\r\n\r\n", limit=1_000_000)
    assert 1000 < len(facts.subject) <= 1024
    assert facts.ends_at == 200_014
    assert scan_header(b"Received: x\r\n" * 10_000 + b"\r\n", limit=1_000_000).received_count == 10_000


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_octets(data: bytes) -> None:
    facts = scan_header(data)
    assert facts.ends_at <= len(data)
    assert "\r\n" not in facts.subject
