"""Certificates that come and are renewed in time: the way that goes well, settings, accounts, the authority's windows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.certs.renewal_box import Box, serials
from tests.fakes.renewal_authority import DAY

from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.renewal_info import certificate_id_of
from gatepost.certs.acme_secrets import Secret
from gatepost.core.certificate_events import CertificateIssued, CertificateRenewalFailed
from gatepost.pki.certificate import read_certificate
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Origin
from gatepost.policy.renew import Window


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.store.close()


def test_the_first_certificate_takes_the_place_of_the_stand_in(box: Box) -> None:
    box.configure(box.certificate("mx", "mx.example.net", "mail.example.net"), contact="admin@example.net")
    assert box.profile().origin is Origin.SELF_SIGNED
    pause = box.run()
    profile = box.profile()
    assert profile.origin is Origin.AUTOMATIC
    assert list(profile.leaf.names.dns) == ["mx.example.net", "mail.example.net"]
    assert [read_certificate(der).common_name for der in profile.intermediates] == ["Fake CA"]
    (issued,) = box.said(CertificateIssued)
    assert (issued.name, issued.how, issued.fingerprint) == ("mx", "automatic", profile.leaf.fingerprint)
    assert box.comments == ["automatic certificate mx: a self-signed certificate stands in"]
    assert box.standing().outcome == "issued"
    assert box.alerts == []
    assert (box.proving.opened, box.proving.closed) == (1, 1)
    (account,) = box.authority.accounts.values()
    assert account.contact == ("admin@example.net",)
    assert box.row().decision.at == pytest.approx(box.clock.at + 0.66 * 90 * DAY, abs=3600)
    assert pause == DAY  # to ask about a renewal window again
    assert box.run() == DAY
    assert len(box.authority.orders) == 1


def test_without_certificates_or_authority_there_is_nothing_to_do(box: Box) -> None:
    assert box.run() == DAY
    box.configure(box.certificate(), directory="")
    assert box.run() == DAY
    assert box.authority.trusted == []


@pytest.mark.parametrize("days", [6.0, 47.0, 398.0])
def test_renewals_come_in_time_and_never_in_a_loop(box: Box, days: float) -> None:
    box.authority.life = days * DAY
    box.configure(box.certificate(), renew_at=0.66)
    lives = 3 if days < 50 else 1
    left: list[float] = []

    def remember(_request: object) -> None:
        left.append((box.row().profile.leaf.not_after - box.clock.at) / (days * DAY))

    box.authority.on_order = remember
    runs = box.until(box.clock.at + lives * 0.66 * days * DAY)
    assert (
        runs < 24 * days * lives * 0.66 + 3 * lives + 10
    )  # it looks once an hour, and when something is due
    assert all(0.3 < share < 0.35 for share in left[1:])
    assert lives <= len(box.authority.orders) <= lives + 1
    assert box.profile().leaf.not_after > box.clock.at + 0.3 * days * DAY
    assert box.said(CertificateRenewalFailed) == []


def test_a_new_key_for_each_renewal_or_the_same_one(box: Box) -> None:
    box.configure(box.certificate("new"), box.certificate("same", new_key=False))
    box.run()
    before = {name: box.profile(name).key for name in ("new", "same")}
    box.clock.at += 70 * DAY
    box.run()
    assert len(box.authority.orders) == 4
    assert box.profile("new").key != before["new"]
    assert box.profile("same").key == before["same"]
    assert all(
        request.keep_key == (request.names[0] == "same.example.net") for request in box.authority.orders
    )


def test_a_renewal_says_what_it_replaces(box: Box) -> None:
    box.configure(box.certificate())
    box.run()
    first = box.profile().certificate
    box.clock.at += 70 * DAY
    box.run()
    assert [request.replaces for request in box.authority.orders] == ["", certificate_id_of(first)]


def test_both_key_types_come_together(box: Box) -> None:
    box.configure(box.certificate("mx", key="p256", also="rsa2048"))
    box.run()
    profile = box.profile()
    kinds = [type(pair.leaf.parsed.public_key()).__name__ for pair in profile.pairs]
    assert kinds == ["ECPublicKey", "RSAPublicKey"]
    profile.require_keys()
    assert len(box.comments) == 1
    assert len(box.said(CertificateIssued)) == 2
    box.clock.at += 70 * DAY
    old = serials(box)
    box.run()
    assert not set(old) & set(serials(box))


def test_one_of_two_key_types_alone_is_not_used_and_not_ordered_twice(box: Box) -> None:
    box.configure(box.certificate("mx", key="p256", also="rsa2048"))

    def second_fails(request: object) -> None:
        box.authority.refuses = AcmeFailed("the CA is tired") if len(box.authority.orders) == 1 else None

    box.authority.on_order = second_fails
    box.run()
    assert box.profile().origin is Origin.SELF_SIGNED
    assert len(box.authority.orders) == 1
    box.authority.on_order = lambda request: None
    box.authority.refuses = None
    box.clock.at = box.standing().again
    box.run()
    assert len(box.profile().pairs) == 2
    assert (len(box.authority.orders), box.authority.resumed) == (2, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["mx.example.net", "new.example.net"]},
        {"key": "p384"},
        {"also": "rsa2048"},
        {"profile": "shortlived"},
        {"preferred_chain": "Another Root"},
    ],
)
def test_another_wish_is_another_certificate_at_once_and_once(box: Box, change: dict[str, object]) -> None:
    box.configure(box.certificate("mx"))
    box.run()
    box.configure({**box.certificate("mx"), **change})
    box.run()
    assert box.comments[1] == "automatic certificate mx: its settings have changed since it was issued"
    ordered = len(box.authority.orders)
    box.run()
    assert len(box.authority.orders) == ordered


def test_another_authority_issues_anew(box: Box) -> None:
    box.configure(box.certificate())
    box.run()
    box.configure(box.certificate(), directory="https://other.example/directory")
    box.run()
    assert len(box.comments) == 2
    assert len(box.authority.accounts) == 2


def test_what_is_no_wish_for_another_certificate_orders_none(box: Box) -> None:
    box.configure(box.certificate())
    box.run()
    box.configure(
        box.certificate("mx", challenge="tls-alpn-01"), renew_at=0.7, contact="a@example.net", http_port=81
    )
    box.run()
    assert len(box.comments) == 1


def test_an_imported_certificate_stays_until_its_own_time(box: Box) -> None:
    box.configure(box.certificate())
    box.run()
    other = box.profile()
    box.vault.put_standing("mx", type(box.standing())())  # as if somebody had imported it
    box.run()
    assert len(box.comments) == 1
    box.configure(box.certificate("mx", "mx.example.net", "more.example.net"))
    box.run()
    assert (
        box.comments[1] == "automatic certificate mx: the certificate in force does not have more.example.net"
    )
    assert box.profile().leaf.fingerprint != other.leaf.fingerprint


def test_an_account_that_was_lost_there_is_registered_again_with_its_key(box: Box) -> None:
    box.configure(box.certificate())
    box.run()
    thumbprints = list(box.authority.accounts)
    box.authority.accounts.clear()
    box.clock.at += 70 * DAY
    box.run()
    assert list(box.authority.accounts) == thumbprints
    assert box.said(CertificateRenewalFailed) == []


def test_a_bound_account_needs_its_key(box: Box) -> None:
    box.configure(box.certificate(), eab={"key_id": "kid-1"})
    box.run()
    (failed,) = box.said(CertificateRenewalFailed)
    assert "`gatepost acme secret eab` stores it" in failed.reason
    asyncio.run(box.vault.put_secret(Secret.EAB, SecretBytes(b"c2VjcmV0LWtleQ")))
    box.run()
    (account,) = box.authority.accounts.values()
    assert account.external is not None
    assert (account.external.key_id, account.external.mac_key.reveal()) == ("kid-1", b"secret-key")
    assert box.profile().origin is Origin.AUTOMATIC


def test_another_contact_is_told_to_the_authority(box: Box) -> None:
    box.configure(box.certificate(), contact="a@example.net")
    box.run()
    box.configure(box.certificate(), contact="b@example.net")
    box.clock.at += 70 * DAY
    box.run()
    assert [account.contact for account in box.authority.accounts.values()] == [("b@example.net",)]


def test_the_authoritys_window_comes_before_the_fraction(box: Box) -> None:
    start = box.clock.at + 10 * DAY
    first = Window(start, start + DAY, 6 * 3600.0, "https://acme.example/why")
    box.authority.window_of = lambda _: first if len(box.authority.orders) == 1 else None
    box.configure(box.certificate())
    box.run()
    assert start <= box.row().decision.at <= start + DAY
    assert "the window that the CA suggests" in box.row().decision.reason
    assert len(box.authority.asked_windows) == 1
    pause = box.run()
    assert pause == pytest.approx(6 * 3600.0)
    box.clock.at += pause
    box.run()
    assert len(box.authority.asked_windows) == 2
    box.until(start + DAY)
    assert len(box.authority.orders) == 2


def test_a_window_that_is_always_over_makes_no_loop(box: Box) -> None:
    box.authority.life = 6 * DAY
    box.authority.window_of = lambda _: Window(box.clock.at - 2 * DAY, box.clock.at - DAY, 1800.0)
    box.configure(box.certificate())
    box.until(box.clock.at + 2 * DAY)
    assert len(box.authority.orders) <= 2 * DAY / (5 * 3600.0) + 1


def test_windows_are_asked_for_no_more_often_than_hourly_while_the_authority_is_down(box: Box) -> None:
    box.configure(box.certificate())
    box.run()
    box.authority.down = True
    connections = len(box.authority.trusted)
    box.vault.put_standing("mx", type(box.standing())(wish=box.standing().wish, issued=box.standing().issued))
    for _ in range(5):
        box.run()
    assert len(box.authority.trusted) == connections + 1
    assert box.said(CertificateRenewalFailed) == []
