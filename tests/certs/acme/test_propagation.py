"""Looking before the CA looks: every server, aliases, servers that are silent, and a record that never comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from tests.certs.acme.kit import run
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.propagation import PATIENCE, Propagation
from gatepost.net.dns_client import DnsClient, NameServer

RECORD, VALUE = "_acme-challenge.mx.example", "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM"
THERE = {RECORD: {"TXT": [f'"{VALUE}"', '"another"']}}
OLD = {RECORD: {"TXT": ['"another"']}}
SOA = "ns.example. hostmaster.example. 1 3600 600 86400 300"


class Watch:
    """Time that moves by pauses; `then` is called at each of them."""

    def __init__(self) -> None:
        self.time = 0.0
        self.pauses: list[float] = []
        self.then: Callable[[int], None] = lambda number: None

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def pause(self, seconds: float) -> None:
        self.time += seconds
        self.pauses.append(seconds)
        self.then(len(self.pauses))


def look(
    stack: ExitStack, watch: Watch, *servers: DnsAuthority, resolver: DnsAuthority | None = None
) -> Propagation:
    for server in servers:
        stack.enter_context(server)
    asked = resolver or servers[0]
    client = DnsClient((NameServer("127.0.0.1", asked.port),), try_seconds=(0.2,))
    listed = [NameServer("127.0.0.1", server.port) for server in servers]
    return Propagation(client, watch, servers=listed, pause=watch.pause)


def see(look_for: Propagation) -> None:
    async def main() -> None:
        await look_for.visible(RECORD, VALUE)

    run(main)


def test_every_server_must_show_it() -> None:
    watch, slow = Watch(), DnsAuthority(OLD)
    watch.then = lambda number: slow.update(THERE) if number == 3 else None
    with ExitStack() as stack:
        quick = DnsAuthority(THERE)
        see(look(stack, watch, quick, slow))
        assert len(watch.pauses) == 3
        assert quick.questions(RECORD, "TXT") == 1
        assert slow.questions(RECORD, "TXT") == 4


def test_a_record_that_does_not_come_is_a_failure_that_names_the_server() -> None:
    watch = Watch()
    with ExitStack() as stack:
        there, old = DnsAuthority(THERE), DnsAuthority(OLD)
        looked = look(stack, watch, there, old)
        with pytest.raises(AcmeFailed) as caught:
            see(looked)
        assert caught.value.text == f"{RECORD} is not visible on 127.0.0.1:{old.port} after 120 s"
        assert watch.time == 120.0
        assert len(watch.pauses) < 25


def test_a_silent_server_is_left_out_when_another_shows_it() -> None:
    watch = Watch()
    with ExitStack() as stack:
        there, refusing = DnsAuthority(THERE), DnsAuthority({})
        refusing.behave("*", Behaviour.REFUSED)
        see(look(stack, watch, there, refusing))
        assert refusing.questions(RECORD, "TXT") == PATIENCE
        assert watch.time < 10


def test_when_no_server_can_be_asked_the_time_is_waited_out() -> None:
    watch = Watch()
    with ExitStack() as stack:
        refusing = DnsAuthority({})
        refusing.behave("*", Behaviour.REFUSED)
        see(look(stack, watch, refusing))
        assert watch.time == 120.0


def test_when_the_servers_are_not_found_the_time_is_waited_out() -> None:
    watch = Watch()
    with DnsAuthority({}) as resolver:
        client = DnsClient((NameServer("127.0.0.1", resolver.port),))
        see(Propagation(client, watch, seconds=30.0, pause=watch.pause))
    assert watch.pauses == [30.0]


def test_an_alias_and_the_zones_own_servers_are_found() -> None:
    records = {
        RECORD: {"CNAME": ["x.acme.test."]},
        "acme.test": {"SOA": [SOA], "NS": ["ns1.acme.test.", "ns2.acme.test."]},
        "ns1.acme.test": {"A": ["127.0.0.1"]},
        "ns2.acme.test": {"A": ["127.0.0.1"]},
        "x.acme.test": {"TXT": [f'"{VALUE}"'], "SOA": [SOA]},
    }
    watch = Watch()
    with DnsAuthority(records) as server:
        # The fake has no zones: the SOA at the name itself makes it the zone, with the servers of that name.
        server.update({"x.acme.test": {**records["x.acme.test"], "NS": ["ns1.acme.test."]}})
        client = DnsClient((NameServer("127.0.0.1", server.port),))
        see(Propagation(client, watch, port=server.port, pause=watch.pause))
        assert server.questions("ns1.acme.test", "A") == 1
        assert server.questions("x.acme.test", "TXT") == 1
    assert watch.pauses == []
