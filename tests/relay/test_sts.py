"""Policies over time: new ids, failed fetches, ends, restarts, many who ask at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fakes.resolver import FakeResolver

from gatepost.relay.sts import FRESH, RETRY, StsAccount, StsPolicies
from gatepost.store.sts_cache import CachedPolicy, StsCache
from gatepost.wire.mta_sts import Mode, StsFault, StsPolicy

D = "partner.example"
POLICY = b"version: STSv1\nmode: enforce\nmx: mx.partner.example\nmax_age: 604800\n"
WEEK = 604_800


class HandClock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


class Web:
    """The policy server: an answer, or the reason why there is none."""

    def __init__(self) -> None:
        self.answer: bytes | str = POLICY
        self.asked = 0

    async def __call__(self, domain: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, str):
            raise StsFault(self.answer)
        return self.answer


class World:
    def __init__(self, root: Path) -> None:
        self.dns = FakeResolver()
        self.web = Web()
        self.clock = HandClock()
        self.notes: list[str] = []
        self.cache = StsCache(root / "sts")
        self.record("1")
        self.restart()

    def restart(self) -> None:
        self.policies = StsPolicies(lambda: self.dns, self.web, self.cache, self.clock, self.notes.append)

    def record(self, *ids: str) -> None:
        self.dns.texts[f"_mta-sts.{D}"] = tuple(f"v=STSv1; id={one};" for one in ids)

    async def of(self, domain: str = D) -> StsPolicy | None:
        return await self.policies.of(domain)

    async def mode(self) -> Mode | None:
        policy = await self.of()
        return policy and policy.mode


def test_a_policy_is_fetched_once_by_many_and_remembered(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        found = await asyncio.gather(*(world.of() for _ in range(20)))
        assert {policy and policy.mode for policy in found} == {Mode.ENFORCE}
        assert await world.mode() is Mode.ENFORCE
        assert world.web.asked == 1

    asyncio.run(main())


def test_without_a_record_nothing_is_fetched(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        for ids in ((), ("1", "2"), ("a b",)):
            world.record(*ids)
            assert await world.mode() is None
        assert not world.web.asked

    asyncio.run(main())


def test_a_new_id_brings_the_new_policy_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        await world.of()
        world.web.answer = POLICY.replace(b"enforce", b"testing")
        assert await world.mode() is Mode.ENFORCE
        world.record("2")
        assert await world.mode() is Mode.TESTING
        world.web.answer = b"version: STSv1\nmode: none\nmax_age: 60\n"
        world.record("3")
        assert await world.mode() is Mode.NONE
        assert world.cache.load(D) is None

    asyncio.run(main())


def test_a_policy_outlives_its_record_its_server_and_a_restart_until_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        await world.of()
        world.web.answer = "connection refused"
        for ids in ((), ("2",), ("1",)):
            world.record(*ids)
            world.restart()
            world.clock.advance(FRESH + 1)
            assert await world.mode() is Mode.ENFORCE, ids
        world.dns.failing.add(f"_mta-sts.{D}")
        assert await world.mode() is Mode.ENFORCE
        world.dns.failing.clear()
        world.clock.advance(WEEK)
        assert await world.mode() is None
        assert world.cache.load(D) is None

    asyncio.run(main())


def test_a_fetch_that_fails_is_told_and_not_repeated_for_a_while(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.web.answer = "certificate has expired"
        for _ in range(5):
            assert await world.mode() is None
        assert world.web.asked == 1
        assert world.notes == [f"MTA-STS policy of {D} could not be fetched: certificate has expired"]
        world.clock.advance(RETRY + 1)
        world.web.answer = b"<html>"
        assert await world.mode() is None
        assert world.web.asked == 2
        world.clock.advance(RETRY + 1)
        world.web.answer = POLICY
        assert await world.mode() is Mode.ENFORCE

    asyncio.run(main())


def test_a_known_policy_is_fetched_anew_daily(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        await world.of()
        world.clock.advance(FRESH - 10)
        await world.of()
        assert world.web.asked == 1
        world.clock.advance(20)
        await world.of()
        assert world.web.asked == 2

    asyncio.run(main())


def test_what_is_on_disk_is_believed_only_for_its_own_domain_and_form(tmp_path: Path) -> None:
    cache = StsCache(tmp_path)
    cache.save(D, CachedPolicy("1", 5.0, POLICY))
    assert cache.load(D) == CachedPolicy("1", 5.0, POLICY)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes().replace(b"partner", b"another"))
    assert cache.load(D) is None
    file.write_bytes(b"{")
    assert cache.load(D) is None
    cache.forget(D)
    cache.forget(D)
    assert not list(tmp_path.iterdir())


def test_the_account_tells_how_long_a_policy_counts_and_why_a_fetch_failed(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        start = world.clock.time
        assert world.policies.account(D) is None
        await world.of()
        assert world.policies.account(D) == StsAccount("1", start, start + WEEK)
        world.web.answer = "the web server answered 500"
        world.record("2")
        world.clock.advance(RETRY)
        assert await world.mode() is Mode.ENFORCE
        assert world.policies.account(D) == StsAccount(
            "1", start, start + WEEK, StsFault("the web server answered 500").reason
        )

    asyncio.run(main())


def test_the_account_of_a_policy_that_was_never_had(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.web.answer = "the web server answered 404"
        assert await world.mode() is None
        known = world.policies.account(D)
        assert known is not None
        assert (known.identifier, known.until, str(known.problem)) == (
            "1",
            0.0,
            "the web server answered 404",
        )

    asyncio.run(main())


def test_what_is_not_known_is_told_from_what_is_not_there(tmp_path: Path) -> None:
    """Without a policy: none was announced, or one is that could not be fetched, or nobody could say."""

    async def main() -> None:
        world = World(tmp_path)
        world.web.answer = "certificate has expired"
        assert await world.of() is None
        assert await world.policies.doubt(D) == (
            "its MTA-STS policy could not be fetched: certificate has expired"
        )
        assert await world.of("other.example") is None
        assert await world.policies.doubt("other.example") == ""
        world.dns.failing.add("_mta-sts.third.example")
        assert await world.of("third.example") is None
        assert "could not be looked up" in await world.policies.doubt("third.example")

    asyncio.run(main())
