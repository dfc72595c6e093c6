"""SMTP AUTH on the way in: who is known relays, who is not does not, nobody may guess for long, and a commit ends it (C5, C12, C29, C30)."""

from __future__ import annotations

import gc
import os
import weakref
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import DOCUMENT, Gateway, gateway, listener, policy
from tests.fakes.peer import FakePeer
from tests.fakes.scram_client import ScramClient
from tests.fakes.smtp_client import Client
from tests.fakes.time_travel import run
from tests.net.test_stream import reset

from gatepost.config.load import load_plain
from gatepost.config.smtp_auth import AuthLevel
from gatepost.core.auth_events import SmtpAuthFailed, SmtpAuthLocked
from gatepost.policy.admit import compile_rules
from gatepost.store.limits import LimitTable
from gatepost.wire.scram import ScramVerifier

PASSPHRASE = "orchid lantern rivers"
MARY = ScramVerifier.derive(PASSPHRASE, b"salt of mary 123", 4096).text()
ODD = ScramVerifier.derive(PASSPHRASE, b"salt of odd 1234", 4096).text()
USERS = {"mary": MARY, "od,d=x": ODD}
AWAY = "RCPT TO:<bob@elsewhere.example>"
MAIL = "MAIL FROM:<mary@example.net>"
GOOD = "235 2.7.0 Authentication successful"
BAD = "535 5.7.8 Authentication credentials invalid"
LATER = "454 4.7.0 Temporary authentication failure, please try again later"
CHANGED = "421 4.3.2 The configuration changed, please connect again"


def offering(level: str = "preferred", **keys: Any) -> dict[str, Any]:
    return {"mail_flow_policies": [policy(smtp_auth=level, **keys)], "users": USERS}


def plain(user: str = "mary", passphrase: str = PASSPHRASE, authzid: str = "") -> str:
    return "AUTH PLAIN " + b64encode("\0".join((authzid, user, passphrase)).encode()).decode()


async def encrypted(it: Gateway, source: str = "127.0.0.1") -> Client:
    client = await it.connect(source=source)
    assert "AUTH" not in await client.hello()
    await client.starttls()
    assert "\n250-AUTH PLAIN LOGIN SCRAM-SHA-256\n" in await client.say("EHLO client.example")
    return client


async def fails(it: Gateway, client: Client, line: str, failures: int = 1) -> str:
    """A failed attempt; time is moved over the delay of its answer."""
    client.send(line + "\r\n")
    await it.log.until(lambda: len(it.log.of(SmtpAuthFailed)) >= failures)
    it.clock.advance(10)
    return await client.reply()


# --- the three mechanisms -------------------------------------------------------------------------


async def by_plain(client: Client, user: str) -> str:
    return await client.say(plain(user))


async def by_plain_when_asked(client: Client, user: str) -> str:
    assert await client.say("AUTH PLAIN") == "334 "
    return await client.say(plain(user).rpartition(" ")[2])


async def by_login(client: Client, user: str) -> str:
    assert await client.say("AUTH LOGIN") == "334 VXNlcm5hbWU6"
    assert await client.say(b64encode(user.encode()).decode()) == "334 UGFzc3dvcmQ6"
    return await client.say(b64encode(PASSPHRASE.encode()).decode())


async def by_scram(client: Client, user: str) -> str:
    scram = ScramClient(user, PASSPHRASE)
    challenge = await client.say(f"AUTH SCRAM-SHA-256 {scram.first()}")
    assert challenge.startswith("334 ")
    signature = await client.say(scram.final(challenge[4:]))
    assert signature.startswith("334 "), signature
    scram.verify(signature[4:])
    return await client.say("")


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


# --- failures -------------------------------------------------------------------------------------


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


# --- commits --------------------------------------------------------------------------------------


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
