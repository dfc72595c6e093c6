"""The control socket: who may speak, what garbage does, and what callers are told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.control_server import MAX_CONNECTIONS, ControlServer
from gatepost.control.ports import Caller
from gatepost.control.protocol import call, decode_body, encode_frame, short_address
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home


class Operations:
    def __init__(self) -> None:
        self.hung_up = asyncio.Event()
        self.began = asyncio.Event()

    async def call(self, op: str, args: Mapping[str, Any], caller: Caller) -> Any:
        if op == "bug":
            raise ZeroDivisionError("a secret detail")
        if op == "full":
            raise OSError(errno.ENOSPC, "x")
        if op == "refuse":
            raise OperatorError("no", "hint", code=Exit.TRY_AGAIN)
        if op == "large":
            return "x" * (17 * 1024 * 1024)
        if op == "slow":
            for done in (1, 2):
                caller.line.tell({"what": "steps", "done": done, "of": 2})
        if op == "endless":
            caller.line.on_hang_up(self.hung_up.set)
            self.began.set()
            await self.hung_up.wait()
        return [op, args, caller.name]


def run(
    tmp_path: Path, test: Callable[[Home], Awaitable[None]], operations: Callable[[], Operations] = Operations
) -> list[str]:
    """Run a test against an open control server; returns the bugs that were logged."""
    home = Home(tmp_path / "home")
    home.initialise({})
    bugs: list[str] = []

    def on_bug(where: str, error: BaseException) -> str:
        bugs.append(f"{where}: {error!r}")
        return "abc123"

    async def whole() -> None:
        server = ControlServer(home, operations(), on_bug)
        await server.open()
        try:
            await test(home)
        finally:
            await server.close()

    asyncio.run(asyncio.wait_for(whole(), 20))
    assert not home.control_socket.exists()
    return bugs


async def ask(home: Home, op: str, **args: Any) -> Any:
    return await asyncio.to_thread(call, home.control_socket, op, args, 10)


async def connect(home: Home) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    with short_address(home.control_socket) as address:
        return await asyncio.open_unix_connection(address)


def test_an_operation_is_answered_and_the_caller_known(tmp_path: Path) -> None:
    async def test(home: Home) -> None:
        assert await ask(home, "status", a=1) == ["status", {"a": 1}, f"local:{os.geteuid()}"]

    assert run(tmp_path, test) == []


def test_the_socket_is_private(tmp_path: Path) -> None:
    async def test(home: Home) -> None:
        assert stat.S_IMODE(home.run.stat().st_mode) == 0o700
        assert stat.S_IMODE(home.control_socket.stat().st_mode) == 0o600

    run(tmp_path, test)


def test_a_socket_left_by_a_dead_gateway_is_replaced(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.initialise({})
    with socket.socket(socket.AF_UNIX) as left_over, short_address(home.control_socket) as address:
        left_over.bind(address)

    async def test(home: Home) -> None:
        assert await ask(home, "x")

    run(tmp_path, test)


def test_a_refusal_and_a_bug_are_told_apart(tmp_path: Path) -> None:
    async def test(home: Home) -> None:
        with pytest.raises(OperatorError, match="no") as refusal:
            await ask(home, "refuse")
        assert refusal.value.code is Exit.TRY_AGAIN
        with pytest.raises(OperatorError, match="reference abc123") as bug:
            await ask(home, "bug")
        assert bug.value.code is Exit.BUG
        assert "secret" not in str(bug.value)

    assert run(tmp_path, test) == ["operation bug: ZeroDivisionError('a secret detail')"]


def test_a_full_disk_is_told_and_is_no_bug(tmp_path: Path) -> None:
    async def test(home: Home) -> None:
        with pytest.raises(OperatorError, match="no space is left on the disk") as refusal:
            await ask(home, "full")
        assert refusal.value.code is Exit.TRY_AGAIN

    assert run(tmp_path, test) == []


def test_an_answer_that_is_too_long_is_a_refusal(tmp_path: Path) -> None:
    async def test(home: Home) -> None:
        with pytest.raises(OperatorError, match="too long"):
            await ask(home, "large")

    assert run(tmp_path, test) == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x03abc",
        encode_frame({"v": 2, "op": "x"}),
        encode_frame({"v": 1, "op": 5}),
        encode_frame({"v": 1, "op": "x", "args": [1]}),
        b"\x00\x00\x00\x09{}",
        b"\x00",
    ],
)
def test_garbage_closes_its_own_connection_only(tmp_path: Path, garbage: bytes) -> None:
    async def test(home: Home) -> None:
        reader, writer = await connect(home)
        good_reader, good_writer = await connect(home)
        writer.write(garbage)
        writer.write_eof()
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        good_writer.write(encode_frame({"v": 1, "id": 5, "op": "still", "args": {}}))
        length = int.from_bytes(await good_reader.readexactly(4), "big")
        assert decode_body(await good_reader.readexactly(length))["id"] == 5
        good_writer.close()

    assert run(tmp_path, test) == []


def test_requests_of_one_connection_are_answered_in_order(tmp_path: Path) -> None:
    async def test(home: Home) -> None:
        reader, writer = await connect(home)
        for number in range(5):
            writer.write(encode_frame({"v": 1, "id": number, "op": "x", "args": {}}))
        seen = []
        for _ in range(5):
            length = int.from_bytes(await reader.readexactly(4), "big")
            seen.append(decode_body(await reader.readexactly(length))["id"])
        assert seen == [0, 1, 2, 3, 4]
        writer.close()

    run(tmp_path, test)


def test_connections_are_bounded(tmp_path: Path) -> None:
    async def test(home: Home) -> None:
        open_ones = [await connect(home) for _ in range(MAX_CONNECTIONS)]
        for reader, writer in open_ones:
            writer.write(encode_frame({"v": 1, "op": "x", "args": {}}))
            await reader.readexactly(4)
        reader, one_more = await connect(home)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        one_more.close()
        for _, writer in open_ones:
            writer.close()

    run(tmp_path, test)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_not_heard(tmp_path: Path) -> None:
    script = (
        "import os, socket, sys\n"
        "os.setegid(12345); os.seteuid(12345)\n"  # what counts is who connects
        "connection = socket.socket(socket.AF_UNIX)\n"
        "connection.connect(sys.argv[1])\n"
        "print(connection.recv(1))"
    )

    def speak(path: Path) -> str:
        return subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
        ).stdout

    async def test(home: Home) -> None:
        for parent in (home.run, home.root, *home.root.parents):
            if parent.stat().st_mode & 0o001 == 0:
                parent.chmod(0o711)
        home.control_socket.chmod(0o666)
        assert await asyncio.to_thread(speak, home.control_socket) == "b''\n"

    run(tmp_path, test)


def test_who_asks_for_it_hears_how_far_an_operation_is(tmp_path: Path) -> None:
    async def test(home: Home) -> None:
        heard: list[Mapping[str, Any]] = []
        answer = await asyncio.to_thread(call, home.control_socket, "slow", {}, 10, heard.append)
        assert answer[0] == "slow"
        assert [one["done"] for one in heard] == [1, 2]
        assert await ask(home, "slow") == answer  # and nobody else: the first frame is the answer

    assert run(tmp_path, test) == []


@pytest.mark.parametrize("waits", [True, False])
def test_an_operation_hears_that_its_caller_hung_up(tmp_path: Path, waits: bool) -> None:
    made: list[Operations] = []

    def operations() -> Operations:
        made.append(Operations())
        return made[0]

    async def test(home: Home) -> None:
        _, writer = await connect(home)
        writer.write(encode_frame({"v": 1, "id": 1, "op": "endless", "args": {}}))
        await writer.drain()
        if waits:
            await made[0].began.wait()
        writer.close()
        await made[0].hung_up.wait()

    assert run(tmp_path, test, operations) == []


def test_who_hangs_up_behind_an_answer_disturbs_nothing(tmp_path: Path) -> None:
    """What an operation of this connection asked to be called for has ended."""
    made: list[Operations] = []

    def operations() -> Operations:
        made.append(Operations())
        return made[0]

    async def test(home: Home) -> None:
        reader, writer = await connect(home)
        writer.write(encode_frame({"v": 1, "id": 1, "op": "endless", "args": {}}))
        await made[0].began.wait()
        made[0].hung_up.set()
        await reader.readexactly(4)
        made[0].hung_up.clear()
        await reader.read(1000)
        writer.write(encode_frame({"v": 1, "id": 2, "op": "status", "args": {}}))
        assert decode_body((await reader.read(1000))[4:])["id"] == 2
        writer.close()
        await ask(home, "status")
        assert not made[0].hung_up.is_set()

    assert run(tmp_path, test, operations) == []
