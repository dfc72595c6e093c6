"""The end of data, dots, and the judgement of bodies, in every split of short texts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.server_body import BARE_LINE_END, HEADER_TOO_BIG, TOO_BIG, BodyCheck, DataScanner, DotWatch


def scan(stream: bytes, cuts: tuple[int, ...]) -> tuple[bytes, bytes | None, bool]:
    """The unstuffed message, what stands behind its end (None: no end), and whether a line starts with a dot."""
    scanner = DataScanner()
    body, dotted = b"", False
    borders = (0, *cuts, len(stream))
    for start, stop in itertools.pairwise(borders):
        piece, behind = scanner.feed(stream[start:stop], True)
        body += piece
        dotted |= bool(piece) and scanner.dotted
        if behind >= 0:
            return body, stream[start + behind :], dotted
    return body, None, dotted


@pytest.mark.parametrize(
    ("stream", "body", "left", "dotted"),
    [
        (b".\r\n", b"", b"", False),
        (b".\r\nX", b"", b"X", False),
        (b"a\r\n.\r\n", b"a\r\n", b"", False),
        (b"..\r\n.\r\nQ", b".\r\n", b"Q", True),
        (b".a\r\n.\r\n", b"a\r\n", b"", False),
        (b"a\r\n..\r\n...\r\n.\r\n.\r\n", b"a\r\n.\r\n..\r\n", b".\r\n", True),
        (b"\r\n\r\n.\r\n", b"\r\n\r\n", b"", False),
        (b"a.\r\n.\r\n", b"a.\r\n", b"", False),
    ],
)
def test_every_pair_of_cuts(stream: bytes, body: bytes, left: bytes, dotted: bool) -> None:
    for cuts in itertools.combinations_with_replacement(range(len(stream) + 1), 2):
        got_body, behind, got_dotted = scan(stream, cuts)
        assert (got_body, got_dotted) == (body, dotted)
        assert behind is not None
        assert left.startswith(behind)
    assert scan(stream, tuple(range(1, len(stream))))[0] == body


def test_only_four_octets_are_held_back() -> None:
    scanner = DataScanner()
    assert scanner.feed(b"abc\r\n.\r", True) == (b"abc", -1)
    assert scanner.feed(b"\r\n.\r", True) == (b"\r\n\r", -1)
    assert scanner.feed(b"\n", True) == (b"\r\n", 1)


def test_refused_text_is_read_to_its_end_without_being_kept() -> None:
    scanner = DataScanner()
    assert scanner.feed(b"abc" * 1000 + b"\r\n", False) == (b"", -1)
    assert scanner.feed(b".\r\nNOOP", False) == (b"", 3)


@given(st.lists(st.sampled_from([b"a", b".", b"\r\n", b"\r", b"\n", b"\r\n.\r\n"]), max_size=12), st.data())
@settings(max_examples=100)
def test_scanner_does_not_depend_on_the_split(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts) + b"\r\n.\r\n"
    cuts = tuple(sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5))))
    whole = scan(stream, ())
    split = scan(stream, cuts)
    assert (whole[0], whole[2]) == (split[0], split[2])
    assert whole[1] is not None
    assert split[1] is not None
    assert whole[1].startswith(split[1])


def check(pieces: list[bytes], max_size: int = 1000, max_header: int = 1000) -> BodyCheck:
    judge = BodyCheck(max_size, max_header)
    for piece in pieces:
        judge.take(piece)
    judge.finish()
    return judge


@given(st.lists(st.sampled_from([b"a", b"\r\n", b"\r", b"\n", b"\0", b"\xff", b"\x85"]), max_size=10))
@settings(max_examples=100)
def test_line_ends_are_judged_alike_in_every_split(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    rest = stream.replace(b"\r\n", b"")
    expected = BARE_LINE_END if b"\r" in rest or b"\n" in rest else None
    assert check([stream]).refusal == expected
    assert check([stream[i : i + 1] for i in range(len(stream))]).refusal == expected


def test_size_and_header_limits() -> None:
    assert check([b"x" * 10], max_size=10).refusal is None
    assert check([b"x" * 5, b"x" * 6], max_size=10).refusal is TOO_BIG
    assert check([b"A: b\r\n\r\n", b"x" * 50], max_header=8).refusal is None
    assert check([b"A: bb\r\n\r\n", b"x" * 50], max_header=8).refusal is HEADER_TOO_BIG
    assert check([b"\r\n", b"x" * 50], max_header=8).refusal is None
    assert check([b"no header end"], max_header=8).refusal is HEADER_TOO_BIG
    judge = BodyCheck(10, 10)
    judge.announce(11)
    assert judge.refusal is TOO_BIG


def test_dot_watch_sees_dots_across_pieces() -> None:
    for cut in range(5):
        watch = DotWatch()
        text = b"a\r\n.b"
        assert [watch.sees(text[:cut]), watch.sees(text[cut:])].count(True) == 1
    watch = DotWatch()
    assert not watch.sees(b"a.\r\n")
    assert watch.sees(b".")
    assert not watch.sees(b".")
