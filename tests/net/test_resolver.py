from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.message
import dns.rdatatype
import pytest
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.net.kit import run, until

from gatepost.core.cache_counts import CacheState
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState
from gatepost.net.dns_answer import DnsStatus, HostName, Mx, NoName, Undetermined
from gatepost.net.dns_client import DnsClient, NameServer
from gatepost.net.resolver import MAX_NEGATIVE_TTL, MAX_TTL, Resolver

RECORDS = {
    "example.net": {"MX": ["20 mx2.example.net.", "10 MX1.example.net.", "10 mx0.example.net."]},
    "mx1.example.net": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
    "v4.example.net": {"A": ["192.0.2.4"]},
    "alias.example.net": {"CNAME": ["mx1.example.net."]},
    "loop.example.net": {"CNAME": ["loop2.example.net."]},
    "loop2.example.net": {"CNAME": ["loop.example.net."]},
    "null.example.net": {"MX": ["0 ."]},
    "text.example.net": {"TXT": ['"only text"']},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mx1.example.net."]},
    "9.2.0.192.in-addr.arpa": {"PTR": ["mx1.example.net."]},
    "8.2.0.192.in-addr.arpa": {"PTR": ["strange\\032name.example.net.", "gone.example.net."]},
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": {"PTR": ["mx1.example.net."]},
}
V4 = ipaddress.ip_address


class Trusting:
    """All servers are believed, and were probed long ago."""

    validating = True
    started = True

    async def settled(self) -> None:
        return

    async def close(self) -> None:
        return


@asynccontextmanager
async def asking(
    authority: DnsAuthority, *more: DnsAuthority, trusted: bool = False, **keywords: Any
) -> AsyncIterator[Resolver]:
    servers = [NameServer(one.address, one.port) for one in (authority, *more)]
    client = DnsClient(servers, try_seconds=keywords.pop("try_seconds", (0.1,)))
    if trusted:
        client.trust(servers)
        keywords["trust"] = Trusting()
    resolver = Resolver(asyncio.get_running_loop(), client, **keywords)
    try:
        yield resolver
    finally:
        await resolver.close()


def test_mx_by_preference_with_lower_case_names() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            async with asking(authority) as resolver:
                answer = await resolver.mx("example.net")
                assert answer.status is DnsStatus.FOUND
                assert answer.values == (
                    Mx(10, "mx0.example.net"),
                    Mx(10, "mx1.example.net"),
                    Mx(20, "mx2.example.net"),
                )
                assert not answer.secure
                assert answer.ttl == 300
                assert (await resolver.mx("null.example.net")).values == (Mx(0, ""),)

    run(main)


def test_what_is_not_there_is_told_apart() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            async with asking(authority) as resolver:
                assert (await resolver.mx("text.example.net")).status is DnsStatus.NO_DATA
                assert (await resolver.mx("net")).status is DnsStatus.NO_DATA
                assert (await resolver.mx("nothing.example.net")).status is DnsStatus.NXDOMAIN
                assert (await resolver.mx("a..b")).status is DnsStatus.NXDOMAIN
                assert (await resolver.mx("x" * 70 + ".example.net")).status is DnsStatus.NXDOMAIN

    run(main)


def test_addresses_of_both_kinds_and_through_an_alias() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            async with asking(authority) as resolver:
                both = (V4("192.0.2.1"), V4("192.0.2.2"), V4("2001:db8::1"))
                assert (await resolver.addresses("mx1.example.net")).values == both
                assert (await resolver.addresses("alias.example.net")).values == both
                assert (await resolver.addresses("v4.example.net")).values == (V4("192.0.2.4"),)
                assert (await resolver.addresses("text.example.net")).status is DnsStatus.NO_DATA
                assert (await resolver.addresses("none.example.net")).status is DnsStatus.NXDOMAIN
                assert (await resolver.addresses("loop.example.net")).status is DnsStatus.TEMPORARY

    run(main)


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        (Behaviour.SERVFAIL, "SERVFAIL from"),
        (Behaviour.REFUSED, "REFUSED from"),
        (Behaviour.TIMEOUT, "timeout asking"),
        (Behaviour.GARBAGE, "timeout asking"),
    ],
)
def test_a_server_that_does_not_answer_is_temporary_and_asked_again_soon(
    behaviour: Behaviour, detail: str
) -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("example.net", behaviour)
            async with asking(authority) as resolver:
                answer = await resolver.mx("example.net")
                assert answer.status is DnsStatus.TEMPORARY
                assert detail in answer.detail
                assert answer.ttl <= 5

    run(main)


def test_an_unreachable_server_is_temporary() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as gone:
            pass
        async with asking(gone) as resolver:
            assert (await resolver.mx("example.net")).temporary

    run(main)


def test_the_second_server_is_asked_when_the_first_fails() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as broken, DnsAuthority(RECORDS) as well:
            broken.behave("*", Behaviour.SERVFAIL)
            async with asking(broken, well) as resolver:
                assert (await resolver.mx("example.net")).found
                assert broken.questions("example.net", "MX") == 1

    run(main)


def test_a_cut_answer_is_fetched_over_tcp() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("example.net", Behaviour.TRUNCATED)
            async with asking(authority) as resolver:
                assert len((await resolver.mx("example.net")).values) == 3
            assert [transport for *_, transport in authority.asked] == ["udp", "tcp"]

    run(main)


def test_a_server_without_edns_is_asked_without() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("example.net", Behaviour.NO_EDNS)
            async with asking(authority) as resolver:
                assert (await resolver.mx("example.net")).found

    run(main)


def test_a_forged_answer_is_not_believed() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("example.net", Behaviour.WRONG_ID)
            async with asking(authority) as resolver:
                assert len((await resolver.mx("example.net")).values) == 3

    run(main)


def test_the_same_question_is_asked_once_by_many_and_then_cached() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            async with asking(authority) as resolver:
                answers = await asyncio.gather(*(resolver.mx("example.net") for _ in range(50)))
                assert all(answer.found for answer in answers)
                await resolver.mx("example.net")
                assert authority.questions("example.net", "MX") == 1
                resolver.forget()
                await resolver.mx("example.net")
                assert authority.questions("example.net", "MX") == 2

    run(main)


def test_a_cancelled_caller_does_not_take_the_answer_from_others() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            async with asking(authority) as resolver:
                first = asyncio.ensure_future(resolver.mx("example.net"))
                second = asyncio.ensure_future(resolver.mx("example.net"))
                await asyncio.sleep(0)
                first.cancel()
                assert (await second).found
                assert authority.questions("example.net", "MX") == 1

    run(main)


def test_the_cache_is_bounded_and_forgets_the_oldest() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            async with asking(authority, cache_size=2) as resolver:
                for name in ("example.net", "null.example.net", "example.net", "text.example.net"):
                    await resolver.mx(name)
                await resolver.mx("example.net")
                assert authority.questions("example.net", "MX") == 1  # used last, kept
                await resolver.mx("null.example.net")
                assert authority.questions("null.example.net", "MX") == 2
                states = resolver.cache_states()
                assert states["dns"] == CacheState(hits=2, misses=4, size=2, limit=2)
                assert states["tlsa"] == states["client_names"] == CacheState(0, 0, 0, 2)

    run(main)


def test_times_to_live_are_capped() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS, ttl=1_000_000) as authority:
            async with asking(authority) as resolver:
                assert (await resolver.mx("example.net")).ttl == MAX_TTL
                assert (await resolver.mx("text.example.net")).ttl == MAX_NEGATIVE_TTL
        with DnsAuthority(RECORDS, ttl=0) as authority:
            async with asking(authority) as resolver:
                assert (await resolver.mx("example.net")).ttl == 1

    run(main)


@pytest.mark.parametrize(("trusted", "ad"), [(True, True), (True, False), (False, True)])
def test_secure_only_with_the_flag_of_a_trusted_server(trusted: bool, ad: bool) -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS, ad=ad) as authority:
            async with asking(authority, trusted=trusted) as resolver:
                expected = trusted and ad
                assert (await resolver.mx("example.net")).secure is expected
                assert (await resolver.mx("text.example.net")).secure is expected
                assert (await resolver.addresses("mx1.example.net")).secure is expected

    run(main)


def test_names_of_clients_need_both_directions() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            async with asking(authority, hosts={V4("127.0.0.7"): "seven.test"}) as resolver:
                assert await resolver.ptr_confirmed(V4("192.0.2.1")) == HostName("mx1.example.net")
                assert await resolver.ptr_confirmed(V4("2001:db8::1")) == HostName("mx1.example.net")
                assert await resolver.ptr_confirmed(V4("192.0.2.9")) == NoName("mx1.example.net")
                assert await resolver.ptr_confirmed(V4("192.0.2.8")) == NoName("gone.example.net")
                assert await resolver.ptr_confirmed(V4("192.0.2.77")) == NoName()
                assert await resolver.ptr_confirmed(V4("127.0.0.7")) == HostName("seven.test")
                before = len(authority.asked)
                await resolver.ptr_confirmed(V4("192.0.2.1"))
                assert len(authority.asked) == before

    run(main)


def test_a_name_that_could_not_be_looked_up_is_undetermined() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("1.2.0.192.in-addr.arpa", Behaviour.SERVFAIL)
            authority.behave("gone.example.net", Behaviour.SERVFAIL)
            async with asking(authority) as resolver:
                assert isinstance(await resolver.ptr_confirmed(V4("192.0.2.1")), Undetermined)
                assert isinstance(await resolver.ptr_confirmed(V4("192.0.2.8")), Undetermined)

    run(main)


def test_a_name_takes_no_longer_than_its_bound() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("*", Behaviour.TIMEOUT)
            async with asking(authority, ptr_seconds=0.03, try_seconds=(5.0,)) as resolver:
                answer = await resolver.ptr_confirmed(V4("192.0.2.1"))
                assert isinstance(answer, Undetermined)
                assert "0.03 s" in answer.reason

    run(main)


def test_the_look_up_of_a_name_ends_with_the_last_who_waits_for_it() -> None:
    """C27: sessions that are gone hold neither questions nor sockets."""

    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("*", Behaviour.TIMEOUT)
            async with asking(authority) as resolver:
                tasks = asyncio.all_tasks()
                waiting = [asyncio.ensure_future(resolver.ptr_confirmed(V4("192.0.2.1"))) for _ in range(3)]
                await until(lambda: authority.questions("1.2.0.192.in-addr.arpa", "PTR"))
                for one in waiting:
                    one.cancel()
                async with asyncio.timeout(0.3):  # not until the two seconds are over
                    await asyncio.gather(*(asyncio.all_tasks() - tasks), return_exceptions=True)
                assert all(one.cancelled() for one in waiting)
                assert asyncio.all_tasks() == tasks

    run(main)


def test_names_that_nobody_can_tell_do_not_hold_up_deliveries() -> None:
    """C27: the queue of questions about clients is their own."""

    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            for number in range(250):
                authority.behave(f"{number}.0.0.10.in-addr.arpa", Behaviour.TIMEOUT)
            async with asking(authority) as resolver:
                names = [
                    asyncio.ensure_future(resolver.ptr_confirmed(V4(f"10.0.0.{number}")))
                    for number in range(250)
                ]
                await until(lambda: authority.questions("99.0.0.10.in-addr.arpa", "PTR"))
                assert (await resolver.mx("example.net")).found
                assert not any(name.done() for name in names)
                for name in names:
                    name.cancel()

    run(main)


def test_the_second_server_is_asked_for_a_name_within_its_time() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as silent, DnsAuthority(RECORDS) as authority:
            silent.behave("*", Behaviour.TIMEOUT)
            async with asking(silent, authority, name_tries=(0.03, 0.05)) as resolver:
                assert await resolver.ptr_confirmed(V4("192.0.2.1")) == HostName("mx1.example.net")

    run(main)


def test_what_is_known_of_a_name_without_asking() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            async with asking(authority, hosts={V4("127.0.0.7"): "seven.test"}) as resolver:
                assert resolver.known_name(V4("127.0.0.7")) == HostName("seven.test")
                assert resolver.known_name(V4("192.0.2.1")) is None
                await resolver.ptr_confirmed(V4("192.0.2.1"))
                assert resolver.known_name(V4("192.0.2.1")) == HostName("mx1.example.net")
                resolver.forget()
                assert resolver.known_name(V4("192.0.2.1")) is None

    run(main)


def test_what_failed_for_a_client_is_asked_again_for_a_delivery() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("mx1.example.net", Behaviour.SERVFAIL)
            async with asking(authority) as resolver:
                assert isinstance(await resolver.ptr_confirmed(V4("192.0.2.1")), Undetermined)
                authority.behave("mx1.example.net", None)
                assert (await resolver.addresses("mx1.example.net")).found
                assert isinstance(resolver.known_name(V4("192.0.2.1")), Undetermined)

    run(main)


def test_who_waits_when_the_servers_are_changed_is_told_that_there_is_no_answer() -> None:
    """A commit closes the resolver. A delivery that waited for it must not be cancelled: it would never be tried again."""

    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("*", Behaviour.TIMEOUT)
            async with asking(authority, try_seconds=(5.0,)) as resolver:
                mx = asyncio.ensure_future(resolver.mx("example.net"))
                addresses = asyncio.ensure_future(resolver.addresses("mx1.example.net"))
                name = asyncio.ensure_future(resolver.ptr_confirmed(V4("192.0.2.1")))
                await until(lambda: len(authority.asked) == 4)
                await resolver.close()
                assert (await mx).temporary
                assert (await mx).detail == "the name servers were changed meanwhile"
                assert (await addresses).temporary
                assert isinstance(await name, Undetermined)

    run(main)


def test_a_look_up_takes_no_longer_than_its_bound() -> None:
    async def main() -> None:
        with DnsAuthority(RECORDS) as authority:
            authority.behave("*", Behaviour.TIMEOUT)
            async with asking(authority, lookup_seconds=0.03, try_seconds=(5.0, 5.0)) as resolver:
                assert (await resolver.mx("example.net")).temporary

    run(main)


# --- TLSA ----------------------------------------------------------------------------------------------

KEY = "ab" * 32
SIGNED = {
    "mx.example.net": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]},
    "_25._tcp.mx.example.net": {"TLSA": [f"3 1 1 {KEY}"]},
    "bare.example.net": {"A": ["192.0.2.3"]},
    "odd.example.net": {"A": ["192.0.2.5"]},
    "_25._tcp.odd.example.net": {"TLSA": ["raw 030101", f"raw 030101{KEY}", "raw 0301"]},
    "alias.example.net": {"CNAME": ["mx.example.net."]},
    "out.example.net": {"CNAME": ["host.unsigned.example."]},
    "_25._tcp.out.example.net": {"TLSA": [f"3 1 1 {KEY}"]},
    "host.unsigned.example": {"A": ["192.0.2.7"]},
    "_25._tcp.host.unsigned.example": {"TLSA": [f"3 1 1 {KEY}"]},
}


def tlsa(
    host: str, behaviours: dict[str, Behaviour] | None = None, *, trusted: bool = True
) -> tuple[TlsaAnswer, DnsAuthority]:
    authority = DnsAuthority(SIGNED, ad=True)
    for name, behaviour in (behaviours or {}).items():
        authority.behave(name, behaviour)
    answers: list[TlsaAnswer] = []

    async def main() -> None:
        with authority:
            async with asking(authority, trusted=trusted) as resolver:
                answers.append(await resolver.tlsa(host, 25))

    run(main)
    return answers[0], authority


def test_the_records_of_a_signed_host() -> None:
    answer, _ = tlsa("mx.example.net")
    assert answer == TlsaAnswer(TlsaState.FOUND, (Tlsa(3, 1, 1, bytes.fromhex(KEY)),), "mx.example.net")


def test_without_a_trusted_resolver_nothing_is_known() -> None:
    answer, authority = tlsa("mx.example.net", trusted=False)
    assert answer.state is TlsaState.UNAVAILABLE
    assert not authority.asked


def test_a_signed_host_without_records_has_none() -> None:
    assert tlsa("bare.example.net")[0].state is TlsaState.ABSENT


def test_an_unsigned_host_is_not_asked_for_records() -> None:
    """D2: some name servers answer SERVFAIL to every question for TLSA."""
    answer, authority = tlsa("mx.example.net", {"mx.example.net": Behaviour.INSECURE})
    assert answer.state is TlsaState.ABSENT
    assert not authority.questions("_25._tcp.mx.example.net", "TLSA")


@pytest.mark.parametrize(
    "behaviour", [Behaviour.SERVFAIL, Behaviour.BOGUS, Behaviour.TIMEOUT, Behaviour.REFUSED]
)
def test_a_look_up_that_fails_is_never_taken_for_no_records(behaviour: Behaviour) -> None:
    """D1"""
    answer, _ = tlsa("mx.example.net", {"_25._tcp.mx.example.net": behaviour})
    assert answer.state is TlsaState.FAILED


def test_records_that_are_not_signed_are_none() -> None:
    answer, _ = tlsa("mx.example.net", {"_25._tcp.mx.example.net": Behaviour.INSECURE})
    assert answer.state is TlsaState.ABSENT


def test_an_alias_within_signed_zones_leads_to_the_records_of_its_target() -> None:
    answer, _ = tlsa("alias.example.net")
    assert (answer.state, answer.base) == (TlsaState.FOUND, "mx.example.net")


def test_a_signed_alias_into_an_unsigned_zone_has_its_own_records() -> None:
    """D4: only those under the alias itself."""
    # The fake marks a whole answer by the name that was asked: the addresses are unsigned, the alias and TLSA signed.
    authority = DnsAuthority(SIGNED, ad=True)
    plain = authority.answers

    def answers(wire: bytes, transport: str) -> list[bytes]:
        question = dns.message.from_wire(wire).question[0]
        signed = question.rdtype not in (dns.rdatatype.A, dns.rdatatype.AAAA)
        authority.ad = signed
        return plain(wire, transport)

    authority.answers = answers  # type: ignore[method-assign]

    async def main() -> None:
        with authority:
            async with asking(authority, trusted=True) as resolver:
                answer = await resolver.tlsa("out.example.net", 25)
                assert (answer.state, answer.base) == (TlsaState.FOUND, "out.example.net")
        assert not authority.questions("_25._tcp.host.unsigned.example", "TLSA")

    run(main)


def test_records_of_odd_length_are_there_and_unusable() -> None:
    """D9: they neither vanish nor take the good one with them."""
    answer, _ = tlsa("odd.example.net")
    assert answer.state is TlsaState.FOUND
    assert sorted(record.unusable != "" for record in answer.records) == [False, True, True]


def test_entries_of_a_list_are_asked_for_each_time_and_of_the_next_server() -> None:
    async def main() -> None:
        records = {"7.2.0.192.bad.example": {"A": ["127.0.0.2"]}}
        with DnsAuthority(records) as dead, DnsAuthority(records) as alive:
            dead.behave("*", Behaviour.SERVFAIL)
            async with asking(dead, alive) as resolver:
                for _ in range(2):
                    found = await resolver.entries("7.2.0.192.bad.example")
                    assert found.values == (V4("127.0.0.2"),)
                assert alive.questions("7.2.0.192.bad.example", "A") == 2
                assert (await resolver.entries("8.2.0.192.bad.example")).status is DnsStatus.NXDOMAIN
                assert (await resolver.entries("8.2." + "long." * 60)).status is DnsStatus.NXDOMAIN
                alive.behave("*", Behaviour.SERVFAIL)
                assert (await resolver.entries("8.2.0.192.bad.example")).temporary

    run(main)
