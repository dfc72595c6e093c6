"""Alerts that TLS keeps back: a notice without content goes in clear after a quarter of an hour, and the alert when TLS works; and what bypasses which limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fakes.ca import self_signed
from tests.fakes.gateway_parts import Gateway, authority, controls, gateway, listener
from tests.fakes.peer import FakePeer, Mail
from tests.fakes.time_travel import run

from gatepost.app.clear_notice_job import IDLE, LOOK, ClearNoticeJob
from gatepost.control.alert_mail import NOTICE_SUBJECT, send_alert
from gatepost.control.ports import WorkerAnswer
from gatepost.core.delivery_events import RequiredTlsFailed
from gatepost.core.errors import OperatorError
from gatepost.core.events import Event, Noted
from gatepost.core.ports import Alert
from gatepost.relay.own_mail import OwnMail
from gatepost.store.spool import MessageKind

VERIFY = controls("preferred", {"domain": "partner.example", "tls": "required-verify"})
ALERT = Alert("trouble", "critical", "The secret of mx.hidden.example", "Nobody on the way shall read this.")
ADMIN = "admin@partner.example"


class Desk:
    """What the desk has of a running gateway: one worker, a store, a log."""

    def __init__(self, it: Gateway, alerts: Mapping[str, Any] | None = None) -> None:
        self.it = it
        self.events: list[Event] = []
        self.metas: dict[str, bytes] = {}
        self.worker_is_up = True
        self._own = OwnMail(it.services, it.couriers.scheduler)
        self.document = {
            "system": {"hostname": "gw.example.net"},
            "alerts": {"recipients": [{"address": ADMIN}], **(alerts or {})},
        }
        self.emit = self.events.append

    async def ask_workers(
        self, kind: str, args: Mapping[str, Any], worker: int | None = None
    ) -> Sequence[WorkerAnswer]:
        if not self.worker_is_up:
            return [WorkerAnswer(0, error="worker 0 is not running")]
        return [WorkerAnswer(0, await self._own.answer(kind.removeprefix("mail."), args))]

    async def status(self) -> Mapping[str, Any]:
        return {"workers": [{"index": 0}]}

    def job(self) -> ClearNoticeJob:
        content = SimpleNamespace(document=self.document)
        store = SimpleNamespace(
            latest_number=lambda: 1,
            latest=lambda: SimpleNamespace(number=1, content=content),
            get_meta=self.metas.get,
            put_meta=self.metas.__setitem__,
        )
        return ClearNoticeJob(store, self, self.it.clock)  # type: ignore[arg-type]

    async def alert(self) -> int:
        sent = await send_alert(self, self.document, ALERT, "alert.1", self.it.clock.now())  # type: ignore[arg-type]
        return sent.mids[0]


async def rest(it: Gateway) -> None:
    """Until no courier works, those that begin meanwhile too."""
    while len(it.couriers.tasks):
        await it.couriers.tasks.wait(10.0)


def notices(peer: FakePeer) -> list[Mail]:
    return [mail for mail in peer.mails if NOTICE_SUBJECT.encode() in mail.body]


def test_the_notice_goes_in_clear_and_the_alert_when_the_certificate_is_mended(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(certificate=self_signed(["partner.example"])) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}, destination_controls=VERIFY) as it,
        ):
            desk = Desk(it)
            job = desk.job()
            mid = await desk.alert()
            await it.delayed(mid)
            assert await job.run() == LOOK
            await rest(it)
            it.clock.advance(890)
            await job.run()
            assert not notices(peer), "not before a quarter of an hour"
            await rest(it)
            it.clock.advance(20)
            await job.run()
            await peer.until(lambda: notices(peer))
            (notice,) = notices(peer)
            assert (notice.tls, notice.sender.split()[0]) == ("", "<>")
            assert "gw.example.net" in notice.body.decode()
            assert "hidden" not in notice.body.decode()
            assert b"Nobody" not in notice.body
            await job.run()
            await rest(it)
            it.clock.advance(3500)
            await job.run()
            await rest(it)
            assert len(notices(peer)) == 1, "once an hour"
            await rest(it)
            it.clock.advance(200)
            await desk.job().run()
            await peer.until(lambda: len(notices(peer)) == 2)
            assert it.stored(mid).kind is MessageKind.OWN, "the alert waits"
            assert [event.domain for event in it.log.of(RequiredTlsFailed)].count("partner.example") > 0
            assert not [one for one in it.log.of(RequiredTlsFailed) if one.wanted == "none"]
            await rest(it)
            peer.certificate = authority().issue(["partner.example"])
            it.to_next_attempt(mid)
            await peer.until(lambda: any(mail.tls for mail in peer.mails))
            (alert,) = [mail for mail in peer.mails if mail.tls]
            assert b"Nobody on the way shall read this." in alert.body
            told = [event.text for event in desk.events if isinstance(event, Noted)]
            assert len(told) == 2
            assert "partner.example are kept back by TLS" in told[0]

    run(main)


def test_it_can_be_switched_off_and_nobody_is_asked(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            for alerts in ({"clear_notice": False}, {"recipients": []}):
                desk = Desk(it, alerts)
                desk.worker_is_up = False
                assert await desk.job().run() == IDLE

    run(main)


def test_only_alerts_bring_it_about(tmp_path: Path) -> None:
    """Ordinary mail does not, with the null sender or through a listener that is named like our own mail."""

    async def main() -> None:
        async with (
            FakePeer(certificate=self_signed(["partner.example"])) as peer,
            gateway(
                tmp_path,
                routes={"partner.example": peer.port, "sender.example": "reject"},
                destination_controls=VERIFY,
                listeners=[
                    listener(
                        "gatepost", recipient_access=[{"recipient": "partner.example", "action": "accept"}]
                    )
                ],
            ) as it,
        ):
            desk = Desk(it)
            first = await it.inject("", ADMIN)
            client = await it.connect("gatepost")
            await client.hello()
            await client.envelope("", ADMIN)
            await client.data()
            await it.delayed(first)
            await rest(it)
            it.clock.advance(2000)
            await desk.job().run()
            await rest(it)
            assert not notices(peer)
            own = OwnMail(it.services, it.couriers.scheduler)
            assert await own.answer("stuck", {}) == []

    run(main)


def test_what_keeps_it_back_must_be_tls(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(replies={"RCPT": "451 4.7.5 Cryptic"}) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}) as it,
        ):
            desk = Desk(it)
            await it.delayed(await desk.alert())
            await rest(it)
            it.clock.advance(2000)
            await desk.job().run()
            await rest(it)
            assert not notices(peer)

    run(main)


def test_without_a_worker_it_is_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(certificate=self_signed(["partner.example"])) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}, destination_controls=VERIFY) as it,
        ):
            desk = Desk(it)
            await it.delayed(await desk.alert())
            await rest(it)
            it.clock.advance(901)
            desk.worker_is_up = False
            job = desk.job()
            assert await job.run() == LOOK
            desk.worker_is_up = True
            await job.run()
            await peer.until(lambda: notices(peer))

    run(main)


# --- limits ---------------------------------------------------------------------------------------------------


def test_an_alert_passes_a_destination_whose_connections_are_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer:
            peer.hold("DATA")
            limits = controls("preferred", max_connections=1)
            routes = {"partner.example": peer.port}
            async with gateway(tmp_path, routes=routes, destination_controls=limits) as it:
                for _ in range(20):
                    await it.inject("a@sender.example", "b@partner.example")
                await peer.until(lambda: "DATA" in peer.commands)
                mid = await Desk(it).alert()
                await peer.until(lambda: len(peer.conversations) == 2)
                peer.go("DATA")
                await it.log.line(f"Message finished MID {mid} done")
                order = it.log.with_("Message finished")
                assert order.index(f"Message finished MID {mid} done") < 10, "it stood before the others"
                assert peer.most_open == 2

    run(main)


def test_an_alert_may_use_half_of_the_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes={"partner.example": ("reject",)}) as it:
            asked: list[bool] = []

            def room_for(size: int, *, own: bool = False) -> bool:
                asked.append(own)
                return own

            monkeypatch.setattr(it.services.spool, "room_for", room_for)
            assert await Desk(it).alert()
            report = {
                "token": "r",
                "recipients": ["a@x.example"],
                "content": "QQ==",
                "sender": "r@gw.example",
            }
            with pytest.raises(OperatorError, match="not enough disk space"):
                await OwnMail(it.services, it.couriers.scheduler).answer("submit", report)
            assert asked == [True, False]

    run(main)
