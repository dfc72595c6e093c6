"""The control socket: who may speak, what garbage does, and what callers are told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gatepost.app.desk import MAX_CONNECTIONS, ControlServer, RemoteGateway
from gatepost.control.ports import Caller
from gatepost.control.protocol import call, decode_body, encode_frame, short_address
from gatepost.core.errors import Exit, OperatorError
from gatepost.store.home import Home


class Operations:
    async def call(self, op: str, args: Mapping[str, Any], caller: Caller) -> Any:
        if op == "bug":
            raise ZeroDivisionError("a secret detail")
        if op == "full":
            raise OSError(errno.ENOSPC, "x")
        if op == "refuse":
            raise OperatorError("no", "hint", code=Exit.TRY_AGAIN)
        if op == "large":
            return "x" * (17 * 1024 * 1024)
        return [op, args, caller.name]


def run(tmp_path: Path, test: Callable[[Home], Awaitable[None]]) -> list[str]:
    """Run a test against an open control server; returns the bugs that were logged."""
    home = Home(tmp_path / "home")
    home.initialise({})
    bugs: list[str] = []

    def on_bug(where: str, error: BaseException) -> str:
        bugs.append(f"{where}: {error!r}")
        return "abc123"

    async def whole() -> None:
        server = ControlServer(home, Operations(), on_bug)
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


class Recorder:
    """A channel that remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def request(self, kind: str, _args: Mapping[str, Any], _timeout: float | None = None) -> Any:
        self.asked.append(kind)
        if kind == "refuse":
            raise OperatorError("no")
        return None


async def no_job(name: str) -> None:
    raise AssertionError(name)


class Web:
    """The public port, which builds before anything is asked and shows it behind the switch."""

    def __init__(self, recorder: Recorder, refuses: bool) -> None:
        self._recorder = recorder
        self._refuses = refuses

    async def prepare(self, payload: Mapping[str, Any]) -> int:
        if self._refuses:
            raise OperatorError("no such key")
        return int(payload["version"])

    async def take_up(self, shown: int) -> None:
        self._recorder.asked.append(f"show {shown}")


def activate(store: Callable[[], None], *, refuses: bool = False) -> list[str]:
    recorder = Recorder()
    gateway = RemoteGateway(
        recorder,  # type: ignore[arg-type]
        lambda _event: None,
        lambda: None,
        no_job,
        Web(recorder, refuses),  # type: ignore[arg-type]
    )

    def go() -> Coroutine[Any, Any, None]:
        return gateway.activate({"version": 2}, store)

    with suppress(OperatorError):
        asyncio.run(go())
    return recorder.asked


def test_a_version_is_stored_between_preparation_and_switch() -> None:
    order: list[str] = []
    assert activate(lambda: order.append("stored")) == ["prepare", "switch", "show 2"]
    assert order == ["stored"]


def test_what_cannot_be_stored_is_abandoned() -> None:
    def fails() -> None:
        raise OperatorError("the disk is full")

    assert activate(fails) == ["prepare", "abandon"]


def test_what_the_public_port_cannot_show_is_not_activated() -> None:
    def never() -> None:
        raise AssertionError("stored")

    assert activate(never, refuses=True) == []
