"""Commits while somebody is authenticated, or about to be."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
from tests.fakes.gateway_parts import DOCUMENT, Gateway, gateway, listener, policy
from tests.fakes.scram_client import ScramClient
from tests.fakes.smtp_client import Client
from tests.fakes.time_travel import run
from tests.way.auth_client import BAD, CHANGED, GOOD, MAIL, PASSPHRASE, encrypted, fails, offering, plain

from gatepost.config.load import load_plain
from gatepost.config.smtp_auth import AuthLevel
from gatepost.policy.admit_rules import compile_rules
from gatepost.wire.scram import ScramVerifier


async def known(it: Gateway) -> Client:
    client = await encrypted(it)
    assert await client.say(plain()) == GOOD
    await client.envelope("mary@example.net", "bob@elsewhere.example")
    await client.say("RSET")
    return client


@pytest.mark.parametrize(
    "users", [{}, {"mary": ScramVerifier.derive("another", b"salt of mary 123", 4096).text()}]
)
def test_a_user_who_is_switched_off_or_changed_sends_no_more(tmp_path: Path, users: dict[str, str]) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await known(it)
            it.users = users
            it.commit()
            assert await client.say(MAIL) == CHANGED
            client = await encrypted(it)
            assert await fails(it, client, plain()) == BAD

    run(main)


def test_another_commit_leaves_the_session_who_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await known(it)
            it.commit(mail_flow_policies=[policy(smtp_auth="preferred", max_message_size="1KB")])
            await client.envelope("mary@example.net", "bob@elsewhere.example")
            await client.say("RSET")
            it.commit(mail_flow_policies=[policy(smtp_auth="required", max_message_size="1KB")])
            assert await client.say(MAIL) == CHANGED

    run(main)


def test_a_listener_changes_it(tmp_path: Path) -> None:
    async def main() -> None:
        changed = listener(policies=[{"name": "ACCEPTED", "smtp_auth": "off"}])
        async with gateway(tmp_path, listeners=[changed], **offering("required")) as it:
            client = await it.connect()
            await client.hello()
            await client.starttls()
            assert "AUTH" not in await client.say("EHLO client.example")
            assert (await client.say(MAIL)).startswith("250 ")

    run(main)


def test_a_session_that_authenticated_leaves_nothing_to_the_collector(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            gc.disable()
            try:
                client = await known(it)
                gone = [weakref.ref(session) for session in it.sessions]
                client.stream.abort()
                await it.log.line("ICID 1 close")
                assert await it.ended()
                assert gone[0]() is None
            finally:
                gc.enable()

    run(main)


@pytest.mark.parametrize("keys", [{"action": "reject"}, {"action": "tcprefuse"}])
def test_a_policy_that_takes_no_mail_lets_nobody_in(keys: dict[str, str]) -> None:
    document = load_plain({**DOCUMENT, "mail_flow_policies": [policy(smtp_auth="preferred", **keys)]})
    (chosen,) = compile_rules(document).listeners["In"].policies
    assert chosen.smtp_auth is AuthLevel.OFF


def test_a_commit_in_the_middle_of_a_dialogue_counts(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await encrypted(it)
            scram = ScramClient("mary", PASSPHRASE)
            challenge = await client.say(f"AUTH SCRAM-SHA-256 {scram.first()}")
            it.users = {"mary": ScramVerifier.derive("another", b"salt of mary 123", 4096).text()}
            it.commit()
            assert (await client.say(scram.final(challenge[4:]))).startswith("334 ")
            assert await client.say("") == GOOD, "the dialogue ends as it began"
            assert await client.say(MAIL) == CHANGED

    run(main)
