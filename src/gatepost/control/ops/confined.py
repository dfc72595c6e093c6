"""Reading a hostile file in a short-lived child with limits of time and memory (architecture 8, Hostile files).

The desk lives on whatever a file does to its reader: a key derivation of hours, nesting, a fault of a parser. The child gets one
JSON value on its standard input and answers with one on its standard output (the standard library's JSON: unlike
the faster one it carries whatever a hostile YAML text can hold, half characters and infinities); it has no descriptors of ours, may open no
large files, and is killed when it takes too long.

Run as a module, this file is that child.
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Any

from gatepost.control.protocol import error_from_json, error_to_json
from gatepost.core.errors import Exit, OperatorError

CPU_SECONDS = 20
WALL_SECONDS = 60.0
MEMORY = 1 << 30
MAX_INPUT = 16 * 1024 * 1024
"""Octets of all that is given to one reading: as much as one request on the control socket can bring."""

_NO_MEMORY, _TOO_DEEP = 100, 101  # exit statuses of the child
_COMMAND = (sys.executable, "-P", "-B", "-m", "gatepost.control.ops.confined")


async def read_confined(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`reading.read` in a child. Raises OperatorError, also when the child did not survive the file, and says why."""
    given = sum(len(value) for value in values.values() if isinstance(value, str))
    if given > MAX_INPUT:
        raise OperatorError(
            f"the file has {given / 2**20:,.0f} MB; at most {MAX_INPUT >> 20} MB are read",
            "is it the right file?",
        )
    child = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # a traceback may quote what it read
    )
    late = False
    try:
        async with asyncio.timeout(WALL_SECONDS):
            output, _ = await child.communicate(
                json.dumps({"kind": kind, "values": dict(values)}).encode("ascii")
            )
    except TimeoutError:
        late = True
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if late or child.returncode != 0 or not output:
        raise OperatorError(_why(child.returncode, late), "is it the right file, and whole?")
    answer = json.loads(output)
    if "error" in answer:
        raise error_from_json(answer["error"])
    result: dict[str, Any] = answer["result"]
    return result


def _why(status: int | None, late: bool) -> str:
    """What the file did to its reader."""
    if late:
        return f"reading the file took longer than {WALL_SECONDS:.0f} s and was given up"
    match status:
        case _ if status == -signal.SIGXCPU:
            return f"reading the file took more than {CPU_SECONDS} s of processor time and was given up"
        case _ if status == _NO_MEMORY:
            return f"reading the file took more than {MEMORY >> 20} MB of memory and was given up"
        case _ if status == _TOO_DEEP:
            return "the file is nested more deeply than any real one"
        case _ if status is not None and status < 0:
            return f"the file made its reader break off ({signal.Signals(-status).name})"
        case _:
            return "the file made its reader break off"


def _be_confined() -> None:
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    # One second between the two: the first says why it ends, the second ends it in any case.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))


def _child() -> int:
    from gatepost.control.ops.reading import read

    _be_confined()
    try:
        request = json.loads(sys.stdin.buffer.read())
        try:
            answer = {"result": read(request["kind"], request["values"])}
        except OperatorError as error:
            answer = {"error": error_to_json(error)}
        sys.stdout.buffer.write(json.dumps(answer).encode("ascii"))
    except MemoryError:
        return _NO_MEMORY
    except RecursionError:
        return _TOO_DEEP
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(_child())
