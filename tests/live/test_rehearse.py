"""What a rehearsal foretells is what happens (issue 4): a day of mail under a lax policy, rehearsed under stricter ones, then sent again under them.

The gateway is alone in a network namespace with the name server that it believes on loopback; receivers and the policy server are in another.
Each message of the day is compared with the same message sent again: delivered or put off.
"""

from __future__ import annotations

import json
import os
import signal
import smtplib
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.ca import Issued, TestAuthority, self_signed
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.peers.clients import CLIENT_TIMEOUT
from tests.live.peers.gateway import document
from tests.live.peers.namespaces import Network
from tests.live.peers.processes import PATIENCE
from tests.live.peers.receiver import Script, StartTls, behaving
from tests.live.peers.scene import Scene
from tests.live.peers.story import SETTLED, settled
from tests.live.peers.submit import Refused, hand_over, submit
from tests.live.peers.web import Policies, WebServer
from tests.live.test_mta_sts import enforced

from gatepost.core.tlsa import Tlsa, of_key
from gatepost.pki.certificate import read_certificate

GATEWAY, WEB = "203.0.113.1", "203.0.113.80"
PUBLIC_PORT, PRIVATE_PORT = 2525, 2587
AUTHORITY = TestAuthority("Example CA")
STRANGER = TestAuthority("Stranger")
CLIENTS = TestAuthority("Clients")
SENDERS = ("ann@a.example", "bob@b.example")


def _certified(name: str, **how: Any) -> Script:
    return Script(certificate=AUTHORITY.issue([f"{name}.example", f"mx.{name}.example"], **how))


OWN = self_signed(["mx.daneok.example"])
RECEIVERS: dict[str, Script] = {
    "good": _certified("good"),
    "self": Script(certificate=self_signed(["self.example"])),
    "stranger": Script(certificate=STRANGER.issue(["stranger.example"])),
    "expired": _certified("expired", expired=True),
    "wrong": Script(certificate=AUTHORITY.issue(["elsewhere.example"])),
    "plain": Script(starttls=StartTls.NOT_OFFERED),
    "refusing": Script(starttls=StartTls.TEMPORARY, certificate=OWN),
    "daneok": Script(certificate=OWN),
    "danebad": _certified("danebad"),
    "daneplain": Script(starttls=StartTls.NOT_OFFERED),
    "stsok": _certified("stsok"),
    "stsbad": Script(certificate=self_signed(["mx.stsbad.example"])),
    "first": Script(certificate=self_signed(["several.example"])),
    "second": Script(
        certificate=AUTHORITY.issue(
            ["several.example", "mx.several.example", "twina.example", "twinb.example"]
        )
    ),
}
ADDRESSES = {name: f"203.0.113.{number}" for number, name in enumerate(RECEIVERS, 10)}
SEVERAL = "several"
TWINS = (
    "twina",
    "twinb",
    "twinc",
)  # at the hosts of `several`, which have no certificate for the last of them
DOMAINS = (*(name for name in RECEIVERS if name not in ("first", "second")), SEVERAL)
STS = {"stsok.example": enforced("mx.stsok.example"), "stsbad.example": enforced("mx.stsbad.example")}

VERIFY = {"tls": "required-verify"}
PUBLISHED = {"tls": "preferred", "dane": "opportunistic", "mta_sts": True}
POLICIES: dict[str, Mapping[str, Any]] = {
    "required": {"tls": "required"},
    "required-verify": VERIFY,
    "dane and sts": PUBLISHED,
    "everything": {**PUBLISHED, **VERIFY},
}


def _zone() -> dict[str, dict[str, list[str]]]:
    key = of_key(read_certificate(OWN.chain_der[0]).public_key_der).text()
    wrong = Tlsa(3, 1, 1, b"\x5a" * 32).text()
    records: dict[str, dict[str, list[str]]] = {
        "signed.example": {"SOA": ["ns.example. root.example. 1 3600 600 86400 300"]},
        "bogus.example": {"A": ["203.0.113.99"]},
        "several.example": {"MX": ["10 mx.first.example.", "20 mx.second.example."]},
        "_25._tcp.mx.daneok.example": {"TLSA": [key]},
        "_25._tcp.mx.danebad.example": {"TLSA": [wrong]},
        "_25._tcp.mx.daneplain.example": {"TLSA": [wrong]},
    }
    records |= {f"{name}.example": records["several.example"] for name in TWINS}
    for name, address in ADDRESSES.items():
        records.setdefault(f"{name}.example", {"MX": [f"10 mx.{name}.example."]})
        records[f"mx.{name}.example"] = {"A": [address]}
    for domain in STS:
        records[f"_mta-sts.{domain}"] = {"TXT": ['"v=STSv1; id=1;"']}
        records[f"mta-sts.{domain}"] = {"A": [WEB]}
    return records


Traffic = dict[int, tuple[str, str]]
"""Sender and recipient domain by MID."""


class World:
    def __init__(self, scene: Scene, network: Network) -> None:
        self.network = network
        web = AUTHORITY.issue([f"mta-sts.{domain}" for domain in STS])
        with network.world():
            scene.ending.callback(WebServer(WEB, 443, Policies(STS), web).close)
            self.receivers = {
                name: scene.receiver(script, address=ADDRESSES[name], port=25)
                for name, script in RECEIVERS.items()
            }
        with network.gateway():
            dns = scene.ending.enter_context(DnsAuthority(_zone(), address="127.0.0.1", port=53, ad=True))
            dns.behave("bogus.example", Behaviour.BOGUS)
            self.gateway = scene.gateway()
            self.gateway.trust(AUTHORITY.root_pem + CLIENTS.root_pem)
            self.apply({"tls": "preferred"})
            self.gateway.start()
        self.day = self._send_day()

    def configuration(self, default: Mapping[str, Any], accepted: Mapping[str, Any]) -> dict[str, Any]:
        made = document(PUBLIC_PORT, PRIVATE_PORT, address="127.0.0.1")
        made["destination_controls"]["default"] = dict(default)
        made["certificate_authorities"] = {"system": False, "custom": True}
        made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "1d"}
        made["mail_flow_policies"][0] = {"name": "ACCEPTED", "action": "accept", **accepted}
        made["address_lists"] = [{"name": "bank", "addresses": ["bank.example"]}]
        made["delivery"] = {"timeouts": {"idle": "1s"}}
        made["dns"] = {
            "servers": ["127.0.0.1"],
            "reverse": False,
            "probe": {"signed": "signed.example", "bogus": "bogus.example"},
        }
        return made

    def apply(self, default: Mapping[str, Any], accepted: Mapping[str, Any] | None = None) -> dict[str, Any]:
        made = self.configuration(default, accepted or OPEN)
        self.gateway.configure(made)
        return made

    def rehearse(
        self, default: Mapping[str, Any], accepted: Mapping[str, Any] | None = None, *words: str
    ) -> dict[str, Any]:
        file = self.gateway.files / "rehearsed.yaml"
        file.write_text(json.dumps(self.configuration(default, accepted or OPEN)))
        with self.network.gateway():
            found = json.loads(self.gateway.command("policy", "rehearse", "--json", *words, file))
        assert isinstance(found, dict)
        return found

    def send(self) -> Traffic:
        """One message of each sender to each domain; all have come to something when this returns."""
        sent: Traffic = {}
        with self.network.gateway():
            for domain in DOMAINS:
                for sender in SENDERS:
                    sent[submit(PRIVATE_PORT, sender, f"user@{domain}.example")] = (sender, domain)
        for mid in sent:
            settled(self.gateway, mid)
        return sent

    def _send_day(self) -> Traffic:
        """The first host of two is down once, so that the day knows the second one too."""
        first = self.receivers["first"]
        usual, first.script = first.script, behaving(first.script, replies={"greeting": "421 not now"})
        with self.network.gateway():
            mid = submit(PRIVATE_PORT, SENDERS[0], "user@several.example")
        settled(self.gateway, mid)
        self.receivers["second"].wait_for_mail()
        first.script = usual
        self.gateway.wait_for_log(r"DCID \d+ close$", count=2)  # nothing reuses the second host's connection
        return self.send()

    def burst(self) -> Traffic:
        """Many messages at once to destinations that share two hosts: they share connections too."""
        with self.network.gateway():
            sent = {
                submit(PRIVATE_PORT, f"{number}@{sender.partition('@')[2]}", f"user@{domain}.example"): (
                    f"{number} {sender}",
                    domain,
                )
                for number in range(3)
                for sender in SENDERS
                for domain in (SEVERAL, *TWINS)
            }
        for mid in sent:
            settled(self.gateway, mid)
        return sent

    def delivered(self, traffic: Traffic) -> dict[tuple[str, str], bool]:
        return {
            key: self.gateway.wait_for_log(SETTLED.format(mid=mid))[0].startswith("Message finished")
            for mid, key in traffic.items()
        }

    def foretold(
        self, found: Mapping[str, Any], traffic: Traffic | None = None
    ) -> dict[tuple[str, str], bool | None]:
        """What the rehearsal says of each message, mostly of the day; None: it cannot tell."""
        out = found["outbound"]
        failing = {mid for one in out["failing"] for mid in one["mids"]}
        doubtful = {mid for one in out["undecided"] for mid in one["mids"]}
        return {
            key: None if mid in doubtful else mid not in failing for mid, key in (traffic or self.day).items()
        }


OPEN: Mapping[str, Any] = {"tls": "preferred", "verify_client_certificate": True}


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    network = Network([f"{GATEWAY}/24"], [f"{address}/24" for address in (WEB, *ADDRESSES.values())])
    scene.ending.callback(network.close)
    return World(scene, network)


def test_the_day_was_delivered_and_its_own_policy_foretells_that(world: World) -> None:
    assert set(world.delivered(world.day).values()) == {True}
    found = world.rehearse({"tls": "preferred"})
    assert set(world.foretold(found).values()) == {True}
    assert found["outbound"]["messages"] == len(world.day) + 1
    assert all(one["before"] == one["after"] for one in found["outbound"]["security"])


def test_what_nobody_looked_up_is_a_doubt_offline_and_todays_answer_online(world: World) -> None:
    offline = world.rehearse(PUBLISHED, None, "--offline")
    assert {one["doubt"] for one in offline["outbound"]["undecided"]} == {"no-tlsa"}
    assert offline["outbound"]["could_not_tell"] == offline["outbound"]["messages"]
    online = world.rehearse(PUBLISHED)
    assert online["outbound"]["could_not_tell"] == 0
    assert online["by_today"] > 0
    assert {one["domain"] for one in online["outbound"]["failing"]} == {
        "danebad.example",
        "daneplain.example",
        "stsbad.example",
    }


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_mail_sent_again_meets_what_was_foretold(world: World, name: str) -> None:
    policy = POLICIES[name]
    found = world.rehearse(policy)
    foretold = world.foretold(found)
    assert None not in foretold.values(), found["outbound"]["undecided"]
    assert set(foretold.values()) == {True, False}
    with world.network.gateway():
        world.apply(policy)
    again = world.send()
    assert world.delivered(again) == foretold
    # The certificate that a refusal rests on is the one that the host showed.
    for one in found["outbound"]["failing"]:
        name = one["domain"].removesuffix(".example")
        script = RECEIVERS["first" if name == SEVERAL else name]
        for reason in one["reasons"]:
            if reason["certificate"] is not None:
                assert script.certificate is not None
                assert reason["certificate"]["fingerprint"] == _fingerprint(script.certificate)
    with world.network.gateway():
        world.apply({"tls": "preferred"})


def _fingerprint(issued: Issued) -> str:
    return read_certificate(issued.chain_der[0]).fingerprint


def test_the_second_host_of_two_saves_the_message(world: World) -> None:
    found = world.rehearse(VERIFY, None, "--offline")
    assert world.foretold(found)[SENDERS[0], SEVERAL] is True
    failing = {one["domain"]: one for one in found["outbound"]["failing"]}
    assert "several.example" not in failing
    (reason,) = failing["stranger.example"]["reasons"]
    assert reason["reason"].startswith("verify error: unable to get local issuer certificate")
    assert reason["certificate"]["issuer"] == "CN=Stranger"


def test_a_burst_over_shared_connections_meets_what_was_foretold(world: World) -> None:
    """The first host is refused under the policy. On the day nobody of the burst came to the second one: another message did.

    How many of them take a connection that another destination left is the kernel's choice of a worker (`tests.way.test_rehearse` has that case).
    """
    burst = world.burst()
    assert set(world.delivered(burst).values()) == {True}
    found = world.rehearse(VERIFY, None, "--offline")
    foretold = world.foretold(found, burst)
    assert {domain for (_, domain), passes in foretold.items() if passes is False} == {"twinc"}
    assert None not in foretold.values(), found["outbound"]["undecided"]
    (failing,) = (one for one in found["outbound"]["failing"] if one["domain"] == "twinc.example")
    assert failing["messages"] == 6
    with world.network.gateway():
        world.apply(VERIFY)
    assert world.delivered(world.burst()) == foretold
    with world.network.gateway():
        world.apply({"tls": "preferred"})


# --- the incoming side --------------------------------------------------------------------------------


VISITORS: dict[str, tuple[str, str, Issued | None]] = {
    "127.0.0.11": ("clear", "carl@shop.example", None),
    "127.0.0.12": ("clear", "dora@bank.example", None),
    "127.0.0.13": ("tls", "erik@bank.example", None),
    "127.0.0.14": ("tls", "fred@shop.example", CLIENTS.issue(["fred.example"])),
}
INCOMING: dict[str, Mapping[str, Any]] = {
    "required": {"tls": "required"},
    "list": {"tls": "preferred", "tls_mandatory_for": "bank"},
    "certificates": {"tls": "required", "verify_client_certificate": True},
    "one client": {
        "tls": "required",
        "verify_client_certificate": True,
        "client_identities": [{"name": "somebody.example"}],
    },
}


def _visit(world: World, folder: Path) -> dict[str, bool]:
    """One message of each visitor; whose is taken."""
    taken = {}
    for address, (how, sender, certificate) in VISITORS.items():
        with world.network.gateway():
            taken[address] = _one_visit(address, how, sender, certificate, folder)
    return taken


def _one_visit(address: str, how: str, sender: str, certificate: Issued | None, folder: Path) -> bool:
    with smtplib.SMTP(
        "127.0.0.1", PUBLIC_PORT, "client.example", timeout=CLIENT_TIMEOUT, source_address=(address, 0)
    ) as client:
        if how == "tls":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if certificate is not None:
                file = folder / f"{address}.pem"
                file.write_bytes(certificate.key_pem + certificate.chain_pem)
                context.load_cert_chain(file)
            client.ehlo()
            client.starttls(context=context)
        try:
            hand_over(client, sender, "user@good.example")
        except Refused:
            return False
    return True


def test_incoming_mail_sent_again_meets_what_was_foretold(world: World, tmp_path: Path) -> None:
    assert _visit(world, tmp_path) == dict.fromkeys(VISITORS, True)
    foretold = {}
    for name, policy in INCOMING.items():
        part = world.rehearse({"tls": "preferred"}, policy)["inbound"]
        assert part["could_not_tell"] == 0
        refused = {one["address"] for one in part["failing"] if one["listener"] == "IncomingMail"}
        foretold[name] = {address: address not in refused for address in VISITORS}
    for name, policy in INCOMING.items():
        with world.network.gateway():
            world.apply({"tls": "preferred"}, policy)
        assert _visit(world, tmp_path) == foretold[name], name
    assert len({tuple(one.values()) for one in foretold.values()}) == len(INCOMING)


def test_the_records_outlive_the_gateway(world: World) -> None:
    with world.network.gateway():
        world.apply({"tls": "preferred"})
        before = world.rehearse(VERIFY, None, "--offline")["outbound"]
        world.gateway.stop()
        stopped = world.rehearse(VERIFY, None)["outbound"]
        world.gateway.start()
        after = world.rehearse(VERIFY, None, "--offline")["outbound"]
    assert stopped == before
    assert after == before


def test_a_desk_that_is_killed_counts_nothing_twice(world: World) -> None:
    """The position is kept with the records: what was read and not kept is read again, what was kept is not."""
    lax = {"tls": "preferred"}
    before = world.rehearse(lax, None, "--offline")["outbound"]["messages"]
    with world.network.gateway():
        desk = json.loads(world.gateway.command("status", "--json"))["desk"]["pid"]
        sent = [submit(PRIVATE_PORT, SENDERS[0], f"user@{domain}.example") for domain in DOMAINS]
        os.kill(desk, signal.SIGKILL)
        sent += [submit(PRIVATE_PORT, SENDERS[1], f"user@{domain}.example") for domain in DOMAINS]
    for mid in sent:
        settled(world.gateway, mid)
    world.gateway.wait_for_log(rf"Process desk \(pid (?!{desk}\b)\d+\) started")
    found = _once_it_answers(world, lax)["outbound"]
    assert found["messages"] == before + len(sent)


def _once_it_answers(world: World, default: Mapping[str, Any]) -> dict[str, Any]:
    """The rehearsal, once the next desk takes questions."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with world.network.gateway():
            said = world.gateway.command("status", "--json", status=None)
        if said.startswith("{"):
            return world.rehearse(default, None, "--offline")
        assert time.monotonic() < deadline, "the desk did not come back"
