"""The servers of a zone by name, and the TLSA records of each as it has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.core.tlsa import Tlsa
from gatepost.net.dns_client import DnsClient, NameServer, NoAnswer
from gatepost.net.zone_servers import TlsaSet, ZoneServer, servers_of, tlsa_set, zone_servers

OWNER = "_25._tcp.mx.example.net"
ONE = Tlsa(3, 1, 1, b"\x11" * 32)
TWO = Tlsa(2, 0, 2, b"\x22" * 64)


@pytest.fixture
def dns() -> Iterator[DnsAuthority]:
    records = {
        "example.net": {"NS": ["ns1.example.net.", "ns2.example.net.", "lost.example.net."]},
        "ns1.example.net": {"A": ["127.0.0.1"], "AAAA": ["::1"]},
        "ns2.example.net": {"A": [f"192.0.2.{number}" for number in range(1, 8)]},
        OWNER: {"TLSA": [ONE.text(), TWO.text()]},
    }
    with DnsAuthority(records, ttl=120) as authority:
        yield authority


def server(dns: DnsAuthority) -> NameServer:
    return NameServer(dns.address, dns.port)


def client(dns: DnsAuthority) -> DnsClient:
    return DnsClient([server(dns)], try_seconds=(1.0,))


def test_servers_keep_their_names_and_one_without_address_is_not_lost(dns: DnsAuthority) -> None:
    found = asyncio.run(zone_servers(client(dns), "example.net", 5353))
    assert [(one.host, len(one.addresses)) for one in found] == [
        ("lost.example.net", 0),
        ("ns1.example.net", 2),
        ("ns2.example.net", 4),
    ]
    both = (NameServer("127.0.0.1", 5353), NameServer("::1", 5353))
    assert found[1] == ZoneServer("ns1.example.net", both)
    assert len(asyncio.run(servers_of(client(dns), "example.net"))) == 6
    with pytest.raises(NoAnswer, match=r"the servers of example\.org are not found"):
        asyncio.run(zone_servers(client(dns), "example.org"))


def test_records_come_with_their_ttl(dns: DnsAuthority) -> None:
    found = asyncio.run(tlsa_set(server(dns), OWNER, 1.0))
    assert (set(found.records), found.ttl) == ({ONE, TWO}, 120)
    assert asyncio.run(tlsa_set(server(dns), "_25._tcp.example.net", 1.0)) == TlsaSet((), 0)


def test_a_large_set_comes_over_tcp_and_a_record_that_is_none_stays_one(dns: DnsAuthority) -> None:
    dns.update({OWNER: {"TLSA": [f"3 1 1 {number:064x}" for number in range(40)]}})
    dns.behave(OWNER, Behaviour.TRUNCATED)
    assert len(asyncio.run(tlsa_set(server(dns), OWNER, 1.0)).records) == 40
    assert dns.asked[-1] == (OWNER, "TLSA", "tcp")
    dns.behave(OWNER, None)
    dns.update({OWNER: {"TLSA": ["raw 03", f"raw 030101{'11' * 32}"]}})
    found = asyncio.run(tlsa_set(server(dns), OWNER, 1.0))
    assert ONE in found.records
    assert [record.unusable != "" for record in found.records].count(True) == 1


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [(Behaviour.TIMEOUT, "timeout"), (Behaviour.REFUSED, "REFUSED"), (Behaviour.SERVFAIL, "SERVFAIL")],
)
def test_no_answer_is_not_an_empty_one(dns: DnsAuthority, behaviour: Behaviour, why: str) -> None:
    dns.behave(OWNER, behaviour)
    with pytest.raises(NoAnswer, match=why):
        asyncio.run(tlsa_set(server(dns), OWNER, 0.2))
