"""A resolver that is listened to answers as before, and every question is kept in order."""

from __future__ import annotations

import asyncio
import ipaddress

from tests.fakes.resolver import FakeResolver

from gatepost.core.tlsa import TlsaAnswer, TlsaState
from gatepost.net.dns_answer import DnsStatus
from gatepost.net.overheard import MAX_KEPT, Overheard


def test_answers_are_passed_on_and_kept() -> None:
    zone = FakeResolver()
    zone.set_mx("x.example", (10, "mx.x.example"))
    zone.set_addresses("mx.x.example", "192.0.2.1")
    zone.set_name("192.0.2.1", "mx.x.example")
    zone.tlsa_answers["mx.x.example"] = TlsaAnswer(TlsaState.FOUND, base="alias.x.example")
    heard = Overheard(zone)  # type: ignore[arg-type]

    async def main() -> None:
        assert (await heard.mx("x.example")).values[0].host == "mx.x.example"
        assert (await heard.addresses("mx.x.example")).values == (ipaddress.ip_address("192.0.2.1"),)
        assert (await heard.txt("_mta-sts.x.example")).status is DnsStatus.NXDOMAIN
        assert (await heard.tlsa("mx.x.example", 25)).state is TlsaState.FOUND
        await heard.ptr_confirmed(ipaddress.ip_address("192.0.2.1"))

    asyncio.run(main())
    assert [(one.kind, one.name) for one in heard.look_ups] == [
        ("MX", "x.example"),
        ("A", "mx.x.example"),
        ("TXT", "_mta-sts.x.example"),
        ("TLSA", "_25._tcp.alias.x.example"),
    ]


def test_what_is_kept_is_bounded() -> None:
    heard = Overheard(FakeResolver())  # type: ignore[arg-type]

    async def main() -> None:
        for number in range(MAX_KEPT + 5):
            await heard.addresses(f"h{number}.example")

    asyncio.run(main())
    assert len(heard.look_ups) == MAX_KEPT
