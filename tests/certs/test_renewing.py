"""Automatic renewal with a moved clock: schedule, back-off, short lives, interruption, two key types, an authority that is down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tests.certs.renewal_box import DIRECTORY, Box
from tests.fakes.renewal_authority import DAY, CutOff

from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme.renewal_info import certificate_id_of
from gatepost.certs.acme_secrets import Secret
from gatepost.certs.acme_vault import Ready
from gatepost.certs.renewing import Hold
from gatepost.core.certificate_events import CertificateIssued, CertificateRenewalFailed, CertificateWaits
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.certificate import read_certificate
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Origin
from gatepost.policy.renew import Window


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.store.close()


def serials(box: Box, name: str = "mx") -> list[int]:
    return [pair.leaf.parsed.serial_number for pair in box.profile(name).pairs]


# --- the way that goes well ---------------------------------------------------------------------


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


# --- settings ------------------------------------------------------------------------------------


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


# --- what goes wrong -----------------------------------------------------------------------------


def test_an_authority_that_is_down_loses_nothing_and_is_tried_again(box: Box) -> None:
    box.authority.life = 6 * DAY
    box.configure(box.certificate())
    box.run()
    before = serials(box)
    box.authority.down = True
    box.clock.at += 4 * DAY
    outage = box.clock.at + 12 * 3600
    box.until(outage)
    assert serials(box) == before
    failed = box.said(CertificateRenewalFailed)
    assert 8 < len(failed) < 60
    assert failed[0].reason.startswith("acme.example did not answer")
    waits = [later.at - earlier.at for earlier, later in pairwise(failed)]
    assert waits[0] < 600
    assert waits[0] < waits[1] < waits[2]
    assert max(waits) <= 6 * DAY / 20 * 1.1
    assert failed[-1].again <= outage + 6 * DAY / 20
    box.authority.down = False
    box.until(failed[-1].again + 1)
    assert serials(box) != before
    assert box.standing().failures == 0
    assert [alert.key for alert in box.alerts] == ["renewal:mx", "renewed:mx"]


@pytest.mark.slow
def test_a_failure_is_told_once_a_day_and_when_it_becomes_grave(box: Box) -> None:
    box.authority.life = 10 * DAY
    box.configure(box.certificate(), renew_at=0.66)
    box.run()
    box.authority.down = True
    box.until(box.clock.at + 11.5 * DAY)
    told = [(alert.severity, alert.subject) for alert in box.alerts]
    assert told[0] == ("warning", "Renewal failed: mx")
    assert ("critical", "Renewal failed: mx") in told
    assert 4 <= len(told) <= 8
    first = box.alerts[0].text
    assert "acme.example did not answer" in first
    assert "is served meanwhile; it is valid until" in first
    assert "has expired at" in box.alerts[-1].text


def test_failures_are_remembered_over_a_restart(box: Box) -> None:
    box.authority.refuses = AcmeFailed("too many certificates", retry_after=7200.0, kind="rateLimited")
    box.configure(box.certificate())
    box.run()
    again = box.standing().again
    assert again >= box.clock.at + 3600
    box.restart()
    pause = box.run()
    assert len(box.said(CertificateRenewalFailed)) == 1
    assert pause == pytest.approx(again - box.clock.at)
    assert box.row().decision.put_off
    box.clock.at = again
    box.run()
    assert box.standing().failures == 2


def test_a_changed_configuration_or_secret_is_tried_at_once(box: Box) -> None:
    box.authority.refuses = AcmeFailed("the CA refused it", permanent=True)
    box.configure(box.certificate())
    box.run()
    box.run()
    assert box.standing().failures == 1
    box.configure(box.certificate(), http_port=8080)
    box.run()
    assert box.standing().failures == 2
    asyncio.run(box.vault.put_secret(Secret.EAB, SecretBytes(b"c2VjcmV0")))
    box.run()
    assert box.standing().failures == 3


def test_by_hand_it_is_tried_at_once_and_only_once(box: Box) -> None:
    box.authority.refuses = AcmeFailed("no")
    box.configure(box.certificate())
    box.run()
    box.vault.put_standing("mx", replace(box.standing(), asked=box.clock.at))
    box.run()
    assert box.standing().failures == 2
    box.run()
    assert box.standing().failures == 2


def test_a_wish_before_its_time_that_fails_waits_for_its_time(box: Box) -> None:
    box.configure(box.certificate())
    box.run()
    due = box.row().decision.at
    box.authority.down = True
    box.vault.put_standing("mx", replace(box.standing(), asked=box.clock.at))
    box.run()
    (failed,) = box.said(CertificateRenewalFailed)
    assert failed.again == due
    assert box.row().decision.at == due


def test_one_that_always_fails_does_not_keep_others_from_theirs(box: Box) -> None:
    box.configure(box.certificate("a"), box.certificate("b"))

    def a_fails(request: object) -> None:
        failing = request.names == ("a.example.net",)  # type: ignore[attr-defined]
        box.authority.refuses = AcmeFailed("no") if failing else None

    box.authority.on_order = a_fails
    box.run()
    assert box.profile("b").origin is Origin.AUTOMATIC
    assert box.profile("a").origin is Origin.SELF_SIGNED


def test_a_certificate_that_is_taken_back_every_time_makes_no_loop(box: Box) -> None:
    box.configure(box.certificate())
    stand_in = box.profile()
    begin = box.clock.at
    while box.clock.at < begin + 2 * DAY:
        pause = box.run()
        if box.profile().origin is Origin.AUTOMATIC:
            asyncio.run(box.install(stand_in))  # it is not on the wire, so it is taken back
            assert "did not stay in force" in box.row().decision.reason
            pause = 1.0
        box.clock.at += pause
    assert 5 <= len(box.authority.orders) <= 8
    box.vault.put_standing("mx", replace(box.standing(), asked=box.clock.at))
    box.run()
    box.run()
    assert box.profile().origin is Origin.AUTOMATIC
    box.clock.at += 70 * DAY
    box.run()
    assert box.standing().lost == 0


def test_a_clock_that_went_back_keeps_nothing_from_being_tried(box: Box) -> None:
    box.authority.refuses = AcmeFailed("no", retry_after=5 * DAY)
    box.configure(box.certificate())
    box.clock.at += 400 * DAY
    box.run()
    box.clock.at -= 400 * DAY
    box.authority.refuses = None
    box.run()
    assert box.profile().origin is Origin.AUTOMATIC


# --- interruptions -------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["order", "stored"])
def test_an_interrupted_order_is_resumed_with_its_key(box: Box, moment: str) -> None:
    box.configure(box.certificate())
    box.authority.cut_off_at = moment
    with pytest.raises(CutOff):
        box.run()
    assert box.proving.closed == 1
    assert box.profile().origin is Origin.SELF_SIGNED
    box.authority.cut_off_at = ""
    box.restart()
    box.run()
    assert (len(box.authority.orders), box.authority.resumed) == (1, 1)
    assert box.profile().origin is Origin.AUTOMATIC
    assert asyncio.run(box.vault.journal("mx", "main").load()) is None


def test_keys_on_their_way_are_sealed(box: Box) -> None:
    box.configure(box.certificate())
    box.authority.cut_off_at = "stored"
    with pytest.raises(CutOff):
        box.run()
    saved = asyncio.run(box.vault.journal("mx", "main").load())
    assert saved is not None
    account = asyncio.run(box.vault.account(DIRECTORY))
    assert account is not None
    stored = box.everything_stored()
    assert b"acme order mx main/" in stored
    assert b"PRIVATE KEY" not in stored
    assert saved.key_pem.reveal()[30:60] not in stored
    assert account.key_pem.reveal()[30:60] not in stored


def test_a_certificate_that_cannot_be_put_in_force_is_not_ordered_again(box: Box) -> None:
    box.configure(box.certificate())
    box.refusals = [OperatorError("a worker refuses", "look at its log")]
    box.run()
    (failed,) = box.said(CertificateRenewalFailed)
    assert (
        failed.reason == "the new certificate could not be put in force: a worker refuses (look at its log)"
    )
    assert box.profile().origin is Origin.SELF_SIGNED
    box.restart()
    box.clock.at = box.standing().again
    box.run()
    assert box.profile().origin is Origin.AUTOMATIC
    assert len(box.authority.orders) == 1
    assert asyncio.run(box.vault.ready("mx")) is None


def test_somebody_elses_commit_at_the_same_moment_is_waited_for(box: Box) -> None:
    box.configure(box.certificate())
    stale = OperatorError("somebody else committed at the same moment", code=Exit.TRY_AGAIN)
    box.refusals = [stale, stale]
    box.run()
    assert box.profile().origin is Origin.AUTOMATIC
    assert box.paused == [0.5, 1.0]
    assert box.said(CertificateRenewalFailed) == []


def test_what_was_put_in_force_just_before_the_end_counts_as_ours(box: Box) -> None:
    box.configure(box.certificate())
    box.commits_then_ends = True
    with pytest.raises(CutOff):
        box.run()
    box.commits_then_ends = False
    box.restart()
    box.run()
    assert box.standing().issued == (box.profile().leaf.fingerprint,)
    assert len(box.authority.orders) == 1
    assert len(box.said(CertificateIssued)) == 1


def test_a_certificate_that_waited_too_long_is_ordered_anew(box: Box) -> None:
    box.configure(box.certificate())
    box.refusals = [OperatorError("no")]
    box.run()
    box.clock.at += 80 * DAY
    box.run()
    assert len(box.authority.orders) == 2
    assert box.profile().leaf.not_after > box.clock.at + 80 * DAY


# --- accounts ------------------------------------------------------------------------------------


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


# --- renewal windows -----------------------------------------------------------------------------


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


# --- waiting -------------------------------------------------------------------------------------


class Gate:
    def __init__(self) -> None:
        self.holds: Hold | None = Hold("its TLSA record is not visible yet", 600.0)

    async def hold(self, wanted: object, profile: object, /) -> Hold | None:
        return self.holds


def test_an_issued_certificate_may_have_to_wait_and_that_is_no_failure(tmp_path: Path) -> None:
    gate = Gate()
    box = Box(tmp_path, gate=gate)
    box.configure(box.certificate())
    assert box.run() == 600.0
    assert box.profile().origin is Origin.SELF_SIGNED
    box.clock.at += 600
    box.run()
    assert len(box.said(CertificateWaits)) == 1
    assert box.said(CertificateRenewalFailed) == []
    assert box.alerts == []
    ready = asyncio.run(box.vault.ready("mx"))
    assert isinstance(ready, Ready)
    gate.holds = None
    box.clock.at += 600
    box.run()
    assert box.profile().leaf.fingerprint == ready.profile.leaf.fingerprint
    assert len(box.authority.orders) == 1
    box.store.close()
