"""The table of requirements D: every level against every kind of receiver, as outcome and as log lines.

`CLEAR`, `TLS` and `KEPT` are what becomes of the message; the lines are those of its one connection between
`New SMTP DCID` and `DCID n close`, without the lines of the message itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import Issued, TestAuthority, self_signed
from tests.fakes.gateway_parts import authority, controls, gateway
from tests.fakes.peer import FakePeer, Handshake
from tests.fakes.time_travel import run

from gatepost.core.delivery_events import RequiredTlsFailed

CLEAR, TLS, KEPT = "clear", "tls", "kept"
LEVELS = (
    "none",
    "preferred",
    "required",
    "preferred-verify",
    "required-verify",
    "required-verify-hosted",
)
DOMAIN = "partner.example"
UP = "TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384"
NEEDED = "IP 127.0.0.1 TLS was required but could not be successfully negotiated"
UNEXPECTED = "TLS failed: STARTTLS unexpected response"
BROKEN = "TLS failed: (-1, 'Unexpected EOF')"
ERROR_454 = (
    "Connection Error: DCID 1 domain: partner.example IP:127.0.0.1 port: PORT details: 454-'4.7.0 Not now'"
    " interface: 127.0.0.1 reason: unexpected SMTP response"
)
SELF_SIGNED = "self-signed certificate"
EXPIRED = "certificate has expired"
UNCHAINED = "unable to get local issuer certificate"
MISMATCH = (
    "host name mismatch: partner.example, 127.0.0.1 not in DNS:other.example"  # an address hop brings its own
)


@cache
def _sub_authority() -> TestAuthority:
    return authority().intermediate("Example Sub CA")


def _peer(**choices: Any) -> Callable[[], FakePeer]:
    return lambda: FakePeer(**choices)


def _shows(make: Callable[[], Issued]) -> Callable[[], FakePeer]:
    return lambda: FakePeer(certificate=make())


RECEIVERS: dict[str, Callable[[], FakePeer]] = {
    "no STARTTLS": _peer(),
    "454": lambda: FakePeer(
        certificate=authority().issue([DOMAIN]), replies={"STARTTLS": "454 4.7.0 Not now"}
    ),
    "broken handshake": lambda: FakePeer(handshake=Handshake.CLOSES),
    "self-signed": _shows(lambda: self_signed([DOMAIN])),
    "expired": _shows(lambda: authority().issue([DOMAIN], expired=True)),
    "wrong name": _shows(lambda: authority().issue(["other.example"])),
    "missing intermediate": _shows(lambda: _sub_authority().issue([DOMAIN]).sending(leaf_only=True)),
    "good": _shows(lambda: _sub_authority().issue([DOMAIN])),
}
BAD_CERTIFICATES = {
    "self-signed": (SELF_SIGNED, f" (CN={DOMAIN}, issuer CN={DOMAIN})"),
    "expired": (EXPIRED, f" (CN={DOMAIN}, issuer CN=Example CA)"),
    "wrong name": (MISMATCH, ""),
    "missing intermediate": (UNCHAINED, f" (CN={DOMAIN}, issuer CN=Example Sub CA)"),
}


def _expected(level: str, receiver: str) -> tuple[str, list[str]]:
    """The cell of the table, from rows R23 to R27h."""
    required = level.startswith("required")
    refused = [NEEDED] if required else []
    if level == "none":
        return CLEAR, []
    if receiver == "no STARTTLS":
        if not required:
            return CLEAR, []
        return KEPT, ["TLS failed: remote host does not offer STARTTLS", *refused]
    if receiver == "454":
        if not required:
            return CLEAR, [f"{UNEXPECTED} - continuing in clear"]
        return KEPT, [ERROR_454, UNEXPECTED, *refused]
    if receiver == "broken handshake":
        return KEPT, [BROKEN, *refused]
    if "verify" not in level:
        return TLS, [UP]
    if receiver == "good":
        return TLS, [f"{UP} for {DOMAIN} verified yes: {DOMAIN}"]
    problem, whose = BAD_CERTIFICATES[receiver]
    if required:
        return KEPT, [f"TLS failed: verify error: {problem}{whose}", *refused]
    return TLS, [f"{UP} for {DOMAIN} verified no: {problem}"]


@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("level", LEVELS)
def test_the_cell_of_the_table(tmp_path: Path, level: str, receiver: str) -> None:
    outcome, lines = _expected(level, receiver)

    async def main() -> None:
        async with (
            RECEIVERS[receiver]() as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=controls(level)) as it,
        ):
            it.log.masks[str(peer.port)] = "PORT"
            mid = await it.inject("a@sender.example", f"b@{DOMAIN}")
            await it.log.line("Delayed:" if outcome == KEPT else "Message finished")
            await it.quiet()
            _check_connection(it.log.lines, lines)
            assert peer.conversations[0].verbs[0] == "EHLO"
            if outcome == KEPT:
                assert peer.mails == []
                assert "MAIL" not in peer.conversations[0].verbs
                assert it.stored(mid).progress[0].state == "waiting"
                assert bool(it.log.of(RequiredTlsFailed)) is level.startswith("required")
                (delayed,) = it.log.with_("Delayed:")
                assert delayed.startswith(f"Delayed: DCID 1 MID {mid} to RID 0 - 4.7.")
                assert f"TLS {level}: " in delayed
            else:
                (mail,) = peer.mails
                assert mail.tls == ("" if outcome == CLEAR else "TLSv1.3")
                assert not it.log.of(RequiredTlsFailed)
            if level == "none" or receiver == "no STARTTLS":
                assert "STARTTLS" not in peer.conversations[0].verbs

    run(main)


def _check_connection(log: list[str], expected: list[str]) -> None:
    about_tls = [line for line in log if "TLS " in line or line.startswith("Connection Error")]
    about_tls = [line for line in about_tls if not line.startswith(("Delayed", "Warning"))]
    assert about_tls == [line if line.startswith("Connection") else f"DCID 1 {line}" for line in expected]
    assert log[1] == "New SMTP DCID 1 interface 127.0.0.1 address 127.0.0.1 port PORT"


def test_the_order_of_a_refused_required_connection(tmp_path: Path) -> None:
    """Reference mail-log, Delivery: New SMTP, Connection Error, TLS failed, TLS was required, Delayed per recipient."""

    async def main() -> None:
        async with (
            RECEIVERS["454"]() as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=controls("required")) as it,
        ):
            it.log.masks[str(peer.port)] = "PORT"
            await it.inject("a@sender.example", f"b@{DOMAIN}", f"c@{DOMAIN}")
            await it.log.line("Delayed:", count=2)
            reason = "TLS required: STARTTLS unexpected response"
            assert it.log.lines[1:] == [
                "New SMTP DCID 1 interface 127.0.0.1 address 127.0.0.1 port PORT",
                ERROR_454,
                f"DCID 1 {UNEXPECTED}",
                f"DCID 1 {NEEDED}",
                "Warning: Required TLS could not be had: domain: partner.example IP:127.0.0.1 level: required"
                " reason: STARTTLS unexpected response",
                "DCID 1 close",
                *(
                    f"Delayed: DCID 1 MID 1 to RID {rid} - 4.7.4 - Security features not supported ('454', ['{reason}']) []"
                    for rid in (0, 1)
                ),
            ]

    run(main)


def test_a_peer_without_esmtp_is_named_as_such(tmp_path: Path) -> None:
    """R29, first reason: EHLO is not understood, HELO is."""

    async def main() -> None:
        replies = {"EHLO": "502 5.5.1 What?"}
        async with (
            FakePeer(replies=replies) as peer,
            gateway(
                tmp_path,
                routes={DOMAIN: peer.port, "plain.example": peer.port},
                destination_controls=controls("preferred", {"domain": DOMAIN, "tls": "required"}),
            ) as it,
        ):
            await it.inject("a@sender.example", f"b@{DOMAIN}")
            await it.log.line("DCID 1 TLS failed: remote host does not speak ESMTP")
            await it.inject("a@sender.example", "b@plain.example")
            assert (await peer.mail()).tls == ""
            assert peer.conversations[1].verbs[:3] == ["EHLO", "HELO", "MAIL"]

    run(main)


def test_the_hosted_level_takes_mx_names_of_unsigned_dns(tmp_path: Path) -> None:
    """R27h: a certificate for the MX host satisfies the hosted level, not the plain one."""

    async def main() -> None:
        certificate = authority().issue(["mx.hoster.example"])
        async with FakePeer(certificate=certificate, host="127.0.0.2") as peer:
            entries = [{"domain": "hosted.example", "tls": "required-verify-hosted"}]
            routes = {name: [f"{name}:{peer.port}"] for name in (DOMAIN, "hosted.example")}
            async with gateway(
                tmp_path, routes=routes, destination_controls=controls("required-verify", *entries)
            ) as it:
                for name in routes:
                    it.resolver.set_mx(name, (10, "mx.hoster.example"))
                it.resolver.set_addresses("mx.hoster.example", "127.0.0.2")
                await it.inject("a@sender.example", "b@hosted.example")
                line = await it.log.line("DCID 1 TLS success")
                assert line.endswith(
                    " for hosted.example verified yes: mx.hoster.example (from unsigned DNS)"
                )
                assert (await peer.mail()).tls == "TLSv1.3"
                assert peer.conversations[0].sni == "mx.hoster.example"
                await it.quiet()
                await it.inject("a@sender.example", f"b@{DOMAIN}")
                line = await it.log.line("TLS failed: verify error: host name mismatch")
                assert "partner.example not in DNS:mx.hoster.example" in line

    run(main)
