"""The service manager's notification protocol (sd_notify(3)) without its library.

One datagram of `KEY=value` lines to the socket named in `NOTIFY_SOCKET`. Without that variable nothing is
sent. The variable is taken out of the environment, so that no child speaks in our name.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping


class Notifier:
    """Tells the service manager what the gateway is doing; a lost datagram is never an error."""

    def __init__(self, environ: MutableMapping[str, str], pid: int) -> None:
        path = environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_seconds = _watchdog(environ, pid)

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """With the time, as `Type=notify-reload` wants it; a `ready` must follow."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, seconds: float) -> None:
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int((seconds + 5) * 1_000_000)}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
            connection.setblocking(False)
            try:
                connection.sendto(text.encode(), self._address)
            except OSError:
                return  # a manager that is gone or busy is no reason to stop mail


def _watchdog(environ: MutableMapping[str, str], pid: int) -> float:
    """How often the manager wants a sign of life, in seconds; 0 when it wants none from this process."""
    microseconds = environ.pop("WATCHDOG_USEC", "")
    for_pid = environ.pop("WATCHDOG_PID", "")
    if not microseconds.isdigit() or (for_pid and for_pid != str(pid)):
        return 0.0
    return int(microseconds) / 1_000_000 / 2


def from_environment() -> Notifier:
    """The notifier of this process."""
    return Notifier(os.environ, os.getpid())
