"""What can go wrong on a connection, each with the text that the mail log shows.

`text` is already in the log's classic form: a system error reads `[Errno 104] Connection reset by peer`,
a library error `(167772353, 'error:0A0000C1:SSL routines::no shared cipher')`, a deadline `timeout`.
"""

from __future__ import annotations

import os
import re

TIMEOUT_TEXT = "timeout"
UNEXPECTED_EOF_TEXT = "(-1, 'Unexpected EOF')"
_QUOTED = re.compile(r"\[Errno ([0-9]{1,4})\]")


def system_error_text(error: OSError) -> str:
    """`[Errno N] sentence`, without the address or file name that the exception may carry."""
    if error.errno is None:
        return str(error) or type(error).__name__
    return f"[Errno {error.errno}] {os.strerror(error.errno)}"


def plain_error_text(error: OSError) -> str:
    """The sentence alone, in small letters, for a message to people: `connection refused`."""
    if error.errno is not None:
        return os.strerror(error.errno).lower()
    # Several addresses that failed in different ways come as one error that quotes them; the first stands for all.
    numbers = _QUOTED.findall(str(error))
    return os.strerror(int(numbers[0])).lower() if numbers else "no connection"


class StreamError(Exception):
    """A connection cannot go on. `text` is what the log shows."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class StreamLost(StreamError):
    """The peer or the network ended the connection, or TLS ended without a close_notify."""


class StreamTimeout(StreamError):
    """The deadline passed while something was awaited."""

    def __init__(self) -> None:
        super().__init__(TIMEOUT_TEXT)


class TlsFailure(StreamError):
    """A handshake that did not come about, or a record that broke an established session.

    `code` is the number of the library error, 0 where the library had no part in it.
    `certificate_requested` says that the server had asked for our certificate before it failed, so that
    the caller can try once without one (architecture 4, Client certificate).
    """

    def __init__(self, text: str, code: int = 0, *, certificate_requested: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.certificate_requested = certificate_requested


class DialFailed(StreamError):
    """No connection came up: `[Errno 111] Connection refused`, `timeout`."""


class ContextError(Exception):
    """A TLS context cannot be built from these certificates, keys or settings; the text says why."""
