"""Renewals that fail, wait or are interrupted: nothing is lost, nothing is ordered twice, and it is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tests.certs.renewal_box import DIRECTORY, Box, serials
from tests.fakes.renewal_authority import DAY, CutOff

from gatepost.certs.acme.errors import AcmeFailed
from gatepost.certs.acme_secrets import Secret
from gatepost.certs.acme_vault import Ready
from gatepost.certs.renewing import Hold
from gatepost.core.certificate_events import CertificateIssued, CertificateRenewalFailed, CertificateWaits
from gatepost.core.errors import Exit, OperatorError
from gatepost.pki.keys import SecretBytes
from gatepost.pki.profile import Origin


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.store.close()


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
