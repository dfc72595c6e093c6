"""A rehearsal of many records in a process of its own, so that the desk's loop never waits for it.

The child gets its task (`replaying.Task`) as one line of JSON on its standard input and answers with lines on its standard output:

    {"told": {"what": "outgoing", "done": 500, "of": 20000}}     how far it is, some times a second
    {"asked": ["partner.example"]}                               then it waits for a line with what a worker found
    {"result": {…}}   or   {"error": {…}}                        the end

It runs with the lowest priority and a limit of memory, and is killed when it takes too long, when nobody waits for its answer any more, and when the
desk stops. Its standard input ends with the desk, however that ends, and then it ends too. A bug in it is a bug of the desk: the
traceback goes into the log under a reference.

Run as a module, this file is that child.
"""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import resource
import signal
import sys
import threading
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from gatepost.control.ops.replaying import Replaying, Task
from gatepost.control.ports import Line
from gatepost.control.protocol import MAX_FRAME, error_from_json, error_to_json
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.database import NewerForm
from gatepost.store.records import RecordsFailed

DEADLINE = 900.0
MEMORY = 2 << 30
NICE = 19
_STEP = 0.25  # seconds between two words of how far it is
_NO_MEMORY = 100  # exit status of the child
_TRACEBACK = 16_384
_COMMAND = (sys.executable, "-P", "-B", "-m", "gatepost.control.ops.replay_child")
_FEWER = "--days N looks back fewer days"

Ask = Callable[[Sequence[str]], Awaitable[Mapping[str, Any]]]
"""Looks up what DNS says today of these domains (`app.explaining`)."""


class ReplayBroke(Exception):
    """The child had a bug; the text is its traceback."""


def unreadable(error: Exception) -> OperatorError:
    """What is said where the records cannot be read."""
    return OperatorError(
        f"records.db cannot be read: {error}", "the log says since when; mail is not affected"
    )


# --- in the desk -----------------------------------------------------------------------------------


async def replay_in_child(task: Task, ask: Ask, line: Line, *, offline: bool) -> dict[str, Any]:
    """The account of a rehearsal. Raises OperatorError, and ReplayBroke for our bug."""
    child = await asyncio.create_subprocess_exec(
        *_COMMAND, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=MAX_FRAME
    )
    gone: list[bool] = []
    try:
        async with asyncio.timeout(DEADLINE) as limit:

            def hang_up() -> None:
                gone.append(True)
                limit.reschedule(0)

            line.on_hang_up(hang_up)
            return await _talk(child, {**task, "offline": offline}, ask, line)
    except TimeoutError:
        if gone:
            raise OperatorError("nobody waits for the rehearsal any more") from None
        raise OperatorError(
            f"the rehearsal took longer than {DEADLINE / 60:g} minutes and was given up",
            _FEWER,
            code=Exit.TRY_AGAIN,
        ) from None
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def _talk(child: Process, task: Task, ask: Ask, line: Line) -> dict[str, Any]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(orjson.dumps(task) + b"\n")
    async for said in child.stdout:
        match orjson.loads(said):
            case {"told": told}:
                line.tell(told)
            case {"asked": domains}:
                child.stdin.write(orjson.dumps(await ask(domains)) + b"\n")
            case {"error": error}:
                raise error_from_json(error)
            case {"result": result}:
                return dict(result)
    raise await _why(child)


async def _why(child: Process) -> Exception:
    """It ended without an answer."""
    assert child.stderr is not None
    told = (await child.stderr.read(_TRACEBACK)).decode(errors="replace")
    status = await child.wait()
    if status == _NO_MEMORY:
        return OperatorError(
            f"the records of these days need more than {MEMORY >> 20:,} MB of memory to be rehearsed", _FEWER
        )
    if status < 0:
        text = f"the rehearsal was ended by {signal.Signals(-status).name}"
        return OperatorError(text, f"try again; {_FEWER}", code=Exit.TRY_AGAIN)
    return ReplayBroke(f"exit status {status}\n{told}")


# --- the child -------------------------------------------------------------------------------------


def _child() -> int:
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()  # a replay makes no cycles, and a full collection over all records takes seconds
    given: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(given,), daemon=True).start()
    try:
        _say(_answer(given))
    except MemoryError:
        return _NO_MEMORY
    return Exit.DONE


def _answer(given: queue.SimpleQueue[Any]) -> dict[str, Any]:
    task = given.get()
    try:
        with Replaying(task, _Slowly()) as replaying:
            asked = [] if task["offline"] else replaying.wanting()
            if asked:
                _say({"asked": asked})
            return {"result": replaying.account(given.get() if asked else {})}
    except (RecordsFailed, NewerForm) as error:
        return {"error": error_to_json(unreadable(error))}


def _hear(given: queue.SimpleQueue[Any]) -> None:
    """What the desk says; it is gone when that ends."""
    # A reader of its own: at the end of the interpreter nobody waits for this thread to let go of it.
    with open(sys.stdin.fileno(), "rb", closefd=False) as desk:
        for said in desk:
            given.put(orjson.loads(said))
    os._exit(Exit.TRY_AGAIN)


class _Slowly:
    """Tells how far it is, not more often than somebody could read."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self._told >= _STEP:
            self._told = now
            _say({"told": {"what": what, "done": done, "of": of}})


def _say(value: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(_child())
