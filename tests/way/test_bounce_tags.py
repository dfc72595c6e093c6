"""Bounce tags on the way of a message: put on when it leaves, taken off when a report comes back, and asked for where there is none."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import Gateway, controls, gateway, listener, policy
from tests.fakes.peer import FakePeer
from tests.fakes.time_travel import run

KEYS = {3: b"a key of the test", 2: b"an older key"}
OURS = {"domains": ["example.net"]}
TAGGED = re.compile(r"<prvs=3[0-9]{3}[0-9a-f]{6}=joe@example\.net>")


@asynccontextmanager
async def tagging(tmp_path: Path, peer: FakePeer, **sections: Any) -> AsyncIterator[Gateway]:
    routes = dict.fromkeys(("partner.example", "fussy.example", "example.net"), peer.port)
    chosen = {"bounce_verification": OURS, "bounce_keys": KEYS, **sections}
    async with gateway(tmp_path, routes=routes, **chosen) as it:
        yield it


async def sent(it: Gateway, peer: FakePeer, sender: str, recipient: str) -> str:
    """The envelope sender with which a message arrives."""
    mid = await it.inject(sender, recipient)
    await it.log.line(f"Message finished MID {mid} done")
    return peer.mails[-1].sender.partition(" ")[0]


def test_senders_of_ours_leave_with_a_tag_and_stay_themselves_here(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, tagging(tmp_path, peer) as it:
            assert TAGGED.fullmatch(await sent(it, peer, "joe@example.net", "mary@partner.example"))
            assert it.log.with_("prvs=") == []
            assert await sent(it, peer, "ann@other.example", "mary@partner.example") == "<ann@other.example>"
            assert await sent(it, peer, "", "mary@partner.example") == "<>"
            assert await sent(it, peer, "joe@example.net", "ann@example.net") == "<joe@example.net>"

    run(main)


def test_an_entry_keeps_the_tag_from_a_host_that_cannot_stand_it(tmp_path: Path) -> None:
    entry = {"domain": "fussy.example", "bounce_verification": False}

    async def main() -> None:
        destinations = controls("preferred", entry)
        async with FakePeer() as peer, tagging(tmp_path, peer, destination_controls=destinations) as it:
            assert await sent(it, peer, "joe@example.net", "mary@fussy.example") == "<joe@example.net>"
            assert TAGGED.fullmatch(await sent(it, peer, "joe@example.net", "mary@partner.example"))

    run(main)


def test_a_report_to_the_sender_of_ours_is_not_for_the_tagged_address(tmp_path: Path) -> None:
    async def main() -> None:
        gone = {"RCPT TO:<gone@": "550 5.1.1 No such user"}
        async with FakePeer(replies=gone) as peer, tagging(tmp_path, peer) as it:
            await it.inject("joe@example.net", "gone@partner.example")
            await it.log.line("MID 2 RID [0] Response")
            [report] = peer.mails
            assert report.sender.startswith("<> ")
            assert report.recipients[0].startswith("<joe@example.net>")
            assert b"prvs=" not in report.body

    run(main)


def test_a_report_comes_back_without_its_tag(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, tagging(tmp_path, peer) as it:
            tag = (await sent(it, peer, "joe@example.net", "mary@partner.example"))[1:-1]
            client = await it.connect()
            await client.hello()
            await client.envelope("", tag)
            assert (await client.data()).startswith("250 ")
            await it.log.line("RID 0 To: <joe@example.net>")
            await it.log.line("Message finished MID 2 done")
            assert peer.mails[-1].recipients == ["<joe@example.net>"]
            # An answer of a program to the envelope sender is no report, and reaches it all the same.
            await client.envelope("robot@partner.example", tag.replace("prvs=3", "prvs=9"))
            assert (await client.data()).startswith("250 ")
            await it.log.line("Message finished MID 3 done")
            assert peer.mails[-1].recipients == ["<joe@example.net>"]

    run(main)


def test_a_report_without_a_tag_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, tagging(tmp_path, peer) as it:
            client = await it.connect()
            await client.hello()
            await client.say("MAIL FROM:<>")
            for recipient, why in (
                ("joe@example.net", "no tag"),
                ("prvs=3788000000=joe@example.net", "a wrong tag"),
            ):
                answer = await client.say(f"RCPT TO:<{recipient}>")
                assert answer == "550 5.7.1 This address has not sent such mail"
                await it.log.line(f"To: <{recipient}> Rejected by bounce verification ({why})")
            assert (await client.say("RCPT TO:<joe@other.example>")).startswith("550 5.7.1 Relaying denied")
            assert (await client.say("RCPT TO:<postmaster@example.net>")).startswith("250 ")

    run(main)


def test_a_mailbox_for_tls_reports_takes_them_without_a_tag(tmp_path: Path) -> None:
    async def main() -> None:
        ours = {"mailboxes": ["tls@example.net"]}
        async with FakePeer() as peer, tagging(tmp_path, peer, tls_reports_received=ours) as it:
            client = await it.connect()
            await client.hello()
            await client.say("MAIL FROM:<>")
            assert (await client.say("RCPT TO:<joe@example.net>")).startswith("550 5.7.1 ")
            assert (await client.say("RCPT TO:<tls@example.net>")).startswith("250 ")

    run(main)


@pytest.mark.parametrize(
    ("untagged", "line"), [("mark", b"X-Gatepost-Bounce-Tag: no tag\r\n"), ("accept", b"")]
)
def test_a_policy_may_take_it_marked_or_as_it_is(tmp_path: Path, untagged: str, line: bytes) -> None:
    async def main() -> None:
        policies = [policy(untagged_bounces=untagged)]
        async with FakePeer() as peer, tagging(tmp_path, peer, mail_flow_policies=policies) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope("", "joe@example.net")
            assert (await client.data()).startswith("250 ")
            await it.log.line("Message finished MID 1 done")
            body = peer.mails[-1].body
            assert (b"X-Gatepost-Bounce-Tag" in body) is bool(line)
            assert line in body
            # The mark is of one message, not of the session.
            await client.envelope("a@sender.example", "joe@example.net")
            assert (await client.data()).startswith("250 ")
            await it.log.line("Message finished MID 2 done")
            assert b"X-Gatepost-Bounce-Tag" not in peer.mails[-1].body

    run(main)


def test_a_recipient_that_is_refused_marks_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        policies = [policy(untagged_bounces="mark", max_recipients_per_message=1)]
        async with FakePeer() as peer, tagging(tmp_path, peer, mail_flow_policies=policies) as it:
            tag = (await sent(it, peer, "joe@example.net", "mary@partner.example"))[1:-1]
            client = await it.connect()
            await client.hello()
            await client.envelope("", tag)
            assert (await client.say("RCPT TO:<ann@example.net>")).startswith("452 ")
            assert (await client.data()).startswith("250 ")
            await it.log.line("Message finished MID 2 done")
            assert b"X-Gatepost-Bounce-Tag" not in peer.mails[-1].body

    run(main)


def test_who_relays_is_not_asked_for_tags(tmp_path: Path) -> None:
    async def main() -> None:
        relaying = {
            "listeners": [listener(host_access=[{"group": "ALL", "policy": "RELAYED"}])],
            "mail_flow_policies": [policy("RELAYED", "relay")],
        }
        async with FakePeer() as peer, tagging(tmp_path, peer, **relaying) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope("", "joe@example.net", "prvs=3788000000=ann@example.net")
            assert (await client.data()).startswith("250 ")
            await it.log.line("RID 1 To: <ann@example.net>")

    run(main)


def test_without_a_key_nothing_is_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, tagging(tmp_path, peer, bounce_keys={}) as it:
            assert await sent(it, peer, "joe@example.net", "mary@partner.example") == "<joe@example.net>"
            client = await it.connect()
            await client.hello()
            await client.envelope("", "joe@example.net")

    run(main)
