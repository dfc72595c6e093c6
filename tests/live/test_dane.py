"""DANE on the wire (RFC 7672): domains whose TLSA records are right, wrong, unusable, missing or unreachable.

The gateway is alone in a network namespace with the name server on loopback that it believes, and the receivers, one address each, in
another. Each domain's outcome is the decision table's cell, in the log and in the mail that arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.peers.gateway import document
from tests.live.peers.namespaces import Network
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, delivery, settled
from tests.live.peers.submit import submit

from gatepost.core.tlsa import Matching, Selector, Tlsa, Usage, of_issuer, of_key
from gatepost.pki.certificate import read_certificate

GATEWAY = "203.0.113.1"
GOOD, PLAIN = "203.0.113.10", "203.0.113.11"
PRIVATE_PORT = 2587
NO_STARTTLS = Script(starttls=StartTls.NOT_OFFERED)

AUTHORITY = TestAuthority("Private CA").intermediate()
ISSUED = AUTHORITY.issue(["mx.dest.example", "ta.dest.example"])
LEAF, ISSUER = (read_certificate(der) for der in ISSUED.chain_der[:2])
OTHER = Tlsa(3, 1, 1, b"\x5a" * 32)


@dataclass(frozen=True)
class Domain:
    """One inhabitant: its host's records, and what must come of a message to it."""

    records: tuple[Tlsa, ...]
    line: str  # of the connection, behind `DCID D `, or of the destination
    arrives: bool
    host: str = GOOD


SUCCESS = "TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384"
DOMAINS = {
    "ee": Domain(
        (of_key(LEAF.public_key_der),), f"{SUCCESS} for ee.example verified yes: DANE-EE 3 1 1", True
    ),
    "rolling": Domain(
        (OTHER, of_key(LEAF.public_key_der)),
        f"{SUCCESS} for rolling.example verified yes: DANE-EE 3 1 1",
        True,
    ),
    "ta": Domain(
        (of_issuer(ISSUER.public_key_der),), f"{SUCCESS} for ta.example verified yes: DANE-TA 2 1 1", True
    ),
    "misnamed": Domain(
        (of_issuer(ISSUER.public_key_der),),
        "TLS failed: verify error: host name mismatch: misnamed.dest.example, misnamed.example not in"
        " DNS:mx.dest.example, DNS:ta.dest.example",
        False,
    ),
    "whole": Domain(
        (Tlsa(Usage.DANE_EE, Selector.CERTIFICATE, Matching.FULL, LEAF.der),),
        f"{SUCCESS} for whole.example verified yes: DANE-EE 3 0 0",
        True,
    ),
    "wrong": Domain(
        (OTHER,),
        "TLS failed: verify error: certificate is not of the TLSA records of wrong.dest.example",
        False,
    ),
    "unusable": Domain((Tlsa(1, 1, 1, b"\x01" * 32),), SUCCESS, True),
    "stripped": Domain(
        (of_key(LEAF.public_key_der),), "TLS failed: remote host does not offer STARTTLS", False, PLAIN
    ),
    "clear": Domain((), "close", True, PLAIN),
    "silent": Domain(
        (of_key(LEAF.public_key_der),),
        "reason: its TLSA records could not be looked up: TLSA of silent.dest.example: SERVFAIL",
        False,
    ),
    "must": Domain(
        (), "reason: DANE is mandatory for this destination, and must.dest.example has no TLSA records", False
    ),
}


def _zone() -> dict[str, dict[str, list[str]]]:
    records: dict[str, dict[str, list[str]]] = {
        "signed.example": {"SOA": ["ns.example. root.example. 1 3600 600 86400 300"]},
        "bogus.example": {"A": ["203.0.113.99"]},
    }
    for name, domain in DOMAINS.items():
        records[f"{name}.example"] = {"MX": [f"10 {name}.dest.example."]}
        records[f"{name}.dest.example"] = {"A": [domain.host]}
        if domain.records:
            texts = [record.text() for record in domain.records]
            records[f"_25._tcp.{name}.dest.example"] = {"TLSA": texts}
    return records


class World:
    def __init__(self, scene: Scene, network: Network) -> None:
        self.network = network
        with network.world():
            self.good = scene.receiver(Script(certificate=ISSUED), address=GOOD, port=25)
            self.plain = scene.receiver(NO_STARTTLS, address=PLAIN, port=25)
        with network.gateway():
            self.dns = scene.ending.enter_context(
                DnsAuthority(_zone(), address="127.0.0.1", port=53, ad=True)
            )
            self.dns.behave("bogus.example", Behaviour.BOGUS)
            self.dns.behave("_25._tcp.silent.dest.example", Behaviour.SERVFAIL)
            self.gateway = scene.gateway()
            self.gateway.configure(self.configuration())
            self.gateway.start()
        self.mids: dict[str, int] = {}

    def configuration(self) -> dict[str, object]:
        made = document(
            2525,
            PRIVATE_PORT,
            address="127.0.0.1",
            destinations=[{"domain": "must.example", "dane": "mandatory"}],
        )
        made["destination_controls"]["default"] = {"tls": "preferred", "dane": "opportunistic"}
        made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "1d"}
        made["dns"] = {
            "servers": ["127.0.0.1"],
            "reverse": False,
            "probe": {"signed": "signed.example", "bogus": "bogus.example"},
        }
        return made

    def sent(self, name: str) -> int:
        if name not in self.mids:
            with self.network.gateway():
                self.mids[name] = submit(PRIVATE_PORT, "sender@sender.example", f"user@{name}.example")
        return self.mids[name]


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    network = Network([f"{GATEWAY}/24"], [f"{address}/24" for address in (GOOD, PLAIN)])
    scene.ending.callback(network.close)
    return World(scene, network)


def test_the_name_server_is_tried_before_it_is_believed(world: World) -> None:
    world.gateway.wait_for_log(r"Name server 127\.0\.0\.1:53 is believed about DNSSEC$")


@pytest.mark.parametrize("name", DOMAINS)
def test_what_the_records_ask_for_is_what_happens(world: World, name: str) -> None:
    domain, mid = DOMAINS[name], world.sent(name)
    settled(world.gateway, mid)
    if domain.line.startswith("reason: "):
        told = [line for line in about(world.gateway, f"domain: {name}.example") if "Required TLS" in line]
        assert len(told) == 1
        assert domain.line in told[0]
        assert about(world.gateway, f"MID {mid}")[-1].startswith(f"Delayed: DCID 0 MID {mid} ")
    else:
        lines = delivery(world.gateway, mid)
        assert any(line.startswith(f"DCID D {domain.line}") for line in lines), lines
    receiver = world.good if domain.host == GOOD else world.plain
    if domain.arrives:
        receiver.wait_until(lambda seen: _arrived(seen, name) == 1, f"the mail of {name}")
    else:
        assert _arrived(receiver, name) == 0


def _arrived(receiver: ScriptedReceiver, name: str) -> int:
    return sum(mail.recipients == (f"user@{name}.example",) for mail in receiver.mails)


def test_a_host_that_is_not_signed_is_never_asked_for_records(world: World) -> None:
    """D2"""
    world.dns.update({"dark.example": {"MX": ["10 dark.dest.example."]}, "dark.dest.example": {"A": [GOOD]}})
    world.dns.behave("dark.dest.example", Behaviour.INSECURE)
    settled(world.gateway, world.sent("dark"))
    assert world.dns.questions("dark.dest.example", "A")
    assert not world.dns.questions("_25._tcp.dark.dest.example", "TLSA")
