"""What a session is told and what the log says of it: access, recipients, limits, TLS, and ends of every kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
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


# --- the HAT --------------------------------------------------------------------------------------


def test_a_rejected_sender_is_told_and_may_only_quit(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        assert await client.reply() == "554 mx.example.net Access to this mail system is refused"
        assert (await client.say("EHLO a.example")).startswith("503 ")
        assert (await client.say("MAIL FROM:<a@b.example>")).startswith("503 ")
        await client.quit()

    assert session(tmp_path, talk, **hat()) == [
        NEW,
        "ICID 1 REJECT SG ALL match ALL SBRS not enabled",
        "ICID 1 close",
    ]


def test_tcprefuse_spends_no_icid_and_says_nothing(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        assert await client.ended() == ""

    sections = hat({"group": "BLOCKED_LIST", "senders": ["127.0.0.0/8"], "policy": "SHUT"})
    assert session(tmp_path, talk, **sections) == [
        "ICID 0 TCPREFUSE SG BLOCKED_LIST match 127.0.0.0/8 SBRS not enabled"
    ]


def test_relay_skips_the_recipient_table(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        await client.envelope("a@b.example", "x@elsewhere.example")
        await client.quit()

    rows = (
        {"group": "NOTED", "senders": ["127.0.0.1"], "policy": "ON"},
        {"group": "RELAYLIST", "senders": ["127.0.0.1"], "policy": "RELAYED"},
    )
    lines = session(tmp_path, talk, **hat(*rows))
    assert lines[1] == "ICID 1 RELAY SG RELAYLIST match 127.0.0.1 SBRS not enabled"
    assert "MID 1 ICID 1 RID 0 To: <x@elsewhere.example>" in lines


def test_a_name_decides(tmp_path: Path) -> None:
    rows = {"group": "PARTNERS", "senders": [".partner.example"], "policy": "ACCEPTED"}

    async def main() -> None:
        async with gateway(tmp_path, **hat(rows)) as it:
            it.resolver.set_name("127.0.0.1", "mail.partner.example")
            it.resolver.set_name("127.0.0.2", "mail.other.example")
            partner, other = await it.connect(), await it.connect(source="127.0.0.2")
            await partner.hello()
            assert (await other.reply()).startswith("554 ")
            await it.log.line("ICID 2 REJECT")
            assert it.log.about("ICID 1") == [
                "New SMTP ICID 1 interface Data 1 (127.0.0.1) address 127.0.0.1"
                " reverse dns host mail.partner.example verified yes",
                "ICID 1 ACCEPT SG PARTNERS match .partner.example SBRS not enabled",
            ]

    run(main)


def test_a_name_that_cannot_be_looked_up(tmp_path: Path) -> None:
    """In a group that rejects "could not tell" is 451; in one that relays it is no match (architecture 4, DNS)."""
    rows = (
        {"group": "RELAYLIST", "senders": ["friend.example"], "policy": "RELAYED"},
        {"group": "BAD", "senders": [".bad.example"], "policy": "BLOCKED"},
    )

    async def main() -> None:
        async with gateway(tmp_path, **hat(*rows)) as it:
            it.resolver.set_name("127.0.0.1", None)
            client = await it.connect()
            assert (await client.reply()).startswith(
                "451 mx.example.net Your host name could not be looked up"
            )
            assert it.log.lines == [
                "New SMTP ICID 1 interface Data 1 (127.0.0.1) address 127.0.0.1"
                " reverse dns host unknown verified None",
                "ICID 1 REJECT SG BAD match .bad.example SBRS not enabled",
            ]

    run(main)


# --- recipients -----------------------------------------------------------------------------------


def test_recipients_are_checked_one_by_one(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        await client.envelope("a@b.example")
        assert (await client.say("RCPT TO:<x@other.example>")).startswith("550 5.7.1 ")
        assert (await client.say("RCPT TO:<x%other.example@example.net>")).startswith("550 5.7.1 ")
        assert (await client.say("RCPT TO:<postmaster>")).startswith("250 ")
        assert await client.say("RSET") == "250 2.0.0 Ok"
        await client.quit()

    assert session(tmp_path, talk) == [
        NEW,
        ACCEPTED,
        "Start MID 1 ICID 1",
        "MID 1 ICID 1 From: <a@b.example>",
        "MID 1 ICID 1 RID 0 To: <mary@example.net>",
        "MID 1 ICID 1 To: <x@other.example> Rejected by RAT",
        "MID 1 ICID 1 To: <x%other.example@example.net> Rejected by RAT",
        "MID 1 ICID 1 RID 1 To: <postmaster>",
        "MID 1 Message aborted MID 1 Receiving aborted by sender",
        "ICID 1 close",
    ]


# --- TLS ------------------------------------------------------------------------------------------


def tls(level: str, **more: Any) -> dict[str, Any]:
    return {"mail_flow_policies": [policy(tls=level, **more), policy("BLOCKED", "reject")]}


def test_tls_required_is_530_until_tls_is_up(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        assert "STARTTLS" in await client.hello()
        for command in ("MAIL FROM:<a@b.example>", "HELO a.example", "RSET", "VRFY a", "DATA"):
            assert await client.say(command) == "530 5.7.0 Must issue a STARTTLS command first", command
        assert (await client.say("NOOP")).startswith("250 ")
        await client.starttls()
        await client.say("EHLO client.example")
        await client.envelope()
        assert (await client.data()).startswith("250 ")
        await client.quit()

    lines = session(tmp_path, talk, **tls("required"))
    assert lines[:4] == [
        NEW,
        ACCEPTED,
        "ICID 1 TLS was required but remote host did not initiate it",
        "ICID 1 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
    ]


def test_tls_off_offers_nothing(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        assert "STARTTLS" not in await client.hello()
        assert (await client.say("STARTTLS")).startswith("502 ")
        await client.quit()

    session(tmp_path, talk, **tls("off"))


def test_tls_may_be_mandatory_for_some_senders(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        assert (await client.say("MAIL FROM:<teller@bank.example>")).startswith("530 5.7.0 ")
        await client.envelope("a@b.example")
        await client.quit()

    sections = tls("preferred", tls_mandatory_for="tls_senders")
    sections["address_lists"] = [{"name": "tls_senders", "addresses": ["bank.example"]}]
    lines = session(tmp_path, talk, **sections)
    assert lines[2] == "ICID 1 Receiving Failed: TLS is mandatory for senders of tls_senders"


@pytest.mark.parametrize("level", ["preferred", "required"])
def test_a_failed_handshake_ends_the_session(tmp_path: Path, level: str) -> None:
    """R20: after the 220 there is no way back; the log's three lines come in their order."""

    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        assert (await client.say("STARTTLS")).startswith("220 ")
        client.send("EHLO again.example\r\nMAIL FROM:<a@b.example>\r\n")
        assert "250" not in await client.ended()

    lines = session(tmp_path, talk, **tls(level))
    assert lines[:2] == [NEW, ACCEPTED]
    assert lines[2].startswith("ICID 1 TLS failed: (")
    assert "error:" in lines[2]
    assert lines[3:] == ["ICID 1 lost", "ICID 1 close"]


def test_no_shared_cipher_is_told_in_the_classic_form(tmp_path: Path) -> None:
    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        with pytest.raises(Exception, match=r"alert|EOF|eof"):
            await client.starttls("TLS_AES_128_GCM_SHA256")

    sections = {
        "tls_settings": {
            "inbound": {"minimum": "TLSv1.2", "ciphers": "TLS_AES_256_GCM_SHA384"},
            "outbound": {},
            "web": {},
        }
    }
    lines = session(tmp_path, talk, **sections)
    assert lines[2:] == [
        "ICID 1 TLS failed: (167772353, 'error:0A0000C1:SSL routines::no shared cipher')",
        "ICID 1 lost",
        "ICID 1 close",
    ]


def test_bytes_behind_starttls_end_the_session(tmp_path: Path) -> None:
    """C1: nothing said in clear is taken as said inside TLS."""

    async def talk(it: Gateway, client: Client) -> None:
        await client.hello()
        client.send("STARTTLS\r\nMAIL FROM:<evil@b.example>\r\n")
        assert (await client.ended()).startswith("554 5.5.1 ")

    assert session(tmp_path, talk) == [
        NEW,
        ACCEPTED,
        "ICID 1 Receiving Failed: STARTTLS injection",
        "ICID 1 close",
    ]


def test_implicit_tls(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, listeners=[listener(tls="implicit")]) as it:
            from gatepost.net.tls import ClientContext

            client = await it.connect()
            await client.stream.start_tls(ClientContext.build())
            assert "STARTTLS" not in await client.hello()
            await client.quit()
            clear = await it.connect()
            clear.send("EHLO a.example\r\n")
            assert "220" not in await clear.ended()
            await it.log.line("ICID 2 close")
            assert it.log.about("ICID 1")[2].startswith("ICID 1 TLS success protocol TLSv1.3")
            failed, lost, close = it.log.about("ICID 2")[2:]
            assert failed.startswith("ICID 2 TLS failed: ")
            assert (lost, close) == ("ICID 2 lost", "ICID 2 close")

    run(main)


def test_a_handshake_has_its_own_time(tmp_path: Path) -> None:
    """The listener's `timeouts.handshake`, and not the patience between commands."""

    async def main() -> None:
        timeouts = {"command": "5m", "handshake": "5s"}
        async with gateway(tmp_path, listeners=[listener(timeouts=timeouts)]) as it:
            client = await it.connect()
            await client.hello()
            assert (await client.say("STARTTLS")).startswith("220 ")
            it.clock.advance(6)
            assert await it.log.line("ICID 1 TLS failed:") == "ICID 1 TLS failed: timeout"
            await it.log.line("ICID 1 close")

    run(main)
