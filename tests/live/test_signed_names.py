"""Names of hosts from signed DNS where nobody asks for DANE (architecture 4, Names): they authenticate, and nothing more is looked up.

Every destination here is verified and none wants DANE. The certificate carries the host's name alone, so all hangs on who named the host.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.peers.gateway import document
from tests.live.peers.namespaces import Network
from tests.live.peers.receiver import Script
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, delivery, settled
from tests.live.peers.submit import submit

GATEWAY, HOST = "203.0.113.1", "203.0.113.10"
PRIVATE_PORT = 2587
AUTHORITY = TestAuthority("Example CA")
SUCCESS = "TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384"
MISMATCH = "host name mismatch: {name}.example not in DNS:mx.dest.example"
OUTCOMES = {
    "signed": f"{SUCCESS} for signed.example verified yes: mx.dest.example",
    "dark": f"TLS failed: verify error: {MISMATCH}",
    "hosted": f"{SUCCESS} for hosted.example verified yes: mx.dest.example (from unsigned DNS)",
    "softly": f"{SUCCESS} for softly.example verified no: {MISMATCH}",
}


class World:
    def __init__(self, scene: Scene, network: Network) -> None:
        self.network = network
        records: dict[str, dict[str, list[str]]] = {
            "probe.example": {"SOA": ["ns.example. root.example. 1 3600 600 86400 300"]},
            "bogus.example": {"A": ["203.0.113.99"]},
            "mx.dest.example": {"A": [HOST]},
        }
        records |= {f"{name}.example": {"MX": ["10 mx.dest.example."]} for name in OUTCOMES}
        with network.world():
            issued = AUTHORITY.issue(["mx.dest.example"])
            self.host = scene.receiver(Script(certificate=issued), address=HOST, port=25)
        with network.gateway():
            self.dns = scene.ending.enter_context(
                DnsAuthority(records, address="127.0.0.1", port=53, ad=True)
            )
            self.dns.behave("bogus.example", Behaviour.BOGUS)
            for name in ("dark", "hosted", "softly"):
                self.dns.behave(f"{name}.example", Behaviour.INSECURE)
            self.gateway = scene.gateway()
            self.gateway.trust(AUTHORITY.root_pem)
            self.gateway.configure(configuration())
            self.gateway.start()

    def sent(self, name: str) -> int:
        with self.network.gateway():
            return submit(PRIVATE_PORT, "sender@sender.example", f"user@{name}.example")


def configuration() -> dict[str, Any]:
    entries = [
        {"domain": "hosted.example", "tls": "required-verify-hosted"},
        {"domain": "softly.example", "tls": "preferred-verify"},
    ]
    made: dict[str, Any] = document(2525, PRIVATE_PORT, address="127.0.0.1", destinations=entries)
    made["destination_controls"]["default"] = {"tls": "required-verify", "dane": "none"}
    for listener in made["listeners"]:
        listener["requiretls"] = False
    made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "1d"}
    made["certificate_authorities"] = {"system": False, "custom": True}
    made["dns"] = {
        "servers": ["127.0.0.1"],
        "reverse": False,
        "probe": {"signed": "probe.example", "bogus": "bogus.example"},
    }
    return made


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    network = Network([f"{GATEWAY}/24"], [f"{HOST}/24"])
    scene.ending.callback(network.close)
    return World(scene, network)


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_name_from_signed_dns_authenticates_without_dane(world: World, name: str) -> None:
    mid = world.sent(name)
    settled(world.gateway, mid)
    wanted = OUTCOMES[name].format(name=name)
    assert f"DCID D {wanted}" in delivery(world.gateway, mid)
    if "failed" in wanted:
        assert about(world.gateway, f"MID {mid}")[-1].startswith("Delayed: ")
        assert not [mail for mail in world.host.mails if mail.recipients == (f"user@{name}.example",)]
    assert not [asked for asked in world.dns.asked if asked[1] == "TLSA"]


def test_explain_says_where_the_name_comes_from(world: World) -> None:
    sources = {}
    for name in ("signed", "dark"):
        found = json.loads(world.gateway.command("explain", f"{name}.example", "--live", "--json"))
        (host,) = found["delivery"]["hosts"]
        sources[name] = [one["source"] for one in host["plan"]["names"]]
        assert found["delivery"]["dnssec"]["believed"]
        assert (host["mx_signed"], host["tlsa"]) == (name == "signed", None)
    assert sources == {"signed": ["operator", "dnssec"], "dark": ["operator"]}


def test_a_name_server_that_does_not_validate_is_nothing_to_warn_of(world: World) -> None:
    """Nobody asks for DANE: the names do not count, `explain` says why, and no alert is raised."""
    world.dns.behave("bogus.example", Behaviour.INSECURE)
    changed = configuration()
    changed["dns"]["servers"] = ["127.0.0.1:53"]  # written otherwise, so that it is tried again
    file = world.gateway.files / "other.yaml"
    file.write_text(json.dumps(changed))
    world.gateway.command("config", "apply", file)
    world.gateway.wait_for_log(r"Info: Name server 127\.0\.0\.1:53 is not believed about DNSSEC: it ")
    try:
        mid = world.sent("signed")
        settled(world.gateway, mid)
        assert f"DCID D TLS failed: verify error: {MISMATCH.format(name='signed')}" in delivery(
            world.gateway, mid
        )
        text = world.gateway.command("explain", "signed.example")
        assert "DNSSEC: nobody is believed: 127.0.0.1:53 " in text
        assert not world.gateway.log.matching(r"Warning: Name server")
        assert json.loads(world.gateway.command("status", "--json"))["name_servers"] == []  # of what is told
    finally:
        world.dns.behave("bogus.example", Behaviour.BOGUS)
        world.gateway.configure(configuration())
