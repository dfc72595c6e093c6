"""Each attempt to connect to a host leaves one record, whatever it came to, and each certificate is told of once."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import self_signed
from tests.fakes.gateway_parts import authority, controls, gateway, policy
from tests.fakes.log_book import LogBook
from tests.fakes.peer import FakePeer, Handshake
from tests.fakes.time_travel import run

from gatepost.core.delivery_events import Delivered, RecipientBounced, RecipientDelayed
from gatepost.core.events import (
    ConnectionAdmitted,
    ConnectionClosed,
    ConnectionOpened,
    InboundTlsEstablished,
    ReceivingFailed,
)
from gatepost.core.record_events import CertificateSeen, OutboundSession
from gatepost.core.tlsa import TlsaAnswer, TlsaState
from gatepost.wire.mta_sts import Mode, StsPolicy

DOMAIN = "partner.example"
HOST = "mx.partner.example"


def _good() -> FakePeer:
    return FakePeer(certificate=authority().issue([DOMAIN]))


ENDINGS: dict[str, tuple[str, Callable[[], FakePeer], dict[str, Any]]] = {
    "success": ("required-verify", _good, {"verdict": "verified", "broken": "", "lost": ""}),
    "clear": ("preferred", FakePeer, {"verdict": "clear", "starttls": False, "esmtp": True}),
    "no ESMTP": (
        "required",
        lambda: FakePeer(replies={"EHLO": "502 5.5.1 What?"}),
        {"verdict": "refused", "esmtp": False, "stage": "no-esmtp"},
    ),
    "refused greeting": (
        "preferred",
        lambda: FakePeer(replies={"GREETING": "554 No"}),
        {"verdict": None, "broken": "554 No"},
    ),
    "STARTTLS refused": (
        "required",
        lambda: FakePeer(certificate=authority().issue([DOMAIN]), replies={"STARTTLS": "454 4.7.0 Not now"}),
        {"verdict": "refused", "stage": "refused", "starttls": True},
    ),
    "broken handshake": (
        "preferred",
        lambda: FakePeer(handshake=Handshake.CLOSES),
        {"verdict": "refused", "stage": "handshake-failed"},
    ),
    "refused certificate": (
        "required-verify",
        lambda: FakePeer(certificate=self_signed([DOMAIN])),
        {"verdict": "refused", "stage": "established"},
    ),
}


def _seen(event: OutboundSession) -> dict[str, Any]:
    tls = event.tls or {}
    return {
        "verdict": tls.get("verdict"),
        "stage": tls.get("stage"),
        "broken": event.broken,
        "lost": event.lost,
        "esmtp": event.esmtp,
        "starttls": event.starttls,
    }


def _deliveries(log: LogBook) -> list[Delivered | RecipientDelayed | RecipientBounced]:
    return [*log.of(Delivered), *log.of(RecipientDelayed), *log.of(RecipientBounced)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_ending_is_one_record(tmp_path: Path, ending: str) -> None:
    level, make, wanted = ENDINGS[ending]

    async def main() -> None:
        async with (
            make() as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=controls(level)) as it,
        ):
            await it.inject("a@sender.example", f"b@{DOMAIN}")
            await it.log.until(lambda: bool(_deliveries(it.log)))
            (event,) = it.log.of(OutboundSession)
            seen = _seen(event)
            assert {key: seen[key] for key in wanted} == wanted
            assert (event.dcid, event.domain, event.address) == (1, DOMAIN, "127.0.0.1")
            assert event.port == peer.port
            assert event.hop["literal"] is True
            assert event.tlsa["state"] == "not-asked"
            assert event.sts is None
            (delivery,) = _deliveries(it.log)
            assert (delivery.dcid, delivery.domain) == (1, DOMAIN)
            assert delivery.sender_domain == "sender.example"

    run(main)


def test_a_failed_dial_is_a_record_and_the_next_host_another_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with FakePeer() as gone:
            pass
        async with (
            FakePeer() as peer,
            gateway(tmp_path, routes={DOMAIN: (gone.port, peer.port)}) as it,
        ):
            await it.inject("a@sender.example", f"b@{DOMAIN}")
            await it.log.line("Message finished")
            first, second = it.log.of(OutboundSession)
            assert (first.tls, first.local_address) == (None, "")
            assert "refused" in first.broken
            assert first.later == [f"[127.0.0.1]:{peer.port}"]
            assert first.began == second.began > 0
            assert second.tls is not None
            assert second.later == []

    run(main)


def test_a_host_that_may_not_be_called_is_a_record_without_a_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with _good() as peer:
            routes = {DOMAIN: [f"{DOMAIN}:{peer.port}"]}
            wanted = controls("preferred", dane="opportunistic", mta_sts=True)
            async with gateway(tmp_path, routes=routes, destination_controls=wanted) as it:
                it.resolver.set_mx(DOMAIN, (10, HOST))
                it.resolver.set_addresses(HOST, "127.0.0.2")
                it.resolver.tlsa_answers[HOST] = TlsaAnswer(TlsaState.FAILED, detail="SERVFAIL")
                it.policies.known[DOMAIN] = StsPolicy(Mode.TESTING, 86_400, (HOST,))
                await it.inject("a@sender.example", f"b@{DOMAIN}")
                await it.log.line("Delayed:")
                (event,) = it.log.of(OutboundSession)
                assert event.dcid == 0
                assert event.tls is not None
                assert event.tls["verdict"] == "refused"
                assert event.tls["forbidden"] == "its TLSA records could not be looked up: SERVFAIL"
                assert event.tlsa["state"] == "failed"
                assert event.sts is not None
                assert (event.sts["domain"], event.sts["mode"]) == (DOMAIN, "testing")
                assert event.hop["mx_host"] == HOST
                assert peer.conversations == []

    run(main)


def test_reused_connections_tell_nothing_more_and_certificates_are_told_of_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            _good() as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}) as it,
        ):
            for count in (1, 2):
                await it.inject("a@sender.example", f"b@{DOMAIN}")
                await it.log.line("Message finished", count=count)
            await it.quiet()
            assert len(it.log.of(Delivered)) == 2
            (event,) = it.log.of(OutboundSession)
            assert event.tls is not None
            told = it.log.of(CertificateSeen)
            assert [one.fingerprint for one in told] == event.tls["chain"]
            for one in told:
                assert hashlib.sha256(b64decode(one.der)).hexdigest() == one.fingerprint
            await it.couriers.stop(5.0)
        assert len(it.log.of(CertificateSeen)) == len(told)

    run(main)


def test_a_second_try_without_our_certificate_is_a_second_record(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            FakePeer(certificate=authority().issue([DOMAIN]), handshake=Handshake.WANTS_CERTIFICATE) as peer,
            gateway(
                tmp_path,
                routes={DOMAIN: peer.port},
                destination_controls={**controls("preferred"), "global": {"certificate": "gw"}},
            ) as it,
        ):
            await it.inject("a@sender.example", f"b@{DOMAIN}")
            await it.log.line("Message finished")
            events = it.log.of(OutboundSession)
            assert [event.dcid for event in events] == list(range(1, len(events) + 1))
            assert len(events) == len(peer.conversations)
            assert len({event.began for event in events}) == 1

    run(main)


def test_incoming_connections_tell_what_a_record_wants(tmp_path: Path) -> None:
    async def main() -> None:
        policies = [policy("ACCEPTED", tls_mandatory_for="bank")]
        lists = [{"name": "bank", "addresses": ["bank.example"]}]
        async with gateway(tmp_path, routes={}, mail_flow_policies=policies, address_lists=lists) as it:
            client = await it.connect()
            await client.reply()
            await client.say("EHLO first.example")
            assert (await client.say("MAIL FROM:<a@bank.example>")).startswith("530 ")
            await client.starttls()
            await client.say("EHLO second.example")
            await client.quit()
            assert await it.ended()
            (opened,) = it.log.of(ConnectionOpened)
            (admitted,) = it.log.of(ConnectionAdmitted)
            (refused,) = it.log.of(ReceivingFailed)
            (secured,) = it.log.of(InboundTlsEstablished)
            (closed,) = it.log.of(ConnectionClosed)
            assert (opened.listener, admitted.policy, admitted.tls) == ("In", "ACCEPTED", "preferred")
            assert refused.sender == "a@bank.example"
            assert (secured.hello, closed.hello) == ("first.example", "second.example")

    run(main)
