"""Messages in their parts: every octet where it was, and no message that two readers could take differently."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.dkim_message import MAX_HEADER, MessageFault, author_domain, domain_of, split_message

MESSAGE = b"From: <a@x.example>\r\nsubject : one\r\n\ttwo\r\nX:\r\n\r\nbody\r\n\r\nmore"


def test_fields_keep_every_octet() -> None:
    parts = split_message(MESSAGE)
    assert [field.name for field in parts.fields] == ["from", "subject", "x"]
    assert b"".join(field.raw for field in parts.fields) + b"\r\n" + parts.body == MESSAGE
    assert parts.fields[1].raw == b"subject : one\r\n\ttwo\r\n"
    assert parts.fields[1].value == b" one\ttwo"
    assert parts.texts("subject") == ["one\ttwo"]
    assert parts.texts("to") == []


def test_a_header_alone_has_an_empty_body() -> None:
    assert split_message(b"From: a\r\n").body == b""
    assert split_message(b"From: a").fields == split_message(b"From: a\r\n\r\n").fields


def test_a_file_with_other_line_ends_is_the_same_message() -> None:
    assert split_message(MESSAGE.replace(b"\r\n", b"\n")) == split_message(MESSAGE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"From: a\r\nTo: b\n\r\n", "CR LF"),
        (b"From: a\r\r\n\r\n", "CR LF"),
        (b"From: a\r\n\r\nbody\n", "CR LF"),
        (b"From: a\r\n\r\nbo\rdy\r\n", "CR LF"),
        (b"From: a\rSubject: b", "CR LF"),
        (b"", "no field"),
        (b"\r\nFrom: a\r\n\r\n", "no field"),
        (b" From: a\r\n\r\n", "no field"),
        (b"From: a\r\nno field\r\n\r\n", "no field"),
        (b"From: a\r\nSub ject: b\r\n\r\n", "no field"),
        (b"From: a\r\n: b\r\n\r\n", "no field"),
        (b"From: a\r\nX\xe9: b\r\n\r\n", "no field"),
        (b"X: " + b"x" * MAX_HEADER, "longer than 1 MiB"),
    ],
)
def test_what_readers_take_differently_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(MessageFault, match=why):
        split_message(data)


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (b"a@x.example", "x.example"),
        (b" <a@X.Example> ", "x.example"),
        (b"TLS Reports <a@x.example>", "x.example"),
        (b'"Reports, \\"TLS\\" <b@y.example>" <a@x.example>', "x.example"),
        (b"=?utf-8?B?w6k=?= <a@x.example>", "x.example"),
        (b"R\xc3\xa9ports <a@x.example>", "x.example"),
        (b"one\r\n two <a@x.example>", "x.example"),
        (b"a@x.example, b@y.example", ""),
        (b"b@y.example <a@x.example>", ""),
        (b"<b@y.example> <a@x.example>", ""),
        (b"<a@x.example>b@y.example", ""),
        (b'"<a@x.example>', ""),
        (b"group: a@x.example;", ""),
        (b"<@y.example:a@x.example>", ""),
        (b"<a@[192.0.2.1]>", ""),
        (b"<a@localhost>", ""),
        (b"<a>", ""),
        (b"", ""),
    ],
)
def test_the_author_is_one_address(value: bytes, domain: str) -> None:
    assert author_domain(split_message(b"From: " + value + b"\r\n\r\n")) == domain


def test_two_authors_are_none() -> None:
    one = b"From: <a@x.example>\r\n"
    assert author_domain(split_message(one + one)) == ""
    assert author_domain(split_message(b"To: <a@x.example>\r\n\r\n" + one)) == ""


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        (" X.Example. ", "x.example"),
        ("xn--e1afmkfd.example", "xn--e1afmkfd.example"),
        ("Example Ltd", ""),
        ("example", ""),
        ("x..example", ""),
        ("-x.example", ""),
        ("x.example\u212a", ""),
        ("x." * 130 + "example", ""),
    ],
)
def test_a_domain_is_one(text: str, domain: str) -> None:
    assert domain_of(text) == domain


def test_a_hostile_author_takes_no_time() -> None:
    assert author_domain(split_message(b"From: " + b'"a" ' * 50_000 + b"<\r\n\r\n")) == ""


@given(
    st.lists(st.sampled_from([b"From: <a@x.example>", b"To:b", b" fold", b"\r\n", b"\n", b"\r", b"x", b":"]))
)
@settings(max_examples=100)
def test_what_is_taken_is_what_others_read(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    try:
        parts = split_message(data)
    except MessageFault:
        return
    other = email.message_from_bytes(data, policy=email.policy.compat32)
    assert [field.name for field in parts.fields] == [name.strip().lower() for name in other.keys()]  # noqa: SIM118
    payload = str(other.get_payload())
    assert payload.replace("\r\n", "\n").encode() == parts.body.replace(b"\r\n", b"\n")
