"""Looking up the keys of signatures: a real resolver and a name server, limits of number and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.config.load import load_plain
from gatepost.control.tls_report_keys import KeyLookUps, open_keys
from gatepost.net.dns_answer import DnsAnswer, DnsStatus
from gatepost.wire.dkim_verify import MAX_SIGNATURES, KeyAnswer


class Slow:
    """A resolver whose answers take a while of the loop's time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked: list[str] = []

    async def txt(self, name: str) -> DnsAnswer[str]:
        self.asked.append(name)
        await asyncio.sleep(self.seconds)
        return DnsAnswer(DnsStatus.FOUND, (name,))


def test_what_the_dns_holds_does_not_hold_or_does_not_say() -> None:
    async def main(server: DnsAuthority) -> Mapping[str, KeyAnswer]:
        document = load_plain({"dns": {"servers": [f"127.0.0.1:{server.port}"]}})
        async with open_keys(document) as keys:
            return await keys.ask(("a.example", "b.example", "c.example", "", "a.example"))

    with DnsAuthority({"a.example": {"TXT": ['"one" "two"']}}) as server:
        server.behave("c.example", Behaviour.SERVFAIL)
        found = asyncio.run(main(server))
        assert server.questions("a.example", "TXT") == 1
    assert found["a.example"] == KeyAnswer(("onetwo",))
    assert found["b.example"] == KeyAnswer()
    assert found["c.example"].unknown != ""
    assert set(found) == {"a.example", "b.example", "c.example"}


def test_no_more_names_are_asked_for_than_a_message_has_signatures() -> None:
    slow = Slow(0)
    found = asyncio.run(KeyLookUps(slow).ask(f"{n}.example" for n in range(20)))
    assert len(slow.asked) == len(found) == MAX_SIGNATURES


def test_when_the_time_of_a_look_is_over_nobody_is_asked() -> None:
    async def main() -> list[KeyAnswer]:
        keys = KeyLookUps(slow, seconds=0.01)
        return [(await keys.ask([name]))[name] for name in ("a.example", "b.example")]

    slow = Slow(0.02)
    first, second = asyncio.run(main())
    assert (first.texts, second.unknown) == (("a.example",), "other look-ups took all the time")
    assert slow.asked == ["a.example"]


def test_without_a_name_nothing_is_asked() -> None:
    slow = Slow(0)
    assert asyncio.run(KeyLookUps(slow).ask([""])) == {}
    assert slow.asked == []
