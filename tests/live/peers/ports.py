"""Free ports below the range from which the kernel takes the local ports of outgoing connections."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator

import pytest

FIRST = 12_000
LAST = 32_000
PER_PROCESS = 1_000


class Ports:
    """Hands out ports; each pytest-xdist process has its own thousand, and begins at another place each run."""

    def __init__(self) -> None:
        digits = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        base = FIRST + int(digits) * PER_PROCESS % (LAST - FIRST)
        shift = os.getpid() % PER_PROCESS
        self._candidates: Iterator[int] = itertools.chain(
            range(base + shift, base + PER_PROCESS), range(base, base + shift)
        )

    def free(self, address: str = "127.0.0.1") -> int:
        """A port on which nothing listens, not handed out before."""
        for port in self._candidates:
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError:
                    continue
                return port
        pytest.fail("no free port is left for this test process")
