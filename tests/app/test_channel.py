"""The channel between processes: requests both ways, faults, ends, and descriptors that travel ahead."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gatepost.app.channel import (
    Channel,
    ChannelClosed,
    DescriptorInbox,
    PeerBug,
    descriptor_pair,
    send_descriptors,
)
from gatepost.core.errors import Exit, OperatorError, Problem

Handler = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


class Bugs(list[str]):
    def __call__(self, where: str, error: BaseException) -> str:
        self.append(f"{where}: {error!r}")
        return "abc123"


async def echo(kind: str, args: Mapping[str, Any]) -> Any:
    return [kind, args]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


@asynccontextmanager
async def pair(
    handler: Handler, *, other: Handler = echo, bugs: Bugs | None = None, limit: int = 1 << 20
) -> AsyncIterator[tuple[Channel, Channel]]:
    ends = socket.socketpair()
    bugs = bugs if bugs is not None else Bugs()
    ours, theirs = Channel(other, bugs, limit=limit), Channel(handler, bugs, limit=limit)
    await ours.open(ends[0])
    await theirs.open(ends[1])
    yield ours, theirs
    ours.close()
    theirs.close()
    await asyncio.sleep(0)


def test_both_ends_ask_and_answers_find_their_asker() -> None:
    async def test() -> None:
        async with pair(echo) as (ours, theirs):
            answers = await asyncio.gather(
                *(ours.request("a", {"n": n}) for n in range(20)),
                *(theirs.request("b", {"n": n}) for n in range(20)),
            )
            assert answers == [[k, {"n": n}] for k in ("a", "b") for n in range(20)]

    run(test())


def test_an_operators_error_arrives_whole() -> None:
    error = OperatorError("no", "why not", code=Exit.TRY_AGAIN, problems=(Problem("a[0].b", "bad", "mend"),))

    async def refuse(_kind: str, _args: Mapping[str, Any]) -> Any:
        raise error

    async def test() -> None:
        async with pair(refuse) as (ours, _):
            with pytest.raises(OperatorError) as found:
                await ours.request("x", {})
            assert (found.value.message, found.value.hint, found.value.code, found.value.problems) == (
                error.message,
                error.hint,
                error.code,
                error.problems,
            )

    run(test())


def test_a_bug_at_the_other_end_is_a_reference_here_and_the_channel_goes_on() -> None:
    bugs = Bugs()

    async def fails(kind: str, _args: Mapping[str, Any]) -> Any:
        if kind == "bug":
            raise ZeroDivisionError("secret")
        return "fine"

    async def test() -> None:
        async with pair(fails, bugs=bugs) as (ours, _):
            with pytest.raises(PeerBug, match="abc123"):
                await ours.request("bug", {})
            assert await ours.request("x", {}) == "fine"

    run(test())
    assert bugs == ["request bug: ZeroDivisionError('secret')"]


def test_notifications_arrive_in_order() -> None:
    heard: list[int] = []
    enough = asyncio.Event()

    async def hear(_kind: str, args: Mapping[str, Any]) -> None:
        heard.append(args["n"])
        if len(heard) == 50:
            enough.set()

    async def test() -> None:
        async with pair(hear) as (ours, _):
            for n in range(50):
                ours.notify("x", {"n": n})
            await enough.wait()

    run(test())
    assert heard == list(range(50))


def test_who_waits_when_the_other_end_goes_is_told() -> None:
    asked = asyncio.Event()

    async def never(_kind: str, _args: Mapping[str, Any]) -> None:
        asked.set()
        await asyncio.Event().wait()

    async def test() -> None:
        async with pair(never) as (ours, theirs):
            waiting = asyncio.ensure_future(ours.request("x", {}))
            await asked.wait()
            theirs.close()
            with pytest.raises(ChannelClosed):
                await waiting
            await ours.closed.wait()
            with pytest.raises(ChannelClosed):
                await ours.request("x", {})
            ours.notify("x", {})

    run(test())


def test_a_silent_handler_costs_the_asker_its_time_only() -> None:
    async def never(kind: str, _args: Mapping[str, Any]) -> None:
        if kind == "never":
            await asyncio.Event().wait()

    async def test() -> None:
        async with pair(never) as (ours, _):
            with pytest.raises(TimeoutError):
                await ours.request("never", {}, 0.01)
            assert await ours.request("x", {}) is None

    run(test())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00\x00\x02{]",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b'\x00\x00\x00\x07{"v":2}',
        b"\x00\x00",
    ],
)
def test_garbage_ends_the_channel(garbage: bytes) -> None:
    async def test() -> None:
        end, other = socket.socketpair()
        bugs = Bugs()
        channel = Channel(echo, bugs)
        await channel.open(end)
        other.sendall(garbage)
        other.shutdown(socket.SHUT_WR)
        await channel.closed.wait()
        other.settimeout(5)
        assert await asyncio.to_thread(other.recv, 100) == b""  # hung up on, without a word
        assert bugs == []
        other.close()

    run(test())


def test_an_end_that_does_not_read_is_cut_off() -> None:
    async def test() -> None:
        end, other = socket.socketpair()
        channel = Channel(echo, Bugs(), limit=100_000)
        await channel.open(end)
        for _ in range(100):
            channel.notify("x", {"text": "y" * 50_000})
        assert channel.closed.is_set()
        other.close()

    run(test())


def test_descriptors_arrive_under_their_labels_and_are_not_inherited() -> None:
    sender, receiver = descriptor_pair()
    inbox = DescriptorInbox(receiver)
    pipes = [os.pipe() for _ in range(260)]
    send_descriptors(sender, {f"pipe {index}": pipe[0] for index, pipe in enumerate(pipes)})
    taken = inbox.take("pipe 255")
    os.write(pipes[255][1], b"x")
    assert os.read(taken, 10) == b"x"
    assert not os.get_inheritable(taken)
    with pytest.raises(KeyError):
        inbox.take("pipe 255")
    inbox.close()
    sender.close()
    for descriptor in (taken, *(end for pipe in pipes for end in pipe)):
        os.close(descriptor)
