"""`gatepost tlsverify` and `gatepost daneverify` against the domains of the DANE scene: answer, exit code, steps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.live import test_dane as dane
from tests.live.peers.gateway import Gateway
from tests.live.peers.namespaces import Network
from tests.live.peers.receiver import Script
from tests.live.peers.scene import Scene

STATUS = {"verified": 0, "failed": 1, "unknown": 75}
RESULTS = {
    "ee": "verified",
    "rolling": "verified",
    "ta": "verified",
    "misnamed": "failed",
    "whole": "verified",
    "wrong": "failed",
    "unusable": "failed",
    "stripped": "failed",
    "clear": "failed",
    "silent": "unknown",
    "must": "failed",
}


@pytest.fixture(scope="module")
def world(scene: Scene) -> dane.World:
    network = Network([f"{dane.GATEWAY}/24"], [f"{address}/24" for address in (dane.GOOD, dane.PLAIN)])
    scene.ending.callback(network.close)
    made = dane.World(scene, network)
    made.gateway.wait_for_log(r"is believed about DNSSEC$")
    return made


def verified(gateway: Gateway, command: str, domain: str, result: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        gateway.command(command, domain, *options, "--json", status=STATUS[result])
    )
    assert found["result"] == result, found
    return found


@pytest.mark.parametrize("name", dane.DOMAINS)
def test_dane_of_each_domain(world: dane.World, name: str) -> None:
    found = verified(world.gateway, "daneverify", f"{name}.example", RESULTS[name])
    (host,) = found["hosts"]
    assert [step["step"] for step in host["steps"]] == ["mx", "address", "tlsa"]
    assert host["steps"][0]["text"] == f"MX record of {name}.dest.example: secure"
    steps = [step for address in host["addresses"] for step in address["steps"]]
    if RESULTS[name] == "verified":
        assert [step["step"] for step in steps] == ["connect", "starttls", "tls", "match", "verdict"]
        assert {step["result"] for step in steps} == {"ok"}
    else:
        assert found["reason"]
        assert not host["addresses"] or steps[-1]["result"] == "failed"


def test_it_reads_well(world: dane.World) -> None:
    text = world.gateway.command("daneverify", "ee.example")
    assert max(map(len, text.splitlines())) <= 80
    assert "TLSA match: DANE-EE 3 1 1" in text
    assert text.rstrip().endswith("DANE verification of ee.example succeeded.")
    text = world.gateway.command("daneverify", "wrong.example", status=1)
    assert max(map(len, text.splitlines())) <= 80
    assert "DANE verification of wrong.example FAILED: wrong.dest.example:" in text


def test_tls_by_authorities_and_names(world: dane.World) -> None:
    """The scene's authority is private: known to nobody, then to us; the domain's own name is in no certificate."""
    gateway = world.gateway
    found = verified(gateway, "tlsverify", "clear.example", "failed")
    assert found["reason"] == "clear.dest.example: remote host does not offer STARTTLS"
    issued = dane.AUTHORITY.issue(["named.example"])
    with world.network.world():
        world.good.script = Script(certificate=issued)
    world.dns.update(
        {"named.example": {"MX": ["10 mx.named.example."]}, "mx.named.example": {"A": [dane.GOOD]}}
    )
    found = verified(gateway, "tlsverify", "named.example", "failed")
    assert "unable to get local issuer certificate" in found["reason"]
    gateway.trust(dane.AUTHORITY.top.root_pem)
    gateway.command("ca", "enable", "custom")
    found = verified(gateway, "tlsverify", "user@named.example", "verified")
    (address,) = found["hosts"][0]["addresses"]
    assert [step["step"] for step in address["steps"]][:5] == ["connect", "starttls", "tls", "chain", "name"]
    assert address["steps"][-1]["text"] == "verified yes: named.example"


def test_what_cannot_be_reached_cannot_be_told(world: dane.World) -> None:
    world.dns.update(
        {"away.example": {"MX": ["10 mx.away.example."]}, "mx.away.example": {"A": ["203.0.113.77"]}}
    )
    with world.network.gateway():
        found = verified(world.gateway, "tlsverify", "away.example", "unknown")
    assert found["hosts"][0]["addresses"][0]["result"] == "unknown"
    found = verified(world.gateway, "daneverify", "nowhere.example", "failed")
    assert found["hosts"] == []
    assert "NXDomain" in found["reason"]


def test_no_destination_has_to_ask_for_dane_beforehand(world: dane.World) -> None:
    """Last of this file: from here on the gateway in force knows no DANE."""
    changed = world.configuration()
    changed["destination_controls"] = {"default": {"tls": "preferred"}}
    with world.network.world():
        world.good.script = Script(certificate=dane.ISSUED)
    world.gateway.configure(changed)  # type: ignore[arg-type]
    verified(world.gateway, "daneverify", "ee.example", "verified")
    explained = json.loads(world.gateway.command("explain", "ee.example", "--json"))
    assert explained["delivery"]["hosts"][0]["tlsa"] is None, "nothing of it stays"
