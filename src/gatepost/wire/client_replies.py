"""Reads SMTP replies, strictly and within bounds (RFC 5321 §4.2; case C9).

A reply is one or more lines `ddd-text` and a last line `ddd text`, each ended by CRLF and nothing
else. Everything that is not that is a `ReplyFault`, after which the reader is of no use: a peer that
garbles one reply cannot be trusted to have its replies and our commands in step.

Limits: 512 octets a line (RFC 5321 §4.5.3.1.5), 100 lines and 64 KiB a reply. A code is 2yz to 5yz;
the second digit is not limited to 0–5 since `571` is in wide use.
"""

from __future__ import annotations

import re

from gatepost.core.reply import Reply
from gatepost.wire.client_events import Capabilities

MAX_LINE = 512
MAX_LINES = 100
MAX_REPLY = 65_536
MAX_UNREAD = 4 * MAX_REPLY

# A connection hears the same few replies for every message (`250 2.1.0 Ok`): short one-line replies
# are parsed once and kept, the first 16 of them, which halves the reading of a pipelined envelope.
KNOWN_REPLIES = 16
KNOWN_LENGTH = 64

_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")  # RFC 3463 §2
_MASKED = re.compile(r"X{4,}[A-Z]?")  # `XXXXXXXA`, and the like
_FIRST_DIGITS = b"2345"


class ReplyFault(Exception):
    """A malformed reply; the text says what was wrong with it and quotes nothing of it."""


class ReplyReader:
    """Takes bytes in any split and gives whole replies."""

    __slots__ = ("_buffer", "_code", "_known", "_lines", "_position", "_size")

    def __init__(self) -> None:
        self._buffer = b""
        self._position = 0
        self._code = b""  # of the multi-line reply being read
        self._lines: list[str] = []
        self._size = 0
        self._known: dict[bytes, Reply] = {}

    def feed(self, data: bytes) -> None:
        """More bytes came. Raises ReplyFault when the peer sends far more than anybody asked for."""
        rest = self._buffer[self._position :]
        self._buffer = rest + data if rest else data
        self._position = 0
        if len(self._buffer) > MAX_UNREAD:
            raise ReplyFault("the peer sends more than was asked for")

    @property
    def unread(self) -> bytes:
        """The bytes that are not part of a reply handed out; of a reply read in part, its first code."""
        return self._code + self._buffer[self._position :]

    def clear(self) -> None:
        """Forget everything that was read and not handed out."""
        self._buffer = b""
        self._position = 0
        self._code = b""
        self._lines = []
        self._size = 0

    def next_reply(self) -> Reply | None:
        """The next whole reply, or None when more bytes are needed. Raises ReplyFault."""
        while True:
            buffer, start = self._buffer, self._position
            end = buffer.find(b"\n", start) + 1
            if end == 0:
                if len(buffer) - start >= MAX_LINE:
                    raise ReplyFault("over-long reply line")
                return None
            self._position = end
            line = buffer[start:end]
            if not self._lines and (known := self._known.get(line)) is not None:
                return known
            check_line(line)
            code = line[:3]
            text = line[4:-2].decode("utf-8", "backslashreplace")
            if line[3] != 0x2D:  # not a hyphen: the last line
                if not self._lines:
                    reply = make_reply(int(code), text)
                    if end - start <= KNOWN_LENGTH and len(self._known) < KNOWN_REPLIES:
                        self._known[line] = reply
                    return reply
                self._append(code, line, text)
                return self._assembled()
            self._append(code, line, text)

    def _append(self, code: bytes, line: bytes, text: str) -> None:
        if self._lines and code != self._code:
            raise ReplyFault("mixed codes in a multi-line reply")
        self._code = code
        self._lines.append(text)
        self._size += len(line)
        if len(self._lines) > MAX_LINES or self._size > MAX_REPLY:
            raise ReplyFault("over-long multi-line reply")

    def _assembled(self) -> Reply:
        code, lines = int(self._code), self._lines
        self._code, self._lines, self._size = b"", [], 0
        found = _ENHANCED.match(lines[0])
        if found is None or ord(lines[0][0]) - 48 != code // 100:
            return Reply(code, "", tuple(lines))
        enhanced = found[1]
        cut = len(enhanced) + 1
        # Each line repeats the code (RFC 2034 §4); a line that carries another one keeps it as text.
        stripped = (
            line[cut:] if line.startswith(enhanced) and line[cut - 1 : cut] in ("", " ") else line
            for line in lines
        )
        return Reply(code, enhanced, tuple(stripped))


def check_line(line: bytes) -> None:
    """Raise ReplyFault unless this is one line of a reply with its CRLF."""
    if len(line) > MAX_LINE:
        raise ReplyFault("over-long reply line")
    # A CR can only stand before the final LF, so it is found nowhere earlier.
    if line.find(b"\r") != len(line) - 2:
        raise ReplyFault("bare CR or LF in a reply")
    if 0 in line:
        raise ReplyFault("NUL in a reply")
    # `250` without text is tolerated, as RFC 5321 §4.2 asks of clients.
    if not line[:3].isdigit() or line[0] not in _FIRST_DIGITS or line[3] not in b" -\r":
        raise ReplyFault("malformed reply")


def make_reply(code: int, text: str) -> Reply:
    """A one-line reply, its enhanced code (of the same class only) taken off the text."""
    found = _ENHANCED.match(text)
    if found is None or ord(text[0]) - 48 != code // 100:
        return Reply(code, "", (text,))
    return Reply(code, found[1], (text[found.end() :],))


def read_capabilities(reply: Reply) -> Capabilities:
    """What a positive answer to EHLO offers. Keywords are case-insensitive, unknown ones are passed over.

    A keyword counts as offered whatever follows it (`STARTTLS foo`, case C10): a peer that
    decorates its offer must not thereby push mail into the clear.
    """
    offered: dict[str, str] = {}
    for line in reply.lines[1:]:
        keyword, _, parameters = line.strip().partition(" ")
        offered.setdefault(keyword.upper(), parameters.strip())
    return Capabilities(
        esmtp=True,
        starttls="STARTTLS" in offered,
        pipelining="PIPELINING" in offered,
        size=_size_limit(offered["SIZE"]) if "SIZE" in offered else None,
        eightbitmime="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        chunking="CHUNKING" in offered,
        dsn="DSN" in offered,
        enhanced="ENHANCEDSTATUSCODES" in offered,
        requiretls="REQUIRETLS" in offered,
        greeting_name=greeting_name(reply),
        masked=any(_MASKED.fullmatch(keyword) for keyword in offered),
    )


def greeting_name(reply: Reply) -> str:
    """The name by which the peer calls itself: the first word of the first line."""
    return reply.lines[0].partition(" ")[0]


def _size_limit(text: str) -> int:
    """RFC 1870 §3: up to 20 digits; anything else is read as no limit named."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
