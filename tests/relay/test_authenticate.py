"""The threads that compare pass-phrases: few at a time, with a bounded queue, behind the mail."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from gatepost.policy.auth import SmtpUsers
from gatepost.relay.authenticate import BEHIND, Busy, Checks, LocalUsers
from gatepost.wire.scram import ScramVerifier


class Watching(ScramVerifier):
    """A verifier that says on which thread it was asked, and with which priority."""

    seen: list[tuple[int, int]] = []  # noqa: RUF012 - of one test

    def accepts(self, passphrase: str) -> bool:
        self.seen.append(
            (threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        )
        return super().accepts(passphrase)


def test_they_run_beside_the_loop_and_step_back() -> None:
    async def main() -> None:
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        checks = Checks()
        verifier = Watching(4096, b"salt", bytes(32), bytes(32))
        async with checks.turn():
            assert not await checks.compare(verifier, "guess")
        checks.close()
        ((thread, priority),) = verifier.seen
        assert thread != threading.get_native_id()
        assert priority >= BEHIND
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own, "the loop keeps its own"

    asyncio.run(main())


def test_more_than_its_room_is_refused_at_once() -> None:
    async def main() -> None:
        checks = Checks(parallel=1, waiting=1)
        inside = asyncio.Event()
        leave = asyncio.Event()

        async def stay() -> None:
            async with checks.turn():
                inside.set()
                await leave.wait()

        first, second = asyncio.ensure_future(stay()), asyncio.ensure_future(stay())
        await inside.wait()
        with pytest.raises(Busy):
            async with checks.turn():
                pass
        leave.set()
        await asyncio.gather(first, second)
        async with checks.turn():
            pass

    asyncio.run(main())


def test_a_user_that_there_is_not_costs_what_others_cost() -> None:
    async def main() -> None:
        asked: list[int] = []

        class Counting(Checks):
            async def compare(self, verifier: ScramVerifier, passphrase: str) -> bool:
                asked.append(verifier.iterations)
                return await super().compare(verifier, passphrase)

        checks = Counting()
        users = LocalUsers(SmtpUsers({"mary": ScramVerifier.derive("secret words", b"salt")}, b"x"), checks)
        assert await users.accepts("mary", "secret words")
        assert not await users.accepts("mary", "guess")
        assert not await users.accepts("jane", "guess")
        assert asked[0] == asked[1] == asked[2]
        assert (users.knows("mary"), users.knows("jane")) == (True, False)
        assert len(users.scram("jane").salt) == len(ScramVerifier.nobody(b"x", "tom").salt)
        checks.close()

    asyncio.run(main())
