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
import sys
from collections.abc import Mapping
from typing import Any

from gatepost.control.protocol import error_from_json, error_to_json
from gatepost.core.errors import Exit, OperatorError

CPU_SECONDS = 20
WALL_SECONDS = 60.0
MEMORY = 1 << 30
_COMMAND = (sys.executable, "-P", "-B", "-m", "gatepost.control.ops.confined")


async def read_confined(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`reading.read` in a child. Raises OperatorError, also when the child did not survive the file."""
    child = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # a traceback may quote what it read
    )
    try:
        async with asyncio.timeout(WALL_SECONDS):
            output, _ = await child.communicate(
                json.dumps({"kind": kind, "values": dict(values)}).encode("ascii")
            )
    except TimeoutError:
        output = b""
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0 or not output:
        raise OperatorError(
            "the file could not be read within the limits of time and memory",
            "is it the right file, and whole?",
        )
    answer = json.loads(output)
    if "error" in answer:
        raise error_from_json(answer["error"])
    result: dict[str, Any] = answer["result"]
    return result


def _be_confined() -> None:
    for what, limit in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (limit, limit))


def _child() -> int:
    from gatepost.control.ops.reading import read

    _be_confined()
    request = json.loads(sys.stdin.buffer.read())
    try:
        answer = {"result": read(request["kind"], request["values"])}
    except OperatorError as error:
        answer = {"error": error_to_json(error)}
    except (MemoryError, RecursionError):
        return Exit.REFUSED
    sys.stdout.buffer.write(json.dumps(answer).encode("ascii"))
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(_child())
