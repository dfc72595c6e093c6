"""Records for dns-01 by a program of the administrator's: `PROGRAM present|withdraw NAME VALUE`.

NAME is the record's name without a trailing dot, VALUE its text. The same is in the environment: GATEPOST_ACTION, GATEPOST_RECORD,
GATEPOST_VALUE and GATEPOST_NAME (the name that is proved); of our own environment only PATH, HOME and the language go along. No shell
is involved, and names hold letters, digits, hyphens, underscores and dots only. The program runs as the gateway's user, in a process
group of its own that is killed when its time is over; what it leaves running when it ends by itself is left alone. Exit
status 0 is success; its output (both streams, at most 16 KiB kept) shows in the error with its last line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Literal

from gatepost.certs.acme.challenges import Dns01
from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.propagation import Propagation
from gatepost.wire.acme_objects import shown

SECONDS = 120.0
MAX_OUTPUT = 16 * 1024
_PIECE = 64 * 1024
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL")
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


class DnsHook:
    """Runs `program` for every record; `environment` is added to what it sees. `propagation`: None waits for nobody."""

    def __init__(
        self,
        program: str,
        *,
        environment: Mapping[str, str] | None = None,
        propagation: Propagation | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._program = program
        self._environment = dict(environment or {})
        self._propagation = propagation
        self._seconds = seconds

    async def present(self, proof: Dns01) -> None:
        """Let the program add the record, then wait until it can be seen. Raises AcmeFailed."""
        await self._run("present", proof)
        if self._propagation is not None:
            await self._propagation.visible(proof.record, proof.value)

    async def withdraw(self, proof: Dns01) -> None:
        """Let the program remove the record. Raises AcmeFailed."""
        await self._run("withdraw", proof)

    async def _run(self, action: Literal["present", "withdraw"], proof: Dns01) -> None:
        what = f"the DNS hook {shown(self._program, 200)} {action}"
        output = bytearray()
        async with _reading(output) as pipe:
            try:
                process = await asyncio.create_subprocess_exec(
                    self._program,
                    action,
                    proof.record,
                    proof.value,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=pipe,
                    stderr=pipe,
                    cwd="/",
                    env=self._seen(action, proof),
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not a program's path"
                raise AcmeFailed(f"{what} cannot be run: {reason}", permanent=True) from None
            try:
                async with asyncio.timeout(self._seconds):
                    status = await process.wait()
            except TimeoutError:
                status = None
            finally:
                await _end(process)
        if status is None:
            raise AcmeFailed(f"{what} did not end within {self._seconds:g} s{_said(output)}")
        if status != 0:
            raise AcmeFailed(f"{what} failed with status {status}{_said(output)}")

    def _seen(self, action: str, proof: Dns01) -> dict[str, str]:
        """The program's environment: secrets of the service manager's are not passed on."""
        return {
            "PATH": _DEFAULT_PATH,
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **self._environment,
            "GATEPOST_ACTION": action,
            "GATEPOST_NAME": proof.name,
            "GATEPOST_RECORD": proof.record,
            "GATEPOST_VALUE": proof.value,
        }


@contextlib.asynccontextmanager
async def _reading(output: bytearray) -> AsyncIterator[int]:
    """A pipe whose end for writing is given away; what comes out of it is in `output` afterwards, the last part of it.

    The pipe is ours, and is closed when the program has ended: something that it left running may hold the other end for ever.
    """
    ours, theirs = os.pipe()
    loop = asyncio.get_running_loop()
    os.set_blocking(ours, False)
    loop.add_reader(ours, _take, ours, output)
    try:
        yield theirs
    finally:
        loop.remove_reader(ours)
        for _ in range(MAX_OUTPUT // 1024):  # something that was left running may go on writing
            if not _take(ours, output):
                break
        os.close(ours)
        os.close(theirs)


def _take(pipe: int, output: bytearray) -> bool:
    """Read once; a program that says much must not be stopped by a full pipe. False when there is nothing more for now."""
    try:
        piece = os.read(pipe, _PIECE)
    except BlockingIOError:
        return False
    output += piece
    del output[:-MAX_OUTPUT]
    return bool(piece)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the group of a program that has not ended. One that has is not touched: its number may be another's by now."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _said(output: bytes | bytearray) -> str:
    lines = bytes(output).decode("utf-8", "replace").strip().splitlines()
    return f": {shown(lines[-1], 300)}" if lines else ""
