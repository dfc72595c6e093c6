"""A mail of the gateway's own, read back with the standard library: whole, honest, and nobody's tool."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatepost.wire.notice import MAX_SUBJECT, Notice, make_notice

HEADERS = [
    "Date",
    "From",
    "To",
    "Subject",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
]
CRAFTED = "a\r\nBcc: x@evil.example\r\n\r\nX-Body: y"


def notice(**changes: Any) -> Notice:
    values: dict[str, Any] = {
        "sender": "alert@gw.example.net",
        "recipients": ["admin@example.net"],
        "subject": "Certificate gw expires in 3 days",
        "text": "One line.\n\n  Another, indented.",
        "message_id": "alert.1@gw.example.net",
        "at": 1_800_000_000.0,
    }
    return Notice(**{**values, **changes})


def read(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    return str(message.get_content()).replace("\r\n", "\n")


def assert_sound(content: bytes) -> EmailMessage:
    """Nothing but our headers, CR LF everywhere, no over-long line (RFC 5322 §2.1.1)."""
    message = read(content)
    assert list(message.keys()) == HEADERS
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert b"\0" not in content
    assert max(map(len, content.split(b"\r\n"))) <= 998
    return message


def test_it_says_who_to_whom_what_and_that_a_machine_wrote_it() -> None:
    message = assert_sound(make_notice(notice()))
    assert message["From"] == "Gatepost <alert@gw.example.net>"
    assert message["To"] == "<admin@example.net>" or message["To"] == "admin@example.net"
    assert message["Subject"] == "Certificate gw expires in 3 days"
    assert message["Date"] == "Fri, 15 Jan 2027 08:00:00 +0000"
    assert message["Message-ID"] == "<alert.1@gw.example.net>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert text_of(message) == "One line.\n\n  Another, indented.\n"
    assert make_notice(notice()).isascii()


def test_several_recipients_stand_on_lines_of_their_own() -> None:
    many = [f"admin{number}@example.net" for number in range(60)]
    message = assert_sound(make_notice(notice(recipients=many)))
    assert [address.addr_spec for address in message["To"].addresses] == many


def test_text_that_is_not_ascii_arrives_in_seven_bits() -> None:
    content = make_notice(
        notice(subject="Zertifikat läuft ab: Müller " * 5, text="Für Žofie: 中文, 🔑\nnoch eine = Zeile ")
    )
    assert content.isascii()
    message = assert_sound(content)
    assert message["Subject"] == ("Zertifikat läuft ab: Müller " * 5).strip()
    assert text_of(message) == "Für Žofie: 中文, 🔑\nnoch eine = Zeile\n"


def test_a_subject_that_looks_encoded_is_not_decoded_into_something_else() -> None:
    message = assert_sound(make_notice(notice(subject="=?utf-8?Q?Free_money?=")))
    assert message["Subject"] == "=?utf-8?Q?Free_money?="


def test_long_lines_are_wrapped_at_blanks() -> None:
    content = make_notice(notice(text="    " + "word " * 100))
    body = content.split(b"\r\n\r\n", 1)[1].decode()
    lines = body.rstrip().split("\r\n")
    assert max(map(len, lines)) <= 76
    assert all(line.startswith("    word") for line in lines)
    assert body.split() == ["word"] * 100


def test_a_long_subject_is_cut() -> None:
    message = assert_sound(make_notice(notice(subject="x" * 5000)))
    assert len(message["Subject"]) == MAX_SUBJECT


@pytest.mark.parametrize("field", ["sender", "subject", "text", "message_id"])
@pytest.mark.parametrize(
    "evil", [CRAFTED, "a\nBcc: b@evil.example", "a\0b", "x" * 100_000, "\u2028Bcc: c", "\ud800"]
)
def test_no_text_gives_it_a_header_or_a_body(field: str, evil: str) -> None:
    content = make_notice(notice(**{field: evil}))
    assert list(read(content).keys()) == HEADERS
    assert b"\nBcc:" not in content.split(b"\r\n\r\n", 1)[0]
    assert b"\0" not in content


@given(st.text(max_size=300), st.text(max_size=600))
@example(subject="", text="")
@example(subject="ä", text="\r")
@settings(max_examples=100)
def test_any_text_makes_a_sound_mail(subject: str, text: str) -> None:
    message = assert_sound(make_notice(notice(subject=subject, text=text)))
    assert text_of(message).endswith("\n")
    assert message.defects == []
