"""Next hops by MX, in network namespaces of the test's own: order, fallback, refusals, IPv6, and what DNS can do wrong.

The gateway is alone in one namespace. In the other are the tests' DNS authority on port 53 and receivers on port 25,
one address each. `203.0.113.0/24` and `2001:db8::/32` stand for the internet, `10.77.0.0/24` for private
addresses.
"""

from __future__ import annotations

import re
from functools import cached_property

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.peers.gateway import Document, document
from tests.live.peers.namespaces import Network
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, connections_of, delivery, settled
from tests.live.peers.submit import submit

GATEWAY, GATEWAY6 = "203.0.113.1", "2001:db8:77::1"
NAME_SERVER = "203.0.113.53"
HOSTS = [f"203.0.113.{number}" for number in range(10, 16)]
NOBODY = "203.0.113.99"  # an address of the world on which nothing listens
HOST6 = "2001:db8:77::10"
PRIVATE = "10.77.0.10"
POSTFIX, EXIM = "203.0.113.20", "203.0.113.21"
PUBLIC_PORT, PRIVATE_PORT = 25, 2587
CHOICES = 24  # messages to two equal hosts: one of them gets none once in eight million runs

RECORDS = {
    "mx10.dest.example": {"A": [HOSTS[0]]},
    "mx11.dest.example": {"A": [HOSTS[1]]},
    "mx12.dest.example": {"A": [HOSTS[2]]},
    "mx6.dest.example": {"AAAA": [HOST6]},
    "down.dest.example": {"A": [NOBODY]},
    "both.dest.example": {"A": [NOBODY], "AAAA": [HOST6]},
    "loopback.dest.example": {"A": ["127.0.0.2"]},
    "mapped.dest.example": {"AAAA": ["::ffff:127.0.0.2"]},
    "private.dest.example": {"A": [PRIVATE]},
    "ours.dest.example": {"A": [GATEWAY]},
    "postfix.dest.example": {"A": [POSTFIX]},
    "exim.dest.example": {"A": [EXIM]},
    "ordered.example": {"MX": ["30 mx12.dest.example.", "10 mx10.dest.example.", "20 mx11.dest.example."]},
    "equal.example": {"MX": ["10 mx10.dest.example.", "10 mx11.dest.example."]},
    "fallback.example": {"MX": ["10 down.dest.example.", "20 mx11.dest.example."]},
    "null.example": {"MX": ["0 ."]},
    "plain.example": {"A": [HOSTS[2]]},
    "plain6.example": {"AAAA": [HOST6]},
    "six.example": {"MX": ["10 mx6.dest.example."]},
    "bothways.example": {"MX": ["10 both.dest.example."]},
    "alias.example": {"CNAME": ["ordered.example."]},
    "loops.example": {"MX": ["10 mx.example.net.", "20 mx10.dest.example."]},
    "loops-address.example": {"MX": ["10 ours.dest.example.", "10 mx10.dest.example."]},
    "backup.example": {"MX": ["5 mx11.dest.example.", "10 mx.example.net.", "20 mx10.dest.example."]},
    "loopback.example": {"MX": ["10 loopback.dest.example."]},
    "loopback-first.example": {"MX": ["10 loopback.dest.example.", "20 mx12.dest.example."]},
    "mapped.example": {"MX": ["10 mapped.dest.example."]},
    "private.example": {"MX": ["10 private.dest.example."]},
    "dangling.example": {"MX": ["10 nowhere.dest.example."]},
    "broken.example": {"MX": ["10 mx10.dest.example."]},
    "broken-host.example": {"MX": ["10 servfail.dest.example.", "20 gone.dest.example."]},
    "servfail.dest.example": {"A": [HOSTS[0]]},
    "truncated.example": {"MX": ["10 mx10.dest.example."]},
    "postfix.example": {"MX": ["10 postfix.dest.example."]},
    "exim.example": {"MX": ["10 exim.dest.example."]},
    "hosted.example": {"MX": ["10 mx10.dest.example."]},
    "strict.example": {"MX": ["10 mx10.dest.example."]},
    "lenient.example": {"MX": ["10 mx10.dest.example."]},
    "sender.example": {"MX": ["10 mx12.dest.example."]},
    "mx.example.net": {"A": [GATEWAY]},
}

CHOSEN = {
    "ordered.example": HOSTS[0],
    "fallback.example": HOSTS[1],
    "plain.example": HOSTS[2],
    "plain6.example": HOST6,
    "six.example": HOST6,
    "bothways.example": HOST6,
    "alias.example": HOSTS[0],
    "backup.example": HOSTS[1],
    "loopback-first.example": HOSTS[2],
    "truncated.example": HOSTS[0],
    "postfix.example": POSTFIX,
    "exim.example": EXIM,
}
BOUNCED = {
    "null.example": "5.1.10 - Recipient address has null MX ('000', ['null.example: the domain has a null MX: it accepts no mail'])",
    "missing.invalid": "5.1.2 - Bad destination host ('000', ['DNS Hard Error looking up missing.invalid (MX):  NXDomain'])",
    "dangling.example": "5.1.2 - Bad destination host ('000', ['DNS Hard Error looking up nowhere.dest.example (A):  NXDomain'])",
    "loops.example": "5.4.6 - Routing loop detected ('000', ['loops.example: mail for the domain loops back to this gateway: the best of its MX are ours'])",
    "loops-address.example": "5.4.6 - Routing loop detected ('000', ['loops-address.example: mail for the domain loops back to this gateway: the best of its MX are ours'])",
    "loopback.example": "5.1.2 - Bad destination host ('000', ['loopback.dest.example [127.0.0.2]: loopback address'])",
    "mapped.example": "5.1.2 - Bad destination host ('000', ['mapped.dest.example [::ffff:7f00:2]: loopback address'])",
    "private.example": f"5.1.2 - Bad destination host ('000', ['private.dest.example [{PRIVATE}]: private address'])",
    "[127.0.0.2]": "5.1.2 - Bad destination host ('000', ['127.0.0.2: loopback address'])",
}


class World:
    """Both namespaces and everything in them."""

    def __init__(self, scene: Scene, network: Network) -> None:
        self.network = network
        certificates = TestAuthority("Example CA")
        certificate = certificates.issue(["mx10.dest.example", "mx11.dest.example"])
        with network.world():
            self.dns = scene.ending.enter_context(DnsAuthority(RECORDS, address=NAME_SERVER, port=53))
            addresses = [*HOSTS[:3], HOST6, PRIVATE]
            made = {
                address: scene.receiver(Script(certificate=certificate), address=address, port=25)
                for address in addresses
            }
            self.postfix = scene.postfix(
                address=POSTFIX, port=25, certificate=certificates.issue(["postfix.dest.example"])
            )
            self.exim = scene.exim(
                address=EXIM, port=25, certificate=certificates.issue(["exim.dest.example"])
            )
        self.receivers: dict[str, ScriptedReceiver] = made
        self.dns.behave("broken.example", Behaviour.SERVFAIL)
        self.dns.behave("servfail.dest.example", Behaviour.SERVFAIL)
        self.dns.behave("truncated.example", Behaviour.TRUNCATED)
        with network.gateway():
            self.gateway = scene.gateway()
            self.gateway.trust(certificates.root_pem)
            self.configure()
            self.gateway.start()

    def configure(self, *, allow_private: bool = False) -> None:
        self.gateway.configure(_configuration(allow_private))

    def send(self, domain: str, sender: str = "sender@sender.example") -> int:
        with self.network.gateway():
            return submit(PRIVATE_PORT, sender, f"user@{domain}")

    @cached_property
    def sent(self) -> dict[str, int]:
        """One message to each domain of the tables above, all at once."""
        return {domain: self.send(domain) for domain in (*CHOSEN, *BOUNCED)}

    def opened(self, mid: int) -> list[str]:
        """The addresses to which a finished message's connections went, in order."""
        settled(self.gateway, mid)
        (last,) = connections_of(self.gateway, mid)[-1:]
        found = self.gateway.log.matching(r"New SMTP DCID (\d+) interface \S+ address (\S+) port 25$")
        return [match[2] for match in found if int(match[1]) == last]

    def bounced(self, mid: int) -> str:
        """The line of a bounce, and its report at the sender's server."""
        line = self.gateway.wait_for_log(rf"Bounced: DCID \d+ MID {mid} to RID 0 - (.*)$")[1]
        report = int(self.gateway.wait_for_log(rf"MID (\d+) was generated for bounce of MID {mid}$")[1])
        self.gateway.wait_for_log(rf"Message finished MID {report} done")
        (mail,) = (
            mail
            for mail in self.receivers[HOSTS[2]].wait_for_mail()
            if mail.sender == "" and re.search(rf"id {mid}\b".encode(), mail.content)
        )
        assert mail.recipients == ("sender@sender.example",)
        assert mail.message.get_content_type() == "multipart/report"
        return line


def _configuration(allow_private: bool) -> Document:
    made = document(
        PUBLIC_PORT,
        PRIVATE_PORT,
        address="127.0.0.1",
        destinations=[
            {"domain": "hosted.example", "tls": "required-verify-hosted"},
            {"domain": "strict.example", "tls": "required-verify"},
            {"domain": "lenient.example", "tls": "required-verify", "insecure_names": "allow"},
        ],
    )
    made["interfaces"].append({"name": "Data 2", "address": GATEWAY, "hostname": "mx.example.net"})
    made["listeners"][0]["interface"] = "Data 2"
    made["certificate_authorities"] = {"system": False, "custom": True}
    made["delivery"] = {"timeouts": {"idle": "1s"}}
    made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "1d"}
    made["dns"] = {"servers": [NAME_SERVER], "reverse": False, "allow_private_mx": allow_private}
    return made


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    network = Network(
        [f"{GATEWAY}/24", f"{GATEWAY6}/64", "10.77.0.1/24"],
        [
            *(f"{address}/24" for address in (*HOSTS, NAME_SERVER, NOBODY, POSTFIX, EXIM)),
            f"{HOST6}/64",
            f"{PRIVATE}/24",
        ],
    )
    scene.ending.callback(network.close)
    return World(scene, network)


@pytest.mark.parametrize("domain", CHOSEN)
def test_the_hop_that_is_chosen(world: World, domain: str) -> None:
    mid, address = world.sent[domain], CHOSEN[domain]
    lines = delivery(world.gateway, mid)
    source = GATEWAY6 if ":" in address else GATEWAY
    assert lines[0] == f"New SMTP DCID D interface {source} address {address} port 25"
    assert lines[1].startswith("DCID D TLS success protocol TLSv1.3 cipher ")
    assert "Message finished MID M done" in lines


def test_a_host_that_is_down_is_named_and_the_next_is_tried(world: World) -> None:
    start = world.gateway.log.mark()
    mid = world.send("fallback.example")
    settled(world.gateway, mid)
    (errors,) = (
        line
        for line in about(world.gateway, "domain: fallback.example", start=start)
        if line.startswith("Connection Error:")
    )
    assert re.fullmatch(
        rf"Connection Error: DCID \d+ domain: fallback\.example IP:{NOBODY} port: 25 details: \[Errno 111\] Connection"
        r" refused interface: 203\.0\.113\.1 reason: network error",
        errors,
    )
    assert world.opened(mid) == [HOSTS[1]]


def test_among_equals_both_are_chosen(world: World) -> None:
    """Each message's attempt draws anew, once the connection and the remembered order of the last are gone."""
    chosen = {HOSTS[0]: 0, HOSTS[1]: 0}
    names = {f"equal-{number}.example": {"MX": RECORDS["equal.example"]["MX"]} for number in range(CHOICES)}
    world.dns.update(names)
    mids = [world.send(name) for name in names]
    for mid in mids:
        settled(world.gateway, mid)
    for name, mid in zip(names, mids, strict=True):
        (dcid,) = connections_of(world.gateway, mid)
        opened = world.gateway.log.matching(rf"New SMTP DCID {dcid} interface \S+ address (\S+) port 25$")
        assert opened, name
        chosen[opened[0][1]] += 1
    assert sum(chosen.values()) == CHOICES
    assert min(chosen.values()) > 0, chosen


@pytest.mark.parametrize("domain", BOUNCED)
def test_mail_that_leads_nowhere_bounces_to_its_sender(world: World, domain: str) -> None:
    mid = world.sent[domain]
    assert world.bounced(mid) == BOUNCED[domain]
    assert f"Message finished MID {mid} done" in about(world.gateway, f"MID {mid}")


@pytest.mark.parametrize(("domain", "asked"), [("broken.example", "MX"), ("broken-host.example", "A")])
def test_a_server_failure_of_dns_defers(world: World, domain: str, asked: str) -> None:
    mid = world.send(domain)
    line = world.gateway.wait_for_log(rf"Delayed: DCID 0 MID {mid} to RID 0 - (.*)$")[1]
    name = domain if asked == "MX" else "servfail.dest.example"
    assert line.startswith(
        f"4.4.3 - Directory server failure ('000', ['DNS Soft Error looking up {name} ({asked}): "
    )


def test_the_hosted_level_takes_the_mx_name(world: World) -> None:
    """R27h beside R27: the certificate is the MX host's, the MX record is unsigned."""
    hosted, strict, lenient = (world.send(f"{name}.example") for name in ("hosted", "strict", "lenient"))
    (up,) = (line for line in delivery(world.gateway, hosted) if "TLS success" in line)
    assert up.endswith(" for hosted.example verified yes: mx10.dest.example (from unsigned DNS)")
    (failed,) = (line for line in delivery(world.gateway, strict) if "TLS failed" in line)
    assert failed == (
        "DCID D TLS failed: verify error: host name mismatch: strict.example not in"
        " DNS:mx10.dest.example, DNS:mx11.dest.example"
    )
    (up,) = (line for line in delivery(world.gateway, lenient) if "TLS success" in line)
    assert up.endswith(" for lenient.example verified yes: mx10.dest.example (from unsigned DNS)")


def test_every_host_is_tried_under_a_required_level(world: World) -> None:
    """The hosts without TLS are left in order, and the message is kept (R25)."""
    world.dns.update({"keeps.example": {"MX": ["10 mx10.dest.example.", "20 mx11.dest.example."]}})
    receivers = [world.receivers[HOSTS[0]], world.receivers[HOSTS[1]]]
    before = [receiver.script for receiver in receivers]
    for receiver in receivers:
        receiver.script = Script(starttls=StartTls.NOT_OFFERED)
    try:
        made = _configuration(False)
        made["destination_controls"]["destinations"].append({"domain": "keeps.example", "tls": "required"})
        world.gateway.configure(made)
        mid = world.send("keeps.example")
        settled(world.gateway, mid)
        (last,) = connections_of(world.gateway, mid)
        for dcid in (last - 1, last):
            assert about(world.gateway, f"DCID {dcid}")[1:3] == [
                f"DCID {dcid} TLS failed: remote host does not offer STARTTLS",
                f"DCID {dcid} IP {HOSTS[0] if dcid < last else HOSTS[1]} TLS was required but could not be"
                " successfully negotiated",
            ]
    finally:
        for receiver, script in zip(receivers, before, strict=True):
            receiver.script = script


def test_private_addresses_are_used_where_allowed(world: World) -> None:
    world.configure(allow_private=True)
    mid = world.send("private.example")
    assert world.opened(mid) == [PRIVATE]
    world.configure()
