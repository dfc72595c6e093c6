"""The reply reader: every split gives the same, and what is not a reply is a fault."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.core.reply import Reply
from gatepost.wire.client_events import Capabilities
from gatepost.wire.client_replies import ReplyFault, ReplyReader, read_capabilities

GOOD = (
    b"220 mx.example ESMTP\r\n"
    b"250-mx.example greets you\r\n250-SIZE 1000\r\n250 DSN\r\n"
    b"250 2.1.0 Ok\r\n250 2.1.0 Ok\r\n"
    b"250\r\n"
    b"550-5.7.1 first\r\n550 5.7.1 second\r\n"
    b"354 go\r\n"
    b"571 5.7.1 not here\r\n"
    b"550 caf\xc3\xa9 \xff\r\n"
)
REPLIES = [
    Reply(220, "", ("mx.example ESMTP",)),
    Reply(250, "", ("mx.example greets you", "SIZE 1000", "DSN")),
    Reply(250, "2.1.0", ("Ok",)),
    Reply(250, "2.1.0", ("Ok",)),
    Reply(250, "", ("",)),
    Reply(550, "5.7.1", ("first", "second")),
    Reply(354, "", ("go",)),
    Reply(571, "5.7.1", ("not here",)),
    Reply(550, "", ("café \\xff",)),
]


def read_all(pieces: list[bytes]) -> list[Reply]:
    reader = ReplyReader()
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.next_reply()) is not None:
            found.append(reply)
    assert reader.unread == b""
    return found


def test_replies_are_read_whole_and_octet_by_octet() -> None:
    assert read_all([GOOD]) == REPLIES
    assert read_all([GOOD[i : i + 1] for i in range(len(GOOD))]) == REPLIES


@settings(max_examples=50)
@given(st.lists(st.integers(0, len(GOOD)), max_size=6))
def test_every_split_gives_the_same_replies(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(GOOD)]
    assert read_all([GOOD[a:b] for a, b in pairwise(edges)]) == REPLIES


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"22\r\n", "malformed"),
        (b"\r\n", "malformed"),
        (b"\n", "malformed"),
        (b"hello there\r\n", "malformed"),
        (b"123456789 ok\r\n", "malformed"),
        (b"2500 ok\r\n", "malformed"),
        (b"150 wait\r\n", "malformed"),
        (b"650 strange\r\n", "malformed"),
        (b"250_ok\r\n", "malformed"),
        ("٢٥٠ ok\r\n".encode(), "malformed"),
        (b"250 " + b"x" * 600 + b"\r\n", "over-long reply line"),
        (b"250 " + b"x" * 600, "over-long reply line"),
        (b"250 a\0b\r\n", "NUL"),
        (b"250 ok\n", "bare"),
        (b"250 o\rk\r\n", "bare"),
        (b"250 ok\r\r\n", "bare"),
        (b"250-a\r\n251 b\r\n", "mixed codes"),
        (b"250-a\r\n" * 101, "multi-line"),
    ],
)
def test_what_is_not_a_reply_is_a_fault(data: bytes, reason: str) -> None:
    with pytest.raises(ReplyFault, match=reason):
        read_all([data])
    with pytest.raises(ReplyFault, match=reason):
        read_all([data[i : i + 1] for i in range(len(data))])


def test_a_line_of_512_octets_is_the_longest() -> None:
    line = b"250 " + b"x" * 506 + b"\r\n"
    assert read_all([line]) == [Reply(250, "", ("x" * 506,))]
    with pytest.raises(ReplyFault):
        read_all([b"250 " + b"x" * 507 + b"\r\n"])


def test_a_hundred_lines_are_the_most() -> None:
    assert len(read_all([b"250-a\r\n" * 99 + b"250 a\r\n"])[0].lines) == 100
    with pytest.raises(ReplyFault):
        read_all([b"250-a\r\n" * 100 + b"250 a\r\n"])


def test_unread_octets_are_bounded() -> None:
    reader = ReplyReader()
    for _ in range(4):
        reader.feed(b"250 ok\r\n" * 8192)
    with pytest.raises(ReplyFault, match="more than was asked"):
        reader.feed(b"2")


def test_an_enhanced_code_of_another_class_stays_text() -> None:
    assert read_all([b"550 2.1.5 odd\r\n"]) == [Reply(550, "", ("2.1.5 odd",))]
    assert read_all([b"550-5.1.1 one\r\n550 5.2.2 two\r\n"]) == [Reply(550, "5.1.1", ("one", "5.2.2 two"))]
    assert read_all([b"550 5.1.1\r\n"]) == [Reply(550, "5.1.1", ("",))]


def test_capabilities_are_read_in_any_case_and_with_anything_behind_them() -> None:
    lines = ("mx.example hi", "starttls foo", "Pipelining", "SIZE 35882577", "8bitmime", "SMTPUTF8", "DSN")
    reply = Reply(250, "", (*lines, "CHUNKING", "ENHANCEDSTATUSCODES", "REQUIRETLS", "XXXXXXXA", ""))
    assert read_capabilities(reply) == Capabilities(
        True, True, True, 35882577, True, True, True, True, True, True, "mx.example", masked=True
    )


@pytest.mark.parametrize(
    ("line", "size"),
    [("SIZE", 0), ("SIZE 12", 12), ("SIZE " + "9" * 21, 0), ("SIZE x", 0), ("SIZED 4", None)],
)
def test_a_size_limit_without_a_number_is_no_limit(line: str, size: int | None) -> None:
    assert read_capabilities(Reply(250, "", ("mx", line))).size == size


def test_the_greeting_line_offers_nothing() -> None:
    assert not read_capabilities(Reply(250, "", ("STARTTLS",))).starttls


@pytest.mark.parametrize(
    ("keyword", "masked"),
    [("XXXXXXXA", True), ("XXXX", True), ("xxxxxxxb", True), ("XEXCH50", False), ("XXX", False)],
)
def test_a_crossed_out_keyword_is_noticed(keyword: str, masked: bool) -> None:
    """C11: what some firewalls make of STARTTLS."""
    assert read_capabilities(Reply(250, "", ("mx", "PIPELINING", keyword))).masked is masked
