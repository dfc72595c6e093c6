"""The command line in this process, and a desk of values for it to talk to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import click
import typer
from click.testing import CliRunner
from tests.control.kit import Bench

from gatepost.app.control_server import ControlServer
from gatepost.control.ops.door import Door, read_here
from gatepost.control.shell import make_app
from gatepost.core.errors import OperatorError
from gatepost.store.secrets import LocalKeeper


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


@cache
def command() -> click.Command:
    """The tree of commands; it keeps nothing of a call, so one is enough."""
    return typer.main.get_command(make_app())


def gatepost(*arguments: str, stdin: bytes = b"") -> Said:
    """Run a command as `app.main` does: the operator's error gives the exit code, its problems and sentence go to stderr."""
    result = CliRunner().invoke(command(), list(arguments), input=stdin, prog_name="gatepost")
    error = result.exception
    if isinstance(error, OperatorError):
        lines = [*(p.line() for p in error.problems), f"{error.message} ({error.hint})"]
        return Said(int(error.code), result.stdout, result.stderr + "\n".join(lines))
    if error is not None and not isinstance(error, (SystemExit, typer.Exit)):
        raise error
    return Said(result.exit_code, result.stdout, result.stderr)


@contextmanager
def desk(bench: Bench) -> Iterator[Bench]:
    """Serve the bench's operations on the home's control socket, with a gateway of values behind them."""
    gateway = bench.start()
    keeper = LocalKeeper(bench.key)
    bugs: list[str] = []
    loop = asyncio.new_event_loop()
    ready, done = threading.Event(), asyncio.Event()

    def on_bug(where: str, error: BaseException) -> str:
        bugs.append(f"{where}: {error!r}")
        return "bug"

    async def serve() -> None:
        door = Door(bench.home, bench.store, keeper, gateway, bench.clock, read=read_here)
        server = ControlServer(bench.home, door, on_bug)
        await server.open()
        ready.set()
        await done.wait()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield bench
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert not bugs
