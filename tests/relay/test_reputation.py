"""Asking DNS lists: together, shared, remembered, within two seconds, and past a list that went away."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest
from tests.fakes.resolver import FakeResolver

from gatepost.net.dns_answer import DnsAnswer
from gatepost.policy.hat import NoScore
from gatepost.policy.reputation import Health, Said, ScoredList, ScoreRules, Standing
from gatepost.relay.reputation import SenderScores, try_list

BAD = ScoredList("bad.example", -4.0)
GOOD = ScoredList("good.example", 2.5)
RULES = ScoreRules((BAD, GOOD), asked=True)
PEER = ipaddress.ip_address("192.0.2.7")


class Lists(FakeResolver):
    """Both lists with their test points. Questions whose name holds a text of `silent` wait until it is taken away."""

    def __init__(self) -> None:
        super().__init__()
        for zone in ("bad.example", "good.example"):
            self.set_addresses(f"2.0.0.127.{zone}", "127.0.0.2")
        self.set_addresses("7.2.0.192.bad.example", "127.0.0.2")
        self.silent: set[str] = set()
        self.heard = asyncio.Event()

    async def entries(self, name: str) -> DnsAnswer[Any]:
        while any(text in name for text in self.silent):
            await self.heard.wait()
        return await super().entries(name)

    def count(self, text: str) -> int:
        return sum(1 for _, name in self.asked if text in name)


def run(test: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await test(Lists(), SenderScores(seconds=0.05))

    asyncio.run(main())


def test_lists_are_tried_once_and_the_score_is_remembered() -> None:
    async def main(dns: Lists, scores: SenderScores) -> None:
        standing = await scores.standing(dns, RULES, PEER)  # type: ignore[arg-type]
        assert standing.score == -4.0
        assert [one.said for one in standing.answers] == [Said.LISTED, Said.NOT_LISTED]
        assert dns.count("7.2.0.192") == 2
        assert scores.known(RULES, PEER) == standing
        assert scores.known(RULES, ipaddress.ip_address("::ffff:192.0.2.7")) == standing
        other = ScoreRules((BAD,), asked=True)
        assert (await scores.standing(dns, other, PEER)).score == -4.0  # type: ignore[arg-type]
        assert dns.count("127.bad.example") == 2  # the two test points, once

    run(main)


def test_simultaneous_sessions_share_a_look_up_and_one_that_ends_does_not_end_it() -> None:
    async def main(dns: Lists, scores: SenderScores) -> None:
        first = asyncio.ensure_future(scores.standing(dns, RULES, PEER))  # type: ignore[arg-type]
        second = asyncio.ensure_future(scores.standing(dns, RULES, PEER))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).score == -4.0
        assert dns.count("7.2.0.192.bad") == 1

    run(main)


def test_a_silent_list_adds_nothing_and_what_the_others_say_counts() -> None:
    async def main(dns: Lists, scores: SenderScores) -> None:
        dns.silent.add("good.example")
        standing = await scores.standing(dns, RULES, PEER)  # type: ignore[arg-type]
        assert standing.score == -4.0
        assert [one.said for one in standing.answers] == [Said.LISTED, Said.FAILED]
        assert standing.answers[1].detail == "no answer within 0.05 s"
        dns.failing.add("8.2.0.192.bad.example")
        found = await scores.standing(dns, RULES, ipaddress.ip_address("192.0.2.8"))  # type: ignore[arg-type]
        assert found.score is NoScore.NONE
        assert found.answers[0].detail == "SERVFAIL"
        await scores.close()

    run(main)


def test_a_list_that_lists_everything_is_left_out() -> None:
    async def main(dns: Lists, scores: SenderScores) -> None:
        dns.set_addresses("1.0.0.127.bad.example", "127.0.0.2")
        standing = await scores.standing(dns, RULES, PEER)  # type: ignore[arg-type]
        assert standing.score is NoScore.NONE
        assert (standing.answers[0].said, standing.answers[0].detail) == (
            Said.LEFT_OUT,
            "it lists everything",
        )
        assert dns.count("7.2.0.192.bad.example") == 0

    run(main)


def test_answers_that_do_not_count_are_told_of_once_an_hour() -> None:
    async def main(dns: Lists, scores: SenderScores) -> None:
        dns.set_addresses("7.2.0.192.bad.example", "203.0.113.80")
        standing = await scores.standing(dns, RULES, PEER)  # type: ignore[arg-type]
        assert (standing.score, standing.answers[0].said) == (NoScore.NONE, Said.IGNORED)
        assert scores.complaints(standing) == [
            "DNS list bad.example: an answer does not count: its answer 203.0.113.80 is not one of a DNS list"
        ]
        assert scores.complaints(standing) == []

    run(main)


def test_inside_addresses_are_not_asked_about() -> None:
    async def main(dns: Lists, scores: SenderScores) -> None:
        standing = scores.known(RULES, ipaddress.ip_address("127.0.0.1"))
        assert standing == Standing(NoScore.NONE, note="loopback address")
        assert dns.asked == []

    run(main)


def test_only_so_many_scores_are_remembered() -> None:
    async def main(dns: Lists, _: SenderScores) -> None:
        scores = SenderScores(limit=2)
        for last in (1, 2, 3):
            await scores.standing(dns, RULES, ipaddress.ip_address(f"192.0.2.{last}"))  # type: ignore[arg-type]
        assert scores.known(RULES, ipaddress.ip_address("192.0.2.3")) is not None
        assert scores.known(RULES, ipaddress.ip_address("192.0.2.1")) is None
        await scores.close()

    run(main)


def test_a_commit_tries_its_lists_before_anybody_comes() -> None:
    async def main(dns: Lists, scores: SenderScores) -> None:
        scores.check(dns, ScoreRules((BAD,)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert dns.asked == []
        scores.check(dns, RULES)  # type: ignore[arg-type]
        assert (await scores.standing(dns, RULES, ipaddress.ip_address("192.0.2.9"))).score is NoScore.NONE  # type: ignore[arg-type]
        assert dns.count("127.") == 4
        await scores.standing(dns, RULES, PEER)  # type: ignore[arg-type]
        assert dns.count("127.") == 4

    run(main)


@pytest.mark.parametrize("silent", [True, False])
def test_a_list_that_cannot_be_tried_is_unknown(silent: bool) -> None:
    async def main(dns: Lists, scores: SenderScores) -> None:
        if silent:
            dns.silent.add("1.0.0.127")
        else:
            dns.failing.add("1.0.0.127.bad.example")
        assert await try_list(dns, BAD, 0.05) is Health.UNKNOWN  # type: ignore[arg-type]

    run(main)
