"""What an attempt leaves behind: answers for each recipient, retries and their times, reports, double bounces."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.gateway_parts import BODY, Gateway, controls, gateway, to_address
from tests.fakes.peer import CAPABILITIES, CLOSE, FakePeer
from tests.fakes.time_travel import run

from gatepost.core.envelope import Notify, Recipient, Ret
from gatepost.core.events import Delivered, RecipientBounced, RecipientDelayed

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


# --- answers --------------------------------------------------------------------------------------


def test_each_recipient_has_its_own_fate(tmp_path: Path) -> None:
    async def main() -> None:
        replies = {"RCPT TO:<gone": "550 5.1.1 No such user", "RCPT TO:<full": "452 4.2.2 Mailbox full"}
        async with FakePeer(replies=replies) as peer:
            routes = {"partner.example": peer.port, "sender.example": peer.port}
            async with gateway(tmp_path, routes=routes) as it:
                to = [f"{name}@partner.example" for name in ("gone", "full", "fine")]
                await it.inject(FROM, *to)
                await it.log.line("MID 2 RID [0] Response")
                await it.quiet()
                assert it.log.about("MID 1") == [
                    "MID 1 queued for delivery",
                    "Delivery start DCID 1 MID 1 to RID [0, 1, 2]",
                    "Message done DCID 1 MID 1 to RID [2]",
                    "MID 1 RID [2] Response '2.0.0 Ok: queued'",
                    "Bounced: DCID 1 MID 1 to RID 0 - 5.1.0 - Unknown address error ('550', ['5.1.1 No such user'])",
                    "Delayed: DCID 1 MID 1 to RID 1 - 4.1.0 - Unknown address error ('452', ['4.2.2 Mailbox full']) []",
                    "MID 2 was generated for bounce of MID 1",
                ]
                assert peer.mails[0].recipients == ["<fine@partner.example>"]
                peer.replies["RCPT TO:<full"] = "250 2.1.5 Ok"
                it.to_next_attempt(1)
                await it.log.line("Message finished MID 1 done")
                assert peer.mails[-1].recipients == ["<full@partner.example>"]
                assert not it.couriers.scheduler.messages

    run(main)


def test_answers_to_mail_data_and_body(tmp_path: Path) -> None:
    async def main() -> None:
        replies = {
            "MAIL FROM:<mail@": "451 4.7.1 Greylisted",
            "DATA": ["451 4.3.0 Not now", "354 Go ahead"],
            "BODY": ["554 5.6.0 Not wanted", "250 2.0.0 Ok"],
        }
        async with (
            FakePeer(replies=replies) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port, "sender.example": "reject"}) as it,
        ):
            for sender, outcome in (
                (
                    "mail@sender.example",
                    "Delayed: DCID 1 MID 1 to RID 0 - 4.3.0 - Other mail system problem ('451', ['4.7.1 Greylisted']) []",
                ),
                (
                    "data@sender.example",
                    "Delayed: DCID 1 MID 2 to RID 0 - 4.3.0 - Other mail system problem ('451', ['4.3.0 Not now']) []",
                ),
                (
                    "body@sender.example",
                    "Bounced: DCID 1 MID 3 to RID 0 - 5.3.0 - Other mail system problem ('554', ['5.6.0 Not wanted'])",
                ),
            ):
                await it.inject(sender, "b@partner.example")
                await it.log.line(outcome)
                await it.quiet()
            assert len(peer.conversations) == 1, "refused messages do not cost the connection"

    run(main)


def test_a_peer_without_pipelining_is_asked_step_by_step(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(capabilities=without("PIPELINING")) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}) as it,
        ):
            await it.inject(FROM, "b@partner.example", "c@partner.example")
            await it.log.line("Message finished")
            assert peer.mails[0].recipients == ["<b@partner.example>", "<c@partner.example>"]

    run(main)


def test_a_message_as_it_is(tmp_path: Path) -> None:
    """Dots, a missing end of line, eight bits to a seven-bit hop: the octets arrive, and the log says what was done."""

    async def main() -> None:
        body = "Subject: x\r\n\r\n.\r\n..dots\r\nGrüße, no end".encode()
        async with (
            FakePeer(capabilities=without("8BITMIME")) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}) as it,
        ):
            await it.inject(FROM, "b@partner.example", body=body, eight_bit=True, body_8bit=True)
            assert (await peer.mail()).body == body + b"\r\n"
            await it.log.line("Message finished")
            assert (
                "Warning: DCID 1 MID 1 8-bit message sent as it is: the remote host does not offer 8BITMIME"
                in it.log.lines
            )
            assert "BODY=" not in peer.commands[1]

    run(main)


def test_a_large_message_and_one_that_is_refused_half_way(tmp_path: Path) -> None:
    async def main() -> None:
        body = b"Subject: large\r\n\r\n" + b".234567890abcdef\r\n" * 20_000
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}) as it,
        ):
            await it.inject(FROM, "b@partner.example", body=body)
            assert (await peer.mail()).body == body

    run(main)


def test_what_the_peer_cannot_take_bounces_without_an_attempt(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(capabilities=("SIZE 1000", "PIPELINING")) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port, "sender.example": "reject"}) as it,
        ):
            await it.inject(FROM, "b@partner.example", body=b"Subject: x\r\n\r\n" + b"x\r\n" * 1000)
            line = await it.log.line("Bounced: DCID 1 MID 1")
            assert " - 5.3.4 - Message too big for system ('000', [" in line
            await it.inject(FROM, "bü@partner.example", smtputf8=True)
            line = await it.log.line("Bounced:", " - 5.6.7 - ")
            assert "does not support internationalised mail (SMTPUTF8)" in line
            assert "MAIL" not in peer.conversations[0].verbs

    run(main)


# --- the network ----------------------------------------------------------------------------------


def test_the_next_host_is_tried_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(replies={"GREETING": ("554 5.7.1 Go away", CLOSE)}) as bad, FakePeer() as good:
            routes = {"partner.example": (1, bad.port, good.port)}
            async with gateway(tmp_path, routes=routes) as it:
                it.log.masks[str(bad.port)] = "BAD"
                await it.inject(FROM, "b@partner.example")
                await it.log.line("Message finished")
                assert it.log.with_("Connection Error") == [
                    "Connection Error: DCID 1 domain: partner.example IP:127.0.0.1 port: 1 details:"
                    " [Errno 111] Connection refused interface: 0.0.0.0 reason: network error",
                    "Connection Error: DCID 2 domain: partner.example IP:127.0.0.1 port: BAD details:"
                    " 554-'5.7.1 Go away' interface: 127.0.0.1 reason: unexpected SMTP response",
                ]
                assert not it.log.with_("Delayed")

    run(main)


def test_a_dead_destination_costs_one_attempt_for_all(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(replies={"GREETING": CLOSE}) as peer:
            peer.hold("GREETING")
            limits = controls("preferred", max_connections=1)
            routes = {"partner.example": peer.port}
            async with gateway(tmp_path, routes=routes, destination_controls=limits) as it:
                for _ in range(5):
                    await it.inject(FROM, "b@partner.example")
                peer.go("GREETING")
                await it.delayed(5)
                assert sorted(event.mid for event in it.log.of(RecipientDelayed)) == [1, 2, 3, 4, 5]
                assert len(peer.conversations) == 1
                assert {event.dcid for event in it.log.of(RecipientDelayed)} == {1}

    run(main)


def test_a_peer_that_wants_a_body_for_nobody_gets_an_empty_one(tmp_path: Path) -> None:
    """RFC 2920 §3.1: DATA is answered 354 although every RCPT was refused."""

    async def main() -> None:
        replies = {"RCPT TO:<gone@": "550 5.1.1 No such user"}
        async with (
            FakePeer(replies=replies, lenient=True) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port, "sender.example": "reject"}) as it,
        ):
            await it.inject(FROM, "gone@partner.example")
            await it.log.line("Bounced: DCID 1 MID 1")
            await peer.heard("BODY 0")
            await it.quiet()
            mid = await it.inject(FROM, "b@partner.example")
            await it.log.line(f"Message done DCID 1 MID {mid}")

    run(main)


def test_a_connection_that_breaks_behind_the_dot_is_no_delivery(tmp_path: Path) -> None:
    """The peer may own the message: no other host gets it in this attempt, and it is tried again."""

    async def main() -> None:
        async with (
            FakePeer(replies={"BODY": [CLOSE, "250 2.0.0 Ok"]}) as peer,
            FakePeer() as other,
            gateway(tmp_path, routes={"partner.example": (peer.port, other.port)}) as it,
        ):
            mid = await it.inject(FROM, "b@partner.example")
            await it.delayed(mid)
            assert other.conversations == []
            it.to_next_attempt(mid)
            await it.log.line("Message finished")

    run(main)


def test_time_outs_of_a_peer(tmp_path: Path) -> None:
    """RFC 5321 §4.5.3.2: five minutes for a command, ten for the answer to the final dot."""

    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            for what, patience in (("GREETING", 300), ("RCPT", 300), ("BODY", 600)):
                peer.hold(what)
                mid = await it.inject(FROM, "b@partner.example")
                count = len(peer.conversations)
                if what == "GREETING":
                    await it.log.line("New SMTP DCID")
                else:
                    await peer.heard({"RCPT": "RCPT", "BODY": "BODY"}[what])
                it.clock.advance(patience - 5)
                await it.log.until(lambda: True)
                assert not [e for e in it.log.of(RecipientDelayed) if e.mid == mid]
                it.clock.advance(10)
                await it.delayed(mid)
                assert "['timeout']" in it.log.with_("Delayed:", f"MID {mid} ")[0]
                await it.quiet()
                peer.go(what)
                await it.queue.answer("delete", {"mid": mid})
                assert len(peer.conversations) >= count

    run(main)


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
                assert b"remote host does not offer STARTTLS" in report.body
                assert peer.mails == []
                await it.log.line("Message finished MID 2 done")
                assert [event.mid for event in it.log.of(Delivered)] == [2]

    run(main)
