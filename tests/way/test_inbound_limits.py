"""Limits of a policy and a listener, and messages that are refused for what they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.fakes.gateway_parts import Gateway, gateway, listener, policy
from tests.fakes.smtp_client import Client
from tests.fakes.time_travel import run

NEW = "New SMTP ICID 1 interface Data 1 (127.0.0.1) address 127.0.0.1 reverse dns host unknown verified no"
ACCEPTED = "ICID 1 ACCEPT SG ALL match ALL SBRS not enabled"


def session(
    tmp_path: Path, talk: Callable[[Gateway, Client], Awaitable[None]], *, routes: Any = None, **sections: Any
) -> list[str]:
    """One session of one client; returns the log's lines when it is over."""

    async def main() -> list[str]:
        async with gateway(tmp_path, routes=routes, **sections) as it:
            client = await it.connect()
            await talk(it, client)
            await it.log.until(lambda: it.log.with_("ICID 1 close") or it.log.with_("TCPREFUSE"))
            assert it.bugs == []
            return list(it.log.lines)

    return run(main)


def hat(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Listeners and policies with these rows in front of a rejecting one."""
    groups = [*rows, {"group": "ALL", "policy": "BLOCKED"}]
    policies = [
        policy(),
        policy("RELAYED", "relay"),
        policy("BLOCKED", "reject"),
        policy("SHUT", "tcprefuse"),
        policy("ON", "continue"),
    ]
    return {"listeners": [listener(host_access=groups, **more)], "mail_flow_policies": policies}


def tls(level: str, **more: Any) -> dict[str, Any]:
    return {"mail_flow_policies": [policy(tls=level, **more), policy("BLOCKED", "reject")]}


# --- limits ---------------------------------------------------------------------------------------


def test_limits_of_a_policy(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        await client.envelope("a@b.example", "one@example.net", "two@example.net")
        assert await client.say("RCPT TO:<three@example.net>") == "452 4.5.3 Too many recipients"
        assert (await client.data()).startswith("250 ")
        await client.envelope("a@b.example", "one@example.net")
        assert (await client.data()).startswith("250 ")
        assert (await client.say("MAIL FROM:<a@b.example>")).startswith("421 4.7.0 Too many messages")
        assert await client.ended() == ""

    limits = {"max_messages_per_connection": 2, "max_recipients_per_message": 2}
    lines = session(tmp_path, talk, routes={"example.net": 1}, **tls("preferred", **limits))
    assert "MID 1 ICID 1 To: <three@example.net> Too many recipients" in lines
    assert "ICID 1 Receiving Failed: Too many messages on this connection" in lines


def test_recipients_an_hour_count_over_sessions_and_pass(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **tls("preferred", max_recipients_per_hour=3)) as it:
            for _ in range(3):
                client = await it.connect()
                await client.hello()
                await client.envelope()
                await client.quit()
            client = await it.connect()
            other = await it.connect(source="127.0.0.2")
            for one, answer in ((client, "452 4.5.3 "), (other, "250 ")):
                await one.hello()
                await one.say("MAIL FROM:<a@b.example>")
                assert (await one.say("RCPT TO:<mary@example.net>")).startswith(answer)
            it.clock.advance(64 * 60)
            late = await it.connect()
            await late.hello()
            await late.envelope()

    run(main)


def test_connections_of_one_address(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **tls("preferred", max_connections_per_ip=1)) as it:
            first = await it.connect()
            await first.hello()
            second = await it.connect()
            assert (await second.ended()).startswith("421 4.7.0 Too many connections from your address")
            await it.log.line("ICID 2 close")
            assert it.log.about("ICID 2")[2:] == [
                "ICID 2 Receiving Failed: Connection limit exceeded",
                "ICID 2 close",
            ]
            other = await it.connect(source="127.0.0.2")
            await other.hello()
            await first.quit()
            await it.log.line("ICID 1 close")
            again = await it.connect()
            await again.hello()

    run(main)


def test_connections_of_a_listener(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, listeners=[listener(max_connections=1)]) as it:
            first = await it.connect()
            await first.hello()
            second = await it.connect(source="127.0.0.2")
            assert (await second.ended()).startswith("421 4.3.2 Too many connections")

    run(main)


# --- the message ----------------------------------------------------------------------------------


def test_size_is_refused_when_announced_and_when_sent(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        assert "SIZE 2048" in await client.hello()
        assert (await client.say("MAIL FROM:<a@b.example> SIZE=2049")).startswith("552 5.3.4 ")
        await client.envelope()
        answer = await client.data(b"Subject: big\r\n\r\n" + b"x" * 70 * 3000 + b"\r\n")
        assert answer.startswith("552 5.3.4 ")
        await client.envelope()
        assert (await client.data()).startswith("250 ")
        await client.quit()

    lines = session(tmp_path, talk, routes={"example.net": 1}, **tls("preferred", max_message_size=2048))
    assert "ICID 1 Receiving Failed: Message size exceeds limit" in lines
    assert "MID 1 Message aborted MID 1 Message size exceeds limit" in lines
    assert "MID 2 queued for delivery" in lines


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        await client.envelope()
        line = b"X-Filler: " + b"y" * 900 + b"\r\n"
        assert (await client.data(line * 300 + b"\r\nBody\r\n")).startswith("552 5.")
        await client.quit()

    lines = session(tmp_path, talk)
    assert any(line.startswith("MID 1 Message aborted MID 1 Message header") for line in lines)


def test_a_loop_is_refused(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        await client.envelope()
        hop = b"Received: from a by b; Tue, 1 Jan 2030 00:00:00 +0000\r\n"
        assert await client.data(hop * 101 + b"Subject: x\r\n\r\nBody\r\n") == "554 5.4.6 Message loop"
        await client.quit()

    lines = session(tmp_path, talk)
    assert lines[-3:] == [
        "ICID 1 Receiving Failed: Message loop",
        "MID 1 Message aborted MID 1 Message loop",
        "ICID 1 close",
    ]


def test_smuggling_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    """C13, C14: the look-alike end of data ends nothing, and the message is refused at its real end."""

    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        await client.envelope()
        inner = b"\n.\nMAIL FROM:<evil@b.example>\r\nRCPT TO:<mary@example.net>\r\nDATA\r\nSubject: 2\r\n\r\nx\r\n"
        assert await client.data(b"Subject: 1\r\n\r\nx" + inner) == "554 5.6.0 Bare CR or LF in message"
        assert (await client.say("NOOP")).startswith("250 ")
        await client.quit()

    lines = session(tmp_path, talk)
    assert "ICID 1 Receiving Failed: SMTP smuggling: bare CR or LF in message" in lines
    assert not [line for line in lines if "MID 2" in line or "queued" in line]


def test_chunks_make_one_message(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        await client.envelope()
        client.send(b"BDAT 20\r\nSubject: x\r\n\r\nHello ")
        assert await client.reply() == "250 2.0.0 Ok"
        client.send(b"BDAT 7 LAST\r\nworld\r\n")
        assert (await client.reply()).startswith("250 2.0.0 Ok: queued as 1")
        await client.quit()

    lines = session(tmp_path, talk, routes={"example.net": 1})
    assert "MID 1 ready 27 bytes from <a@sender.example>" in lines
