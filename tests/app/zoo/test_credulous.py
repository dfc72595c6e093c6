"""The resolver that says of everything that it was validated: a gateway's probe finds it out, and nothing else could."""

from __future__ import annotations

import asyncio

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.app.zoo.credulous import Credulous
from gatepost.net.dns_client import NameServer, ask_server
from gatepost.net.dns_trust import ProbeNames, Validation, probe

ZONE: dict[str, dict[str, list[str]]] = {
    "signed.example": {"SOA": ["ns.example. root.example. 1 3600 600 86400 300"]},
    "bogus.example": {"A": ["203.0.113.99"]},
    "large.example": {"TXT": [f'"{number:0200}"' for number in range(20)]},
}
NAMES = ProbeNames("signed.example", "bogus.example")


def asked(name: str, kind: str, behaviour: Behaviour | None = None) -> dns.message.Message:
    async def main(behind: DnsAuthority) -> dns.message.Message:
        server = Credulous("127.0.0.1", NameServer("127.0.0.1", behind.port), port=0)
        async with asyncio.TaskGroup() as group:
            port = await server.start(group)
            query = dns.message.make_query(dns.name.from_text(name), kind)
            said = (await ask_server(NameServer("127.0.0.1", port), query, 5.0)).message
            await server.close()
        return said

    with DnsAuthority(ZONE) as behind:
        if behaviour is not None:
            behind.behave(name, behaviour)
        return asyncio.run(main(behind))


@pytest.mark.parametrize(
    ("name", "kind", "behaviour"),
    [
        ("signed.example", "SOA", None),
        ("bogus.example", "A", Behaviour.BOGUS),
        ("signed.example", "SOA", Behaviour.INSECURE),
        ("large.example", "TXT", None),  # over TCP
    ],
)
def test_everything_is_said_to_be_validated(name: str, kind: str, behaviour: Behaviour | None) -> None:
    said = asked(name, kind, behaviour)
    assert said.rcode() == dns.rcode.NOERROR
    assert said.flags & dns.flags.AD
    assert not said.flags & dns.flags.CD
    assert len(said.answer[0]) == len(ZONE[name][kind])


def test_what_is_out_of_order_behind_it_is_not_made_whole() -> None:
    said = asked("bogus.example", "A", Behaviour.SERVFAIL)
    assert (said.rcode(), said.answer) == (dns.rcode.SERVFAIL, [])


def test_the_probe_finds_it_out() -> None:
    async def main(behind: DnsAuthority) -> tuple[Validation, Validation]:
        good = NameServer("127.0.0.1", behind.port)
        server = Credulous("127.0.0.1", good, port=0)
        async with asyncio.TaskGroup() as group:
            liar = NameServer("127.0.0.1", await server.start(group))
            found = await probe(good, NAMES), await probe(liar, NAMES)
            await server.close()
        return found

    with DnsAuthority(ZONE, ad=True) as behind:
        behind.behave("bogus.example", Behaviour.BOGUS)
        good, liar = asyncio.run(main(behind))
    assert good.validates
    assert liar.reason == "takes the broken signature of bogus.example"


def test_what_is_no_question_gets_no_answer() -> None:
    async def main(behind: DnsAuthority) -> bytes:
        server = Credulous("127.0.0.1", NameServer("127.0.0.1", behind.port), port=0)
        async with asyncio.TaskGroup() as group:
            reader, writer = await asyncio.open_connection("127.0.0.1", await server.start(group))
            writer.write(b"\x00\x03abc")
            async with asyncio.timeout(10):
                read = await reader.read()
            writer.close()
            await server.close()
        return read

    with DnsAuthority(ZONE) as behind:
        assert asyncio.run(main(behind)) == b""
