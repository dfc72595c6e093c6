"""Since when a record is visible, and when the certificate behind it may be served."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.certs.test_dane import HOST, NOW, ONE, OTHER, record

from gatepost.certs.dane import Place, Shown
from gatepost.certs.dane_time import (
    TTLS,
    Memory,
    Readiness,
    ServerView,
    Verdict,
    View,
    hardest,
    readiness,
    remember,
)
from gatepost.core.tlsa import Tlsa, of_key

PLACE = Place(HOST)
OLD, NEW = of_key(ONE.public_key), of_key(OTHER.public_key)
TTL = 300


def server(
    *records: Tlsa, host: str = "ns1", address: str = "", ttl: int = TTL, error: str = ""
) -> ServerView:
    return ServerView(host, address or host, records, ttl if records else 0, error)


def view(*servers: ServerView, error: str = "") -> View:
    return View(PLACE, PLACE.owner, "example.net", servers, error)


class Watch:
    """Looks at a zone whose servers a test changes."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.now = NOW

    def look(
        self, *servers: ServerView, error: str = "", served: tuple[Shown, ...] = (ONE,), new: Shown = OTHER
    ) -> Readiness:
        seen = view(*servers, error=error)
        self.memory = Memory.unpacked(remember(self.memory, seen, self.now).packed())  # as over a restart
        return readiness(seen, self.memory, served, (new,), self.now)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_without_records_nothing_waits(watch: Watch) -> None:
    found = watch.look(server(), server(host="ns2"))
    assert found.verdict is Verdict.FREE
    assert found.reason == "there are no TLSA records at _25._tcp.mx.example.net"


def test_records_of_which_smtp_can_use_none_bind_nobody(watch: Watch) -> None:
    found = watch.look(server(record(ONE, 1, 1, 1)))
    assert (found.verdict, found.free) == (Verdict.FREE, True)
    assert "can use" in found.reason


def test_the_record_is_missing_until_every_server_has_it(watch: Watch) -> None:
    found = watch.look(server(OLD, NEW), server(OLD, host="ns2"))
    assert found.verdict is Verdict.MISSING
    assert found.reason.endswith("on ns2")


def test_two_ttls_are_counted_from_when_the_last_server_had_it(watch: Watch) -> None:
    watch.look(server(OLD), server(OLD, host="ns2"))
    watch.now += 50
    watch.look(server(OLD, NEW), server(OLD, host="ns2"))
    watch.now += 50
    found = watch.look(server(OLD, NEW), server(OLD, NEW, host="ns2"))
    assert (found.verdict, found.at) == (Verdict.WAITS, NOW + 100 + 2 * TTL)
    watch.now = found.at - 1
    assert watch.look(server(OLD, NEW), server(OLD, NEW, host="ns2")).verdict is Verdict.WAITS
    watch.now = found.at
    assert watch.look(server(OLD, NEW), server(OLD, NEW, host="ns2")).verdict is Verdict.READY


def test_a_server_that_loses_it_begins_anew(watch: Watch) -> None:
    watch.look(server(OLD))
    watch.look(server(OLD, NEW))
    watch.now += 2 * TTL - 1
    assert watch.look(server(OLD)).verdict is Verdict.MISSING
    watch.now += 1
    assert watch.look(server(OLD, NEW)).at == watch.now + 2 * TTL


def test_a_server_that_is_silent_keeps_its_time_and_decides_nothing(watch: Watch) -> None:
    watch.look(server(OLD), server(OLD, host="ns2"))
    watch.look(server(OLD, NEW), server(OLD, NEW, host="ns2"))
    watch.now += 2 * TTL
    quiet = server(host="ns2", error="timeout")
    found = watch.look(server(OLD, NEW), quiet)
    assert (found.verdict, found.free) == (Verdict.UNKNOWN, False)
    assert "ns2 did not answer" in found.reason
    assert watch.look(server(OLD, NEW), server(OLD, NEW, host="ns2")).verdict is Verdict.READY


def test_one_address_of_a_server_is_enough(watch: Watch) -> None:
    """A machine without IPv6 does not wait for the addresses that it cannot reach."""
    deaf = server(address="2001:db8::1", error="Network is unreachable")
    watch.look(server(OLD, address="192.0.2.1"), deaf)
    watch.look(server(OLD, NEW, address="192.0.2.1"), deaf)
    watch.now += 2 * TTL
    assert watch.look(server(OLD, NEW, address="192.0.2.1"), deaf).verdict is Verdict.READY


def test_the_ttl_of_the_set_before_counts(watch: Watch) -> None:
    """Who lowers the TTL together with the change has caches that keep the old set as long as it said."""
    watch.look(server(OLD, ttl=3600))
    found = watch.look(server(OLD, NEW, ttl=60))
    assert found.at == NOW + TTLS * 3600
    assert "(2 x 3600 s)" in found.reason


def test_a_key_that_stays_waits_for_nothing(watch: Watch) -> None:
    renewed = replace(OTHER, public_key=ONE.public_key)
    issuer = record(ONE, 2, 1, 1, place=1)
    assert watch.look(server(OLD, issuer), new=renewed).verdict is Verdict.READY
    assert watch.look(server(OLD, issuer)).verdict is Verdict.READY  # another key of the same issuer


def test_an_issuers_record_that_came_later_is_waited_for(watch: Watch) -> None:
    issuer = record(ONE, 2, 1, 1, place=1)
    watch.look(server(OLD))
    assert watch.look(server(OLD, issuer)).verdict is Verdict.WAITS


def test_where_the_served_one_matches_nothing_waiting_helps_nobody(watch: Watch) -> None:
    found = watch.look(server(NEW))
    assert (found.verdict, found.protects) == (Verdict.READY, False)
    found = watch.look(server(record(ONE, 3, 1, 1, place=1)))
    assert (found.verdict, found.protects) == (Verdict.MISSING, False)


def test_what_cannot_be_seen_protects_only_what_was_seen_before(watch: Watch) -> None:
    found = watch.look(error="the name servers are not known")
    assert (found.verdict, found.protects) == (Verdict.UNKNOWN, False)
    assert watch.look(server(error="timeout")).protects is False
    watch.look(server(OLD))
    assert watch.look(error="the name servers are not known").protects is True
    assert watch.look(server(error="timeout")).protects is True


def test_a_clock_that_went_back_does_not_count_as_time(watch: Watch) -> None:
    watch.look(server(OLD))
    watch.look(server(OLD, NEW))
    watch.now -= 10_000
    assert watch.look(server(OLD, NEW)).at == watch.now + 2 * TTL


def test_both_of_a_pair_have_to_be_covered(watch: Watch) -> None:
    third = replace(ONE, public_key=b"k" * 91, chain=())
    seen = view(server(OLD, NEW))
    watch.memory = remember(Memory(), seen, NOW)
    assert readiness(seen, watch.memory, (ONE,), (OTHER, third), NOW).verdict is Verdict.MISSING


def test_several_places_the_hardest_decides() -> None:
    rows = [Readiness(PLACE, verdict, "", at) for verdict, at in [
        (Verdict.READY, 0), (Verdict.WAITS, 10), (Verdict.WAITS, 20), (Verdict.FREE, 0),
    ]]  # fmt: skip
    assert hardest(rows) == rows[2]
    assert hardest([*rows, Readiness(PLACE, Verdict.MISSING, "")]).verdict is Verdict.MISSING  # type: ignore[union-attr]
    assert hardest([]) is None


def test_a_memory_that_cannot_be_read_is_an_empty_one() -> None:
    for data in (None, b"", b"nonsense", b"[]", b'{"ns1": 3}', b'{"ns1": {"ttl": 1, "records": {"x": [1]}}}'):
        assert Memory.unpacked(data) == Memory()


def test_servers_that_the_zone_does_not_name_any_more_are_forgotten(watch: Watch) -> None:
    watch.look(server(OLD), server(OLD, host="ns2"))
    watch.look(server(OLD))
    assert set(watch.memory.servers) == {"ns1 ns1"}


# What a server shows at a step: the new record, only the old one, or nothing since it is silent.
_STEPS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from(["new", "old", "silent"]),
        st.sampled_from(["new", "old", "silent"]),
        st.sampled_from([30, 300]),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=100, deadline=None)
@given(_STEPS)
def test_ready_means_that_no_cache_can_have_a_set_without_it(steps: list[tuple[int, str, str, int]]) -> None:
    """Whatever the servers do: at READY, nobody showed a set without the record within the TTL that it had, twice."""
    watch = Watch()
    poisoned = {"ns1": 0.0, "ns2": 0.0}  # until when a cache may have a set without it, and once more
    since: dict[str, float] = {}
    for pause, *said, ttl in steps:
        watch.now += pause
        servers = []
        for host, what in zip(("ns1", "ns2"), said, strict=True):
            if what == "silent":
                servers.append(server(host=host, error="timeout"))
                continue
            records = (OLD, NEW) if what == "new" else (OLD,)
            servers.append(server(*records, host=host, ttl=ttl))
            if what == "old":
                poisoned[host] = watch.now + ttl
                since.pop(host, None)
            else:
                since.setdefault(host, watch.now)
        found = watch.look(*servers)
        if found.verdict is Verdict.READY:
            assert all(what == "new" for what in said)
            assert all(watch.now >= moment for moment in poisoned.values())
            assert all(watch.now - at >= TTLS * 30 for at in since.values())
        elif found.verdict is Verdict.WAITS:
            assert found.at > watch.now
