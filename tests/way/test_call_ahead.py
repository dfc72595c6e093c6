"""Call-ahead on the way of a recipient: the routed host decides, answers are kept, floods and silence are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import Gateway, authority, controls, gateway, listener, policy, to_address
from tests.fakes.peer import CLOSE, FakePeer
from tests.fakes.time_travel import run

from gatepost.relay.call_ahead import IDLE_SECONDS, MAX_WAITING, SILENT_SECONDS

ASKED = [{"recipient": "example.net", "action": "accept", "call_ahead": True}]
REPLIES = {"RCPT TO:<gone": "550 5.1.1 No such user", "RCPT TO:<full": "452 4.2.2 Mailbox full"}
REFUSED = "550 5.1.1 The recipient's mail server refuses it"
SILENT = "451 4.4.2 The recipient's mail server does not answer, try again later"


@asynccontextmanager
async def asking(
    tmp_path: Path, peer: FakePeer, table: Any = None, **sections: Any
) -> AsyncIterator[Gateway]:
    chosen = {"listeners": [listener(recipient_access=table or ASKED)], **sections}
    async with gateway(tmp_path, routes={"example.net": peer.port}, **chosen) as it:
        yield it


async def session(it: Gateway, sender: str = "a@sender.example") -> Any:
    client = await it.connect()
    await client.hello()
    assert (await client.say(f"MAIL FROM:<{sender}>")).startswith("250 ")
    return client


def asked(peer: FakePeer, name: str) -> int:
    return sum(command.startswith(f"RCPT TO:<{name}@") for command in peer.commands)


def test_the_host_decides_and_nothing_is_sent_to_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(replies=REPLIES) as peer, asking(tmp_path, peer) as it:
            client = await session(it)
            assert await client.say("RCPT TO:<gone@example.net>") == REFUSED
            assert (await client.say("RCPT TO:<full@example.net>")).startswith("451 4.2.2 ")
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("250 ")
            assert (await client.say("RCPT TO:<ann@other.example>")).startswith("550 5.7.1 Relaying denied")
            # One connection for all of them, and never DATA.
            [conversation] = peer.conversations
            assert conversation.verbs == [
                "EHLO",
                "MAIL",
                "RCPT",
                "RSET",
                "MAIL",
                "RCPT",
                "RSET",
                "MAIL",
                "RCPT",
            ]
            assert conversation.commands[1] == "MAIL FROM:<>"
            assert (await client.data()).startswith("250 ")
            await it.log.line("Message finished MID 1 done")
            assert peer.mails[-1].recipients[0].startswith("<mary@example.net>")
            assert it.log.with_("Rejected") == [
                "MID 1 ICID 1 To: <gone@example.net> Rejected by call-ahead (550 5.1.1 No such user)",
                "MID 1 ICID 1 To: <full@example.net> Rejected by call-ahead (452 4.2.2 Mailbox full)",
                "MID 1 ICID 1 To: <ann@other.example> Rejected by RAT",
            ]
            assert len(it.log.with_("New SMTP DCID")) == 1  # the delivery; questions are none

    run(main)


def test_a_mailbox_for_tls_reports_need_not_exist_at_the_host(tmp_path: Path) -> None:
    ours = {"mailboxes": ["tls@example.net"]}

    async def main() -> None:
        replies = {"RCPT TO:<tls": "550 5.1.1 No such user"}
        async with FakePeer(replies=replies) as peer, asking(tmp_path, peer, tls_reports_received=ours) as it:
            client = await session(it)
            assert (await client.say("RCPT TO:<TLS@example.net>")).startswith("250 ")
            assert peer.commands == []

    run(main)


def test_answers_are_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(replies=REPLIES) as peer, asking(tmp_path, peer) as it:
            for _ in range(2):
                client = await session(it)
                assert await client.say("RCPT TO:<gone@example.net>") == REFUSED
                assert (await client.say("RCPT TO:<mary@example.net>")).startswith("250 ")
                assert (await client.say("RCPT TO:<full@example.net>")).startswith("451 ")
                await client.quit()
            assert [asked(peer, name) for name in ("gone", "mary", "full")] == [1, 1, 2]
            it.clock.advance(301)
            client = await session(it)
            assert await client.say("RCPT TO:<gone@example.net>") == REFUSED
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("250 ")
            assert [asked(peer, name) for name in ("gone", "mary")] == [2, 1]
            it.commit()
            client = await session(it)
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("250 ")
            assert asked(peer, "mary") == 2
            state = it.call_aheads.cache_state()
            assert (state.hits, state.misses, state.size) == (3, 6, 1)

    run(main)


def test_sessions_that_want_the_same_recipient_share_a_question(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, asking(tmp_path, peer) as it:
            peer.hold("RCPT")
            clients = [await session(it) for _ in range(3)]
            for client in clients:
                client.send("RCPT TO:<mary@example.net>\r\n")
            await peer.heard("RCPT TO:<mary@")
            clients[0].stream.abort()  # the one that asked first goes away
            peer.go("RCPT")
            for client in clients[1:]:
                assert (await client.reply()).startswith("250 ")
            assert asked(peer, "mary") == 1

    run(main)


def test_only_so_many_questions_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        settings = {"max_connections": 2}
        async with FakePeer() as peer, asking(tmp_path, peer, call_ahead=settings) as it:
            clients = [await session(it) for _ in range(6)]
            for number, client in enumerate(clients):
                client.send(f"RCPT TO:<user{number}@example.net>\r\n")
            for client in clients:
                assert (await client.reply()).startswith("250 ")
            assert peer.most_open <= 2

    run(main)


def test_a_connection_waits_some_seconds_for_the_next_recipient(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, asking(tmp_path, peer) as it:
            client = await session(it)
            await client.say("RCPT TO:<mary@example.net>")
            it.clock.advance(IDLE_SECONDS + 1)
            await peer.until(lambda: peer.conversations[0].over)
            assert peer.conversations[0].verbs[-1] == "QUIT"
            await client.say("RCPT TO:<ann@example.net>")
            assert len(peer.conversations) == 2

    run(main)


def test_a_waiting_connection_that_died_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(replies={"RSET": CLOSE}) as peer, asking(tmp_path, peer) as it:
            client = await session(it)
            for name in ("mary", "ann"):
                assert (await client.say(f"RCPT TO:<{name}@example.net>")).startswith("250 ")
            assert len(peer.conversations) == 2

    run(main)


@pytest.mark.parametrize("replies", [{"GREETING": CLOSE}, {"MAIL": CLOSE}, {"RCPT": CLOSE}])
def test_no_answer_is_451_and_at_once_for_a_while(tmp_path: Path, replies: dict[str, Any]) -> None:
    async def main() -> None:
        async with FakePeer(replies=replies) as peer, asking(tmp_path, peer) as it:
            client = await session(it)
            for name in ("mary", "ann", "joe"):
                assert (await client.say(f"RCPT TO:<{name}@example.net>")).startswith("451 4.4.")
            assert len(peer.conversations) == 1
            peer.replies.update({"GREETING": "220 peer.example", "MAIL": "250 Ok", "RCPT": "250 Ok"})
            it.clock.advance(SILENT_SECONDS + 1)
            assert (await client.say("RCPT TO:<joe@example.net>")).startswith("250 ")

    run(main)


def test_a_silent_host_is_given_ten_seconds(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, asking(tmp_path, peer) as it:
            peer.hold("RCPT")
            client = await session(it)
            client.send("RCPT TO:<mary@example.net>\r\n")
            await peer.heard("RCPT TO:<mary@")
            it.clock.advance(11)
            assert (await client.reply()).startswith("451 4.4.1 ")
            await it.log.line("Rejected by call-ahead (no answer within 10 s)")

    run(main)


def test_the_destinations_tls_holds_for_questions(tmp_path: Path) -> None:
    async def main() -> None:
        required = controls("required")
        async with FakePeer() as peer, asking(tmp_path, peer, destination_controls=required) as it:
            client = await session(it)
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("451 4.7.4 ")
            assert peer.conversations[0].verbs == ["EHLO"]
            assert it.log.with_("Required TLS") == []
        certificate = authority().issue(["mx.example.net"])
        async with (
            FakePeer(certificate=certificate) as peer,
            asking(tmp_path, peer, destination_controls=required) as it,
        ):
            client = await session(it)
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("250 ")
            assert peer.conversations[0].tls == "TLSv1.3"

    run(main)


def test_another_host_than_the_route_may_be_asked(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, FakePeer(replies={"RCPT": "550 5.1.1 Unknown"}) as directory:
            row = {**ASKED[0], "call_ahead_host": f"[127.0.0.1]:{directory.port}"}
            async with asking(tmp_path, peer, [row]) as it:
                client = await session(it)
                assert await client.say("RCPT TO:<mary@example.net>") == REFUSED
                assert peer.conversations == []

    run(main)


def test_a_flood_of_recipients_is_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        settings = {"max_invalid_per_hour": 3}
        unknown = {"RCPT TO:<x": "550 5.1.1 Unknown"}
        async with FakePeer(replies=unknown) as peer, asking(tmp_path, peer, call_ahead=settings) as it:
            client = await session(it)
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("250 ")
            answers = [await client.say(f"RCPT TO:<x{number}@example.net>") for number in range(5)]
            assert [answer[:9] for answer in answers] == ["550 5.1.1"] * 3 + ["452 4.7.1"] * 2
            assert [asked(peer, f"x{number}") for number in range(5)] == [1, 1, 1, 0, 0]
            # What is known to exist is taken all the same; another network is not concerned.
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("250 ")
            other = await it.connect(source="127.0.0.2")
            await other.hello()
            await other.say("MAIL FROM:<a@sender.example>")
            assert await other.say("RCPT TO:<x4@example.net>") == REFUSED
            it.clock.advance(3_900)
            client = await session(it)
            assert await client.say("RCPT TO:<x3@example.net>") == REFUSED

    run(main)


def test_what_a_listener_counts_is_apart_whatever_its_name(tmp_path: Path) -> None:
    async def main() -> None:
        sections = {
            "listeners": [listener("call-ahead", recipient_access=ASKED)],
            "mail_flow_policies": [policy(max_recipients_per_hour=100)],
            "call_ahead": {"max_invalid_per_hour": 1},
        }
        async with FakePeer(replies=REPLIES) as peer, asking(tmp_path, peer, **sections) as it:
            client = await it.connect("call-ahead")
            await client.hello()
            await client.say("MAIL FROM:<a@sender.example>")
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("250 ")
            assert await client.say("RCPT TO:<gone@example.net>") == REFUSED

    run(main)


def test_who_relays_is_believed(tmp_path: Path) -> None:
    async def main() -> None:
        row = listener(host_access=[{"group": "ALL", "policy": "RELAYED"}], recipient_access=ASKED)
        relaying = {"listeners": [row], "mail_flow_policies": [policy("RELAYED", "relay")]}
        async with FakePeer() as peer, asking(tmp_path, peer, **relaying) as it:
            client = await session(it)
            assert (await client.say("RCPT TO:<mary@example.net>")).startswith("250 ")
            assert peer.conversations == []

    run(main)


def test_two_gateways_that_ask_each_other_end_it_by_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, listeners=[listener(recipient_access=ASKED)]) as it:
            it.commit(
                smtp_routes=[{"domain": "example.net", "hosts": [f"[127.0.0.1]:{it.ports['In']}"]}],
                listeners=[listener(recipient_access=ASKED)],
            )
            client = await session(it)
            client.send("RCPT TO:<mary@example.net>\r\n")
            await it.log.until(lambda: len(it.sessions) == 2)
            await it.log.line("MID 2 ICID 2 From: <>")
            it.clock.advance(11)
            assert (await client.reply()).startswith("451 4.4.1 ")

    run(main)


def test_a_pipelining_client_waits_its_turn(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(replies=REPLIES) as peer, asking(tmp_path, peer) as it:
            client = await it.connect()
            await client.hello()
            client.send(
                "MAIL FROM:<a@b.example>\r\nRCPT TO:<gone@example.net>\r\nRCPT TO:<mary@example.net>\r\nDATA\r\n"
            )
            assert [(await client.reply())[:3] for _ in range(4)] == ["250", "550", "250", "354"]

    run(main)


def test_the_queue_of_questions_has_an_end(tmp_path: Path) -> None:
    async def main() -> None:
        settings = {"max_connections": 1}
        async with FakePeer() as peer, asking(tmp_path, peer, call_ahead=settings) as it:
            peer.hold("RCPT")
            calls = [
                asyncio.ensure_future(
                    it.call_aheads.refusal(it.services, to_address(f"user{n}@example.net"), "", "192.0.2.7")
                )
                for n in range(MAX_WAITING + 1)
            ]
            refusal = await calls[-1]
            assert refusal is not None
            assert "too many questions" in refusal.cause
            peer.go("RCPT")
            assert set(await asyncio.gather(*calls[:-1])) == {None}

    run(main)
