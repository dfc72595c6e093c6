"""REQUIRETLS and `TLS-Required: No` (RFC 8689) from the listener to the next hop, and back as a report."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.fakes.ca import Issued
from tests.fakes.gateway_parts import Gateway, authority, controls, gateway, listener, policy
from tests.fakes.peer import CAPABILITIES, FakePeer, Handshake
from tests.fakes.smtp_client import Client
from tests.fakes.time_travel import run

from gatepost.core.delivery_events import Delivered, RequiredTlsFailed
from gatepost.core.envelope import Ret
from gatepost.core.events import Event
from gatepost.core.tlsa import Tlsa, TlsaAnswer, TlsaState, of_key
from gatepost.policy.hop import Hop
from gatepost.policy.reference_names import HopNames
from gatepost.wire.mta_sts import Mode, StsPolicy

DOMAIN, OTHER = "partner.example", "sender.example"
FROM, TO = f"a@{OTHER}", f"b@{DOMAIN}"
MX = "mx.partner.example"
PROMISING = (*CAPABILITIES, "REQUIRETLS")
STRANGE = TlsaAnswer(TlsaState.FOUND, (Tlsa(3, 1, 1, bytes(32)),), MX)


def certificate(*names: str) -> Issued:
    return authority().issue(list(names or (MX,)))


def promising(**choices: Any) -> FakePeer:
    """A host that keeps the promise, with a certificate for its name."""
    return FakePeer(**{"certificate": certificate(), "capabilities": PROMISING, **choices})


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the hops of the domain: those of MX records, as if they led to loopback."""

    def to(*hops: Hop) -> None:
        async def resolved(*_: Any, **__: Any) -> list[Hop]:
            return list(hops)

        monkeypatch.setattr("gatepost.relay.courier.resolve", resolved)
        monkeypatch.setattr("gatepost.relay.proven_way.resolve", resolved)

    return to


def hop(peer: FakePeer, host: str = MX, **choices: Any) -> Hop:
    names = HopNames(DOMAIN, mx_host=host, mx_signed=choices.pop("signed", True))
    return Hop(ip_address("127.0.0.1"), peer.port, names, **choices)


def records(made: Issued) -> TlsaAnswer:
    """`3 1 1` of this certificate."""
    key = made.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return TlsaAnswer(TlsaState.FOUND, (of_key(key),), MX)


async def bounced(it: Gateway, mid: int) -> str:
    """The bounce line of a message; its report goes nowhere."""
    await it.log.line("Bounced:", f"MID {mid} ")
    return it.log.with_("Bounced:", f"MID {mid} ")[0]


# --- out ----------------------------------------------------------------------------------------------


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


# --- reuse ----------------------------------------------------------------------------------------------


def test_a_connection_of_another_message_is_judged_anew(tmp_path: Path, way: Any) -> None:
    """Opened at level preferred nothing was judged, so it does not do; what was opened for it serves it again."""

    async def main() -> None:
        async with promising() as peer, gateway(tmp_path, routes={}) as it:
            way(hop(peer))
            for number, requiretls in enumerate((False, True, True), 1):
                await it.inject(FROM, TO, requiretls=requiretls)
                await it.log.line(f"Message finished MID {number}")
                await it.quiet()
            assert [len(c.mails) for c in peer.conversations] == [1, 2]
            mails = [said for said in peer.commands if said.startswith("MAIL")]
            assert ["REQUIRETLS" in said for said in mails] == [False, True, True]

    run(main)


def test_a_connection_that_proved_the_host_serves_both(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        own = certificate("some.other.name")
        heeding = controls("preferred", dane="opportunistic", mta_sts=True)
        async with (
            promising(certificate=own) as peer,
            gateway(tmp_path, routes={}, destination_controls=heeding) as it,
        ):
            way(hop(peer, tlsa=records(own)))
            for number, requiretls in enumerate((False, True, False), 1):
                await it.inject(FROM, TO, requiretls=requiretls)
                await it.log.line(f"Message finished MID {number}")
                await it.quiet()
            assert [len(c.mails) for c in peer.conversations] == [3]

    run(main)


def test_a_connection_without_the_extension_is_left_for_the_next_host(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        heeding = controls("preferred", dane="opportunistic", mta_sts=True)
        async with (
            promising(capabilities=CAPABILITIES) as first,
            promising() as second,
            gateway(tmp_path, routes={}, destination_controls=heeding) as it,
        ):
            way(hop(first), hop(second))
            for number, requiretls in enumerate((False, True), 1):
                await it.inject(FROM, TO, requiretls=requiretls)
                await it.log.line(f"Message finished MID {number}")
                await it.quiet()
            assert (len(first.mails), len(second.mails)) == (1, 1)

    run(main)


def test_what_keeps_one_back_does_not_keep_the_others(tmp_path: Path, way: Any) -> None:
    """A destination's failure is shared by all that stands ready there and asks the same of TLS."""

    async def main() -> None:
        async with promising(capabilities=CAPABILITIES) as peer, gateway(tmp_path, routes={}) as it:
            way(hop(peer))
            peer.hold("BODY")
            plain = controls("preferred", max_connections=1)
            it.commit(destination_controls=plain)
            first = await it.inject(FROM, TO)
            await peer.heard("DATA")
            wishes = [{}, {"requiretls": True}, {}, {"requiretls": True}, {"tls_optional": True}]
            mids = [await it.inject(FROM, TO, **one) for one in wishes]
            peer.go("BODY")
            for mid in (first, mids[0], mids[2], mids[4]):
                await it.log.line(f"Message finished MID {mid} ")
                assert not it.log.with_("Bounced:", f"MID {mid} ")
            for mid in (mids[1], mids[3]):
                await bounced(it, mid)

    run(main)


# --- TLS-Required: No -----------------------------------------------------------------------------------

HEEDING = controls("preferred", dane="opportunistic", mta_sts=True)


def test_records_that_do_not_match_do_not_hold_it_up(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with (
            promising() as peer,
            gateway(tmp_path, routes={}, destination_controls=HEEDING) as it,
        ):
            way(hop(peer, tlsa=STRANGE))
            held = await it.inject(FROM, TO)
            await it.delayed(held)
            await it.inject(FROM, TO, tls_optional=True)
            await it.log.line("Message finished MID 2")
            assert [mail.tls for mail in peer.mails] == ["TLSv1.3"]
            assert it.log.with_("passes because of TLS-Required: No, else refused: verify error:")
            told = next(event for event in it.log.events if isinstance(event, Delivered))
            assert told.tls is not None
            assert (told.tls["tls_optional"], told.tls["verdict"]) == (True, "encrypted")
            assert told.tls["note"].startswith("passes because of TLS-Required: No")

    run(main)


def test_a_host_without_starttls_takes_it_in_clear_and_the_operators_level_stays(
    tmp_path: Path, way: Any
) -> None:
    async def main() -> None:
        async with (
            promising(certificate=None) as peer,
            gateway(tmp_path, routes={}, destination_controls=HEEDING) as it,
        ):
            way(hop(peer, tlsa=STRANGE))
            await it.inject(FROM, TO, tls_optional=True)
            await it.log.line("Message finished MID 1")
            assert [mail.tls for mail in peer.mails] == [""]
            assert it.log.with_("remote host does not offer STARTTLS - continuing in clear")
            await it.quiet()
            it.commit(destination_controls=controls("required", dane="opportunistic"))
            mid = await it.inject(FROM, TO, tls_optional=True)
            await it.delayed(mid)
            assert len(peer.mails) == 1

    run(main)


def test_a_connection_that_it_was_let_through_on_serves_nobody_else(tmp_path: Path, way: Any) -> None:
    async def main() -> None:
        async with (
            promising() as peer,
            gateway(tmp_path, routes={}, destination_controls=HEEDING) as it,
        ):
            way(hop(peer, tlsa=STRANGE))
            await it.inject(FROM, TO, tls_optional=True)
            await it.log.line("Message finished MID 1")
            await it.quiet()
            mid = await it.inject(FROM, TO)
            await it.delayed(mid)
            assert len(peer.mails) == 1

    run(main)


# --- in -------------------------------------------------------------------------------------------------


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
