"""A mail worker as the supervisor drives it: start, mail, a new configuration, requests, stop, a broken shard."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import DOCUMENT, own_certificate, policy, route
from tests.fakes.peer import FakePeer
from tests.fakes.time_travel import PATIENCE, Watched, run

from gatepost.app.roles import Assignment, ListenerSocket
from gatepost.app.worker import Worker
from gatepost.config.load import load_plain, to_plain
from gatepost.core.errors import OperatorError
from gatepost.core.ids import IdKind
from gatepost.store.home import Home
from gatepost.store.limits import LimitTable
from gatepost.store.spool import Files


class FakeSupervisor(Watched):
    """Implements `app.roles.SupervisorPort`."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[str] = []
        self._next = dict.fromkeys(IdKind, 1)

    async def grant_ids(self, kind: IdKind, /) -> int:
        first = self._next[kind]
        self._next[kind] += 256
        return first

    def broadcast(self, kind: str, args: Mapping[str, Any], /) -> None:
        pass

    def fail(self, reason: str, /) -> None:
        self.failures.append(reason)
        self.changed()


def payload(version: int, **sections: Any) -> dict[str, Any]:
    own = own_certificate()
    return {
        "version": version,
        "document": to_plain(load_plain({**DOCUMENT, "dns": {"reverse": False}, **sections})),
        "profiles": {"gw": {"chains": [own.chain_pem.decode()], "keys": [own.key_pem.decode()]}},
        "authorities": {"system": False, "custom_pem": ""},
    }


class Driven:
    """A started worker and one listening socket."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home")
        self.supervisor = FakeSupervisor()
        self.worker = Worker(self.supervisor, oldest_configuration=0.05)
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.listener = ListenerSocket("In", "127.0.0.1", 2525, self.sock.fileno())

    async def start(self, **sections: Any) -> None:
        self.home.initialise({})
        assignment = Assignment(
            0,
            1,
            (0,),
            self.home.root,
            "boot",
            5.0,
            LimitTable.create(1),
            payload(1, **sections),
            (self.listener,),
        )
        await self.worker.start(assignment)

    async def talk(self, *lines: str) -> list[str]:
        """Say these lines one by one; the replies, the greeting first."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        replies = []
        for line in (*lines, ""):
            text = (await asyncio.wait_for(reader.readuntil(b"\r\n"), PATIENCE)).decode()
            while text.splitlines()[-1][3] == "-":
                text += (await asyncio.wait_for(reader.readuntil(b"\r\n"), PATIENCE)).decode()
            replies.append(text)
            if line:
                writer.write(line.encode() + b"\r\n")
        writer.close()
        await writer.wait_closed()
        return replies

    async def send(self, body: str = "Subject: x\r\n\r\nHello") -> str:
        said = (
            "EHLO a.example",
            "MAIL FROM:<a@b.example>",
            "RCPT TO:<m@example.net>",
            "DATA",
            f"{body}\r\n.",
        )
        return (await self.talk(*said))[-1]


@asynccontextmanager
async def driven(root: Path, **sections: Any) -> AsyncIterator[Driven]:
    it = Driven(root)
    await it.start(**sections)
    try:
        yield it
    finally:
        await it.worker.stop(2.0)
        it.worker._services.limits.close()
        it.sock.close()


def test_mail_goes_through_and_is_in_the_log_at_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer:
            async with driven(tmp_path, smtp_routes=[route("example.net", peer.port)]) as it:
                assert (await it.send()).startswith("250 2.0.0 Ok: queued as 1")
                assert b"\r\n\r\nHello\r\n" in (await peer.mail()).body
                status = await it.worker.request("status", {})
                assert status["version"] == 1
                assert status["counters"]["messages_accepted"] == 1
                caches = status["caches"]
                assert caches["admissions"]["misses"] == caches["admissions"]["size"] == 1
                assert all(one["size"] <= one["limit"] for one in caches.values())
                assert caches.keys() >= {"dns", "tlsa", "client_names", "mta_sts", "chains", "certificates"}
                assert await it.worker.request("queue.list", {"domain": "nobody.example"}) == []
                with pytest.raises(OperatorError):
                    await it.worker.request("weather", {})
            log = it.home.mail_log.read_text()
            assert "Message finished MID 1 done" in log
            assert "ICID 1 close" in log
            assert '"event":"MessageFinished"' in it.home.event_log.read_text()

    run(main)


def test_a_new_configuration_is_prepared_then_switched_to(tmp_path: Path) -> None:
    async def main() -> None:
        async with driven(tmp_path, smtp_routes=[route("example.net", 1)]) as it:
            strict = payload(2, mail_flow_policies=[policy(tls="required")])
            await it.worker.prepare(strict, (it.listener,))
            it.worker.abandon()
            assert (await it.talk("EHLO a.example", "MAIL FROM:<a@b.example>"))[-1].startswith("250 ")
            await it.worker.prepare(strict, (it.listener,))
            it.worker.switch()
            assert (await it.talk("EHLO a.example", "MAIL FROM:<a@b.example>"))[-1].startswith("530 ")
            assert (await it.worker.request("status", {}))["version"] == 2

    run(main)


def test_a_new_log_subscription_is_taken_up_at_once(tmp_path: Path) -> None:
    """Level, size and number of files: what is written after the switch follows the new subscription."""

    async def main() -> None:
        async with driven(tmp_path, smtp_routes=[route("example.net", 1)]) as it:
            await it.talk("QUIT")
            small = {"name": "mail_logs", "type": "mail", "level": "warning", "rotate": "300B", "keep": 3}
            await it.worker.prepare(payload(2, log_subscriptions=[small]), (it.listener,))
            it.worker.switch()
            await it.talk("MAIL FROM:<a@b.example>", "QUIT")
        logs = it.home.logs
        rotated = sorted(logs.glob("events.jsonl.@*"))
        assert rotated
        told = "".join(path.read_text() for path in (*rotated, it.home.event_log))
        assert told.count('"event":"ConnectionOpened"') == 2
        lines = it.home.mail_log.read_text() if it.home.mail_log.exists() else ""
        assert lines.count("New SMTP ICID") <= 1  # the first was perhaps written before the switch

    run(main)


def test_a_session_that_sends_nothing_does_not_keep_an_old_configuration_for_ever(tmp_path: Path) -> None:
    async def main() -> None:
        async with driven(tmp_path, smtp_routes=[route("example.net", 1)]) as it:
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            assert (await reader.readuntil(b"\r\n")).startswith(b"220 ")
            await it.worker.prepare(payload(2), (it.listener,))
            it.worker.switch()
            said = await asyncio.wait_for(reader.read(), PATIENCE)
            assert said == b"421 4.3.2 The configuration changed, please connect again\r\n"
            writer.close()
            await writer.wait_closed()

    run(main)


def test_a_certificate_that_does_not_load_is_refused_before_the_switch(tmp_path: Path) -> None:
    async def main() -> None:
        async with driven(tmp_path) as it:
            broken = payload(2)
            broken["profiles"]["gw"]["chains"] = ["no certificate"]
            with pytest.raises(OperatorError, match="TLS context"):
                await it.worker.prepare(broken, (it.listener,))
            assert (await it.talk("EHLO a.example"))[-1].startswith("250")

    run(main)


def test_a_shard_that_cannot_be_flushed_ends_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Architecture 5: waiting sessions get 451, the shard goes read-only, the worker restarts and reads it anew."""

    def broken(files: Files, descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def main() -> None:
        async with driven(tmp_path) as it:
            monkeypatch.setattr(Files, "flush", broken)
            large = "Subject: large\r\n\r\n" + "0123456789abcdef\r\n" * 10_000
            assert (await it.send(large)).startswith("451 4.3.0 ")
            await it.supervisor.until(lambda: it.supervisor.failures)
            assert "shard 0 of the spool is read-only" in it.supervisor.failures[0]

    run(main)
