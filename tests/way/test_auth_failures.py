"""SMTP AUTH that fails: it opens nothing, tells nothing, and is limited by address and by user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import gateway
from tests.fakes.scram_client import ScramClient
from tests.fakes.time_travel import run
from tests.net.test_stream import reset
from tests.way.auth_client import (
    AWAY,
    BAD,
    GOOD,
    LATER,
    MAIL,
    PASSPHRASE,
    by_scram,
    encrypted,
    fails,
    offering,
    plain,
)

from gatepost.core.auth_events import SmtpAuthFailed, SmtpAuthLocked
from gatepost.store.limits import LimitTable


@pytest.mark.parametrize(
    ("line", "user", "reason"),
    [
        (plain(passphrase="wrong"), "mary", "wrong pass-phrase"),
        (plain("jane"), "jane", "unknown user"),
        (plain("MARY"), "MARY", "unknown user"),
        (plain(authzid="root"), "mary", "asks for another identity"),
        (plain("ma\nry"), "", "a name or pass-phrase with a control character"),
        (plain("j" * 1000), "j" * 128, "unknown user"),
    ],
)
def test_a_failure_opens_no_relay(tmp_path: Path, line: str, user: str, reason: str) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await encrypted(it)
            assert await fails(it, client, line) == BAD
            (event,) = it.log.of(SmtpAuthFailed)
            assert (event.user, event.mechanism, event.profile, event.reason) == (
                user,
                "PLAIN",
                "local",
                reason,
            )
            assert it.log.with_("SMTP Auth") == [
                f"SMTP Auth: (ICID 1) failed for user: {user} using AUTH mechanism: PLAIN with profile: local"
            ]
            assert "wrong" not in str(it.log.lines)
            assert (await client.say(MAIL)).startswith("250 ")
            assert (await client.say(AWAY)).startswith("550 ")
            assert it.services.counters.auth_failed == 1

    run(main)


def test_scram_with_a_wrong_pass_phrase_fails_and_tells_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await encrypted(it)
            seen = []
            for number, user in enumerate(("mary", "jane", "jane")):
                scram = ScramClient(user, "wrong")
                challenge = await client.say(f"AUTH SCRAM-SHA-256 {scram.first()}")
                answer = await fails(it, client, scram.final(challenge[4:]), number + 1)
                assert answer == (
                    BAD if number < 2 else "421 4.7.0 Too many failed attempts, closing connection"
                )
                seen.append((len(scram.salt), scram.salt))
            assert seen[0][0] == seen[1][0], "a user that does not exist has a salt like others"
            assert seen[1] == seen[2], "and always the same"

    run(main)


def test_nobody_is_known_before_the_last_line_of_scram(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await encrypted(it)
            scram = ScramClient("mary", PASSPHRASE)
            challenge = await client.say(f"AUTH SCRAM-SHA-256 {scram.first()}")
            assert (await client.say(scram.final(challenge[4:]))).startswith("334 ")
            assert await client.say("*") == "501 5.7.0 Authentication cancelled"
            assert (await client.say(MAIL)).startswith("250 ")
            assert (await client.say(AWAY)).startswith("550 ")

    run(main)


def test_the_third_failure_ends_the_session(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await encrypted(it)
            assert await fails(it, client, plain(passphrase="one"), 1) == BAD
            assert await fails(it, client, plain(passphrase="two"), 2) == BAD
            client.send(plain(passphrase="three") + "\r\n")
            await it.log.until(lambda: len(it.log.of(SmtpAuthFailed)) >= 3)
            it.clock.advance(10)
            assert await client.ended() == "421 4.7.0 Too many failed attempts, closing connection\r\n"

    run(main)


def limits(**values: Any) -> dict[str, Any]:
    return {"smtp_auth": {"max_failures_per_session": 100, **values}}


def test_an_address_that_failed_too_often_is_not_tried_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering(), **limits(max_failures_per_address=3)) as it:
            client = await encrypted(it)
            for number in range(3):
                assert await fails(it, client, plain(f"user{number}", "guess"), number + 1) == BAD
            (locked,) = it.log.of(SmtpAuthLocked)
            assert (locked.locked, locked.name, locked.failures) == ("address", "127.0.0.1", 3)
            assert await it.log.line("locked") == (
                "Warning: SMTP Auth: (ICID 1) locked address: 127.0.0.1 after 3 failed attempts within an hour"
            )
            assert await client.say(plain()) == LATER, "the right pass-phrase tells nobody that it is right"
            assert await client.say("AUTH SCRAM-SHA-256 " + ScramClient("mary", "x").first()) == LATER
            assert it.log.of(SmtpAuthFailed)[-1].reason == "locked"
            other = await encrypted(it, "127.0.0.2")
            assert await other.say(plain()) == GOOD
            it.clock.advance(3_800)
            again = await encrypted(it)
            assert await again.say(plain()) == GOOD, "an hour later it may try again"

    run(main)


def test_a_user_whom_many_try_is_not_tried_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering(), **limits(max_failures_per_user=3)) as it:
            for number, name in enumerate(("mary", "MARY", "mary")):
                client = await encrypted(it, f"127.0.0.{number + 1}")
                assert await fails(it, client, plain(name, "guess"), number + 1) == BAD
            (locked,) = it.log.of(SmtpAuthLocked)
            assert (locked.locked, locked.name) == ("user", "mary")
            client = await encrypted(it, "127.0.0.9")
            assert await client.say(plain()) == LATER
            assert await client.say(plain("od,d=x")) == GOOD

    run(main)


def test_what_is_no_try_of_a_pass_phrase_does_not_tell_of_a_lock_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering(), **limits(max_failures_per_user=1)) as it:
            client = await encrypted(it)
            assert await fails(it, client, plain(passphrase="guess")) == BAD
            assert await fails(it, client, plain(passphrase=""), 2) == BAD
            assert await fails(it, client, plain(authzid="other"), 3) == BAD
            assert len(it.log.of(SmtpAuthLocked)) == 1
            assert it.services.counters.auth_locked == 1

    run(main)


def test_success_counts_for_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(
            tmp_path, **offering(), **limits(max_failures_per_address=2, max_failures_per_user=2)
        ) as it:
            for _ in range(4):
                client = await encrypted(it)
                assert await client.say(plain()) == GOOD
                await client.quit()
                client = await encrypted(it)
                assert await by_scram(client, "mary") == GOOD
                await client.quit()

    run(main)


def test_attempts_at_once_get_no_more_tries(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, **offering(), **limits(max_failures_per_user=4)) as it:
            clients = [await encrypted(it, f"127.0.0.{number + 1}") for number in range(8)]
            for client in clients:
                client.send(plain(passphrase="guess") + "\r\n")
            await it.log.until(lambda: len(it.log.of(SmtpAuthFailed)) == 8)
            it.clock.advance(10)
            answers = sorted([await client.reply() for client in clients])
            assert answers == [LATER] * 4 + [BAD] * 4

    run(main)


def test_proofs_at_once_get_no_more_tries(tmp_path: Path) -> None:
    """Challenges that were handed out before do not help either."""

    async def main() -> None:
        async with gateway(tmp_path, **offering(), **limits(max_failures_per_user=2)) as it:
            clients, finals = [], []
            for number in range(4):
                client = await encrypted(it, f"127.0.0.{number + 1}")
                scram = ScramClient("mary", "guess")
                challenge = await client.say(f"AUTH SCRAM-SHA-256 {scram.first()}")
                clients.append(client)
                finals.append(scram.final(challenge[4:]))
            for client, final in zip(clients, finals, strict=True):
                client.send(final + "\r\n")
            await it.log.until(lambda: len(it.log.of(SmtpAuthFailed)) == 4)
            it.clock.advance(10)
            assert sorted([await client.reply() for client in clients]) == [LATER] * 2 + [BAD] * 2

    run(main)


def test_the_limits_are_those_of_all_workers(tmp_path: Path) -> None:
    async def main() -> None:
        table = LimitTable.create(2)
        settings = {**offering(), **limits(max_failures_per_address=2)}
        try:
            async with (
                gateway(tmp_path, descriptor=table, index=0, **settings) as one,
                gateway(tmp_path, descriptor=table, index=1, clock=one.clock, **settings) as two,
            ):
                assert await fails(one, await encrypted(one), plain(passphrase="guess")) == BAD
                assert await fails(two, await encrypted(two), plain(passphrase="guess")) == BAD
                for it in (one, two):
                    assert await (await encrypted(it)).say(plain()) == LATER
        finally:
            os.close(table)

    run(main)


def test_who_is_lost_while_the_answer_to_a_failure_is_held_back_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delay is for the peer; without one it would keep the session's place (C27)."""
    monkeypatch.setattr("gatepost.relay.authenticate.delay_after", lambda failures: 60.0)

    async def main() -> None:
        async with gateway(tmp_path, **offering()) as it:
            client = await encrypted(it)
            client.send(plain(passphrase="wrong") + "\r\n")
            await it.log.until(lambda: bool(it.log.of(SmtpAuthFailed)))
            reset(client.stream._sock)
            await it.log.line("ICID 1 close")
            assert it.log.about("ICID 1")[-2:] == ["ICID 1 lost", "ICID 1 close"]
            assert it.bugs == []

    run(main)
