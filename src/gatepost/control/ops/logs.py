"""Reading the logs: found lines, and lines as they are written.

These are operations too, but they need no gateway, no store and no lock, and their answers have no bound: so they run in the
process that asks, as a stream. Who may read is what the files' permissions say (root and the home's owner).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gatepost.certs.times import iso_time
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home
from gatepost.track.find import Criteria, LogLine, TlsFound, find, parse_since
from gatepost.track.follow import follow
from gatepost.track.log_files import log_paths


def criteria(
    *, icid: int | None, dcid: int | None, mid: int | None, address: str, tls: str, since: str, now: float
) -> Criteria:
    """What is looked for, from words. Raises OperatorError (exit 2)."""
    outcomes = [outcome.value for outcome in TlsFound]
    if tls and tls not in outcomes:
        raise OperatorError(
            f"{tls} is no outcome of TLS", f"there are {', '.join(outcomes)}", code=Exit.USAGE
        )
    try:
        start = parse_since(since, now) if since else None
    except ValueError as error:
        raise OperatorError(str(error), code=Exit.USAGE) from None
    return Criteria(icid, dcid, mid, address, TlsFound(tls) if tls else None, start)


def find_lines(home: Home, wanted: Criteria) -> Iterator[LogLine]:
    """The matching lines of the current and the rotated mail logs, oldest first."""
    try:
        yield from find(log_paths(home.logs, home.mail_log.name), wanted)
    except PermissionError:
        raise _unreadable(home) from None


def follow_lines(home: Home, wait: Callable[[float], bool]) -> Iterator[str]:
    """New lines of the mail log until `wait` answers False."""
    try:
        yield from follow(home.mail_log, wait)
    except PermissionError:
        raise _unreadable(home) from None


def line_document(line: LogLine) -> dict[str, Any]:
    """A line in its JSON form."""
    return {"time": iso_time(line.at), "level": line.level, "text": line.text, "line": line.raw}


def _unreadable(home: Home) -> OperatorError:
    return OperatorError(f"the logs in {home.logs} cannot be read", "run the command as the home's owner")
