"""What a message asks of TLS, taken in: offered, refused in clear, kept over a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import Gateway, gateway, listener, policy
from tests.fakes.peer import FakePeer
from tests.fakes.smtp_client import Client
from tests.fakes.time_travel import run
from tests.way.requiretls_parts import DOMAIN, FROM, TO, certificate, leads_by, promising

from gatepost.core.events import Event


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Any:
    return leads_by(monkeypatch)


@asynccontextmanager
async def receiving(tmp_path: Path, peer: FakePeer, **choices: Any) -> AsyncIterator[tuple[Gateway, Client]]:
    """A listener that takes mail for the domain, and a client that has spoken EHLO inside TLS."""
    lets = {"recipient_access": [{"recipient": DOMAIN, "action": "accept"}], **choices}
    routes = {DOMAIN: peer.port}
    async with gateway(
        tmp_path, routes=routes, listeners=[listener(**lets)], mail_flow_policies=[policy()]
    ) as it:
        client = await it.connect()
        await client.hello()
        await client.starttls()
        yield it, client


async def message(client: Client, parameters: str, header: bytes = b"") -> None:
    assert (await client.say(f"MAIL FROM:<{FROM}>{parameters}")).startswith("250 ")
    assert (await client.say(f"RCPT TO:<{TO}>")).startswith("250 ")
    assert (await client.data(header + b"Subject: x\r\n\r\nHello\r\n")).startswith("250 ")


def test_it_is_taken_inside_tls_and_passed_on(tmp_path: Path) -> None:
    async def main() -> None:
        own = certificate(DOMAIN)
        async with promising(certificate=own) as peer, receiving(tmp_path, peer) as (it, client):
            assert "250 REQUIRETLS" in await client.say("EHLO client.example")
            await message(client, " REQUIRETLS", b"TLS-Required: No\r\n")
            await it.log.line("Message finished")
            assert "REQUIRETLS" in next(said for said in peer.commands if said.startswith("MAIL"))
            assert it.log.with_("MID 1 requires TLS on its whole way (REQUIRETLS)")
            assert not it.log.with_("waives")  # both: the stricter wins

    run(main)


def test_a_listener_need_not_offer_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as peer, receiving(tmp_path, peer, requiretls=False) as (_, client):
            assert "REQUIRETLS" not in await client.say("EHLO client.example")
            assert await client.say(f"MAIL FROM:<{FROM}> REQUIRETLS") == (
                "555 5.5.4 REQUIRETLS is not offered here"
            )

    run(main)


@pytest.mark.parametrize(
    ("choices", "heeded"),
    [
        ({}, False),
        ({"tls_required_no": True}, True),
        ({"type": "private"}, True),
        ({"type": "private", "tls_required_no": False}, False),
    ],
)
def test_where_tls_required_no_is_heeded(tmp_path: Path, choices: dict[str, Any], heeded: bool) -> None:
    async def main() -> None:
        async with FakePeer() as peer, receiving(tmp_path, peer, **choices) as (it, client):
            assert "250" in await client.say("EHLO client.example")
            await message(client, "", b"TLS-Required: No\r\n")
            await it.log.line("Message finished")
            assert bool(it.log.with_("MID 1 waives what its recipients publish about TLS")) is heeded
            assert b"TLS-Required: No\r\n" in peer.mails[0].body

    run(main)


def test_what_it_asks_survives_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(tmp_path, routes={DOMAIN: 9}) as it:
            it.resolver.failing.add(DOMAIN)
            await it.inject(FROM, TO, requiretls=True)
            await it.inject(FROM, TO, tls_optional=True)
            await it.quiet()
        async with gateway(tmp_path, routes={DOMAIN: 9}) as it:
            kept = [it.stored(mid).envelope for mid in sorted(it.couriers.scheduler.messages)]
            assert [(one.requiretls, one.tls_optional) for one in kept] == [(True, False), (False, True)]

    run(main)


def test_events_have_no_other_kind(tmp_path: Path) -> None:
    """A plain message leaves no line about RFC 8689."""

    async def main() -> None:
        async with FakePeer() as peer, receiving(tmp_path, peer) as (it, client):
            assert "250" in await client.say("EHLO client.example")
            await message(client, "")
            await it.log.line("Message finished")
            noted: list[Event] = [event for event in it.log.events if type(event).__name__ == "Noted"]
            assert noted == []

    run(main)
