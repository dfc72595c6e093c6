"""Records of waiting keys are looked at while they wait, and a host that its own records refuse is told of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.certs.test_dane_gate import PLACE, TTL, Site
from tests.fakes.dns_authority import DnsAuthority

from gatepost.certs.dane import waiting_key
from gatepost.certs.dane_view import DaneLooker
from gatepost.certs.dane_watch import RESTING, DaneWatch
from gatepost.config.load import load_plain
from gatepost.core.tlsa import Tlsa, of_key
from gatepost.pki.keys import KeyKind, generate, key_pem
from gatepost.pki.profile import Profile
from gatepost.pki.selfsigned import request_again


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with DnsAuthority({}, ttl=TTL) as dns:
        made = Site(tmp_path, dns)
        made.configure()
        made.box.run()
        yield made


def watch(site: Site) -> float:
    return asyncio.run(DaneWatch(site.box.store, site.box, site.box.clock).run())


def looked(site: Site) -> DaneLooker:
    latest = site.box.store.latest()
    assert latest is not None
    return DaneLooker(load_plain(latest.content.document), site.box.store, site.box.clock)


def wait_with_key(site: Site) -> Profile:
    key = generate(KeyKind.P256)
    csr = request_again(site.current.certificate, key)
    asyncio.run(site.box.install(replace(site.current, csr=csr, next_key=key_pem(key))))
    return site.current


def test_where_nothing_was_seen_and_nothing_waits_nothing_is_asked(site: Site) -> None:
    before = len(site.dns.asked)
    assert watch(site) == RESTING
    assert len(site.dns.asked) == before


def test_the_record_of_a_waiting_key_is_looked_at_often(site: Site) -> None:
    coming = waiting_key(wait_with_key(site))
    assert coming is not None
    site.publish(*site.records(site.current), of_key(coming.public_key))
    assert watch(site) == TTL
    known = looked(site).memory(PLACE)
    (server,) = known.servers.values()
    assert server.records[of_key(coming.public_key).text()].since == site.box.clock.at


def test_records_that_refuse_the_host_are_told_once_a_day_until_they_match(site: Site) -> None:
    site.publish(*site.records(site.current))
    asyncio.run(looked(site).look([PLACE]))
    watch(site)
    assert site.box.alerts == []
    site.publish(Tlsa(3, 1, 1, b"\x01" * 32))
    for _ in range(3):
        watch(site)
    assert site.subjects() == ["critical dane-refused:mx.example.net:25"]
    text = site.box.alerts[0].text
    assert site.records(site.current)[0].text() in text
    assert "gatepost cert dane mx" in text
    site.box.clock.at += 86_401
    watch(site)
    assert len(site.box.alerts) == 2
    site.publish(*site.records(site.current))
    watch(site)
    site.publish(Tlsa(3, 1, 1, b"\x01" * 32))
    watch(site)
    assert len(site.box.alerts) == 3
