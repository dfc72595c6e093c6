"""MTA-STS on the wire (RFC 8461): policies fetched from a web server, enforced, in testing, withdrawn, and beside hosts that fail them.

The gateway is alone in a network namespace; in the other are the name server, the policy server on port 443, and receivers on port 25.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import DnsAuthority
from tests.live.peers.gateway import document
from tests.live.peers.namespaces import Network
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, delivery, settled
from tests.live.peers.submit import submit
from tests.live.peers.web import Policies, WebServer

GATEWAY, NAME_SERVER, WEB = "203.0.113.1", "203.0.113.53", "203.0.113.80"
GOOD, STRANGER, PLAIN = "203.0.113.10", "203.0.113.11", "203.0.113.12"
PRIVATE_PORT = 2587
AUTHORITY = TestAuthority("Example CA")
SUCCESS = "TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384"


@dataclass(frozen=True)
class Domain:
    """One inhabitant: its policy, its host, and what must come of a message to it."""

    policy: str
    line: str
    arrives: bool
    host: str = GOOD
    mx: str = "mx.good.example"


def enforced(*hosts: str, mode: str = "enforce") -> str:
    rows = [f"mx: {host}" for host in hosts]
    return "\r\n".join(["version: STSv1", f"mode: {mode}", *rows, "max_age: 86400", ""])


DOMAINS = {
    "good": Domain(
        enforced("*.good.example"),
        f"{SUCCESS} for good.example verified yes: mx.good.example (MTA-STS)",
        True,
    ),
    "unlisted": Domain(
        enforced("mx.elsewhere.example"),
        "reason: the MTA-STS policy of unlisted.example does not name mx.good.example",
        False,
    ),
    "stranger": Domain(
        enforced("mx.stranger.example"),
        "TLS failed: verify error: MTA-STS: unable to get local issuer certificate",
        False,
        STRANGER,
        "mx.stranger.example",
    ),
    "stripped": Domain(
        enforced("mx.stripped.example"),
        "TLS failed: remote host does not offer STARTTLS",
        False,
        PLAIN,
        "mx.stripped.example",
    ),
    "tested": Domain(
        enforced("mx.stranger.example", mode="testing"), SUCCESS, True, STRANGER, "mx.stranger.example"
    ),
    "none": Domain(enforced(mode="none"), SUCCESS, True, STRANGER, "mx.stranger.example"),
    "silent": Domain("", SUCCESS, True, STRANGER, "mx.stranger.example"),
}


class World:
    def __init__(self, scene: Scene, network: Network) -> None:
        self.network = network
        web = AUTHORITY.issue([f"mta-sts.{name}.example" for name in DOMAINS])
        stranger = TestAuthority("Stranger").issue(["mx.stranger.example"])
        with network.world():
            self.dns = scene.ending.enter_context(DnsAuthority(_zone(), address=NAME_SERVER, port=53))
            policies = {f"{name}.example": domain.policy for name, domain in DOMAINS.items()}
            self.web = Policies(policies)
            scene.ending.callback(WebServer(WEB, 443, self.web, web).close)
            self.receivers = {
                GOOD: scene.receiver(
                    Script(certificate=AUTHORITY.issue(["mx.good.example"])), address=GOOD, port=25
                ),
                STRANGER: scene.receiver(Script(certificate=stranger), address=STRANGER, port=25),
                PLAIN: scene.receiver(Script(starttls=StartTls.NOT_OFFERED), address=PLAIN, port=25),
            }
        with network.gateway():
            self.gateway = scene.gateway()
            self.gateway.trust(AUTHORITY.root_pem)
            made = document(2525, PRIVATE_PORT, address="127.0.0.1")
            made["destination_controls"]["default"] = {"tls": "preferred", "mta_sts": True}
            made["certificate_authorities"] = {"system": False, "custom": True}
            made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "1d"}
            made["dns"] = {"servers": [NAME_SERVER], "reverse": False}
            self.gateway.configure(made)
            self.gateway.start()
        self.mids: dict[str, int] = {}

    def send(self, name: str) -> int:
        with self.network.gateway():
            return submit(PRIVATE_PORT, "sender@sender.example", f"user@{name}.example")


def _zone() -> dict[str, dict[str, list[str]]]:
    records: dict[str, dict[str, list[str]]] = {}
    for name, domain in DOMAINS.items():
        records[f"{name}.example"] = {"MX": [f"10 {domain.mx}."]}
        records[f"mta-sts.{name}.example"] = {"A": [WEB]}
        records[f"_mta-sts.{name}.example"] = {"TXT": ['"v=STSv1; id=1;"']}
        records[domain.mx] = {"A": [domain.host]}
    return records


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    addresses = (NAME_SERVER, WEB, GOOD, STRANGER, PLAIN)
    network = Network([f"{GATEWAY}/24"], [f"{address}/24" for address in addresses])
    scene.ending.callback(network.close)
    return World(scene, network)


def _arrived(receiver: ScriptedReceiver, name: str) -> int:
    return sum(mail.recipients == (f"user@{name}.example",) for mail in receiver.mails)


@pytest.mark.parametrize("name", DOMAINS)
def test_what_the_policy_asks_for_is_what_happens(world: World, name: str) -> None:
    domain, mid = DOMAINS[name], world.send(name)
    settled(world.gateway, mid)
    if domain.line.startswith("reason: "):
        told = [line for line in about(world.gateway, f"domain: {name}.example") if "Required TLS" in line]
        assert len(told) == 1
        assert domain.line in told[0]
    else:
        lines = delivery(world.gateway, mid)
        assert any(line.startswith(f"DCID D {domain.line}") for line in lines), lines
    receiver = world.receivers[domain.host]
    if domain.arrives:
        receiver.wait_until(lambda seen: _arrived(seen, name) == 1, f"the mail of {name}")
    else:
        assert _arrived(receiver, name) == 0


def test_testing_says_what_it_would_have_refused(world: World) -> None:
    settled(world.gateway, world.send("tested"))
    world.gateway.wait_for_log(
        r"DCID \d+ MTA-STS of tested\.example, in testing, would refuse: unable to get local issuer certificate$"
    )


def test_a_policy_that_cannot_be_fetched_is_told_and_the_mail_goes(world: World) -> None:
    settled(world.gateway, world.send("silent"))
    world.gateway.wait_for_log(
        r"MTA-STS policy of silent\.example could not be fetched: the web server answered 404$"
    )


def test_a_known_policy_is_not_fetched_for_every_message(world: World) -> None:
    for _ in range(3):
        settled(world.gateway, world.send("good"))
    workers = 2
    assert 1 <= world.web.asked.count("good.example") <= workers
