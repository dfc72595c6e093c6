"""How supervisor, workers and desk talk: JSON frames over a socket pair, descriptors over a second one.

A frame is four bytes of big-endian length and JSON, at most 64 MiB:

    request       {"v": 1, "id": 7, "kind": "prepare", "args": {…}}
    answer        {"v": 1, "re": 7, "result": …}   or   {"v": 1, "re": 7, "error": {…}}
    notification  {"v": 1, "kind": "broadcast", "args": {…}}

Both ends may ask. Requests are handled as they come, side by side; the handler's OperatorError is raised again
at the asker. Any other exception of a handler is a bug there: the asker gets `PeerBug` with a reference. The
peers are our own processes, so what is not a frame ends the channel. When the channel ends, whoever
waits for an answer gets `ChannelClosed`. An end that does not read is cut off when 64 MiB wait for it.

Descriptors travel over a SOCK_SEQPACKET pair (at most 200 a packet, each with a label) and are
sent *before* the message that refers to them, so that the receiver never waits for them.
"""

from __future__ import annotations

import array
import asyncio
import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from gatepost.control.protocol import (
    LENGTH,
    VERSION,
    BadFrame,
    decode_body,
    decode_length,
    encode_frame,
    error_from_json,
    error_to_json,
)
from gatepost.core.errors import OperatorError

MAX_FRAME = 64 * 1024 * 1024
MAX_RUNNING = 256  # requests of the other end handled at once
DESCRIPTORS_A_PACKET = 200  # the kernel takes 253

Handler = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
OnBug = Callable[[str, BaseException], str]


class ChannelClosed(Exception):
    """The other end is gone, or was cut off."""


class PeerBug(Exception):
    """The other end's handler failed unexpectedly; the reference stands in its log."""


class Channel:
    """One end. `handler` answers requests and takes notifications (its result is then ignored)."""

    def __init__(self, handler: Handler, on_bug: OnBug, *, limit: int = MAX_FRAME) -> None:
        self._handler = handler
        self._on_bug = on_bug
        self._limit = limit
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MAX_RUNNING)
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()

    async def open(self, end: socket.socket) -> None:
        """Take over one end of a socket pair and start reading."""
        end.setblocking(False)
        reader, self._writer = await asyncio.open_unix_connection(sock=end)
        self._reading = asyncio.get_running_loop().create_task(self._read(reader), name="channel")
        self._reading.add_done_callback(self._report)

    async def request(self, kind: str, args: Mapping[str, Any], timeout: float | None = None) -> Any:
        """Ask and wait. Raises OperatorError, PeerBug, ChannelClosed, or TimeoutError after `timeout` seconds."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send({"v": VERSION, "id": number, "kind": kind, "args": args})
            async with asyncio.timeout(timeout):
                return await answer
        finally:
            del self._waiting[number]

    def notify(self, kind: str, args: Mapping[str, Any]) -> None:
        """Tell without an answer. A channel that is closed swallows it."""
        if not self.closed.is_set():
            self._send({"v": VERSION, "kind": kind, "args": args})

    def close(self) -> None:
        """End the channel, now; the other end sees it close."""
        if self.closed.is_set():
            return
        self.closed.set()
        if self._writer is not None:
            self._writer.transport.abort()
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()
        for task in self._running:
            if task is not asyncio.current_task():
                task.cancel()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ChannelClosed("the other process is gone"))

    async def flush(self) -> None:
        """Wait until what was sent has left, or the channel is closed."""
        if self._writer is None or self.closed.is_set():
            return
        try:
            await self._writer.drain()
        except ConnectionError:
            self.close()

    def _send(self, value: Mapping[str, Any]) -> None:
        if self._writer is None or self.closed.is_set():
            raise ChannelClosed("the other process is gone")
        self._writer.write(encode_frame(value, self._limit))
        if self._writer.transport.get_write_buffer_size() > self._limit:
            self.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                length = decode_length(await reader.readexactly(LENGTH.size), self._limit)
                frame = decode_body(await reader.readexactly(length))
                if "re" in frame:
                    self._answered(frame)
                else:
                    await self._room.acquire()
                    task = asyncio.get_running_loop().create_task(self._handle(frame), name="request")
                    self._running.add(task)
                    task.add_done_callback(self._handled)
        except (asyncio.IncompleteReadError, ConnectionError, BadFrame):
            pass
        finally:
            self.close()

    def _answered(self, frame: Mapping[str, Any]) -> None:
        answer = self._waiting.get(frame["re"])
        if answer is None or answer.done():
            return  # the asker gave up
        error = frame.get("error")
        if error is None:
            answer.set_result(frame.get("result"))
        elif "reference" in error:
            answer.set_exception(PeerBug(str(error["reference"])))
        else:
            answer.set_exception(error_from_json(error))

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._room.release()
        self._report(task)

    def _report(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_bug("channel", error)

    async def _handle(self, frame: Mapping[str, Any]) -> None:
        kind = str(frame.get("kind", ""))
        reply: dict[str, Any] = {"v": VERSION, "re": frame.get("id")}
        try:
            reply["result"] = await self._handler(kind, frame.get("args") or {})
        except OperatorError as error:
            reply["error"] = error_to_json(error)
        except Exception as error:  # noqa: BLE001 - the boundary of a process: a bug must not end the channel
            reply["error"] = {"reference": self._on_bug(f"request {kind}", error)}
        if frame.get("id") is None or self.closed.is_set():
            return
        try:
            self._send(reply)
        except BadFrame:
            self._send(
                {
                    "v": VERSION,
                    "re": frame["id"],
                    "error": error_to_json(OperatorError("the answer is too long", "ask for less")),
                }
            )


def descriptor_pair() -> tuple[socket.socket, socket.socket]:
    """The pair over which descriptors travel: the sender's end and the receiver's."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send_descriptors(end: socket.socket, descriptors: Mapping[str, int]) -> None:
    """Pass open descriptors under their labels. Raises OSError when the other end is gone or does not read."""
    items = list(descriptors.items())
    for start in range(0, len(items), DESCRIPTORS_A_PACKET):
        part = items[start : start + DESCRIPTORS_A_PACKET]
        labels = orjson.dumps([label for label, _ in part])
        socket.send_fds(end, [labels], [descriptor for _, descriptor in part])


class DescriptorInbox:
    """The receiver's end: descriptors that came, by label, until they are taken."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._have: dict[str, int] = {}

    def take(self, label: str) -> int:
        """The descriptor sent under `label`; it is the caller's from now on. Raises KeyError when none came."""
        self._collect()
        return self._have.pop(label)

    def clear(self, beginning: str = "") -> None:
        """Close what came and was not taken, of the labels that begin so."""
        self._collect()
        for label in [label for label in self._have if label.startswith(beginning)]:
            os.close(self._have.pop(label))

    def close(self) -> None:
        self.clear()
        self._end.close()

    def _collect(self) -> None:
        while True:
            try:
                labels, descriptors = _receive(self._end)
            except BlockingIOError:
                return
            if not labels:
                return
            for label, descriptor in zip(orjson.loads(labels), descriptors, strict=True):
                if (old := self._have.get(label)) is not None:
                    os.close(old)
                self._have[label] = descriptor


def _receive(end: socket.socket) -> tuple[bytes, list[int]]:
    """One packet; the descriptors are closed on exec (recv_fds of the standard library lacks that flag)."""
    numbers = array.array("i")
    room = socket.CMSG_SPACE(DESCRIPTORS_A_PACKET * numbers.itemsize)
    data, ancillary, _, _ = end.recvmsg(1 << 20, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    return data, numbers.tolist()
