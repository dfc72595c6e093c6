"""`gatepost start` as a child process of the show, or of the zoo.

It has a session of its own, so that Ctrl-C reaches the show alone, which then stops it in good order. Run as
`python -m gatepost.app.show.gateway PARENT HOME [OPTION...]` it is the child: it asks the kernel to end it with its parent, so
that no gateway is left behind whatever happens to the show, and is `gatepost start` from then on. Another program is tied to its parent
in the same way by `under_parent`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from gatepost.app.start import STOP_SECONDS
from gatepost.core.errors import Exit, OperatorError

READY = "Gatepost is running"
LONGEST_LINE = 64 * 1024
RUN = "--run"
GRACE = 5.0  # seconds behind the gateway's own stop time


class GatewayProcess:
    """The gateway on `home`, from `start` to `stop`. `said` are the lines it wrote before it was ready."""

    def __init__(self, home: Path, options: Sequence[str] = ()) -> None:
        self._home = home
        self._options = options
        self._process: Process | None = None
        self.said: list[str] = []

    async def start(self) -> None:
        """Start it and wait until it is up. Raises OperatorError with its own words when it ends before that."""
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", __name__, str(os.getpid()), str(self._home), *self._options,
            stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True, limit=LONGEST_LINE,
        )  # fmt: skip
        assert process.stdout is not None
        while line := await process.stdout.readline():
            text = line.decode("utf-8", "replace").rstrip()
            if text.startswith(READY):
                return
            self.said.append(text)
        raise await self._last_words(process)

    async def ended(self, tell: Callable[[str], None]) -> OperatorError:
        """Wait for an end that nobody asked for; returns what is to be said of it. What it writes meanwhile is told."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.TaskGroup() as group:
            for stream in (process.stdout, process.stderr):
                group.create_task(_relay(stream, tell))
        return await self._last_words(process)

    async def _last_words(self, process: Process) -> OperatorError:
        assert process.stderr is not None
        words = (await process.stderr.read(LONGEST_LINE)).decode("utf-8", "replace").split("\n")
        status = await process.wait()
        text = " ".join(line.removeprefix("gatepost: ") for line in words if line)
        try:
            code = Exit(status) if status else Exit.REFUSED
        except ValueError:
            code = Exit.REFUSED
        return OperatorError(text or f"the gateway ended by itself (status {status})", code=code)

    def hurry(self) -> None:
        """Ask it to stop; the second time at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    async def stop(self) -> None:
        """Stop it in good order; whatever is left after its stop time is killed, with all its children."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.hurry()
        try:
            async with asyncio.timeout(STOP_SECONDS + GRACE):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _relay(stream: asyncio.StreamReader, tell: Callable[[str], None]) -> None:
    """Tell every line of the stream until it ends; an endless one is passed over."""
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than the buffer, which is empty now
        if not line:
            return
        tell(line.decode("utf-8", "replace").rstrip())


def under_parent(command: Sequence[str]) -> tuple[str, ...]:
    """A command line that runs `command`, which the kernel ends with this process."""
    return (sys.executable, "-P", "-m", __name__, str(os.getpid()), RUN, *command)


def _be_gateway() -> None:
    """The child: bound to its parent's life, else exactly `gatepost start --home HOME`, or the command behind `--run`."""
    from gatepost.app.hardening import die_with_parent

    die_with_parent(int(sys.argv[1]))
    if sys.argv[2] == RUN:
        os.execv(sys.argv[3], sys.argv[3:])
    from gatepost.app.main import main

    sys.argv = ["gatepost", "start", "--home", *sys.argv[2:]]
    main()


if __name__ == "__main__":
    _be_gateway()
