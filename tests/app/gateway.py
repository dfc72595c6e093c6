"""A running gateway of `processes.py` in a temporary home, for the tests of this room."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatepost.control.protocol import call
from gatepost.store.home import Home

SCRIPT = str(Path(__file__).with_name("processes.py"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """`gatepost start` as a process; everything waits for what it names, and no longer than it must."""

    def __init__(
        self, root: Path, *, workers: int = 2, stop_seconds: float = 5.0, port: int = 0, **environ: str
    ) -> None:
        self.home = Home(root)
        self.port = port or free_port()
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, "start", str(root), str(self.port), str(workers), str(stop_seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environ},
            text=True,
        )
        self.said: list[str] = []

    def until_ready(self) -> Running:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if "is running" in line:
                return self
        raise AssertionError(f"it did not start: {self.said} {self.process.communicate()[1]}")

    def call(self, op: str, **args: Any) -> Any:
        return call(self.home.control_socket, op, args, timeout=20)

    def ask(self, kind: str, **args: Any) -> list[Any]:
        answers = self.call("ask", kind=kind, args=args)
        assert all(not answer["error"] for answer in answers), answers
        return [answer["result"] for answer in answers]

    def knock(self, port: int | None = None) -> str:
        """What a worker answers at a port: its index and its version."""
        with socket.create_connection(("127.0.0.1", port or self.port), timeout=10) as connection:
            return connection.makefile().read().strip()

    def pids(self) -> list[int]:
        status = self.call("status")
        return [worker["pid"] for worker in status["workers"]] + [status["desk"]["pid"]]

    def log(self) -> str:
        return self.home.mail_log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def until(condition: Callable[[], Any], what: str, seconds: float = 15.0) -> Any:
    """Ask until the condition holds: for state of other processes that tells nobody when it changes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        select.select([], [], [], 0.02)
    raise AssertionError(f"not in {seconds:g} s: {what}")


def watch(pid: int) -> int:
    """A descriptor that becomes readable when the process ends."""
    return os.pidfd_open(pid)


def until_ended(watches: list[int], seconds: float = 10.0) -> None:
    """Wait for the end of processes that are not our children."""
    deadline = time.monotonic() + seconds
    left = list(watches)
    while left:
        ready, _, _ = select.select(left, [], [], max(0.0, deadline - time.monotonic()))
        assert ready, "a process did not end"
        for descriptor in ready:
            left.remove(descriptor)
            os.close(descriptor)
