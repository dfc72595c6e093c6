"""`run/control.sock`: the desk's end of the control socket (`control.protocol`).

A caller is known by the kernel's word (peer credentials) and must be root or the gateway's own user; `run/` is
0700 before the socket exists. A frame that is too long, malformed or of another version ends its
connection, and nothing else. Requests of one connection are answered in order, at most 64 connections at once. An operation that asks for it
hears when its caller hangs up, and can tell how far it is.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gatepost.control.ports import Caller, Line, Operations
from gatepost.control.protocol import (
    LENGTH,
    VERSION,
    BadFrame,
    decode_body,
    decode_length,
    encode_frame,
    error_to_json,
    short_address,
)
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home
from gatepost.store.room import full_disk, no_room

MAX_CONNECTIONS = 64
FRAME_SECONDS = 60.0  # from the first byte of a frame to its last
IDLE_SECONDS = 600.0
_CREDENTIALS = struct.Struct("3i")


class ControlServer:
    """Frames in, operations, frames out."""

    def __init__(
        self, home: Home, operations: Operations, on_bug: Callable[[str, BaseException], str]
    ) -> None:
        self._home = home
        self._operations = operations
        self._on_bug = on_bug
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()
        self._closing = False

    async def open(self) -> None:
        """Listen; a socket that a dead gateway left is replaced (the home's lock says that it is dead)."""
        path = self._home.control_socket
        path.parent.chmod(0o700)
        with suppress(FileNotFoundError):
            path.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_address(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: asyncio.StreamReaderProtocol(_Heard(), self._serve), sock=listening
        )

    async def close(self) -> None:
        """Stop listening, cut what is open, and take the socket away."""
        if self._server is None:
            return
        self._closing = True
        self._server.close()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        with suppress(FileNotFoundError):
            self._home.control_socket.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        uid = _peer(writer)
        assert isinstance(reader, _Heard)
        if task is None or uid not in (0, os.geteuid()) or len(self._busy) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._busy.add(task)
        try:
            while await self._one_request(reader, writer, uid):
                continue
        except (BadFrame, asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # whatever it was, it concerns this connection only
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            self._busy.discard(task)
            writer.close()

    async def _one_request(self, reader: _Heard, writer: asyncio.StreamWriter, uid: int) -> bool:
        async with asyncio.timeout(IDLE_SECONDS):
            first = await reader.read(1)
        if not first:
            return False
        async with asyncio.timeout(FRAME_SECONDS):
            length = decode_length(first + await reader.readexactly(LENGTH.size - 1))
            frame = decode_body(await reader.readexactly(length))
        caller = Caller.local(uid, _line(reader, writer, frame))
        answer = {"v": VERSION, "id": frame.get("id"), **await self._dispatch(frame, caller)}
        reader.on_hang_up(None)
        try:
            writer.write(encode_frame(answer))
        except BadFrame:
            error = error_to_json(OperatorError("the answer is too long", "ask for less at a time"))
            writer.write(encode_frame({"v": VERSION, "id": frame.get("id"), "error": error}))
        async with asyncio.timeout(FRAME_SECONDS):
            await writer.drain()
        return True

    async def _dispatch(self, frame: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        op, args = frame.get("op"), frame.get("args", {})
        if not isinstance(op, str) or not isinstance(args, dict):
            raise BadFrame("a request has an operation and arguments")
        try:
            return {"result": await self._operations.call(op, args, caller)}
        except OperatorError as error:
            return {"error": error_to_json(error)}
        except Exception as error:  # noqa: BLE001 - the boundary of the control socket: the desk goes on
            if no_room(error):
                return {"error": error_to_json(full_disk())}
            reference = self._on_bug(f"operation {op}", error)
            return {"error": error_to_json(internal_error(reference))}


class _Heard(asyncio.StreamReader):
    """Tells one who wants to know that the other end is gone, also while nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self._gone = False
        self._hang_up: Callable[[], None] | None = None

    def on_hang_up(self, hang_up: Callable[[], None] | None) -> None:
        if self._gone and hang_up is not None:
            hang_up()
        else:
            self._hang_up = hang_up

    def feed_eof(self) -> None:
        super().feed_eof()
        self._ended()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self._ended()

    def _ended(self) -> None:
        self._gone = True
        hang_up, self._hang_up = self._hang_up, None
        if hang_up is not None:
            hang_up()


def _line(reader: _Heard, writer: asyncio.StreamWriter, frame: Mapping[str, Any]) -> Line:
    """The asking end: it hears how far it is where it asked for that, and may hang up."""

    def tell(progress: Mapping[str, Any]) -> None:
        if not writer.is_closing():
            writer.write(encode_frame({"v": VERSION, "id": frame.get("id"), "progress": progress}))

    if frame.get("progress") is True:
        return Line(tell, reader.on_hang_up)
    return Line(on_hang_up=reader.on_hang_up)


def internal_error(reference: str) -> OperatorError:
    """What a caller is told of a bug: nothing but where to look."""
    return OperatorError(
        f"internal error, reference {reference}", "the gateway's log holds the details", code=Exit.BUG
    )


def _peer(writer: asyncio.StreamWriter) -> int:
    """The user at the other end, as the kernel knows it (unix(7), SO_PEERCRED)."""
    connection = writer.get_extra_info("socket")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return int(uid)
