"""An automatic certificate waits for its TLSA record, as long as it can (RFC 7671 §8.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.certs.renewal_box import Box
from tests.certs.test_dane import HOST, document
from tests.fakes.dns_authority import Behaviour, DnsAuthority

from gatepost.certs import dane_view
from gatepost.certs.dane import Place, key_records, shown_of
from gatepost.certs.dane_gate import DAY, DaneGate
from gatepost.config.load import to_plain
from gatepost.core.certificate_events import CertificateIssued, CertificateWaits
from gatepost.core.tlsa import Tlsa
from gatepost.pki.profile import Profile

PLACE = Place(HOST)
TTL = 600


class Site:
    """A box whose listener shows the certificate `mx`, with a zone beside it."""

    def __init__(self, path: Path, dns: DnsAuthority) -> None:
        self.dns = dns
        self.box = Box(path)
        self.box.gate = DaneGate(self.box.store, self.box, self.box.clock)
        self.box.restart()
        address = f"{dns.address}:{dns.port}"
        made = document(dns={"servers": [address]}, tlsa={"servers": [address]})
        latest = self.box.store.latest()
        assert latest is not None
        plain = to_plain(made)
        plain["listeners"][0]["certificate"] = "mx"
        self.box.store.commit(
            latest.number, replace(latest.content, document=plain), "t", "", self.box.clock.at
        )

    def configure(self, **keys: Any) -> None:
        self.box.configure(self.box.certificate("mx", HOST, wait_for_dane=True, **keys))

    def publish(self, *records: Tlsa) -> None:
        self.dns.update({PLACE.owner: {"TLSA": [record.text() for record in records]}})

    @property
    def current(self) -> Profile:
        return self.box.profile()

    def issued(self) -> Profile:
        """What was issued and waits."""
        ready = asyncio.run(self.box.vault.ready("mx"))
        assert ready is not None
        return ready.profile

    def records(self, profile: Profile) -> tuple[Tlsa, ...]:
        return key_records(shown_of(profile))

    def to_renewal(self) -> None:
        """The first certificate is there, its record published, and the next one is due."""
        self.configure()
        self.box.run()
        self.publish(*self.records(self.current))
        self.box.clock.at = max(self.box.clock.at, self.box.row().decision.at)

    def subjects(self) -> list[str]:
        return [f"{alert.severity} {alert.key}" for alert in self.box.alerts]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with DnsAuthority({}, ttl=TTL) as dns:
        yield Site(tmp_path, dns)


def test_without_records_nothing_waits(site: Site) -> None:
    site.configure()
    site.box.run()
    assert len(site.box.said(CertificateIssued)) == 1
    assert site.box.said(CertificateWaits) == []
    assert site.box.alerts == []


def test_without_the_setting_nothing_waits(site: Site) -> None:
    site.to_renewal()
    site.box.configure(site.box.certificate("mx", HOST))
    site.box.run()
    assert len(site.box.said(CertificateIssued)) == 2


def test_it_waits_until_the_record_was_visible_for_two_ttls(site: Site) -> None:
    site.to_renewal()
    old = site.current
    pause = site.box.run()
    assert site.current.certificate == old.certificate
    assert site.issued().certificate != old.certificate
    assert "no TLSA record" in site.box.standing().waits
    assert site.subjects() == ["warning dane:mx"]
    assert site.records(site.issued())[0].text() in site.box.alerts[0].text
    site.box.clock.at += pause
    site.box.run()
    assert len(site.box.said(CertificateWaits)) == 1
    assert len(site.box.alerts) == 1
    site.publish(*site.records(old), *site.records(site.issued()))
    began = site.box.clock.at
    site.box.restart()
    waiting = site.issued().certificate
    while site.current.certificate == old.certificate:
        assert site.box.clock.at - began < 3 * TTL + 120  # the next look, and two TTLs
        site.box.clock.at += site.box.run()
    assert site.current.certificate == waiting
    assert site.box.clock.at - began >= 2 * TTL
    assert len(site.box.said(CertificateWaits)) == 2  # missing, then its time
    assert len(site.box.said(CertificateIssued)) == 2


def test_a_record_that_is_lost_meanwhile_begins_anew(site: Site) -> None:
    site.to_renewal()
    old = site.current
    site.box.run()
    both = (*site.records(old), *site.records(site.issued()))
    site.publish(*both)
    site.box.clock.at += 900
    site.box.run()
    site.publish(*site.records(old))
    site.box.clock.at += 600
    site.box.run()
    site.publish(*both)
    site.box.clock.at += 901
    site.box.run()
    site.box.clock.at += 2 * TTL - 5
    site.box.run()
    assert site.current.certificate == old.certificate
    site.box.clock.at += 61
    site.box.run()
    assert site.current.certificate != old.certificate


@pytest.mark.parametrize("life", [90 * DAY, 6 * DAY])
def test_it_is_served_before_the_old_one_ends_and_told_before(site: Site, life: float) -> None:
    site.box.authority.life = life
    site.to_renewal()
    old = site.current
    end = old.leaf.not_after
    while site.current.certificate == old.certificate:
        pause = site.box.run()
        step = 1800 if site.box.clock.at > end - DAY else max(pause, life / 72)
        site.box.clock.at += step
        assert site.box.clock.at < end
    left = end - site.box.clock.at
    assert 0 < left <= min(6 * 3600, 0.02 * life)
    told = site.subjects()
    assert (told[0], told[-1]) == ("warning dane:mx", "critical dane:mx")
    assert site.box.alerts[-1].subject == "Served without its TLSA record: mx"
    assert 3 <= len(told) <= 10
    assert len(site.box.authority.orders) == 2


def test_what_matches_nothing_now_is_not_protected_by_waiting(site: Site) -> None:
    site.to_renewal()
    site.publish(Tlsa(3, 1, 1, b"\x01" * 32))
    site.box.run()
    assert len(site.box.said(CertificateIssued)) == 2


def test_a_zone_that_cannot_be_asked_holds_it_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dane_view, "TRY_SECONDS", (0.05, 0.05))
    site.to_renewal()
    site.dns.behave("*", Behaviour.REFUSED)
    site.box.run()
    assert "no name server" in site.box.standing().waits
    assert len(site.box.said(CertificateIssued)) == 1


def test_a_kept_key_waits_for_nothing(site: Site) -> None:
    site.configure(new_key=False)
    site.box.run()
    site.publish(*site.records(site.current))
    site.box.clock.at = site.box.row().decision.at
    site.box.run()
    assert len(site.box.said(CertificateIssued)) == 2
    assert site.box.said(CertificateWaits) == []


def test_it_is_ordered_early_and_never_in_the_first_half_of_its_life(site: Site) -> None:
    for life, fraction, expected in ((90 * DAY, 0.95, 14 * DAY), (6 * DAY, 0.66, 3 * DAY)):
        site.box.authority.life = life
        site.box.configure(site.box.certificate("mx", HOST, wait_for_dane=True), renew_at=fraction)
        site.box.vault.put_standing("mx", replace(site.box.standing(), asked=site.box.clock.at))
        site.box.run()
        decision = site.box.row().decision
        assert abs(site.current.leaf.not_after - decision.at - expected) < 2 * 3600, decision
        assert decision.at > site.box.clock.at + 3600
