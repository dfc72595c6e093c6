"""Connections whose peers are still being looked up: within the limits, told as ever, and gone when their peers are (C27)."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import Gateway, gateway, listener, policy
from tests.fakes.log_book import LogBook
from tests.fakes.time_travel import run
from tests.net.kit import until

from gatepost.relay import arrival
from gatepost.store.limits import Kind, LimitTable

ONE, TWO, THREE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
NEW = "interface Data 1 (127.0.0.1) address {} reverse dns host unknown verified None"
FROM_ADDRESS = "421 4.7.0 Too many connections from your address, please try again later\r\n"
BUSY = "421 4.3.2 Too many connections, please try again later\r\n"


@asynccontextmanager
async def slow_names(tmp_path: Path, *addresses: str, **sections: Any) -> AsyncIterator[Gateway]:
    """A gateway to which the names of these addresses are told when `told` says so."""
    async with gateway(tmp_path, **sections) as it:
        for address in addresses or (ONE, TWO, THREE):
            it.resolver.slow[ipaddress.ip_address(address)] = asyncio.Event()
        yield it


def told(it: Gateway) -> None:
    for event in it.resolver.slow.values():
        event.set()


async def arriving(it: Gateway, count: int) -> None:
    """Until so many wait for their look-up."""
    async with asyncio.timeout(10):
        await until(lambda: it.resolver.slow_now == count)


def in_use(it: Gateway, kind: Kind, address: str = "") -> int:
    return it.services.limits.in_use(kind, f"In/{address}" if address else "In")


def nothing_is_held(it: Gateway) -> bool:
    return not it.services.limits._held


def limited(per_address: int, **more: Any) -> dict[str, Any]:
    return {"mail_flow_policies": [policy(max_connections_per_ip=per_address)], **more}


# --- the limits -----------------------------------------------------------------------------------


def test_those_of_a_listener_that_arrive_have_its_places(tmp_path: Path) -> None:
    async def main() -> None:
        async with slow_names(tmp_path, listeners=[listener(max_connections=2)]) as it:
            first, second = await it.connect(), await it.connect(source=TWO)
            await arriving(it, 2)
            third = await it.connect(source=THREE)
            assert await third.ended() == BUSY
            await it.log.line("ICID 1 close")
            assert it.log.about("ICID 1") == [
                f"New SMTP ICID 1 {NEW.format(THREE)}",
                "ICID 1 ACCEPT SG ALL match ALL SBRS not enabled",
                "ICID 1 Receiving Failed: Connection limit exceeded",
                "ICID 1 close",
            ]
            told(it)
            for client in (first, second):
                await client.hello()
                await client.quit()
            assert await it.ended()
            assert nothing_is_held(it)

    run(main)


def test_those_of_an_address_that_arrive_are_counted_with_its_sessions(tmp_path: Path) -> None:
    async def main() -> None:
        async with slow_names(tmp_path, **limited(3)) as it:
            told(it)
            inside = await it.connect()
            await inside.hello()
            it.resolver.slow[ipaddress.ip_address(ONE)].clear()
            waiting = [await it.connect(), await it.connect()]
            await arriving(it, 2)
            assert (in_use(it, Kind.ARRIVING, ONE), in_use(it, Kind.LISTENER_ADDRESS, ONE)) == (2, 1)
            refused = await it.connect()
            assert await refused.ended() == FROM_ADDRESS
            await it.log.line("Receiving Failed: Connection limit exceeded")
            assert it.log.with_(f"{NEW.format(ONE)}")
            other = await it.connect(source=TWO)
            await other.hello()
            told(it)
            for client in waiting:
                await client.hello()
            assert (in_use(it, Kind.ARRIVING, ONE), in_use(it, Kind.LISTENER_ADDRESS, ONE)) == (0, 3)
            assert (await (await it.connect()).ended()) == FROM_ADDRESS

    run(main)


def test_the_name_decides_which_limit_holds_in_the_end(tmp_path: Path) -> None:
    """As many may arrive as the most generous policy allows that a name could lead to."""
    groups = [
        {"group": "KNOWN", "policy": "WIDE", "senders": ["mx.known.example"]},
        {"group": "ALL", "policy": "NARROW"},
    ]
    policies = [policy("WIDE", max_connections_per_ip=3), policy("NARROW", max_connections_per_ip=1)]

    async def main() -> None:
        async with slow_names(
            tmp_path, listeners=[listener(host_access=groups)], mail_flow_policies=policies
        ) as it:
            it.resolver.set_name(TWO, "mx.known.example")
            for source, admitted in ((ONE, 1), (TWO, 3)):
                clients = [await it.connect(source=source) for _ in range(3)]
                await arriving(it, 3)
                over = await it.connect(source=source)
                assert await over.ended() == FROM_ADDRESS
                it.resolver.slow[ipaddress.ip_address(source)].set()
                answers = sorted([(await client.reply())[:3] for client in clients])
                assert answers == ["220"] * admitted + ["421"] * (3 - admitted)
                assert in_use(it, Kind.LISTENER_ADDRESS, source) == admitted
                assert in_use(it, Kind.ARRIVING, source) == 0

    run(main)


def test_two_workers_never_pass_a_limit_together(tmp_path: Path) -> None:
    async def main() -> None:
        table = LimitTable.create(2)
        try:
            log = LogBook()
            sections = limited(4, listeners=[listener(max_connections=6)])
            async with (
                slow_names(tmp_path, descriptor=table, index=0, log=log, **sections) as here,
                slow_names(tmp_path, descriptor=table, index=1, log=log, **sections) as there,
            ):
                workers = (here, there)
                clients = [await it.connect(source=one) for one in (ONE, TWO) for it in workers * 4]
                async with asyncio.timeout(10):
                    await until(lambda: sum(client.stream._end is True for client in clients) == 10)
                    await until(lambda: sum(it.resolver.slow_now for it in workers) == 6)
                for it in workers:
                    assert in_use(it, Kind.LISTENER) == 6
                    assert in_use(it, Kind.ARRIVING, ONE) <= 4
                    told(it)
                for client in clients:
                    if client.stream._end is not True:
                        await client.hello()
        finally:
            os.close(table)

    run(main)


# --- peers that go --------------------------------------------------------------------------------


@pytest.mark.parametrize("manner", ["end", "reset", "words and reset"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_peer_that_goes_frees_everything_at_once(tmp_path: Path, manner: str, tls: str) -> None:
    """The look-up ends, the places come back and nobody is greeted; the log tells of it as of any lost connection."""

    async def main() -> None:
        async with slow_names(tmp_path, listeners=[listener(tls=tls)]) as it:
            with socket.create_connection(("127.0.0.1", it.ports["In"])) as peer:
                await arriving(it, 1)
                assert (in_use(it, Kind.LISTENER), in_use(it, Kind.ARRIVING, ONE)) == (1, 1)
                if "words" in manner:
                    peer.sendall(b"EHLO early.example\r\n")
                if "reset" in manner:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            assert await it.ended()
            assert it.resolver.slow_now == 0
            assert nothing_is_held(it)
            await it.log.line("ICID 1 close")
            assert it.log.about("ICID 1") == [
                f"New SMTP ICID 1 {NEW.format(ONE)}",
                "ICID 1 ACCEPT SG ALL match ALL SBRS not enabled",
                "ICID 1 lost",
                "ICID 1 close",
            ]
            assert it.bugs == []

    run(main)


def test_who_said_something_and_ended_its_side_is_answered(tmp_path: Path) -> None:
    """A half-closed connection with commands in it is a client that waits for its answers."""

    async def main() -> None:
        async with slow_names(tmp_path) as it:
            client = await it.connect()
            await arriving(it, 1)
            client.send("HELO early.example\r\nQUIT\r\n")
            client.stream._sock.shutdown(socket.SHUT_WR)
            for _ in range(20):
                await asyncio.sleep(0)
            assert it.resolver.slow_now == 1
            told(it)
            answers = await client.ended()
            assert [line[:3] for line in answers.splitlines()] == ["220", "250", "221"]

    run(main)


def test_one_of_two_that_share_a_look_up_may_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with slow_names(tmp_path) as it:
            first, second = await it.connect(), await it.connect()
            await arriving(it, 2)
            first.stream.abort()
            await it.log.line("ICID 1 close")
            assert in_use(it, Kind.LISTENER) == 1
            told(it)
            await second.hello()

    run(main)


def test_a_worker_that_stops_waits_for_no_look_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with slow_names(tmp_path) as it:
            client = await it.connect()
            await arriving(it, 1)
            await it.stop(1.0)
            assert await client.ended() == "421 4.3.2 Service shutting down, please try again later\r\n"
            assert nothing_is_held(it)
            assert it.resolver.slow_now == 0

    run(main)


def test_what_a_killed_worker_had_arriving_is_free_again(tmp_path: Path) -> None:
    async def main() -> None:
        table = LimitTable.create(2)
        try:
            dead = LimitTable.attach(os.dup(table), 1)
            for kind, key in ((Kind.LISTENER, "In"), (Kind.ARRIVING, f"In/{ONE}"), (Kind.TURNED_AWAY, "In")):
                assert dead.acquire(kind, key, 1)
            dead.close()
            async with slow_names(
                tmp_path, descriptor=table, **limited(1, listeners=[listener(max_connections=1)])
            ) as it:
                assert await (await it.connect()).ended() == BUSY
                LimitTable.attach(os.dup(table), None).clear_worker(1)
                client = await it.connect()
                await arriving(it, 1)
                told(it)
                await client.hello()
        finally:
            os.close(table)

    run(main)


# --- who is refused -------------------------------------------------------------------------------


def blocked(action: str, **more: Any) -> dict[str, Any]:
    rows = [{"group": "BAD", "policy": "BAD", "senders": [TWO]}, {"group": "ALL", "policy": "ACCEPTED"}]
    return {
        "listeners": [listener(host_access=rows, **more)],
        "mail_flow_policies": [policy(), policy("BAD", action)],
    }


def test_who_is_refused_needs_no_place_of_the_listener(tmp_path: Path) -> None:
    async def main() -> None:
        async with slow_names(tmp_path, **blocked("reject", max_connections=1)) as it:
            told(it)
            refused = await it.connect(source=TWO)
            assert (await refused.reply()).startswith("554 ")
            assert (in_use(it, Kind.LISTENER), in_use(it, Kind.TURNED_AWAY)) == (0, 1)
            inside = await it.connect()
            await inside.hello()
            late = await it.connect(
                source=TWO
            )  # the listener is full, and this one needs no name to be refused
            assert (await late.reply()).startswith("554 ")
            await refused.quit()
            await late.quit()

    run(main)


def test_only_so_many_that_are_refused_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "MOST_TURNED_AWAY", 2)

    async def main() -> None:
        async with gateway(tmp_path, **blocked("reject")) as it:
            waited_for = [await it.connect(source=TWO) for _ in range(2)]
            for client in waited_for:
                assert (await client.reply()).startswith("554 ")
            cut = await it.connect(source=TWO)
            assert (await cut.ended()).startswith("554 ")
            await it.log.line("ICID 3 close")
            assert it.log.about("ICID 3")[1:] == [
                "ICID 3 REJECT SG BAD match 127.0.0.2 SBRS not enabled",
                "ICID 3 close",
            ]
            await waited_for[0].quit()
            await it.log.line("ICID 1 close")
            again = await it.connect(source=TWO)
            await again.reply()
            await again.quit()

    run(main)


def test_who_is_dropped_whatever_its_name_is_not_looked_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with slow_names(tmp_path, **blocked("tcprefuse")) as it:
            client = await it.connect(source=TWO)
            assert await client.ended() == ""
            await it.log.line("ICID 0 TCPREFUSE SG BAD match 127.0.0.2 SBRS not enabled")
            assert it.resolver.asked == []
            assert await it.ended()
            assert nothing_is_held(it)

    run(main)


# --- who stays when it is over ---------------------------------------------------------------------


def test_a_connection_that_does_not_take_its_last_answers_keeps_its_place(tmp_path: Path) -> None:
    """It is open until it took them or some seconds have passed: without its place it would come beside the limits."""

    async def main() -> None:
        async with gateway(tmp_path) as it:
            with socket.socket() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.connect(("127.0.0.1", it.ports["In"]))
                peer.setblocking(False)
                sending = asyncio.ensure_future(_pour(peer, b"EHLO many.example\r\n"))
                async with asyncio.timeout(10):
                    await until(lambda: any(session.stream.unsent > 65_536 for session in it.sessions))
                sending.cancel()
                it.clock.advance(301)
                await it.log.line("ICID 1 close")
                assert in_use(it, Kind.LISTENER_ADDRESS, ONE) == in_use(it, Kind.LISTENER) == 1
                it.clock.advance(6)
                assert await it.ended()
                assert nothing_is_held(it)

    run(main)


async def _pour(peer: socket.socket, line: bytes) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await loop.sock_sendall(peer, line * 1_000)
