"""Explaining a delivery and making it: the same hosts, the same plan, the same verdict, in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import Issued, TestAuthority
from tests.fakes.gateway_parts import Gateway, authority, controls, gateway
from tests.fakes.peer import FakePeer, Handshake
from tests.fakes.time_travel import run

from gatepost.app.explaining import Explaining
from gatepost.app.runtime import build_runtime
from gatepost.net.resolver import Resolver
from gatepost.relay.services import Runtime
from gatepost.store.sts_cache import StsCache

DOMAIN = "partner.example"
LEVELS = ("none", "preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted")
PEERS: dict[str, dict[str, Any]] = {
    "no STARTTLS": {},
    "454": {"certificate": "good", "replies": {"STARTTLS": "454 4.7.0 Not now"}},
    "broken": {"handshake": Handshake.CLOSES},
    "good": {"certificate": "good"},
    "stranger": {"certificate": "stranger"},
    "wrong name": {"certificate": "other"},
    "busy": {"replies": {"GREETING": "554 5.3.2 Not today"}},
    "421": {"replies": {"EHLO": "421 4.3.2 Bye"}},
}


def _no_resolver(runtime: Runtime) -> Resolver:
    raise AssertionError("the configuration asks the same name servers")


def explaining(it: Gateway, root: Path) -> Explaining:
    return Explaining(
        lambda: it.services, build_runtime, _no_resolver, lambda: StsCache(root / "policies", keeps=False)
    )


async def explained(it: Gateway, root: Path, domain: str = DOMAIN, **args: Any) -> dict[str, Any]:
    return await explaining(it, root).answer({"domain": domain, "live": True, **args})


def issued(kind: str) -> Issued:
    if kind == "stranger":
        return TestAuthority("Stranger").issue([DOMAIN])
    return authority().issue([DOMAIN if kind == "good" else "other.example"])


def peer_of(kind: str) -> FakePeer:
    choices = dict(PEERS[kind])
    if "certificate" in choices:
        choices["certificate"] = issued(choices["certificate"])
    return FakePeer(**choices)


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_foretold_is_what_happens(tmp_path: Path, level: str, kind: str) -> None:
    async def main() -> None:
        async with (
            peer_of(kind) as peer,
            gateway(tmp_path, routes={DOMAIN: peer.port}, destination_controls=controls(level)) as it,
        ):
            tree = (await explained(it, tmp_path))["delivery"]
            (host,) = tree["hosts"]
            call = host["addresses"][0]["call"]
            await it.quiet()
            assert it.log.events == [], "an explanation leaves no event"
            assert not peer.mails
            assert not any(verb in ("MAIL", "RCPT", "DATA") for c in peer.conversations for verb in c.verbs)
            before = len(peer.conversations)
            mid = await it.inject("a@sender.example", f"b@{DOMAIN}")
            await it.log.line("Message finished" if call["passes"] else "Delayed:")
            await it.quiet()
            assert peer.conversations[before:], "the delivery called the same host"
            outcome = call["connections"][0]["outcome"]
            if call["passes"]:
                assert tree["result"]["result"] == "deliverable"
                assert len(peer.mails) == 1
                assert (outcome["verdict"] == "clear") is (peer.mails[0].tls == "")
                told = [line for line in it.log.lines if " verified " in line]
                assert [line.partition(" verified ")[2] for line in told] == [outcome["verified"]] * len(told)
                assert bool(told) is bool(outcome["verified"])
            else:
                assert tree["result"]["result"] == "delay"
                assert call["failure"] == tree["result"]["failure"] == it.stored(mid).progress[0].text
                told = [line.partition("TLS failed: ")[2] for line in it.log.lines if "TLS failed: " in line]
                assert told == ([outcome["reason"]] if outcome is not None else [])

    run(main)
