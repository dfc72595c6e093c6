"""Work for a peer that may go: it ends with the peer, and leaves what the peer said unread."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.net.kit import raw_pair, run, until
from tests.net.test_stream import reset

from gatepost.net.errors import StreamLost
from gatepost.net.leaving import unless_gone, unless_reset


class Work:
    """What takes until `over`."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.running = False

    async def do(self) -> str:
        self.running = True
        try:
            await self.over.wait()
        finally:
            self.running = False
        return "done"


def test_work_that_ends_first_leaves_the_stream_as_it_is() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            work = Work()
            waiting = asyncio.ensure_future(unless_gone(stream, work.do()))
            await until(lambda: work.running)
            peer.send(b"EHLO x\r\n")
            await until(lambda: stream.unread)
            stream.set_deadline(-1.0)  # time is not what ends it
            stream.expire()
            await asyncio.sleep(0)
            work.over.set()
            assert await waiting == "done"
            assert await stream.read() == b"EHLO x\r\n"

    run(main)


@pytest.mark.parametrize("manner", ["end", "reset"])
def test_who_goes_ends_the_work(manner: str) -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            work = Work()
            waiting = asyncio.ensure_future(unless_gone(stream, work.do()))
            await until(lambda: work.running)
            if manner == "reset":
                reset(peer)
            else:
                peer.shutdown(socket.SHUT_WR)
            with pytest.raises(StreamLost):
                await waiting
            assert not work.running

    run(main)


def test_who_ended_its_own_side_may_wait_for_an_answer() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, peer):
            work = Work()
            waiting = asyncio.ensure_future(unless_reset(stream, work.do()))
            peer.shutdown(socket.SHUT_WR)
            await until(lambda: stream.gone)
            await asyncio.sleep(0)
            assert work.running
            work.over.set()
            assert await waiting == "done"

    run(main)


def test_cancelled_it_leaves_neither_work_nor_watcher() -> None:
    async def main() -> None:
        async with raw_pair() as (stream, _):
            work, before = Work(), asyncio.all_tasks()
            waiting = asyncio.ensure_future(unless_reset(stream, work.do()))
            await until(lambda: work.running)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not work.running
            assert asyncio.all_tasks() == before

    run(main)
