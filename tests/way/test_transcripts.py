"""The whole way, as the mail log tells it: each test is a golden transcript of reference/mail-log.md."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.gateway_parts import authority, gateway
from tests.fakes.peer import FakePeer
from tests.fakes.time_travel import run

TEXT = b"Message-ID: <1@host>\r\nSubject: Testing\r\n\r\nHello\r\n"


def test_a_message_over_tls_both_ways(tmp_path: Path) -> None:
    async def main() -> None:
        certificate = authority().issue(["example.net"])
        async with (
            FakePeer(certificate=certificate) as peer,
            gateway(tmp_path, routes={"example.net": peer.port}) as it,
        ):
            it.log.masks[str(peer.port)] = "PORT"
            client = await it.connect()
            await client.hello()
            await client.starttls()
            assert "STARTTLS" not in await client.say("EHLO client.example")
            await client.envelope("sender@remotehost.com", "mary@example.net")
            assert await client.data(TEXT) == "250 2.0.0 Ok: queued as 1"
            await client.quit()
            mail = await peer.mail()
            await it.log.line("ICID 1 close")
            await it.quiet()
            it.clock.advance(10)
            await it.log.line("DCID 1 close")
            queued = it.log.lines.index("MID 1 queued for delivery") + 1
            assert it.log.lines[:queued] == [
                "New SMTP ICID 1 interface Data 1 (127.0.0.1) address 127.0.0.1"
                " reverse dns host unknown verified no",
                "ICID 1 ACCEPT SG ALL match ALL SBRS not enabled",
                "ICID 1 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
                "Start MID 1 ICID 1",
                "MID 1 ICID 1 From: <sender@remotehost.com>",
                "MID 1 ICID 1 RID 0 To: <mary@example.net>",
                "MID 1 Message-ID '<1@host>'",
                'MID 1 Subject "Testing"',
                "MID 1 ready 49 bytes from <sender@remotehost.com>",
                "MID 1 queued for delivery",
            ]
            leaving = it.log.lines[queued:]
            leaving.remove("ICID 1 close")
            assert leaving == [
                "New SMTP DCID 1 interface 127.0.0.1 address 127.0.0.1 port PORT",
                "DCID 1 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
                "Delivery start DCID 1 MID 1 to RID [0]",
                "Message done DCID 1 MID 1 to RID [0]",
                "MID 1 RID [0] Response '2.0.0 Ok: queued'",
                "Message finished MID 1 done",
                "DCID 1 close",
            ]
            assert (mail.sender.split()[0], mail.recipients) == (
                "<sender@remotehost.com>",
                ["<mary@example.net>"],
            )
            received, rest = mail.body[: -len(TEXT)], mail.body[-len(TEXT) :]
            assert rest == TEXT
            assert received.startswith(b"Received: from client.example\r\n")
            assert b"with ESMTPS" in received
            assert b"TLSv1.3" in received

    run(main)
