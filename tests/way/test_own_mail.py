"""Mail that the gateway itself sends: kept by a worker like any other, delivered under the recipient's plan, never answered."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import Gateway, controls, gateway
from tests.fakes.peer import FakePeer
from tests.fakes.time_travel import run

from gatepost.core.envelope import Notify
from gatepost.core.errors import OperatorError
from gatepost.core.record_events import OutboundSession
from gatepost.relay.own_mail import MAX_OWN_MAIL, OwnMail
from gatepost.store.spool import StoredMessage

CONTENT = b"From: <alert@gw.example.net>\r\nSubject: Test\r\nMessage-ID: <1@gw>\r\n\r\n.dotted\r\nHello\r\n"


def request(*recipients: str, token: str = "t1", content: bytes = CONTENT) -> dict[str, Any]:
    return {
        "token": token,
        "recipients": list(recipients),
        "content": b64encode(content).decode("ascii"),
    }


def own_mail(it: Gateway) -> OwnMail:
    return OwnMail(it.services, it.couriers.scheduler)


def test_it_is_logged_kept_and_delivered_like_any_message(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            answer = await own_mail(it).answer("submit", request("admin@partner.example"))
            mid = answer["mid"]
            await it.log.line(f"Message finished MID {mid} done")
            lines = it.log.about(f"MID {mid}")
            assert lines[:7] == [
                f"Start MID {mid} ICID 0",
                f"MID {mid} ICID 0 From: <>",
                f"MID {mid} ICID 0 RID 0 To: <admin@partner.example>",
                f"MID {mid} Message-ID '<1@gw>'",
                f'MID {mid} Subject "Test"',
                f"MID {mid} ready {len(CONTENT)} bytes from <>",
                f"MID {mid} queued for delivery",
            ]
            (mail,) = peer.mails
            assert mail.sender.startswith("<>")
            assert mail.body == CONTENT

    run(main)


def test_the_levels_of_the_recipient_domain_hold_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        required = controls("preferred", {"domain": "partner.example", "tls": "required"})
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}, destination_controls=required) as it,
        ):
            answer = await own_mail(it).answer("submit", request("admin@partner.example"))
            await it.delayed(answer["mid"])
            assert peer.mails == []

    run(main)


def test_a_bounce_of_it_is_reported_to_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes={"partner.example": ("reject",)}) as it:
            answer = await own_mail(it).answer("submit", request("admin@partner.example"))
            await it.log.line("Double bounce: MID", f"MID {answer['mid']} ")
            await it.quiet()
            assert it.log.with_("was generated for bounce") == []
            assert it.couriers.scheduler.messages == {}

    run(main)


def test_a_second_request_of_the_same_token_keeps_nothing_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            mail = own_mail(it)
            first = await mail.answer("submit", request("a@nowhere.example"))
            assert await mail.answer("submit", request("a@nowhere.example")) == first
            other = await mail.answer("submit", request("a@nowhere.example", token="t2"))
            assert other != first
            assert len(it.log.with_("queued for delivery")) == 2

    run(main)


def test_the_envelope_asks_for_no_reports_and_names_the_gateway_in_the_queue(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            it.resolver.failing.add("nowhere.example")
            recipients = ("a@nowhere.example", "jürgen@nowhere.example")
            answer = await own_mail(it).answer("submit", request(*recipients))
            stored = it.stored(answer["mid"])
            assert stored.envelope.sender.null
            assert stored.envelope.smtputf8
            assert [r.notify for r in stored.envelope.recipients] == [frozenset({Notify.NEVER})] * 2
            assert stored.dotted
            assert not stored.eight_bit
            (shown,) = await it.queue.answer("show", {"mid": answer["mid"]})
            assert shown["listener"] == "gatepost"

    run(main)


@pytest.mark.parametrize(
    "recipients",
    [
        (),
        ("",),
        ("a",),
        ("a@b.example>\r\nRCPT TO:<x@evil.example",),
        ("a b@c.example",),
        ("a@b.example\0",),
        ("\ud800@x.example",),
    ],
)
def test_what_is_no_mailbox_is_refused_and_leaves_nothing(
    tmp_path: Path, recipients: tuple[str, ...]
) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            with pytest.raises(OperatorError):
                await own_mail(it).answer("submit", request(*recipients))
            assert it.couriers.scheduler.messages == {}
            assert it.log.lines == []

    run(main)


def test_a_mail_that_is_empty_or_too_large_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            for content in (b"", b"x" * (MAX_OWN_MAIL + 1)):
                with pytest.raises(OperatorError, match="octets"):
                    await own_mail(it).answer("submit", request("a@b.example", content=content))
            with pytest.raises(OperatorError, match="no mail action"):
                await own_mail(it).answer("read", {})

    run(main)


def test_without_room_on_the_disk_it_is_refused_and_logged_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            monkeypatch.setattr(it.services.spool, "room_for", lambda size, own=False: False)
            with pytest.raises(OperatorError, match="not enough disk space"):
                await own_mail(it).answer("submit", request("a@b.example"))
            assert it.log.lines == []

    run(main)


def test_a_tls_report_has_a_sender_and_its_delivery_says_what_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            asked = request("tls@partner.example") | {"sender": "reports@sender.example"}
            answer = await own_mail(it).answer("submit", asked)
            await it.log.line(f"Message finished MID {answer['mid']} done")
            (mail,) = peer.mails
            assert mail.sender.startswith("<reports@sender.example>")
            (session,) = it.log.of(OutboundSession)
            assert session.tls_report is True

    run(main)


def test_an_alert_that_is_gone_is_remembered_by_nobody(tmp_path: Path) -> None:
    """Also where nobody asks which alerts are kept back: `alerts.clear_notice` may be off."""

    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            answer = await own_mail(it).answer("submit", request("admin@partner.example"))
            await it.log.line(f"Message finished MID {answer['mid']} done")
            await it.quiet()
            assert it.couriers.scheduler.own == set()

    run(main)


def test_an_alert_is_no_tls_report(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            answer = await own_mail(it).answer("submit", request("admin@partner.example"))
            await it.log.line(f"Message finished MID {answer['mid']} done")
            (session,) = it.log.of(OutboundSession)
            assert session.tls_report is False

    run(main)


def test_a_tls_report_waives_the_recipients_policy_and_nobody_is_told_of_its_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes={"partner.example": ("reject",)}) as it:
            asked = request("tls@partner.example") | {"sender": "reports@sender.example"}
            taken: list[StoredMessage] = []
            it.couriers.scheduler.add = _noting(it.couriers.scheduler.add, taken)  # type: ignore[method-assign]
            answer = await own_mail(it).answer("submit", asked)
            await it.log.line("Bounced:", f"MID {answer['mid']} ")
            await it.quiet()
            (message,) = taken
            assert message.envelope.tls_optional
            assert all(one.notify == {Notify.NEVER} for one in message.envelope.recipients)
            assert it.couriers.scheduler.messages == {}

    run(main)


def _noting(
    add: Callable[[StoredMessage], None], taken: list[StoredMessage]
) -> Callable[[StoredMessage], None]:
    def noting(message: StoredMessage) -> None:
        taken.append(message)
        add(message)

    return noting
