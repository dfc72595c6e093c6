"""What the tests of the ACME client share: a clock, a pause that moves it, a CA in memory and an account there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.fakes.acme_ca import FakeAcme, FakeChallenges, MemoryJournal

from gatepost.certs.acme.account import Account, AccountKey, register
from gatepost.certs.acme.issuing import Issued, OrderRequest, obtain
from gatepost.pki.keys import KeyKind, generate
from gatepost.wire.acme_objects import ChallengeKind

START = 1_800_000_000.0


class Scene:
    """One CA, one account, one journal; time moves only by pauses."""

    def __init__(self, *prefers: ChallengeKind, **choices: Any) -> None:
        self.time = 0.0
        self.pauses: list[float] = []
        self.challenges = FakeChallenges(*(prefers or (ChallengeKind.HTTP01,)))
        self.ca = FakeAcme(now=self.now, shown=self.challenges, **choices)
        self.journal = MemoryJournal()
        self.key = AccountKey.generate()

    def now(self) -> float:
        return START + self.time

    def monotonic(self) -> float:
        return self.time

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)

    async def account(self, **choices: Any) -> Account:
        return await register(
            self.ca, self.ca.url, self.key, self, pause=self.pause, **{"terms_agreed": True, **choices}
        )

    async def obtain(self, *names: str, account: Account | None = None, **wanted: Any) -> Issued:
        request = OrderRequest(names or ("mx.example",), wanted.pop("key", None) or new_key(), **wanted)
        return await obtain(
            request,
            account or await self.account(),
            self.ca,
            self.challenges,
            self.journal,
            self,
            pause=self.pause,
        )


def new_key() -> Any:
    return generate(KeyKind.P256)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """One test's coroutine; nothing here takes a second."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main()

    asyncio.run(bounded())
