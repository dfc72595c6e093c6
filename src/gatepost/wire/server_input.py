"""The octets that a peer sent and that nobody has read yet, and the command lines in them.

Only CRLF ends a line (RFC 5321 §2.3.8). A line with a bare LF is refused as soon as the LF is seen, so that a
client which sends nothing else is told; a line that is too long is refused at its CRLF. The rest of a refused line
is skipped up to its CRLF without being kept, so no part of it is ever read as a command. The faults that come out do not
depend on how the octets were split.
"""

from __future__ import annotations

from enum import IntEnum

MAX_SKIPPED = 65_536  # octets of one line; more means that no line end will come


class LineFault(IntEnum):
    """Why a line is refused. ENDLESS ends the connection."""

    BARE_LF = 0
    TOO_LONG = 1
    ENDLESS = 2


class ServerInput:
    """A buffer with a position; holds what one `add` brought, or one unfinished line."""

    __slots__ = ("_buffer", "_limit", "_pos", "_reason", "_skipped")

    def __init__(self, max_line: int) -> None:
        self._limit = max_line - 2
        self._buffer = b""
        self._pos = 0
        self._skipped = -1  # octets so far of a line that is refused, or -1
        self._reason: LineFault | None = None  # what is still to be said of it

    def __len__(self) -> int:
        return len(self._buffer) - self._pos

    def add(self, data: bytes) -> None:
        """Octets of the peer, behind what is there."""
        if self._pos == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = self._buffer[self._pos :] + data
        self._pos = 0

    def allow(self, max_line: int) -> None:
        """Other lines come now: so many octets with their CRLF."""
        self._limit = max_line - 2

    def clear(self) -> None:
        """Forget everything."""
        self._buffer = b""
        self._pos = 0
        self._skipped = -1
        self._reason = None

    def take(self, most: int) -> bytes:
        """The next octets, at most that many."""
        pos = self._pos
        self._pos = min(pos + most, len(self._buffer))
        return self._buffer[pos : self._pos]

    def take_all(self) -> bytes:
        """Everything that is there."""
        data = self._buffer[self._pos :] if self._pos else self._buffer
        self._buffer = b""
        self._pos = 0
        return data

    def give_back(self, data: bytes, start: int) -> None:
        """Behind `take_all`: the octets from `start` on were not used."""
        self._buffer = data
        self._pos = start

    def line(self) -> bytes | LineFault | None:
        """The next line without its CRLF, or what is wrong with it; None when more must come first."""
        buffer, pos = self._buffer, self._pos
        if self._skipped < 0:
            at = buffer.find(b"\r\n", pos)
            if 0 <= at <= pos + self._limit:
                self._pos = at + 2
                line = buffer[pos:at]
                return LineFault.BARE_LF if b"\n" in line else line
            lf = buffer.find(b"\n", pos, pos + self._limit)
            if lf >= 0:
                self._pos = lf + 1
                self._skipped = lf + 1 - pos
                return LineFault.BARE_LF
            if at < 0 and len(buffer) - buffer.endswith(b"\r") - pos <= self._limit:
                return None
            self._skipped = 0
            self._reason = LineFault.TOO_LONG
        return self._skip()

    def _skip(self) -> bytes | LineFault | None:
        buffer, pos = self._buffer, self._pos
        at = buffer.find(b"\r\n", pos)
        # A CR at the end may be half of the CRLF: it stays.
        end = at if at >= 0 else len(buffer) - (len(buffer) > pos and buffer.endswith(b"\r"))
        self._skipped += end - pos
        self._pos = end
        if self._skipped > MAX_SKIPPED:
            return LineFault.ENDLESS
        if at < 0:
            return None
        self._pos = at + 2
        self._skipped = -1
        reason, self._reason = self._reason, None
        return self.line() if reason is None else reason
