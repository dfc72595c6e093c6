"""Delayed rejection: a rejected sender is let talk up to RCPT, and no message ever comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import Gateway, gateway, listener, policy
from tests.fakes.time_travel import run
from tests.way.test_rehearse import records, trial_of

from gatepost.probe.rehearse_sessions import replay_session
from gatepost.relay.delayed import MAX_HEARD

ALL_BLOCKED = [{"group": "BLOCKED_LIST", "senders": ["127.0.0.0/8"], "policy": "BLOCKED"}]


@asynccontextmanager
async def rejecting(
    tmp_path: Path, blocked: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[Gateway]:
    settings = {"host_access": ALL_BLOCKED, "delay_rejection": True, **changes}
    async with gateway(
        tmp_path,
        listeners=[listener(**settings)],
        mail_flow_policies=[policy(), blocked or {"name": "BLOCKED", "action": "reject"}],
    ) as it:
        yield it


def test_the_session_shows_whom_it_wanted(tmp_path: Path) -> None:
    async def main() -> None:
        async with rejecting(tmp_path) as it:
            client = await it.connect()
            assert "STARTTLS" not in await client.hello()
            assert (await client.say("MAIL FROM:<user1@example.com>")).startswith("250 ")
            for name in ("mary", "joe"):
                assert (
                    await client.say(f"RCPT TO:<{name}@example.net>")
                    == "554 5.7.1 Access to this mail system is refused"
                )
            assert (await client.say("DATA"))[:3] in ("503", "554")
            client.send("BDAT 4 LAST\r\nabcd")
            assert (await client.reply())[:3] in ("503", "554")
            assert (await client.say("RSET")).startswith("250 ")
            assert (await client.say("MAIL FROM:<>")).startswith("250 ")
            await client.quit()
            await it.log.line("ICID 1 close")
            head = "ICID 1 Delayed HAT REJECT"
            assert it.log.about("ICID 1")[1:] == [
                "ICID 1 REJECT SG BLOCKED_LIST match 127.0.0.0/8 SBRS not enabled",
                f"{head} continuing session for recipient logging (127.0.0.1)",
                f"{head} Message from: user1@example.com (127.0.0.1)",
                f"{head} Message recipient: <mary@example.net> (127.0.0.1)",
                f"{head} Message recipient: <joe@example.net> (127.0.0.1)",
                f"{head} Message from: <> (127.0.0.1)",
                "ICID 1 close",
            ]
            assert it.services.counters.recipients_refused == 2
            assert it.services.counters.messages_accepted == 0
            assert it.log.with_("MID") == []

    run(main)


def test_the_policy_s_own_words_and_its_tls(tmp_path: Path) -> None:
    blocked = {"name": "BLOCKED", "action": "reject", "tls": "preferred", "banner": "Go away"}

    async def main() -> None:
        async with rejecting(tmp_path, blocked) as it:
            client = await it.connect()
            assert "STARTTLS" in await client.hello()
            await client.starttls()
            await client.say("EHLO client.example")
            assert (await client.say("MAIL FROM:<a@sender.example>")).startswith("250 ")
            assert await client.say("RCPT TO:<mary@example.net>") == "554 5.7.1 Go away"
            await client.quit()
            await it.log.line("ICID 1 close")
            assert len(it.log.with_("ICID 1 TLS success")) == 1

    run(main)


def test_a_policy_that_requires_tls_hears_no_sender_without_it(tmp_path: Path) -> None:
    blocked = {"name": "BLOCKED", "action": "reject", "tls": "required"}

    async def main() -> None:
        async with rejecting(tmp_path, blocked) as it:
            client = await it.connect()
            await client.hello()
            assert (await client.say("MAIL FROM:<a@sender.example>")).startswith("530 ")

    run(main)


@pytest.mark.parametrize("command", ["MAIL FROM:<a@sender.example>\r\nRSET", "RCPT TO:<mary@example.net>"])
def test_a_flood_is_ended(tmp_path: Path, command: str) -> None:
    async def main() -> None:
        async with rejecting(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            client.send("MAIL FROM:<a@sender.example>\r\n" if command.startswith("RCPT") else "")
            client.send(f"{command}\r\n" * (MAX_HEARD + 10))
            assert (await client.ended()).endswith("421 4.7.0 Too many refused commands\r\n")
            await it.log.line("ICID 1 close")
            said = it.log.with_("Delayed HAT REJECT Message")
            assert MAX_HEARD <= len(said) <= MAX_HEARD + 1
            assert it.log.with_("Receiving Failed") == ["ICID 1 Receiving Failed: Too many refused commands"]

    run(main)


def test_it_has_a_place_under_the_limits(tmp_path: Path) -> None:
    blocked = {"name": "BLOCKED", "action": "reject", "max_connections_per_ip": 1}

    async def main() -> None:
        async with rejecting(tmp_path, blocked) as it:
            first, second = await it.connect(), await it.connect()
            await first.hello()
            assert (await second.ended()).startswith("421 ")

    run(main)


def test_a_commit_that_lets_it_in_wants_a_new_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with rejecting(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            it.commit(listeners=[listener(delay_rejection=True)])
            assert (await client.say("MAIL FROM:<a@sender.example>")).startswith("421 ")

    run(main)


def test_without_it_the_greeting_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        async with rejecting(tmp_path, delay_rejection=False) as it:
            client = await it.connect()
            assert await client.reply() == "554 mx.example.net Access to this mail system is refused"

    run(main)


def test_a_rehearsal_foretells_that_no_mail_is_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            await client.data()
            await client.quit()
            await it.log.line("ICID 1 close")
            day = records(it)
            it.commit(listeners=[listener(host_access=ALL_BLOCKED, delay_rejection=True)])
            trial = trial_of(it.services.runtime, it, day)
            [foretold] = [mails for row in day.sessions for mails in replay_session(trial, row)]
            assert foretold.answer.refusal == "access refused: group BLOCKED_LIST"

    run(main)
