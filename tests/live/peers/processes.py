"""Programs as the tests run them: output followed line by line, always ended, nothing waited for by sleeping."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

PROJECT = Path(__file__).parents[3]
PATIENCE = 30.0


def need(program: str, package: str) -> str:
    """The full path of a program, or a failed test that says what to install."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{program} is missing: run scripts/test-packages as root, or install Debian's {package}")
    return found


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        pytest.fail(f"{what} must be started by root: run the live tests as root")


class Lines:
    """What a stream or file says, line by line, with waiting for a line that matches.

    Lines are kept. `wait_for` looks at all of them from `mark` on, so a line that came before the call counts.
    """

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self.name = name
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._over = False
        self._stream = stream
        self._reader = threading.Thread(target=self._read, name=f"lines of {name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stream:
            with self._changed:
                self._lines.append(line.decode(errors="backslashreplace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def all(self) -> list[str]:
        with self._changed:
            return list(self._lines)

    def mark(self) -> int:
        """A place to wait from: lines said so far are behind it."""
        with self._changed:
            return len(self._lines)

    def matching(self, pattern: str, start: int = 0) -> list[re.Match[str]]:
        return [found for line in self.all[start:] if (found := re.search(pattern, line))]

    def wait_for(
        self, pattern: str, *, count: int = 1, start: int = 0, timeout: float = PATIENCE
    ) -> re.Match[str]:
        """The match of the `count`-th line that the pattern is found in; fails the test after `timeout`."""
        limit = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [m for line in self._lines[start:] if (m := re.search(pattern, line))]
                if len(found) >= count:
                    return found[count - 1]
                left = limit - time.monotonic()
                if self._over or left <= 0:
                    break
                self._changed.wait(left)
            said = "\n  ".join(self._lines[-60:])
        why = "it ended" if self._over else f"{timeout:.0f} s passed"
        pytest.fail(
            f"{self.name}: {len(found)} of {count} lines like {pattern!r} ({why}); the last lines:\n  {said}"
        )

    def close(self) -> None:
        self._reader.join(5)
        self._stream.close()


class Program:
    """A running program in a process group of its own. Use as a context, or call `stop`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        name: str = "",
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name or Path(command[0]).name
        self._process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            cwd=folder,
        )
        assert self._process.stdout is not None
        self.output = Lines(self.name, self._process.stdout)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit status; fails the test when it does not end in time."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(
                f"{self.name} did not end within {timeout:.0f} s:\n  " + "\n  ".join(self.output.all[-40:])
            )

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM, and what is left of its group is killed; the exit status."""
        self.signal(signal.SIGTERM)
        status = self.wait(timeout)
        self.kill()
        return status

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.output.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.stop()
        else:
            self.kill()


class FileLines:
    """Follows a log file that may not exist yet and may be rotated (`tail -F`, woken by the kernel)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tail = Program(
            [need("tail", "coreutils"), "-q", "-n", "+1", "-F", path], name=f"tail of {path.name}"
        )
        self.lines = self._tail.output

    def close(self) -> None:
        self._tail.kill()


def run(
    command: Sequence[str | Path],
    *,
    text: bytes = b"",
    environment: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[bytes]:
    """Runs a program to its end with `text` on its standard input."""
    return subprocess.run(
        [str(word) for word in command],
        input=text,
        capture_output=True,
        env={**os.environ, **(environment or {})},
        timeout=timeout,
        check=False,
    )
