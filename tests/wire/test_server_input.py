"""Command lines out of any split."""

from __future__ import annotations

import pytest

from gatepost.wire.server_input import MAX_SKIPPED, LineFault, ServerInput

LIMIT = 20


def lines_of(stream: bytes, size: int) -> tuple[list[object], bytes]:
    source = ServerInput(LIMIT)
    found: list[object] = []
    for i in range(0, len(stream), size):
        source.add(stream[i : i + size])
        while (line := source.line()) is not None:
            found.append(line)
            if line is LineFault.ENDLESS:
                return found, b""
        assert len(source) <= LIMIT
    return found, source.take_all()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("stream", "found", "left"),
    [
        (b"NOOP\r\nRSET\r\nQU", [b"NOOP", b"RSET"], b"QU"),
        (b"\r\n\r\n", [b"", b""], b""),
        (b"a\rb\r\n", [b"a\rb"], b""),
        (b"a\r\r\n", [b"a\r"], b""),
        (b"x" * 18 + b"\r\nb\r\n", [b"x" * 18, b"b"], b""),
        (b"x" * 19 + b"\r\nb\r\n", [LineFault.TOO_LONG, b"b"], b""),
        (b"x" * 18 + b"\r\r\nb\r\n", [LineFault.TOO_LONG, b"b"], b""),
        (b"x" * 500 + b"\r" * 500 + b"\nb\r\n", [LineFault.TOO_LONG, b"b"], b""),
        (b"x" * 30 + b"\n\nQUIT\r\nb\r\n", [LineFault.TOO_LONG, b"b"], b""),
        (b"x" * MAX_SKIPPED + b"\r\nb\r\n", [LineFault.TOO_LONG, b"b"], b""),
        (b"x" * (MAX_SKIPPED + 1) + b"\r\nb\r\n", [LineFault.ENDLESS], b""),
        (b"abc\r", [], b"abc\r"),
    ],
)
def test_lines_whole_and_in_pieces(stream: bytes, found: list[object], left: bytes, size: int) -> None:
    assert lines_of(stream, size if size > 1 or len(stream) < 2000 else 11) == (found, left)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("rest", [b"", b"QUIT\nRSET", b"and much more than fits\nNOOP", b"\r"])
def test_bare_lf_refuses_the_line_once(size: int, rest: bytes) -> None:
    assert lines_of(b"NOOP\n" + rest + b"\r\nDATA\r\n", size) == ([LineFault.BARE_LF, b"DATA"], b"")


def test_octets_are_taken_and_given_back() -> None:
    source = ServerInput(LIMIT)
    source.add(b"abcdef")
    assert source.take(2) == b"ab"
    assert source.take_all() == b"cdef"
    source.give_back(b"cdef", 1)
    source.add(b"g")
    assert source.take(99) == b"defg"
    assert len(source) == 0
