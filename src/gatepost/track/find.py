"""Finds lines of the text log by connection, message, address, TLS outcome and time (R33).

How it works: two passes over the files, oldest first. The first reads which connection carried which message
and collects the identifiers that the criteria select; the second gives the lines. Memory grows with what is selected and
with the connections open at one time, never with the files.

What a criterion selects (several narrow each other down):

  icid, dcid   the connection's lines, and those of the messages it carried
  mid          the message's lines, and those of its incoming and delivery connections
  address      the same for every message from or to the address (or `@domain`); also connections of rejected senders
               that named it (delayed rejection)
  tls          success, failed: connections with such a line, and their messages; `none`: connections that
               carried a message without any TLS line before it, and these messages
  since        only lines of that time or later

A line that names messages is shown for these only, so a connection reused for a thousand messages shows one
message's lines and its own. Identifiers are read from the fixed head of a line, never from text behind
it, so a subject that reads `MID 9` finds nothing.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO


class TlsFound(StrEnum):
    SUCCESS = "success"
    FAILED = "failed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is looked for; None and empty mean: not asked. `since` is seconds since the epoch."""

    icid: int | None = None
    dcid: int | None = None
    mid: int | None = None
    address: str = ""
    tls: TlsFound | None = None
    since: float | None = None

    @property
    def narrows(self) -> bool:
        """True when identifiers have to be collected before lines can be chosen."""
        return bool(self.address or self.tls) or (self.icid, self.dcid, self.mid) != (None, None, None)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log: `at` in seconds since the epoch, its level, its text, and the whole of it."""

    at: float
    level: str
    text: str
    raw: str


def parse_since(text: str, now: float) -> float:
    """`2h` (s, m, h, d before now), an ISO 8601 time or date (UTC unless it says otherwise). Raises ValueError."""
    short = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    if short:
        return now - int(short[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[short[2]]
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"not a time: {text!r} (write 2h, or 2026-11-24T07:30:00)") from None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def find(paths: Sequence[Path], criteria: Criteria) -> Iterator[LogLine]:
    """The matching lines of these files (`log_files.log_paths`), in file order.

    All files are opened first and read as long as they were then, so a rotation meanwhile changes nothing.
    Raises OSError when a file cannot be read; one that is gone by now is passed over.
    """
    with ExitStack() as stack:
        files = []
        for path in paths:
            try:
                file = stack.enter_context(path.open("rb"))
            except FileNotFoundError:
                continue
            files.append((file, file.seek(0, 2)))
        chosen: _Chosen | None = None
        if criteria.narrows:
            survey = _Survey(criteria)
            needles = survey.needles()
            for file, size in files:
                for line in _lines(file, size):
                    if _may_match(line, needles):
                        survey.read(line)
            chosen = survey.chosen()
            if chosen.empty:
                return
        for file, size in files:
            yield from _matching(file, size, chosen, criteria.since)


def _matching(file: BinaryIO, size: int, chosen: _Chosen | None, since: float | None) -> Iterator[LogLine]:
    clock = _Stamps()
    needles = chosen.needles() if chosen is not None else ()
    for line in _lines(file, size):
        clock.look(line)
        if chosen is not None and not (_may_match(line, needles) and chosen.has(_identifiers(line))):
            continue
        at = clock.time_of(line)
        if since is None or at >= since:
            yield _log_line(line, at)


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The lines in the first `size` octets; a last line without its end is still being written and left out."""
    file.seek(0)
    for line in file:
        size -= len(line)
        if size < 0 or not line.endswith(b"\n"):
            return
        yield line


def _may_match(line: bytes, needles: tuple[bytes, ...]) -> bool:
    """True when there are no needles, or one of them is in the line."""
    for needle in needles:  # a loop, since a generator here costs more than the search
        if needle in line:
            return True
    return not needles


def _log_line(line: bytes, at: float) -> LogLine:
    raw = line.decode("utf-8", "backslashreplace").rstrip("\n")
    level, _, text = raw[25:].partition(": ")
    return LogLine(at, level, text, raw)


# --- one line ------------------------------------------------------------------------------------------

_STAMP_LENGTH = 24  # `Wed Sep  6 13:13:16 2023`
_MONTHS = {name: i for i, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}
_OFFSET = re.compile(rb": Time offset from UTC: (-?[0-9]{1,6}) seconds$")
_IDENTIFIERS = re.compile(
    rb"[A-Z][a-z]+: (?:Start |New SMTP |Delivery start |Message done |Message finished |Connection Error: "
    rb"|Delayed: |Bounced: |Double bounce: |SMTP Auth: \()?((?:(?:ICID|DCID|MID) [0-9]+ ?)+)"
)
_REPORT_ON = b"was generated for bounce of MID "
_FROM_TO = re.compile(rb"(?:RID [0-9]+ )?(?:From|To): <([^>]*)>")
_DELAYED = re.compile(rb"Delayed HAT REJECT Message (?:from: |recipient: )(.*) \([0-9A-Fa-f.:]+\)")


@dataclass(slots=True)
class _Identifiers:
    """The identifiers in the fixed head of a line, and the octets behind them. 0 means none.

    `connection` is the ICID as it is, or the DCID negative; `about` the message that a report reports on.
    """

    connection: int
    mid: int
    about: int
    rest: bytes


_NOTHING = _Identifiers(0, 0, 0, b"")


def _identifiers(line: bytes) -> _Identifiers:
    found = _IDENTIFIERS.match(line, _STAMP_LENGTH + 1)
    if found is None:
        return _NOTHING
    connection = mid = about = 0
    words = found[1].split()
    for word, number in zip(words[::2], words[1::2], strict=True):
        if word == b"MID":
            mid = int(number)
        else:
            connection = int(number) if word == b"ICID" else -int(number)
    rest = line[found.end() :].rstrip()
    if rest.startswith(_REPORT_ON):
        about = int(rest[len(_REPORT_ON) :])
    return _Identifiers(connection, mid, about, rest)


class _Stamps:
    """Reads time texts; keeps the last one, since hundreds of lines share a second, and the file's offset."""

    def __init__(self) -> None:
        self._text = b""
        self._time = 0.0
        self._offset = 0

    def look(self, line: bytes) -> None:
        found = _OFFSET.search(line.rstrip()) if b"Time offset" in line else None
        if found:
            self._offset = int(found[1])
            self._text = b""

    def time_of(self, line: bytes) -> float:
        """Seconds since the epoch; 0 for a line that does not begin with a time."""
        text = line[:_STAMP_LENGTH]
        if text != self._text:
            self._text = text
            self._time = self._parse(text)
        return self._time

    def _parse(self, text: bytes) -> float:
        words = text.split()
        try:
            _, month, day, clock, year = words
            hour, minute, second = clock.split(b":")
            moment = (int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second))
        except (ValueError, KeyError):
            return 0.0
        return float(timegm(moment) - self._offset)


# --- the first pass --------------------------------------------------------------------------------------

FEW = 8  # identifiers: a line is first searched for their digits, which is ten times faster than reading it


@dataclass(slots=True)
class _Chosen:
    """What the second pass shows."""

    mids: set[int]
    connections: set[int]

    @property
    def empty(self) -> bool:
        return not self.mids and not self.connections

    def needles(self) -> tuple[bytes, ...]:
        """Octets one of which every matching line contains, or nothing when these would be too many."""
        numbers = {*self.mids, *(abs(connection) for connection in self.connections)}
        return tuple(b" %d" % number for number in numbers) if len(numbers) <= FEW else ()

    def has(self, ids: _Identifiers) -> bool:
        if ids.mid:
            return ids.mid in self.mids or (ids.about != 0 and ids.about in self.mids)
        return ids.connection != 0 and ids.connection in self.connections


class _Survey:
    """Collects, line by line, what each criterion selects."""

    def __init__(self, criteria: Criteria) -> None:
        self._criteria = criteria
        self._address = _comparable(criteria.address.encode("utf-8", "surrogateescape"))
        self._named = {
            *([criteria.icid] if criteria.icid is not None else []),
            *([-criteria.dcid] if criteria.dcid is not None else []),
        }
        self._by_connection: dict[int, set[int]] = {connection: set() for connection in self._named}
        self._by_address: set[int] = set()
        self._rejected: set[int] = set()  # connections of rejected senders that named the address
        self._by_tls: set[int] = set()
        self._tls_connections: set[int] = set()  # with the outcome that is asked for
        self._encrypted: set[int] = set()  # open now, with some TLS line; for `none`
        self._carried: defaultdict[int, set[int]] = defaultdict(
            set
        )  # message -> its connections, where asked

    def needles(self) -> tuple[bytes, ...]:
        """As in `_Chosen`: only while nothing but numbers is asked for."""
        criteria = self._criteria
        if criteria.address or criteria.tls:
            return ()
        numbers = (criteria.icid, criteria.dcid, criteria.mid)
        return tuple(b" %d" % number for number in numbers if number is not None)

    def read(self, line: bytes) -> None:
        ids = _identifiers(line)
        if ids.mid:
            self._read_message(ids)
        elif ids.connection:
            if self._criteria.tls is not None:
                self._read_connection(ids.rest, ids.connection)
            if self._address and (found := _DELAYED.fullmatch(ids.rest)) and self._is_address(found[1]):
                self._rejected.add(ids.connection)

    def _read_connection(self, rest: bytes, connection: int) -> None:
        if rest == b"close":
            self._encrypted.discard(connection)
            return
        success = rest.startswith(b"TLS success ")
        failed = rest.startswith((b"TLS failed: ", b"TLS was required ")) or (
            rest.startswith(b"IP ") and b" TLS was required " in rest
        )
        if not success and not failed:
            return
        wanted = self._criteria.tls
        if wanted is TlsFound.NONE:
            self._encrypted.add(connection)
        elif success is (wanted is TlsFound.SUCCESS):
            self._tls_connections.add(connection)

    def _read_message(self, ids: _Identifiers) -> None:
        mid, connection, criteria = ids.mid, ids.connection, self._criteria
        if self._address and (found := _FROM_TO.match(ids.rest)) and self._is_address(found[1]):
            self._by_address.add(mid)
        if not connection:
            return
        if connection in self._by_connection:
            self._by_connection[connection].add(mid)
        if criteria.tls is TlsFound.NONE and connection not in self._encrypted:
            self._tls_connections.add(connection)
        if connection in self._tls_connections:
            self._by_tls.add(mid)
        if mid == criteria.mid or mid in self._by_address:
            self._carried[mid].add(connection)

    def _is_address(self, text: bytes) -> bool:
        found = _comparable(text)
        return found.endswith(self._address) if self._address.startswith(b"@") else found == self._address

    def chosen(self) -> _Chosen:
        criteria = self._criteria
        asked = list(self._by_connection.values())
        if criteria.mid is not None:
            asked.append({criteria.mid})
        if criteria.address:
            asked.append(self._by_address)
        if criteria.tls is not None:
            asked.append(self._by_tls)
        mids = set.intersection(*asked)
        return _Chosen(mids, self._connections(mids))

    def _connections(self, mids: set[int]) -> set[int]:
        """The connections whose own lines are shown beside the chosen messages."""
        criteria = self._criteria
        shown = set(self._named)
        if criteria.mid is not None or criteria.address:
            carrying = {connection for mid in mids for connection in self._carried[mid]}
            if criteria.mid is None:
                carrying |= self._rejected
            shown = shown & carrying if self._named else carrying
        elif not self._named:
            return self._tls_connections
        return shown & self._tls_connections if criteria.tls is not None else shown


def _comparable(address: bytes) -> bytes:
    """Addresses are compared without regard to case, as people search for them."""
    return address.strip().removeprefix(b"<").removesuffix(b">").lower()
