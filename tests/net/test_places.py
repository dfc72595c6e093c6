"""Places: bounded, handed on, and not to be kept by who says nothing."""

from __future__ import annotations

import asyncio

import pytest
from tests.net.kit import run

from gatepost.net.places import Places


class Peer:
    """Holds a place until it is told to go."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    def expire(self) -> None:
        self.told.set()


def never() -> float:
    return asyncio.get_running_loop().time() + 60


def test_a_place_is_given_at_once_and_back() -> None:
    async def main() -> None:
        places = Places(asyncio.get_running_loop(), 1)
        first, second = Peer(), Peer()
        assert places.take_now(first)
        assert not places.take_now(second)
        places.leave(first)
        assert places.take_now(second)
        assert places.taken == 1

    run(main)


def test_who_came_last_is_served_first() -> None:
    async def main() -> None:
        places = Places(asyncio.get_running_loop(), 1)
        holder, early, late = Peer(), Peer(), Peer()
        places.take_now(holder)
        waits = [asyncio.ensure_future(places.take(peer, never())) for peer in (early, late)]
        await asyncio.sleep(0)
        places.leave(holder)
        await waits[1]
        assert not waits[0].done()
        places.leave(late)
        await waits[0]

    run(main)


def test_those_who_give_up_together_get_nothing_and_keep_nothing() -> None:
    """All waiters and the holder end in one turn of the loop, as the sessions of a worker that stops."""

    async def main() -> None:
        places = Places(asyncio.get_running_loop(), 1)
        holder, last = Peer(), Peer()
        places.take_now(holder)
        waits = [asyncio.ensure_future(places.take(Peer(), never())) for _ in range(3)]
        await asyncio.sleep(0)
        for wait in waits:
            wait.cancel()
        places.leave(holder)
        ends = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(end) for end in ends} == {asyncio.CancelledError}
        assert places.taken == 0
        assert places.take_now(last)

    run(main)


def test_a_place_goes_past_who_gave_up_to_who_still_waits() -> None:
    async def main() -> None:
        places = Places(asyncio.get_running_loop(), 1)
        holder, patient = Peer(), Peer()
        places.take_now(holder)
        waiting = asyncio.ensure_future(places.take(patient, never()))
        gone = asyncio.ensure_future(places.take(Peer(), never()))
        await asyncio.sleep(0)
        gone.cancel()
        places.leave(holder)
        await waiting
        assert places.taken == 1
        with pytest.raises(asyncio.CancelledError):
            await gone
        places.leave(patient)
        assert places.taken == 0

    run(main)


def test_who_makes_others_wait_has_a_short_time() -> None:
    """Only as many as wait have to go, the oldest first, and nobody where nobody waits."""

    async def main() -> None:
        places = Places(asyncio.get_running_loop(), 2, grace=0.01)
        silent, other, comer = Peer(), Peer(), Peer()
        places.take_now(silent)
        places.take_now(other)
        wait = asyncio.ensure_future(places.take(comer, never()))
        await silent.told.wait()
        assert not other.told.is_set()
        places.leave(silent)
        await wait
        assert places.taken == 2

    run(main)


def test_one_that_cannot_be_told_now_is_told_again() -> None:
    async def main() -> None:
        class Deaf(Peer):
            calls = 0

            def expire(self) -> None:
                self.calls += 1
                if self.calls == 2:
                    self.told.set()

        places = Places(asyncio.get_running_loop(), 1, grace=0.0)
        deaf, comer = Deaf(), Peer()
        places.take_now(deaf)
        wait = asyncio.ensure_future(places.take(comer, never()))
        await deaf.told.wait()
        places.leave(deaf)
        await wait
        assert (deaf.calls, places.taken) == (2, 1)

    run(main)


def test_waiting_ends_at_its_deadline_and_leaves_nothing() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        places = Places(loop, 1)
        holder, comer = Peer(), Peer()
        places.take_now(holder)
        with pytest.raises(TimeoutError):
            await places.take(comer, loop.time() + 0.01)
        places.leave(holder)
        assert places.taken == 0

    run(main)


def test_a_place_given_to_one_that_is_cancelled_is_not_lost() -> None:
    async def main() -> None:
        places = Places(asyncio.get_running_loop(), 1)
        holder, comer = Peer(), Peer()
        places.take_now(holder)
        wait = asyncio.ensure_future(places.take(comer, never()))
        await asyncio.sleep(0)
        places.leave(holder)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        assert places.taken == 0

    run(main)


@pytest.mark.parametrize("first", ["place", "end", "both"])
def test_a_place_for_one_that_may_go(first: str) -> None:
    async def main() -> None:
        places = Places(asyncio.get_running_loop(), 1)
        holder, comer, over = Peer(), Peer(), asyncio.Event()

        async def ending() -> None:
            await over.wait()

        places.take_now(holder)
        wait = asyncio.ensure_future(places.take_unless(comer, never(), ending()))
        for _ in range(3):
            await asyncio.sleep(0)
        if first in ("end", "both"):
            over.set()
        if first in ("place", "both"):
            places.leave(holder)
        got = await wait
        assert got is (first != "end")
        assert places.taken == 1
        places.leave(comer if got else holder)
        assert places.taken == 0

    run(main)


def test_one_that_may_go_and_is_cancelled_or_late_keeps_nothing() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        places = Places(loop, 1)
        holder, comer = Peer(), Peer()
        places.take_now(holder)
        with pytest.raises(TimeoutError):
            await places.take_unless(comer, loop.time() + 0.01, asyncio.sleep(60))
        wait = asyncio.ensure_future(places.take_unless(comer, never(), asyncio.sleep(60)))
        for _ in range(3):
            await asyncio.sleep(0)
        places.leave(holder)  # it is given in the moment in which it is cancelled
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        assert places.taken == 0

    run(main)
