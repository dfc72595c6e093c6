"""The zone as its servers show it: directly asked, in bounded time, and remembered over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.certs.renewal_box import NOW, Clock
from tests.certs.test_dane import HOST, ONE, OTHER, document
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.certs import dane_view
from gatepost.certs.dane import Place
from gatepost.certs.dane_time import Memory, Signed, View
from gatepost.certs.dane_view import DaneLooker
from gatepost.core.tlsa import of_key
from gatepost.store.config_store import ConfigStore

PLACE = Place(HOST)
OLD, NEW = of_key(ONE.public_key), of_key(OTHER.public_key)
TTL = 120


class World:
    """A resolver with the hosts, and two servers that have the records."""

    def __init__(self, path: Path, resolver: DnsAuthority, *servers: DnsAuthority) -> None:
        self.store = ConfigStore.open(path / "config.db")
        self.clock = Clock()
        self.resolver = resolver
        self.servers = servers
        resolver.update({HOST: {"A": ["127.0.0.1"]}})

    def publish(self, *texts: str) -> None:
        for server in (*self.servers, self.resolver):
            server.update({PLACE.owner: {"TLSA": list(texts)}} if texts else {})

    def document(self, **dns: Any) -> Any:
        return document(
            dns={"servers": [f"{self.resolver.address}:{self.resolver.port}"], **dns},
            tlsa={"servers": [f"{server.address}:{server.port}" for server in self.servers]},
        )

    def look(self, *, signed: bool = False, seconds: float = 12.0, **dns: Any) -> tuple[View, Memory]:
        looker = DaneLooker(self.document(**dns), self.store, self.clock, seconds=seconds)
        return asyncio.run(looker.look([PLACE], signed=signed))[PLACE]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with (
        DnsAuthority({}, ttl=TTL, ad=True) as resolver,
        DnsAuthority({}, ttl=TTL) as one,
        DnsAuthority({}, ttl=TTL) as two,
    ):
        yield World(tmp_path, resolver, one, two)


def test_every_server_is_asked_for_itself(world: World) -> None:
    world.publish(OLD.text(), NEW.text())
    world.servers[1].update({PLACE.owner: {"TLSA": [OLD.text()]}})
    view, memory = world.look()
    assert [set(server.records) for server in view.servers] == [{OLD, NEW}, {OLD}]
    assert [server.ttl for server in view.servers] == [TTL, TTL]
    assert view.error == ""
    assert memory.published


def test_what_was_seen_and_since_when_survives_a_restart(world: World) -> None:
    world.publish(OLD.text())
    world.look()
    world.clock.at += 100
    world.publish(OLD.text(), NEW.text())
    world.look()
    world.clock.at += 100
    _, memory = world.look()
    for known in memory.servers.values():
        assert (known.records[OLD.text()].since, known.records[NEW.text()].since) == (NOW, NOW + 100)
        assert (known.records[OLD.text()].first, known.records[NEW.text()].first) == (True, False)


def test_a_server_that_refuses_is_told_apart_from_one_without_records(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dane_view, "TRY_SECONDS", (0.1, 0.1))
    world.publish(OLD.text())
    world.servers[0].behave("*", Behaviour.REFUSED)
    world.servers[1].behave("*", Behaviour.TIMEOUT)
    view, memory = world.look()
    assert [server.error.partition(" ")[0] for server in view.servers] == ["REFUSED", "timeout"]
    assert view.answered == ()
    assert not memory.published


def test_an_alias_is_followed_to_where_the_records_are(world: World) -> None:
    for server in (*world.servers, world.resolver):
        server.update(
            {PLACE.owner: {"CNAME": ["_tlsa.example.org."]}, "_tlsa.example.org": {"TLSA": [OLD.text()]}}
        )
    view, _ = world.look()
    assert view.name == "_tlsa.example.org"
    assert view.records == (OLD,)


def test_the_whole_look_is_bounded(world: World) -> None:
    world.publish(OLD.text())
    world.look()
    world.resolver.behave("*", Behaviour.TIMEOUT)
    view, memory = world.look(seconds=0.2)
    assert "did not answer within" in view.error
    assert memory.published  # what was known stays


PROBE = {"probe": {"signed": "signed.example", "bogus": "bogus.example"}}


@pytest.fixture
def validating(world: World) -> World:
    world.resolver.update(
        {"signed.example": {"SOA": ["ns. root. 1 1 1 1 1"]}, "bogus.example": {"A": ["192.0.2.1"]}}
    )
    world.resolver.behave("bogus.example", Behaviour.BOGUS)
    return world


def test_a_signed_zone(validating: World) -> None:
    validating.publish(OLD.text())
    view, _ = validating.look(signed=True, **PROBE)
    assert (view.signed, view.detail) == (Signed.YES, "")


def test_an_unsigned_zone(validating: World) -> None:
    validating.publish(OLD.text())
    validating.resolver.behave(HOST, Behaviour.INSECURE)
    view, _ = validating.look(signed=True, **PROBE)
    assert (view.signed, view.detail) == (Signed.NO, f"the addresses of {HOST} are not signed")


def test_a_zone_whose_signatures_are_broken(validating: World) -> None:
    validating.publish(OLD.text())
    validating.resolver.behave(PLACE.owner, Behaviour.SERVFAIL)
    view, _ = validating.look(signed=True, **PROBE)
    assert view.signed is Signed.BROKEN
    assert "SERVFAIL" in view.detail


def test_without_a_validating_resolver_it_is_not_known(world: World) -> None:
    view, _ = world.look(signed=True, validate_dnssec=False)
    assert view.signed is Signed.UNKNOWN
    view, _ = world.look(signed=True, **PROBE)  # it does not pass the probe
    assert view.signed is Signed.UNKNOWN
    assert "signed.example" in view.detail
