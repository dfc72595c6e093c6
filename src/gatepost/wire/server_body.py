"""The octets of a message on their way in: the end of DATA, dots, line ends, and limits.

`Intake` is one message on its way in: it takes its octets from the input, by DATA or by BDAT, and gives `Body` events.
`DataScanner` finds the one end of data, CRLF.CRLF, in pieces of any split, and takes the stuffed dots away.
`BodyCheck` counts and judges what both DATA and BDAT bring: size, size of the header, and that CR and LF come only
as CRLF. A body that fails is refused as a whole: the rest is read to its real end without being kept.

How the scan works. A piece is looked at with few calls into C and never line by line: one search for CRLF-dot
(no hit: no dot to take away and no end), a search for the end only from there on, and one pass for line ends
by the interpreter's own newline decoder, which remembers which kinds it saw, also across pieces. What could be the
beginning of an end of data (at most four octets) is held back until the next piece comes.

Look-alike ends of data (`LF.LF`, `CR.CR`, `CRLF.LF`, `CRCRLF.CRCRLF` …) all hold a bare CR or LF, so they refuse the
message and end nothing (C13 to C16). NUL and 8-bit octets pass unchanged and end nothing either.

Sources: RFC 5321 §2.3.8, §4.5.2; RFC 3030 §2; RFC 1870.
"""

from __future__ import annotations

from collections import deque
from io import IncrementalNewlineDecoder

from gatepost.core.reply import Reply
from gatepost.wire.server_events import Body, ServerEvent
from gatepost.wire.server_input import ServerInput

_CRLF_DOT = b"\r\n."
_END = b"\r\n.\r\n"
_EMPTY_LINE = b"\r\n\r\n"
_SOUND_LINE_ENDS = ("\r\n", None)

BARE_LINE_END = Reply(554, "5.6.0", ("Bare CR or LF in message",))
TOO_BIG = Reply(552, "5.3.4", ("Message size exceeds limit",))
HEADER_TOO_BIG = Reply(552, "5.6.0", ("Message header exceeds limit",))

REASONS = {
    BARE_LINE_END: "SMTP smuggling: bare CR or LF in message",
    TOO_BIG: "Message size exceeds limit",
    HEADER_TOO_BIG: "Message header exceeds limit",
}


class BodyCheck:
    """The judgement of one message while it comes in. `refusal` is set at the first breach, for good."""

    __slots__ = ("_header_left", "_line_ends", "_max_size", "_tail", "refusal", "size")

    def __init__(self, max_size: int, max_header: int) -> None:
        self.size = 0
        self.refusal: Reply | None = None
        self._max_size = max_size
        self._header_left = max_header  # octets the header may still have; below zero once it is over
        self._tail = b"\r\n"  # the last octets before the next piece, while the header lasts
        self._line_ends = IncrementalNewlineDecoder(None, False)

    def take(self, piece: bytes) -> bool:
        """Count and judge a piece of the message; False when the message is refused."""
        self.size += len(piece)
        if self.refusal is not None:
            return False
        if self.size > self._max_size:
            self.refusal = TOO_BIG
            return False
        # Latin-1 maps octets to characters one to one, and is a plain copy.
        self._line_ends.decode(piece.decode("latin-1"))
        if self._line_ends.newlines not in _SOUND_LINE_ENDS:
            self.refusal = BARE_LINE_END
            return False
        if self._header_left >= 0:
            self._measure_header(piece)
        return self.refusal is None

    def announce(self, octets: int) -> None:
        """That many octets will come (BDAT): refuse at once what would be too much."""
        if self.refusal is None and self.size + octets > self._max_size:
            self.refusal = TOO_BIG

    def finish(self) -> None:
        """The message is whole: a CR at its very end is a bare one."""
        self._line_ends.decode("", True)
        if self.refusal is None and self._line_ends.newlines not in _SOUND_LINE_ENDS:
            self.refusal = BARE_LINE_END

    def _measure_header(self, piece: bytes) -> None:
        """Count octets up to and with the empty line, wherever pieces begin."""
        joint = self._tail + piece[:3]
        at = joint.find(_EMPTY_LINE)
        if at >= 0:
            at -= len(self._tail)
            ended = True
        else:
            at = piece.find(_EMPTY_LINE)
            ended = at >= 0
        length = at + 4 if ended else len(piece)
        if length > self._header_left:
            self.refusal = HEADER_TOO_BIG
        elif ended:
            self._header_left = -1
        else:
            self._header_left -= length
            self._tail = (self._tail + piece[-3:])[-3:]


class DotWatch:
    """Says of the pieces of a BDAT message whether a line that begins in them starts with a dot."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def sees(self, piece: bytes) -> bool:
        """The answer for the next piece."""
        joint = self._tail + piece[:2]
        self._tail = (self._tail + piece[-2:])[-2:]
        return _CRLF_DOT in joint or _CRLF_DOT in piece


class DataScanner:
    """Finds the end of DATA. `feed` gives the octets of the message so far, unstuffed, and where the end was."""

    __slots__ = ("_held", "_skip", "dotted")

    def __init__(self) -> None:
        self._held = b"\r\n"  # the message begins at the start of a line; this CRLF is not part of it
        self._skip = 2
        self.dotted = False  # of the last piece: a line in it starts with a dot

    def feed(self, new: bytes, keep: bool) -> tuple[bytes, int]:
        """The next piece, and the index in `new` behind the end of data, or -1 when it has not come.

        With `keep` false the octets are dropped and only the end is looked for.
        """
        held = self._held
        data = held + new
        # One octet is found many times faster than three, and base64, of which large messages consist, has no dots.
        dot = data.find(b".")
        if dot >= 0:
            dot = data.find(_CRLF_DOT, max(dot - 2, 0))
        end = data.find(_END, dot) if dot >= 0 else -1
        if end >= 0:
            cut = end + 2
            behind = end + 5 - len(held)
        else:
            cut = len(data) - _may_begin_end(data)
            self._held = data[cut:]
            behind = -1
        if not cut:
            return b"", behind
        skip = self._skip
        self._skip = 0
        if not keep:
            return b"", behind
        if 0 <= dot < cut - 2:
            piece = data[:cut].replace(_CRLF_DOT, b"\r\n")
            self.dotted = _CRLF_DOT in piece
            return piece[skip:], behind
        self.dotted = False
        return data[skip:cut], behind


def _may_begin_end(data: bytes) -> int:
    """How many octets at the end of `data` could be the beginning of an end of data."""
    if data.endswith(b"\n"):
        return 2 if data.endswith(b"\r\n") else 0
    if data.endswith(b"."):
        return 3 if data.endswith(_CRLF_DOT) else 0
    if data.endswith(b"\r"):
        return 4 if data.endswith(b"\r\n.\r") else 1
    return 0


class Intake:
    """One message on its way in: octets from the input become `Body` events until it is whole or refused."""

    __slots__ = ("_check", "_dots", "_scanner")

    def __init__(self, max_size: int, max_header: int) -> None:
        self._check = BodyCheck(max_size, max_header)
        self._scanner = DataScanner()
        self._dots = DotWatch()

    @property
    def refusal(self) -> Reply | None:
        """Why the message is refused, or None so far."""
        return self._check.refusal

    @property
    def size(self) -> int:
        """Octets of the message so far, as they are stored."""
        return self._check.size

    def read_data(self, source: ServerInput, events: deque[ServerEvent]) -> bool:
        """Take what there is; True when the end of data has come. What stands behind it stays in `source`."""
        new = source.take_all()
        check, scanner = self._check, self._scanner
        piece, behind = scanner.feed(new, check.refusal is None)
        if piece and check.take(piece):
            events.append(Body(piece, scanner.dotted))
        if behind < 0:
            return False
        source.give_back(new, behind)
        return True

    def announce(self, octets: int) -> None:
        """A BDAT of that size begins."""
        self._check.announce(octets)

    def take_chunk(self, piece: bytes, events: deque[ServerEvent]) -> None:
        """Octets of a BDAT."""
        if self._check.take(piece):
            events.append(Body(piece, self._dots.sees(piece)))

    def finish(self) -> Reply | None:
        """The message is whole: the last judgement."""
        self._check.finish()
        return self._check.refusal
