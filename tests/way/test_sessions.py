"""How sessions end and what can happen to them meanwhile: time-outs, full disks, commits, stops, our own bugs."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
from tests.fakes.gateway_parts import gateway, listener, policy
from tests.fakes.time_travel import run
from tests.store.spooling import BROKEN, FaultyFiles

from gatepost.core.events import MessageQueued
from gatepost.wire.received import HeaderFacts

LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 10_000


def test_an_ended_session_leaves_nothing_to_the_collector(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            gc.disable()
            try:
                client = await it.connect()
                await client.hello()
                await client.envelope()
                gone = [weakref.ref(session) for session in it.sessions]
                assert len(gone) == 1
                client.stream.abort()
                await it.log.line("ICID 1 close")
                assert await it.ended()
                assert gone[0]() is None
            finally:
                gc.enable()

    run(main)


# --- time -----------------------------------------------------------------------------------------


def test_a_silent_peer_gets_421(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            it.clock.advance(301)
            assert await client.ended() == "421 4.4.2 Timeout, closing connection\r\n"
            await it.log.line("ICID 1 close")
            assert it.log.lines[-4:] == [
                "ICID 1 Receiving Failed: Timeout",
                "MID 1 Message aborted MID 1 Receiving aborted by sender",
                "ICID 1 lost",
                "ICID 1 close",
            ]

    run(main)


@pytest.mark.slow
def test_a_session_does_not_last_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            for _ in range(14):
                it.clock.advance(250)
                assert (await client.say("NOOP")).startswith("250 ")
            it.clock.advance(250)
            assert "421 4.4.2 This connection has lasted long enough" in await _say_last(client)

    run(main)


async def _say_last(client: object) -> str:
    client.send("NOOP\r\n")  # type: ignore[attr-defined]
    return await client.ended()  # type: ignore[attr-defined,no-any-return]


def test_a_peer_that_vanishes_in_a_message(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            await client.say("DATA")
            client.send(b"Subject: half\r\n\r\nHal")
            client.stream.abort()
            await it.log.line("ICID 1 close")
            assert it.log.lines[-3:] == [
                "MID 1 Message aborted MID 1 Receiving aborted by sender",
                "ICID 1 lost",
                "ICID 1 close",
            ]
            assert not it.couriers.scheduler.messages

    run(main)


# --- the disk -------------------------------------------------------------------------------------


def test_a_full_disk_is_452_and_passes(tmp_path: Path) -> None:
    async def main() -> None:
        files = FaultyFiles()
        async with gateway(tmp_path, files=files, routes={"example.net": 1}) as it:
            client = await it.connect()
            await client.hello()
            files.free = 1 << 20
            it.clock.advance(2)
            assert (await client.say("MAIL FROM:<a@b.example>")).startswith("452 4.3.1 ")
            files.free = 1 << 40
            it.clock.advance(2)
            await client.envelope()
            assert (await client.data()).startswith("250 ")

    run(main)


def test_a_message_that_cannot_be_flushed_is_451(tmp_path: Path) -> None:
    async def main() -> None:
        files = FaultyFiles()
        async with gateway(tmp_path, files=files) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            files.failing["flush"] = BROKEN
            answer = await client.data(LARGE)
            assert answer.startswith("451 4.3.0 The message could not be stored safely")
            assert str(tmp_path) not in answer
            assert not it.log.of(MessageQueued)
            assert "aborted" in await it.log.line("MID 1 Message aborted")
            assert not it.couriers.scheduler.messages
            # The shard is read-only now: the next one is put off at MAIL.
            assert (await client.say("MAIL FROM:<a@b.example>")).startswith("45")
            files.failing.clear()

    run(main)


def test_a_large_message_arrives_whole(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes={"example.net": 1}) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            assert (await client.data(LARGE)).startswith("250 ")
            stored = it.stored(1)
            assert stored.in_file
            reader = await it.services.spool.open_body(stored)
            data = b""
            while piece := await reader.read(50_000):
                data += piece
            reader.close()
            assert data.endswith(LARGE)

    run(main)


# --- a commit while a session lasts ----------------------------------------------------------------


def test_mail_after_a_commit_is_under_the_new_policy(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes={"example.net": 1}) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            it.commit(mail_flow_policies=[policy(max_message_size="1MB", max_recipients_per_message=1)])
            # The transaction that was begun goes on as it was begun.
            assert (await client.say("RCPT TO:<two@example.net>")).startswith("250 ")
            assert (await client.data()).startswith("250 ")
            await client.envelope()
            assert (await client.say("RCPT TO:<two@example.net>")).startswith("452 4.5.3 ")

    run(main)


@pytest.mark.parametrize(
    "sections",
    [
        {"mail_flow_policies": [policy(tls="required")]},
        {"mail_flow_policies": [policy(action="reject")]},
        {"mail_flow_policies": [policy(action="relay")]},
        {"listeners": [listener("Other")]},
        {"listeners": [listener(port=2526)]},
    ],
)
def test_a_commit_that_changes_the_access_ends_the_session_at_mail(tmp_path: Path, sections: dict) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            it.commit(**sections)
            assert (await client.say("NOOP")).startswith("250 ")
            assert (await client.say("MAIL FROM:<a@b.example>")).startswith("421 4.3.2 ")
            assert await client.ended() == ""
            assert "ICID 1 lost" not in it.log.lines

    run(main)


# --- the end of the gateway -------------------------------------------------------------------------


def test_stop_tells_idle_sessions_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            await it.stop()
            assert (await client.ended()).startswith("421 4.3.2 ")
            assert it.log.lines[-2:] == [
                "MID 1 Message aborted MID 1 Receiving aborted by sender",
                "ICID 1 close",
            ]

    run(main)


def test_stop_waits_for_a_message_that_is_being_sent(tmp_path: Path) -> None:
    async def main() -> None:
        import asyncio

        async with gateway(tmp_path, routes={"example.net": 1}) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            assert (await client.say("DATA")).startswith("354 ")
            stopping = asyncio.create_task(it.stop(30))
            await asyncio.sleep(0)
            client.send(b"Subject: last\r\n\r\nx\r\n.\r\n")
            assert await client.reply() == "250 2.0.0 Ok: queued as 1"
            assert (await client.reply()).startswith("421 4.3.2 ")
            await stopping
            assert it.couriers.scheduler.messages.keys() == {1}

    run(main)


def test_stop_cuts_a_message_that_takes_too_long(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            assert (await client.say("DATA")).startswith("354 ")
            client.send(b"Subject: slow\r\n")
            await it.stop(0.05)
            assert "250" not in await client.ended()
            assert not it.couriers.scheduler.messages

    run(main)


def test_stop_inside_a_handshake_sends_nothing_in_clear(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            assert (await client.say("STARTTLS")).startswith("220 ")
            await it.stop()
            assert await client.ended() == ""

    run(main)


# --- our own bugs ------------------------------------------------------------------------------------


def test_a_bug_is_451_with_a_reference_that_the_log_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(head: bytes) -> HeaderFacts:
        raise KeyError("secret detail")

    monkeypatch.setattr("gatepost.relay.receive.scan_header", broken)

    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            await client.envelope()
            assert await client.data() == "451 4.3.0 Internal error, reference ref1"
            assert await client.ended() == ""
            await it.log.line("ICID 1 close")
            (error,) = it.bugs
            assert isinstance(error, KeyError)
            line = it.log.with_("Critical: ", "ref1")[0]
            assert "session ICID 1" in line
            other = await it.connect()
            await other.hello()

    run(main)


def test_a_bug_inside_a_handshake_writes_nothing_in_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError("secret detail")

    monkeypatch.setattr("gatepost.net.stream.Stream._shake_hands", broken)

    async def main() -> None:
        async with gateway(tmp_path) as it:
            client = await it.connect()
            await client.hello()
            assert (await client.say("STARTTLS")).startswith("220 ")
            assert await client.ended() == ""
            await it.log.line("ICID 1 close")
            assert len(it.bugs) == 1

    run(main)


def test_a_session_without_an_identifier_is_put_off(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path) as it:
            from gatepost.core.ids import IdKind, IdPool

            it.services.ids.icid = IdPool(IdKind.ICID, lambda kind: None)
            client = await it.connect()
            assert (await client.ended()).startswith("421 4.3.2 ")
            assert it.bugs == []

    run(main)
