"""The server's side of HTTP: one request whole, byte by byte and with octets left over, and everything doubtful refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.http_server import (
    MAX_HEAD,
    Answer,
    BodyReader,
    HeadReader,
    HttpFault,
    Request,
    answer_bytes,
)

GET = b"GET /a/b.txt HTTP/1.1\r\nHost: Mta-Sts.Example.NET:8443\r\nUser-Agent:  curl/8 \r\n\r\n"


def read(data: bytes) -> Request:
    found = HeadReader().receive(data)
    assert found is not None
    return found


def fault(data: bytes) -> int:
    with pytest.raises(HttpFault) as refused:
        HeadReader().receive(data)
    return refused.value.status


def with_fields(*fields: bytes) -> bytes:
    return b"POST /r HTTP/1.1\r\nHost: h\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def test_a_request_is_read() -> None:
    request = read(GET)
    assert (request.method, request.host, request.path) == ("GET", "mta-sts.example.net", "/a/b.txt")
    assert request.fields["user-agent"] == "curl/8"
    assert not request.has_body


@given(st.lists(st.integers(0, len(GET)), max_size=8))
@settings(max_examples=60)
def test_every_split_reads_the_same_and_leaves_what_is_behind(cuts: list[int]) -> None:
    data = GET + b"rest"
    places = [0, *sorted(cuts), len(GET), len(data)]
    reader, found = HeadReader(), []
    for start, end in pairwise(places):
        if not found and (request := reader.receive(data[start:end])) is not None:
            found.append(request)
    assert found == [read(GET)]
    assert reader.rest in (b"rest", b"")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.0\r\nHost: h\r\n\r\n", 505),
        (b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET /" + b"a" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 80 + b"\r\n", 431),
    ],
)
def test_what_is_not_taken(data: bytes, status: int) -> None:
    assert fault(data) == status


@pytest.mark.parametrize(
    "fields",
    [
        (b"Content-Length: 3", b"Content-Length: 3"),
        (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Content-Length: +3",),
        (b"Content-Length: 3, 3",),
        (b"Content-Length: 0x3",),
        (b"Content-Length: 9999999999999",),
    ],
)
def test_a_length_is_told_once_and_in_one_way(fields: tuple[bytes, ...]) -> None:
    assert fault(with_fields(*fields)) == 400


def body_of(request: Request, *pieces: bytes, limit: int = 100) -> bytes:
    reader = BodyReader(request, limit)
    for piece in pieces:
        assert not reader.done
        reader.receive(piece)
    assert reader.done
    return reader.body


def test_a_body_by_length_ends_where_it_was_said_to() -> None:
    request = read(with_fields(b"Content-Length: 5", b"Expect: 100-Continue"))
    assert request.waits
    assert body_of(request, b"he", b"llo and more") == b"hello"


CHUNKED = b'5\r\nhello\r\n3;name="x"\r\n, y\r\n2\r\nou\r\n0\r\nTrailer: x\r\n\r\n'


@given(st.lists(st.integers(1, len(CHUNKED) - 1), max_size=8, unique=True))
@settings(max_examples=60)
def test_chunks_are_put_together_in_every_split(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(CHUNKED)]
    pieces = [CHUNKED[start:end] for start, end in pairwise(places)]
    request = read(with_fields(b"Transfer-Encoding: chunked"))
    assert body_of(request, *pieces) == b"hello, you"


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        (b"zz\r\n", 400),
        (b"-1\r\n", 400),
        (b"3\r\nabcd\r\n", 400),
        (b"1" * 300, 400),
        (b"FFFFFFFF\r\n", 413),
        (b"32\r\n" + b"a" * 50 + b"\r\n33\r\n", 413),
        (b"0\r\n" + b"X: y\r\n" * 1000, 431),
    ],
)
def test_chunks_that_are_none_or_too_much(chunks: bytes, status: int) -> None:
    reader = BodyReader(read(with_fields(b"Transfer-Encoding: chunked")), 100)
    with pytest.raises(HttpFault) as refused:
        reader.receive(chunks)
    assert refused.value.status == status


def test_a_length_beyond_the_limit_is_refused_before_an_octet_of_it() -> None:
    with pytest.raises(HttpFault) as refused:
        BodyReader(read(with_fields(b"Content-Length: 101")), 100)
    assert refused.value.status == 413


def outcome(data: bytes) -> int:
    try:
        HeadReader().receive(data)
    except HttpFault as found:
        return found.status
    return 200


@given(st.binary(max_size=400))
@settings(max_examples=100)
def test_any_octets_are_a_request_or_a_fault(data: bytes) -> None:
    for start in (b"", b"GET / HTTP/1.1\r\nHost: h\r\n"):
        assert outcome(start + data + b"\r\n\r\n") in (200, 400, 431, 505)


def test_answers() -> None:
    whole = answer_bytes(Answer(200, b"text\r\n", "text/plain"), 0.0)
    head, _, body = whole.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Date: Thu, 01 Jan 1970 00:00:00 GMT",
        b"Content-Type: text/plain",
        b"Content-Length: 6",
        b"Connection: close",
    ]
    assert body == b"text\r\n"
    assert answer_bytes(Answer(200, b"text\r\n", "text/plain"), 0.0, head=True) == head + b"\r\n\r\n"
    assert b"Content-Type" not in answer_bytes(Answer(404), 0.0)
