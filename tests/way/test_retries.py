"""When a message is tried again, and what its sender is told: delays, bounces, receipts, and nothing twice."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.gateway_parts import BODY, Gateway, controls, gateway, to_address
from tests.fakes.peer import CAPABILITIES, FakePeer
from tests.fakes.time_travel import run

from gatepost.core.delivery_events import Delivered, RecipientBounced
from gatepost.core.envelope import Notify, Recipient, Ret

FROM = "a@sender.example"
PROFILE = {
    "name": "Default",
    "initial_retry": "60s",
    "max_retry": "1h",
    "max_age": "72h",
    "delay_warning": "4h",
}


def without(*words: str) -> tuple[str, ...]:
    return tuple(word for word in CAPABILITIES if not word.startswith(words))


# --- retries --------------------------------------------------------------------------------------


def test_retries_follow_the_bounce_profile(tmp_path: Path) -> None:
    async def main() -> None:
        profile = {**PROFILE, "max_attempts": 6}
        async with FakePeer(replies={"RCPT": "451 4.2.0 Later"}) as peer:
            routes = {"partner.example": peer.port, "sender.example": "reject"}
            async with gateway(tmp_path, routes=routes, bounce_profiles=[profile]) as it:
                mid = await it.inject(FROM, "b@partner.example")
                waits = []
                for attempt in range(1, 6):
                    await it.delayed(mid, attempt)
                    progress = it.stored(mid).progress[0]
                    assert progress.attempts == attempt
                    waits.append(progress.next_attempt - it.clock.now())
                    it.to_next_attempt(mid)
                bounced = await it.log.line("Bounced:", f"MID {mid} ")
                for wait, expected in zip(waits, (60, 120, 240, 480, 960), strict=True):
                    assert 0.9 * expected <= wait <= 1.1 * expected
                assert "5.4.7 - Delivery expired" in bounced
                assert "given up after 6 attempts" in bounced
                assert "4.2.0 Later" in bounced

    run(main)


def test_a_message_is_not_tried_before_its_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(replies={"RCPT": ["451 4.2.0 Later", "250 Ok"]}) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}) as it,
        ):
            mid = await it.inject(FROM, "b@partner.example")
            await it.delayed(mid)
            await it.quiet()
            it.clock.advance(it.stored(mid).progress[0].next_attempt - it.clock.now() - 1)
            other = await it.inject(FROM, "c@partner.example")
            await it.log.line(f"Message finished MID {other}")
            assert not it.log.with_(f"Message finished MID {mid}")
            it.clock.advance(2)
            await it.log.line(f"Message finished MID {mid}")

    run(main)


def test_the_sender_is_warned_once_of_a_delay(tmp_path: Path) -> None:
    async def main() -> None:
        replies = {"RCPT TO:<b@": "451 4.2.0 Later"}
        async with FakePeer(replies=replies) as peer:
            routes = {"partner.example": peer.port, "sender.example": peer.port}
            async with gateway(tmp_path, routes=routes, bounce_profiles=[PROFILE]) as it:
                mid = await it.inject(FROM, "b@partner.example")
                await it.delayed(mid)
                it.clock.advance(4 * 3600)
                await it.delayed(mid, 2)
                warning = await peer.mail()
                assert warning.recipients == [f"<{FROM}> NOTIFY=NEVER"]
                assert b"Action: delayed\r\n" in warning.body
                assert b"Status: 4.2.0\r\n" in warning.body
                assert b"Will-Retry-Until: " in warning.body
                it.to_next_attempt(mid)
                await it.delayed(mid, 3)
                await it.quiet()
                assert len(peer.mails) == 1

    run(main)


def test_the_queue_outlives_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(replies={"RCPT": ["451 4.2.0 Later", "250 Ok"]}) as peer:
            routes = {"partner.example": peer.port}
            async with gateway(tmp_path, routes=routes) as it:
                mid = await it.inject(FROM, "b@partner.example")
                await it.delayed(mid)
                clock = it.clock
            async with gateway(tmp_path, routes=routes, clock=clock) as it:
                assert it.stored(mid).progress[0].attempts == 1
                await it.quiet()
                assert len(peer.conversations) == 1
                it.to_next_attempt(mid)
                await it.log.line(f"Message finished MID {mid}")
                assert peer.mails[0].body == BODY

    run(main)


# --- reports ----------------------------------------------------------------------------------------


async def bounce(it: Gateway, *to: Recipient | str, sender: str = FROM, **envelope: object) -> int:
    mid = await it.inject(sender, *to, **envelope)  # type: ignore[arg-type]
    await it.log.line(f"Message finished MID {mid}")
    return mid


def test_a_report_says_what_happened(tmp_path: Path) -> None:
    async def main() -> None:
        replies = {"RCPT TO:<b@": "550 5.1.1 No such user"}
        async with FakePeer(replies=replies) as peer:
            routes = {"partner.example": peer.port, "sender.example": peer.port}
            async with gateway(tmp_path, routes=routes) as it:
                b = Recipient(to_address("b@partner.example"), original="rfc822;old+40partner.example")
                await bounce(it, b, envelope_id="QQ314159", ret=Ret.FULL)
                report = await peer.mail()
                assert report.sender.startswith("<>")
                assert report.recipients == [f"<{FROM}> NOTIFY=NEVER"]
                for line in (
                    b"Reporting-MTA: dns; gw.example.net",
                    b"Original-Envelope-Id: QQ314159",
                    b"Original-Recipient: rfc822; old@partner.example",
                    b"Final-Recipient: rfc822; b@partner.example",
                    b"Action: failed",
                    b"Status: 5.1.1",
                    b"Diagnostic-Code: smtp; 550 5.1.1 No such user",
                    b"Content-Type: message/rfc822",
                ):
                    assert line + b"\r\n" in report.body, line
                assert BODY in report.body
                assert it.log.about("MID 2")[0] == "MID 2 was generated for bounce of MID 1"

    run(main)


def test_who_wants_no_report_gets_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes={"partner.example": "reject", "sender.example": 1}) as it:
            never = Recipient(to_address("b@partner.example"), frozenset({Notify.NEVER}))
            success = Recipient(to_address("c@partner.example"), frozenset({Notify.SUCCESS}))
            await bounce(it, never, success)
            await it.quiet()
            assert len(it.log.of(RecipientBounced)) == 2
            assert not it.log.with_("was generated")

    run(main)


def test_success_is_reported_where_the_next_host_does_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(capabilities=without("DSN")) as peer, FakePeer() as able:
            routes = {"partner.example": peer.port, "able.example": able.port, "sender.example": able.port}
            async with gateway(tmp_path, routes=routes) as it:
                wanted = frozenset({Notify.SUCCESS})
                await it.inject(FROM, Recipient(to_address("b@able.example"), wanted))
                assert "NOTIFY=SUCCESS" in (await able.mail()).recipients[0]
                await it.inject(FROM, Recipient(to_address("b@partner.example"), wanted))
                report = await able.mail(2)
                assert b"Action: relayed\r\n" in report.body
                assert "NOTIFY" not in peer.mails[0].recipients[0]

    run(main)


def test_a_double_bounce_is_logged_and_dropped(tmp_path: Path) -> None:
    async def main() -> None:
        replies = {"RCPT": "501 5.5.4 Invalid Address"}
        async with FakePeer(replies=replies) as peer:
            routes = {"partner.example": peer.port, "sender.example": peer.port}
            async with gateway(tmp_path, routes=routes) as it:
                await it.inject(FROM, "b@partner.example")
                await it.log.line("Message finished MID 2 done")
                assert it.log.with_("Double bounce") == [
                    "Double bounce: MID 2 to RID 0 - 5.1.0 - Unknown address error 501-'5.5.4 Invalid Address'"
                ]
                await it.quiet()
                assert not it.couriers.scheduler.messages

    run(main)


def test_reports_an_hour_are_capped(tmp_path: Path) -> None:
    async def main() -> None:
        routes = {"partner.example": "reject", "sender.example": 1}
        async with gateway(tmp_path, routes=routes, bounces={"max_per_hour": 2}) as it:
            for _ in range(3):
                await bounce(it, "b@partner.example")
            assert len(it.log.with_("was generated for")) == 2
            (line,) = it.log.with_("no report was generated")
            assert line.startswith("Warning: MID ")
            it.clock.advance(64 * 60)
            await bounce(it, "b@partner.example")
            assert len(it.log.with_("was generated for")) == 3

    run(main)


def test_a_report_names_the_tls_reason(tmp_path: Path) -> None:
    """Requirements D, "kept is never lost": bounced at its limits with a report that says why."""

    async def main() -> None:
        profile = {**PROFILE, "max_attempts": 1}
        async with FakePeer() as peer, FakePeer() as home:
            routes = {"partner.example": peer.port, "sender.example": home.port}
            levels = controls("preferred", {"domain": "partner.example", "tls": "required"})
            async with gateway(
                tmp_path, routes=routes, bounce_profiles=[profile], destination_controls=levels
            ) as it:
                await it.inject(FROM, "b@partner.example")
                report = await home.mail()
                assert b"Status: 5.7.4\r\n" in report.body
                people = b" ".join(report.body.partition(b"message/delivery-status")[0].split())
                assert people.count(b"remote host does not offer STARTTLS") == 1
                assert peer.mails == []
                await it.log.line("Message finished MID 2 done")
                assert [event.mid for event in it.log.of(Delivered)] == [2]

    run(main)
