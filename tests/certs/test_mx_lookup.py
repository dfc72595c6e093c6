"""Looking up MX hosts: every answer that DNS can give, side by side, and never longer than the deadline."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Sequence

import pytest
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.fakes.resolver import FakeResolver

from gatepost.certs.mx_lookup import MAX_DOMAINS, MAX_HOSTS, Known, MxDomain, MxHost, look_up
from gatepost.net.dns_client import DnsClient, NameServer
from gatepost.net.resolver import Resolver

RECORDS = {
    "example.net": {"MX": ["20 mx2.example.net.", "10 mx.example.net."]},
    "mx.example.net": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
    "mx2.example.net": {"A": ["192.0.2.3"]},
    "null.example": {"MX": ["0 ."]},
    "plain.example": {"A": ["192.0.2.9"]},
    "bare.example": {"TXT": ["x"]},
    "dangling.example": {"MX": ["10 gone.example."]},
}


def ask(authority: DnsAuthority, *domains: str, seconds: float = 4.0) -> dict[str, MxDomain]:
    async def main() -> dict[str, MxDomain]:
        client = DnsClient([NameServer(authority.address, authority.port)], try_seconds=(5.0,))
        resolver = Resolver(asyncio.get_running_loop(), client)
        try:
            return await look_up(domains, resolver, seconds)
        finally:
            await resolver.close()

    return asyncio.run(main())


def test_hosts_come_by_preference_with_all_their_addresses() -> None:
    with DnsAuthority(RECORDS) as authority:
        found = ask(authority, "example.net")["example.net"]
    assert found.known is Known.FOUND
    assert [(host.host, host.preference) for host in found.hosts] == [
        ("mx.example.net", 10),
        ("mx2.example.net", 20),
    ]
    assert ipaddress.ip_address("2001:db8::1") in found.hosts[0].addresses
    assert len(found.hosts[0].addresses) == 3


@pytest.mark.parametrize(
    ("domain", "known"),
    [
        ("null.example", Known.NULL),
        ("nowhere.example", Known.NONE),
        ("bare.example", Known.NONE),
    ],
)
def test_a_domain_without_hosts_says_why(domain: str, known: Known) -> None:
    with DnsAuthority(RECORDS) as authority:
        assert ask(authority, domain)[domain] == MxDomain(domain, known)


def test_without_mx_records_the_domain_is_its_own_host() -> None:
    with DnsAuthority(RECORDS) as authority:
        (host,) = ask(authority, "plain.example")["plain.example"].hosts
    assert host == MxHost("plain.example", 0, (ipaddress.ip_address("192.0.2.9"),), Known.FOUND, True)


def test_a_host_without_an_address_is_kept_and_marked() -> None:
    with DnsAuthority(RECORDS) as authority:
        (host,) = ask(authority, "dangling.example")["dangling.example"].hosts
    assert (host.host, host.known) == ("gone.example", Known.NONE)


@pytest.mark.parametrize("behaviour", [Behaviour.SERVFAIL, Behaviour.GARBAGE, Behaviour.REFUSED])
def test_a_server_that_does_not_answer_is_not_a_domain_without_mx(behaviour: Behaviour) -> None:
    with DnsAuthority(RECORDS) as authority:
        authority.behave("example.net", behaviour)
        found = ask(authority, "example.net", "plain.example", seconds=0.5)
    assert found["example.net"].known is Known.NO_ANSWER
    assert found["example.net"].detail
    assert found["plain.example"].known is Known.FOUND


def test_silence_costs_the_deadline_once_and_not_once_a_domain() -> None:
    with DnsAuthority(RECORDS) as authority:
        for name in ("example.net", "null.example", "bare.example"):
            authority.behave(name, Behaviour.TIMEOUT)
        authority.behave("mx.example.net", Behaviour.TIMEOUT)
        began = time.monotonic()
        found = ask(authority, "example.net", "null.example", "bare.example", "plain.example", seconds=0.3)
    assert time.monotonic() - began < 3.0
    assert [found[name].known for name in ("example.net", "null.example", "bare.example")] == [
        Known.NO_ANSWER
    ] * 3
    assert found["plain.example"].known is Known.FOUND


def test_a_silent_host_does_not_hide_the_others() -> None:
    with DnsAuthority(RECORDS) as authority:
        authority.behave("mx.example.net", Behaviour.TIMEOUT)
        first, second = ask(authority, "example.net", seconds=0.3)["example.net"].hosts
    assert (first.known, first.addresses) == (Known.NO_ANSWER, ())
    assert second.known is Known.FOUND


def with_resolver(
    domains: Sequence[str], prepare: Callable[[FakeResolver], None]
) -> tuple[dict[str, MxDomain], FakeResolver]:
    resolver = FakeResolver()
    prepare(resolver)
    return asyncio.run(look_up(domains, resolver)), resolver


def test_domains_and_hosts_are_bounded() -> None:
    def prepare(resolver: FakeResolver) -> None:
        resolver.set_mx("d0.example", *((number, f"h{number}.example") for number in range(100)))

    found, resolver = with_resolver([f"d{number}.example" for number in range(50)], prepare)
    assert len(found) == 50
    assert found["d49.example"].known is Known.NOT_LOOKED_UP
    assert len(found["d0.example"].hosts) == MAX_HOSTS
    assert len([asked for asked in resolver.asked if asked[0] == "MX"]) == MAX_DOMAINS


def test_without_a_resolver_nothing_is_looked_up() -> None:
    found = asyncio.run(look_up(["a.example"], None))
    assert found == {"a.example": MxDomain("a.example", Known.NOT_LOOKED_UP)}
    assert asyncio.run(look_up([], None)) == {}
