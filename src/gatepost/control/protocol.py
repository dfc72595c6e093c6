"""The control socket's language, shared by the desk and the command line, with a plain client.

A frame is four bytes of big-endian length and that many bytes of JSON (UTF-8), at most 16 MiB:

    request   {"v": 1, "id": 1, "op": "config.apply", "args": {…}}
    answer    {"v": 1, "id": 1, "result": …}
    refusal   {"v": 1, "id": 1, "error": {"message": "…", "hint": "…", "code": 1, "problems": […]}}

Requests of one connection are answered in order. Before the answer to a request with `"progress": true` there may come frames
`{"v": 1, "id": 1, "progress": {…}}` that say how far it is. Whoever closes the connection gives up what can be given up. A frame that is too long, no JSON, or of another version
ends the connection, nothing else. Refusals become `OperatorError` again on the other side.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from gatepost.core.errors import Exit, OperatorError, Problem

VERSION = 1
MAX_FRAME = 16 * 1024 * 1024
LENGTH = struct.Struct(">I")


class BadFrame(Exception):
    """What came is not a frame of this protocol; the connection is of no more use."""


def encode_frame(value: Mapping[str, Any], limit: int = MAX_FRAME) -> bytes:
    """One frame. Raises BadFrame when the value is larger than a frame may be."""
    body = orjson.dumps(value)
    if len(body) > limit:
        raise BadFrame(f"{len(body)} bytes are more than a frame may have")
    return LENGTH.pack(len(body)) + body


def decode_length(head: bytes, limit: int = MAX_FRAME) -> int:
    """The length that the four first bytes announce. Raises BadFrame when it is over the limit."""
    (length,) = LENGTH.unpack(head)
    if not 0 < length <= limit:
        raise BadFrame(f"a frame of {length} bytes")
    return int(length)


def decode_body(body: bytes) -> dict[str, Any]:
    """The value of a frame. Raises BadFrame unless it is an object of our version."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadFrame("not JSON") from None
    if not isinstance(value, dict) or value.get("v") != VERSION:
        raise BadFrame(f"not a frame of version {VERSION}")
    return value


def error_to_json(error: OperatorError) -> dict[str, Any]:
    """An operator's error as it crosses a process."""
    return {
        "message": error.message,
        "hint": error.hint,
        "code": int(error.code),
        "problems": [
            {"path": p.path, "text": p.text, "hint": p.hint, "warning": p.warning} for p in error.problems
        ],
    }


def error_from_json(value: Mapping[str, Any]) -> OperatorError:
    """The way back. An unknown exit code (a newer gateway's) is a plain refusal."""
    try:
        code = Exit(value.get("code", Exit.REFUSED))
    except ValueError:
        code = Exit.REFUSED
    problems = tuple(
        Problem(str(p["path"]), str(p["text"]), str(p.get("hint", "")), bool(p.get("warning", False)))
        for p in value.get("problems", ())
    )
    return OperatorError(
        str(value.get("message", "refused")), str(value.get("hint", "")), code=code, problems=problems
    )


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """An address for `path` that fits into the 107 bytes of a Unix socket's address, however deep the home lies."""
    text = str(path)
    if len(os.fsencode(text)) <= 107:
        yield text
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


Told = Callable[[Mapping[str, Any]], None]
"""Is told how far an operation is."""


def call(
    path: Path, op: str, args: Mapping[str, Any], timeout: float = 300.0, told: Told | None = None
) -> Any:
    """Ask the running gateway for one operation and return its result; `told` hears how far it is.

    Raises OperatorError: what the gateway refused; exit 69 when no gateway runs on this home; exit 75
    when it ended, or said nothing for `timeout` seconds.
    """
    frame = _request(op, args, progress=told is not None)
    with _connect(path, timeout) as connection:
        try:
            connection.sendall(frame)
            while "progress" in (answer := _answer(connection)):
                if told is not None:
                    told(answer["progress"])
        except BadFrame as error:
            raise OperatorError(
                f"the gateway and this command do not understand each other: {error}",
                "both must be of one version; restart the gateway after an update",
            ) from None
        except TimeoutError:
            raise OperatorError(
                f"the gateway did not answer within {timeout:g} s", "try again", code=Exit.TRY_AGAIN
            ) from None
        except (ConnectionError, EOFError):
            raise OperatorError(
                "the gateway closed the connection before it answered",
                "try again; its log says whether it was stopped",
                code=Exit.TRY_AGAIN,
            ) from None
    if "error" in answer:
        raise error_from_json(answer["error"])
    return answer.get("result")


def _answer(connection: socket.socket) -> dict[str, Any]:
    return decode_body(_receive(connection, decode_length(_receive(connection, LENGTH.size))))


def _request(op: str, args: Mapping[str, Any], *, progress: bool = False) -> bytes:
    asks = {"progress": True} if progress else {}
    try:
        return encode_frame({"v": VERSION, "id": 1, "op": op, "args": args, **asks})
    except BadFrame:
        raise OperatorError(
            f"what was given is too long: the gateway takes {MAX_FRAME >> 20} MB at once, files in base64",
            "are these the right files? A certificate with its chain and key has some KB",
        ) from None


def _connect(path: Path, timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        with short_address(path) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        raise OperatorError(
            "the gateway is not running on this home",
            "start it with `gatepost start`, or name its home with --home",
            code=Exit.NOT_RUNNING,
        ) from None
    except PermissionError:
        connection.close()
        raise OperatorError(
            "the control socket may be used by root and by the gateway's own user only",
            "run the command as one of them",
        ) from None
    return connection


def _receive(connection: socket.socket, count: int) -> bytes:
    pieces = []
    while count:
        piece = connection.recv(min(count, 1 << 20))
        if not piece:
            raise EOFError
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
