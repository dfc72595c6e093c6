"""What an attempt leaves behind: answers for each recipient, and what the network and DNS do."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.gateway_parts import controls, gateway
from tests.fakes.peer import CAPABILITIES, CLOSE, FakePeer
from tests.fakes.time_travel import run

from gatepost.core.delivery_events import RecipientDelayed

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


def test_a_large_message_arrives_with_its_dots(tmp_path: Path) -> None:
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
                    " [Errno 111] Connection refused interface: 127.0.0.1 reason: network error",
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
            assert [(mail.recipients, bool(mail.body)) for mail in peer.mails] == [
                ([], False),
                (["<b@partner.example>"], True),
            ]

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


def test_a_peer_that_refuses_a_large_message_half_way(tmp_path: Path) -> None:
    """It answers 552 in the middle and hangs up: that is an answer, and not a network error to retry for days."""

    async def main() -> None:
        body = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 400_000
        async with FakePeer(replies={"DATA": ("354 Go", "552 5.3.4 Too big", CLOSE)}) as peer:
            routes = {"partner.example": peer.port, "sender.example": "reject"}
            async with gateway(tmp_path, routes=routes) as it:
                mid = await it.inject(FROM, "b@partner.example", body=body)
                line = await it.log.line(f"MID {mid} to RID 0")
                assert line == (
                    "Bounced: DCID 1 MID 1 to RID 0 - 5.3.0 - Other mail system problem ('552', ['5.3.4 Too big'])"
                )
                await it.quiet()
                assert peer.mails == []

    run(main)


def test_what_dns_says(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes={"sender.example": "reject"}) as it:
            it.resolver.failing.add("unknown.example")
            it.resolver.set_mx("null.example", (0, ""))
            for number, domain in enumerate(("nx.example", "unknown.example", "null.example"), 1):
                await it.inject("", f"b@{domain}")
                await it.log.line(f"MID {number} to RID 0")
            assert it.log.with_("to RID 0") == [
                "Double bounce: MID 1 to RID 0 - 5.1.2 - Bad destination host"
                " 000-'DNS Hard Error looking up nx.example (MX):  NXDomain'",
                "Delayed: DCID 0 MID 2 to RID 0 - 4.4.3 - Directory server failure"
                " ('000', ['DNS Soft Error looking up unknown.example (MX): SERVFAIL']) []",
                "Double bounce: MID 3 to RID 0 - 5.1.10 - Recipient address has null MX"
                " 000-'null.example: the domain has a null MX: it accepts no mail'",
            ]
            await it.inject(FROM, "b@nx.example")
            await it.log.line(
                "Bounced: DCID 0 MID 4 to RID 0 - 5.1.2 - Bad destination host"
                " ('000', ['DNS Hard Error looking up nx.example (MX):  NXDomain'])"
            )

    run(main)
