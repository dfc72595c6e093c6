"""The server's side of HTTP/1.1, as far as the public port needs it: one request, one answer, the connection ends (RFC 9112).

How it works. `HeadReader` takes octets in any split and gives a `Request` when its header is whole; `BodyReader` takes what follows, by
length or in chunks, up to a limit. `answer_bytes` writes the answer. There is no second request on a connection, so nothing that
stands behind the first can be taken for one: what servers and proxies disagree about elsewhere does no harm here. Still everything
doubtful is refused: a line end that is no CRLF, a folded line, two lengths, a length beside chunks, a second Host.

Limits. 8 KiB of header, 60 lines; only HTTP/1.1 and only paths (origin-form, §3.2.1). A fault has the status that is answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

MAX_HEAD = 8 * 1024
MAX_FIELDS = 60
_MAX_CHUNK_LINE = 256
_MAX_TRAILERS = 4 * 1024
_REQUEST = re.compile(rb"([A-Z]{1,20}) (/[!-~]*) HTTP/1\.1")
_OLD_REQUEST = re.compile(rb"[A-Z]{1,20} [!-~]+ HTTP/[0-9]\.[0-9]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,12}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~\x80-\xff]*)?")
_REASONS = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    404: "Not Found",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpFault(Exception):
    """A request that is not taken; `status` is what it is answered."""

    def __init__(self, status: int) -> None:
        super().__init__(_REASONS[status])
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """The header of one request. `host` is lower-case and without a port; names of fields are in lower case.

    `length` is the body's, 0 for none, None where it comes in chunks. `waits` says that the client asks before it sends it
    (RFC 9110 §10.1.1).
    """

    method: str
    host: str
    path: str
    fields: Mapping[str, str]
    length: int | None = 0
    waits: bool = False

    @property
    def has_body(self) -> bool:
        return self.length != 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered."""

    status: int
    body: bytes = b""
    content_type: str = ""


NOT_FOUND = Answer(404)


class HeadReader:
    """The header of the one request. What came behind it is in `rest`."""

    def __init__(self) -> None:
        self._held = b""
        self.rest = b""

    def receive(self, data: bytes) -> Request | None:
        """The request, once its header is whole. Raises HttpFault."""
        start = max(0, len(self._held) - 3)
        self._held += data
        end = self._held.find(b"\r\n\r\n", start)
        if end < 0 or end > MAX_HEAD:
            if len(self._held) > MAX_HEAD:
                raise HttpFault(431)
            return None
        self.rest = self._held[end + 4 :]
        return _request(self._held[:end])


def _request(head: bytes) -> Request:
    first, *lines = head.split(b"\r\n")
    match = _REQUEST.fullmatch(first)
    if match is None:
        raise HttpFault(505 if _OLD_REQUEST.fullmatch(first) and not first.endswith(b"HTTP/1.1") else 400)
    if len(lines) > MAX_FIELDS:
        raise HttpFault(431)
    fields: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise HttpFault(400)
        name = field[1].decode("ascii").lower()
        if name in fields and name in ("host", "content-length", "transfer-encoding", "content-type"):
            raise HttpFault(400)
        fields[name] = field[2].strip(b" \t").decode("latin-1")
    return Request(
        match[1].decode("ascii"),
        _host(fields),
        match[2].decode("ascii"),
        fields,
        _body_length(fields),
        fields.get("expect", "").lower() == "100-continue",
    )


def _host(fields: Mapping[str, str]) -> str:
    """RFC 9112 §3.2: exactly one; the port says nothing here."""
    if "host" not in fields:
        raise HttpFault(400)
    name, colon, port = fields["host"].lower().rpartition(":")
    return name if colon and port.isdigit() and port.isascii() else fields["host"].lower()


def _body_length(fields: Mapping[str, str]) -> int | None:
    """RFC 9112 §6.3; a length beside chunks is how requests are smuggled."""
    coding, length = fields.get("transfer-encoding"), fields.get("content-length")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise HttpFault(400)
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length.encode("latin-1")):
        raise HttpFault(400)
    return int(length)


class BodyReader:
    """The body of a request, of at most `limit` octets. Raises HttpFault(413) as soon as it is known to be longer."""

    def __init__(self, request: Request, limit: int) -> None:
        if request.length is not None and request.length > limit:
            raise HttpFault(413)
        self._missing = request.length
        self._limit = limit
        self._held = b""  # the beginning of a line of a body in chunks
        self._body = bytearray()
        self._chunk = 0  # octets of the chunk that are still to come
        self._announced = 0  # octets of all chunks so far
        self._between = False  # the line end behind a chunk is due
        self._trailers = -1  # octets of trailers seen; below 0 while chunks come
        self.done = request.length == 0

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    def receive(self, data: bytes) -> None:
        """Take what came; what stands behind the body is dropped."""
        if self._missing is not None:
            piece = data[: self._missing]
            self._missing -= len(piece)
            self._body += piece
            self.done = not self._missing
            return
        data = self._held + data
        position = 0
        while not self.done and position < len(data):
            if self._chunk:
                piece = data[position : position + self._chunk]
                self._body += piece
                self._chunk -= len(piece)
                self._between = not self._chunk
                position += len(piece)
                continue
            end = data.find(b"\r\n", position, position + _MAX_CHUNK_LINE + 2)
            if end < 0:
                if len(data) - position > _MAX_CHUNK_LINE:
                    raise HttpFault(400)
                break
            self._line(data[position:end])
            position = end + 2
        self._held = data[position:]

    def _line(self, line: bytes) -> None:
        """A line of a body in chunks (RFC 9112 §7.1): the end of a chunk, the beginning of one, or a trailer."""
        if self._between:
            if line:
                raise HttpFault(400)
            self._between = False
        elif self._trailers >= 0:
            self._trailers += len(line) + 2
            if self._trailers > _MAX_TRAILERS:
                raise HttpFault(431)
            self.done = not line
        else:
            match = _CHUNK.fullmatch(line)
            if match is None:
                raise HttpFault(400)
            self._chunk = int(match[1], 16)
            self._announced += self._chunk
            if self._announced > self._limit:
                raise HttpFault(413)
            if not self._chunk:
                self._trailers = 0


def answer_bytes(answer: Answer, now: float, *, head: bool = False) -> bytes:
    """The whole answer as it is sent; without its body for HEAD. Nothing in it names the product."""
    kind = f"Content-Type: {answer.content_type}\r\n" if answer.content_type else ""
    lines = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"Date: {formatdate(now, usegmt=True)}\r\n"
        f"{kind}Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    )
    return lines.encode("ascii") + (b"" if head else answer.body)
