"""REQUIRETLS on the way out: the parameter goes on, and what does not prove itself gets nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway_parts import controls, gateway
from tests.fakes.peer import CAPABILITIES, Handshake
from tests.fakes.time_travel import run
from tests.way.requiretls_parts import (
    DOMAIN,
    FROM,
    MX,
    STRANGE,
    TO,
    bounced,
    certificate,
    hop,
    leads_by,
    promising,
    records,
)

from gatepost.core.delivery_events import Delivered, RequiredTlsFailed
from gatepost.core.envelope import Ret
from gatepost.wire.mta_sts import Mode, StsPolicy


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Any:
    return leads_by(monkeypatch)


def test_it_is_delivered_with_the_parameter(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with promising() as peer, gateway(tmp_path, routes={}) as it:
            way(hop(peer))
            await it.inject(FROM, TO, requiretls=True)
            await it.log.line("Message finished")
            assert any("REQUIRETLS" in said for said in peer.commands if said.startswith("MAIL"))
            assert it.log.with_("TLS success", f"for {DOMAIN} verified yes: {MX}")
            told = next(event for event in it.log.events if isinstance(event, Delivered))
            assert told.tls is not None
            assert (told.tls["requiretls"], told.tls["verdict"]) == (True, "verified")

    run(main)


def test_a_host_without_the_extension_returns_it(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with promising(capabilities=CAPABILITIES) as peer, gateway(tmp_path, routes={}) as it:
            way(hop(peer))
            mid = await it.inject(FROM, TO, requiretls=True, ret=Ret.FULL)
            line = await bounced(it, mid)
            assert "5.7.30 - REQUIRETLS support required" in line
            assert f"{MX} does not offer REQUIRETLS" in line
            assert not any(said.startswith("MAIL FROM:<a@") for said in peer.commands)
            # The report requires TLS too, yet is not lost where the next host does not promise the same (RFC 8689 §5).
            report = await peer.mail()
            assert report.sender.startswith("<>")
            assert report.recipients == [f"<{FROM}> NOTIFY=NEVER"]
            assert report.tls == "TLSv1.3"
            assert b"Status: 5.7.30" in report.body
            assert b"Hello\r\n" not in report.body

    run(main)


def test_the_second_host_is_tried_when_the_first_lacks_it(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with (
            promising(capabilities=CAPABILITIES) as first,
            promising() as second,
            gateway(tmp_path, routes={}) as it,
        ):
            way(hop(first), hop(second))
            await it.inject(FROM, TO, requiretls=True)
            await it.log.line("Message finished")
            assert (len(first.mails), len(second.mails)) == (0, 1)

    run(main)


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        ({"certificate": None}, "5.7.10"),
        ({"certificate": certificate(DOMAIN)}, "5.7.10"),
        ({"replies": {"STARTTLS": "502 5.5.1 No"}}, "5.7.10"),
        ({"replies": {"STARTTLS": "454 4.7.0 Later"}}, ""),
        ({"handshake": Handshake.CLOSES}, ""),
    ],
)
def test_a_host_that_cannot_be_secured_returns_it_and_a_mishap_delays_it(
    tmp_path: Path, way: Any, broken: dict[str, Any], status: str
) -> None:
    async def main() -> None:
        async with promising(**broken) as peer, gateway(tmp_path, routes={}) as it:
            way(hop(peer))
            mid = await it.inject(FROM, TO, requiretls=True)
            if status:
                assert f"{status} - Encryption needed" in await bounced(it, mid)
            else:
                await it.delayed(mid)
            assert not any("<a@" in said for said in peer.commands if said.startswith("MAIL"))
            failed = [event for event in it.log.events if isinstance(event, RequiredTlsFailed)]
            assert {(event.wanted, event.alert) for event in failed} == {("REQUIRETLS", False)}

    run(main)


def test_it_waits_while_one_host_might_still_take_it(tmp_path: Path, way: Any) -> None:
    """The first lacks the extension for good; the second is only out of reach."""

    async def main() -> None:
        async with (
            promising(capabilities=CAPABILITIES) as first,
            promising(handshake=Handshake.CLOSES) as second,
            gateway(tmp_path, routes={}) as it,
        ):
            for order in ((hop(first), hop(second)), (hop(second), hop(first))):
                way(*order)
                mid = await it.inject(FROM, TO, requiretls=True)
                await it.delayed(mid)
                assert not it.log.with_("Bounced:")

    run(main)


def test_of_two_hosts_that_never_will_the_nearer_miss_is_told(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with (
            promising(capabilities=CAPABILITIES) as lacking,
            promising(certificate=None) as clear,
            gateway(tmp_path, routes={}) as it,
        ):
            for order in ((hop(lacking), hop(clear)), (hop(clear), hop(lacking))):
                way(*order)
                mid = await it.inject(FROM, TO, requiretls=True)
                assert "5.7.30" in await bounced(it, mid)

    run(main)


def test_a_way_that_nothing_proves_is_not_even_tried(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with promising() as peer, gateway(tmp_path, routes={}) as it:
            way(hop(peer, signed=False))
            mid = await it.inject(FROM, TO, requiretls=True)
            line = await bounced(it, mid)
            assert "5.7.10 - Encryption needed" in line
            assert f"nothing proves that {MX} takes the mail of {DOMAIN}" in line
            await it.quiet()
            assert peer.conversations == []
            it.policies.doubts[DOMAIN] = "its MTA-STS policy could not be fetched: no answer"
            mid = await it.inject(FROM, TO, requiretls=True)
            await it.delayed(mid)
            assert "could not be fetched" in it.log.with_("Delayed:", f"MID {mid} ")[0]

    run(main)


def test_an_enforced_policy_proves_the_way(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with promising() as peer, gateway(tmp_path, routes={}) as it:
            enforced = StsPolicy(Mode.ENFORCE, 86_400, (MX,))
            way(hop(peer, signed=False, sts=(DOMAIN, enforced)))
            await it.inject(FROM, TO, requiretls=True)
            await it.log.line("Message finished")
            assert len(peer.mails) == 1

    run(main)


def test_records_prove_a_certificate_of_no_authority(tmp_path: Path, way: Any) -> None:
    """Whatever the entry says of DANE: it is looked up for the proof, and a stranger to the records is refused."""

    async def main() -> None:
        own = certificate("some.other.name")
        async with promising(certificate=own) as peer, gateway(tmp_path, routes={}) as it:
            way(hop(peer, tlsa=records(own)))
            await it.inject(FROM, TO, requiretls=True)
            await it.log.line("Message finished")
            assert it.log.with_("verified yes: DANE-EE 3 1 1")
            await it.quiet()
            it.clock.advance(6)
            await it.log.line("DCID 1 close")
            way(hop(peer, tlsa=STRANGE))
            mid = await it.inject(FROM, TO, requiretls=True)
            assert "5.7.10" in await bounced(it, mid)

    run(main)


def test_an_operators_route_is_a_way_that_is_proven(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            promising(certificate=certificate(DOMAIN)) as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}) as it,
        ):
            await it.inject(FROM, TO, requiretls=True)
            await it.log.line("Message finished")
            assert it.log.with_(f"verified yes: {DOMAIN}")
            assert ("proof", "") in it.resolver.asked

    run(main)


def test_level_none_refuses_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with promising(certificate=certificate(DOMAIN)) as peer:
            off = controls("preferred", {"domain": DOMAIN, "tls": "none"})
            async with gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=off) as it:
                mid = await it.inject(FROM, TO, requiretls=True)
                line = await bounced(it, mid)
                assert "5.7.10" in line
                assert "destination_controls.destinations[0] turns it off" in line
                assert peer.conversations == []

    run(main)
