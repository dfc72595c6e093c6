"""SMTP AUTH on a gateway: the three mechanisms, when they are offered, what is no attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import gateway
from tests.fakes.peer import FakePeer
from tests.fakes.time_travel import run
from tests.way.auth_client import (
    AWAY,
    GOOD,
    MAIL,
    USERS,
    by_login,
    by_plain,
    by_plain_when_asked,
    by_scram,
    encrypted,
    offering,
    plain,
)


@pytest.mark.parametrize("user", list(USERS))
@pytest.mark.parametrize(
    ("way", "mechanism"),
    [(by_plain, "PLAIN"), (by_plain_when_asked, "PLAIN"), (by_login, "LOGIN"), (by_scram, "SCRAM-SHA-256")],
)
def test_who_is_known_relays(tmp_path: Path, way: Any, mechanism: str, user: str) -> None:
    async def main() -> None:
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={"elsewhere.example": peer.port}, **offering()) as it,
        ):
            client = await encrypted(it)
            assert await client.say(MAIL) == "250 2.1.0 Ok"
            assert (await client.say(AWAY)).startswith("550 "), "nobody relays before"
            await client.say("RSET")
            assert await way(client, user) == GOOD
            await client.envelope("mary@example.net", "bob@elsewhere.example")
            assert (await client.data()).startswith("250 ")
            await client.quit()
            assert await it.log.line("SMTP Auth:") == (
                f"SMTP Auth: (ICID 1) succeeded for user: {user} using AUTH mechanism: {mechanism} with profile: local"
            )
            body = (await peer.mail()).body
            assert b" with ESMTPSA id " in body
            assert b"od,d" not in body
            assert it.services.counters.auth_succeeded == 1
            await it.quiet()

    run(main)


def test_the_policy_without_it_offers_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, users=USERS) as it:
            client = await it.connect()
            await client.hello()
            await client.starttls()
            assert "AUTH" not in await client.say("EHLO client.example")
            assert await client.say(plain()) == "502 5.5.1 Command not implemented"
            assert (await client.say(MAIL)).startswith("250 ")

    run(main)


def test_nothing_is_taken_in_clear(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await it.connect()
            await client.hello()
            assert await client.say(plain()) == "530 5.7.0 Must issue a STARTTLS command first"
            assert (await client.say(MAIL)).startswith("250 "), "it is preferred only"
            assert (await client.say(AWAY)).startswith("550 ")
            assert not it.log.with_("SMTP Auth")

    run(main)


def test_required_wants_it_before_mail(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering("required")) as it:
            client = await encrypted(it)
            assert await client.say(MAIL) == "530 5.7.0 Authentication required"
            await it.log.line("ICID 1 Receiving Failed: SMTP authentication is required")
            assert await client.say(plain()) == GOOD
            assert await client.say(MAIL) == "250 2.1.0 Ok"

    run(main)


def test_what_is_offered_is_chosen(tmp_path: Path) -> None:
    async def main() -> None:
        chosen = {"smtp_auth": {"mechanisms": ["SCRAM-SHA-256"]}}
        async with gateway(tmp_path, **offering(), **chosen) as it:
            client = await it.connect()
            await client.hello()
            await client.starttls()
            assert "\n250-AUTH SCRAM-SHA-256\n" in await client.say("EHLO client.example")
            assert await client.say(plain()) == "504 5.5.4 Authentication mechanism not offered"
            assert await by_scram(client, "mary") == GOOD

    run(main)


def test_once_is_enough_and_a_transaction_is_no_place_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await encrypted(it)
            assert (await client.say(MAIL)).startswith("250 ")
            assert await client.say(plain()) == "503 5.5.1 Bad sequence of commands"
            await client.say("RSET")
            assert await client.say(plain()) == GOOD
            assert await client.say(plain()) == "503 5.5.1 Already authenticated"
            assert await client.say("AUTH LOGIN") == "503 5.5.1 Already authenticated"
            assert (await client.say("EHLO client.example")).startswith("250")
            assert (await client.say(MAIL)).startswith("250 "), "EHLO forgets the transaction, not who it is"
            assert (await client.say(AWAY)).startswith("250 ")

    run(main)


def test_cancelled_and_unreadable_dialogues_are_no_attempts(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await encrypted(it)
            for _ in range(4):
                assert (await client.say("AUTH LOGIN")).startswith("334 ")
                assert await client.say("*") == "501 5.7.0 Authentication cancelled"
                assert await client.say("AUTH PLAIN !") == "501 5.5.2 Cannot read the authentication response"
            assert (await client.say(AWAY)).startswith("503 ")
            assert not it.log.with_("SMTP Auth")
            assert await by_login(client, "mary") == GOOD

    run(main)
