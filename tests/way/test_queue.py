"""What keeps messages where they are: the administrator's hand, damaged bodies, crashes, the end of the gateway."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.gateway_parts import BODY, Gateway, gateway
from tests.fakes.peer import FakePeer
from tests.fakes.time_travel import run

from gatepost.core.errors import OperatorError
from gatepost.core.events import SpoolProblem
from gatepost.store.spool import MessageKind, StoredMessage

FROM, TO = "a@sender.example", "b@partner.example"
ROUTES = {"partner.example": 1, "other.example": 1, "sender.example": 1}


# --- the administrator ------------------------------------------------------------------------------


def test_list_and_show(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes=ROUTES) as it:
            mid = await it.inject(FROM, TO, "c@other.example")
            await it.delayed(mid, 2)
            await it.quiet()
            (row,) = await it.queue.answer("list", {"all": True})
            assert row["mid"] == mid
            assert row["recipients"] == [TO, "c@other.example"]
            assert (row["state"], row["attempts"]) == ("deferred", 1)
            assert row["reason"] == "[Errno 111] Connection refused"
            (detail,) = await it.queue.answer("show", {"mid": mid})
            assert [r["address"] for r in detail["recipients"]] == [TO, "c@other.example"]
            assert detail["recipients"][0]["status"] == "4.4.0"
            assert await it.queue.answer("list", {"domain": "nobody.example"}) == []
            assert await it.queue.answer("show", {"mid": 99}) == []
            with pytest.raises(OperatorError):
                await it.queue.answer("eat", {})

    run(main)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (MessageKind.ORDINARY, "ordinary"),
        (MessageKind.OWN, "alert"),
        (MessageKind.NOTICE, "notice"),
        (MessageKind.REPORT, "tls-report"),
    ],
)
def test_it_is_shown_what_a_message_is_and_asks_of_tls(tmp_path: Path, kind: MessageKind, word: str) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes=ROUTES) as it:
            mid = await it.inject(FROM, TO)
            await it.delayed(mid)
            await it.quiet()
            stored = it.couriers.scheduler.messages[mid]
            stored.kind = kind
            for requiretls, tls_optional in ((False, False), (True, False), (False, True)):
                stored.envelope = replace(stored.envelope, requiretls=requiretls, tls_optional=tls_optional)
                for action in ("list", "show"):
                    (row,) = await it.queue.answer(action, {"mid": mid})
                    assert (row["kind"], row["requiretls"], row["tls_optional"]) == (
                        word,
                        requiretls,
                        tls_optional,
                    )

    run(main)


def test_hold_and_release(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer(replies={"RCPT": ["451 4.2.0 Later", "250 Ok"]}) as peer:
            async with gateway(tmp_path, routes={"partner.example": peer.port}) as it:
                mid = await it.inject(FROM, TO)
                await it.delayed(mid)
                await it.quiet()
                assert await it.queue.answer("hold", {"mid": mid, "by": "admin"}) == {
                    "done": [mid],
                    "busy": [],
                }
                assert await it.queue.answer("hold", {"mid": mid}) == {"done": [], "busy": []}
                it.clock.advance(3600)
                assert await it.queue.answer("retry", {"mid": mid}) == {"done": [], "busy": []}
                await it.quiet()
                assert peer.mails == []
                assert (await it.queue.answer("list", {"all": True}))[0]["state"] == "held"
                clock = it.clock
            async with gateway(tmp_path, routes={"partner.example": peer.port}, clock=clock) as it:
                assert it.stored(mid).held == "held by admin"
                await it.queue.answer("release", {"mid": mid, "by": "admin"})
                await it.log.line("Message finished")
                assert it.log.with_("released by admin")

    run(main)


def test_delete_and_bounce_of_one_domain(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes=ROUTES) as it:
            mid = await it.inject(FROM, TO, "c@other.example")
            await it.delayed(mid, 2)
            await it.quiet()
            answer = await it.queue.answer("delete", {"domain": "partner.example", "by": "admin"})
            assert answer == {"done": [mid], "busy": []}
            await it.log.line(f"MID {mid} RID [0] deleted by admin")
            assert it.couriers.scheduler.messages.keys() == {mid}
            await it.queue.answer("bounce", {"mid": mid, "by": "admin"})
            line = await it.log.line("Bounced: DCID 0")
            assert line == (
                f"Bounced: DCID 0 MID {mid} to RID 1 - 5.3.0 - Bounced by administrator ('000', ['returned by admin'])"
            )
            await it.log.line(f"was generated for bounce of MID {mid}")
            assert mid not in it.couriers.scheduler.messages

    run(main)


def test_retry_now(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(replies={"RCPT": ["451 4.2.0 Later", "250 Ok"]}) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}) as it,
        ):
            mid = await it.inject(FROM, TO)
            await it.delayed(mid)
            await it.quiet()
            assert await it.queue.answer("retry", {"all": True}) == {"done": [mid], "busy": []}
            await it.log.line("Message finished")
            # The time of the retry that is not needed any more comes: nothing happens.
            it.clock.advance(7200)
            await it.quiet()
            assert len(peer.mails) == 1

    run(main)


def test_what_a_courier_has_is_busy(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            peer.hold("BODY")
            mid = await it.inject(FROM, TO)
            await peer.heard("BODY")
            for action in ("hold", "delete", "bounce"):
                assert await it.queue.answer(action, {"mid": mid}) == {"done": [], "busy": [mid]}
            assert await it.queue.answer("retry", {"mid": mid}) == {"done": [], "busy": []}
            peer.go("BODY")
            await it.log.line("Message finished")
            assert len(peer.mails) == 1

    run(main)


# --- damage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_damaged_body_is_held_and_never_sent(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        body = BODY + b"x" * size + b"\r\n"
        async with gateway(tmp_path, routes=ROUTES) as it:
            mid = await it.inject(FROM, TO, body=body)
            await it.delayed(mid)
            clock = it.clock
        _damage(tmp_path / "spool0" / "0", mid)
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={"partner.example": peer.port}, clock=clock) as it,
        ):
            if not it.stored(mid).held:
                it.to_next_attempt(mid)
                await it.log.line(f"MID {mid} held: ")
                assert len(it.log.of(SpoolProblem)) == 1
            await it.quiet()
            assert it.stored(mid).held
            assert peer.mails == []

    run(main)


def _damage(shard: Path, mid: int) -> None:
    """Change one octet of the stored body, wherever it is kept."""
    file = shard / "body" / str(mid)
    path = file if file.exists() else shard / "queue.db"
    data = path.read_bytes()
    assert data.count(b"Subject: Testing") == 1
    path.write_bytes(data.replace(b"Subject: Testing", b"Subject: Tasting"))


# --- crashes ----------------------------------------------------------------------------------------


async def suspects(it: Gateway, count: int, crashes: int = 1) -> list[StoredMessage]:
    """Messages as they are found after a crash that had them in work."""
    scheduler = it.couriers.scheduler
    scheduler.stopping = True
    mids = [await it.inject(FROM, TO) for _ in range(count)]
    messages = [it.stored(mid) for mid in mids]
    for message in messages:
        scheduler.withdraw(message)
        message.crashes = crashes
    scheduler.stopping = False
    for message in messages:
        scheduler.add(message)
    return messages


def test_suspects_are_tried_one_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            peer.hold("BODY")
            messages = await suspects(it, 3)
            await peer.heard("BODY")
            assert len(peer.conversations) == 1
            clean = await it.inject(FROM, TO)
            await peer.heard("BODY", 2)
            # A second hand on a waiting suspect changes nothing of that.
            await it.queue.answer("retry", {"mid": messages[2].mid})
            await it.queue.answer("hold", {"mid": messages[1].mid})
            await it.queue.answer("release", {"mid": messages[1].mid})
            peer.go("BODY")
            await it.log.until(lambda: len(it.log.with_("Message finished")) == 4)
            await it.quiet()
            assert len(peer.mails) == 4, "none is sent twice"
            assert it.log.with_(f"Message finished MID {clean}")

    run(main)


def test_a_deleted_suspect_lets_the_next_one_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            peer.hold("BODY")
            first, second, third = await suspects(it, 3)
            await peer.heard("BODY")
            await it.queue.answer("delete", {"mid": second.mid})
            peer.go("BODY")
            await it.log.line(f"Message finished MID {third.mid}")
            assert not it.log.with_(f"Message finished MID {second.mid}")
            assert first.crashes == third.crashes == 0

    run(main)


# --- the end ----------------------------------------------------------------------------------------


def test_stop_waits_for_the_answer_to_the_final_dot(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer:
            peer.hold("BODY")
            async with gateway(tmp_path, routes={"partner.example": peer.port}) as it:
                await it.inject(FROM, TO)
                await peer.heard("BODY")
                stopping = asyncio.create_task(it.stop(30))
                await asyncio.sleep(0)
                peer.go("BODY")
                await stopping
                await it.log.line("Message finished MID 1 done")
            async with gateway(tmp_path, routes={"partner.example": peer.port}) as it:
                assert not it.couriers.scheduler.messages

    run(main)


def test_stop_cuts_what_has_not_sent_its_dot_and_keeps_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer:
            peer.hold("RCPT")
            async with gateway(tmp_path, routes={"partner.example": peer.port}) as it:
                mid = await it.inject(FROM, TO)
                await peer.heard("RCPT")
                await it.stop(30)
                assert "DCID 1 close" in it.log.lines
            peer.go("RCPT")
            async with gateway(tmp_path, routes={"partner.example": peer.port}) as it:
                assert it.stored(mid).progress[0].attempts == 0
                assert it.stored(mid).crashes == 0
                await it.log.line(f"Message finished MID {mid}")

    run(main)


def test_stop_does_not_tear_what_an_answer_leads_to(tmp_path: Path) -> None:
    """One recipient is delivered, one bounced: while the report's original is being read, stop must not cut."""

    async def main() -> None:
        replies = {"RCPT TO:<gone@": "550 5.1.1 No such user"}
        async with (
            FakePeer(replies=replies) as peer,
            gateway(tmp_path, routes={"partner.example": peer.port, "sender.example": 1}) as it,
        ):
            reading, go_on = asyncio.Event(), asyncio.Event()
            open_body = it.services.spool.open_body
            calls = 0

            async def slow(message: StoredMessage) -> object:
                nonlocal calls
                calls += 1
                if calls == 2:  # the first reads it to send it
                    reading.set()
                    await go_on.wait()
                return await open_body(message)

            it.services.spool.open_body = slow  # type: ignore[method-assign,assignment]
            mid = await it.inject(FROM, TO, "gone@partner.example")
            await reading.wait()
            stopping = asyncio.create_task(it.stop(30))
            await asyncio.sleep(0)
            go_on.set()
            await stopping
            await it.log.line(f"Message finished MID {mid} done")
            assert it.log.with_(f"Message done DCID 1 MID {mid} to RID [0]")

    run(main)


def test_a_bug_defers_a_message_and_names_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("never seen by anybody outside")

    async def main() -> None:
        async with FakePeer() as peer, gateway(tmp_path, routes={"partner.example": peer.port}) as it:
            with monkeypatch.context() as patch:
                patch.setattr("gatepost.relay.deliver.Connection._cannot_take", broken)
                mid = await it.inject(FROM, TO)
                await it.delayed(mid)
            assert "internal error, reference ref1" in it.log.with_("Delayed")[0]
            assert it.log.with_("Critical: ", f"delivering MID {mid}")
            await it.quiet()
            assert it.services.counters.connections_out_now == 0
            it.to_next_attempt(mid)
            await it.log.line("Message finished")

    run(main)


def test_a_message_whose_report_cannot_be_made_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a report that cannot be made")

    async def main() -> None:
        async with gateway(tmp_path, routes={"partner.example": "reject", "sender.example": 1}) as it:
            with monkeypatch.context() as patch:
                patch.setattr("gatepost.relay.report.make_report", broken)
                mid = await it.inject(FROM, TO)
                await it.log.line("Critical: ", "RuntimeError")
                await it.quiet()
                assert it.stored(mid).progress[0].state == "waiting"
                assert not it.couriers.scheduler.in_flight(it.stored(mid))
            it.to_next_attempt(mid)
            await it.log.line(f"Message finished MID {mid}")

    run(main)


def test_a_message_that_can_neither_be_delivered_nor_returned_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a report that cannot be made")

    monkeypatch.setattr("gatepost.relay.report.make_report", broken)

    async def main() -> None:
        profile = {"name": "Default", "max_attempts": 1}
        routes = {"partner.example": "reject"}
        async with gateway(tmp_path, routes=routes, bounce_profiles=[profile]) as it:
            mid = await it.inject(FROM, TO)
            line = await it.log.line(f"MID {mid} held: ")
            assert "internal error, reference ref1" in line
            await it.quiet()
            assert it.stored(mid).held
            assert not it.couriers.scheduler.in_flight(it.stored(mid))

    run(main)
