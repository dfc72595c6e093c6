"""REQUIRETLS and `TLS-Required: No` on the wire (RFC 8689): hosts that promise, that do not, that cannot prove who they are.

The gateway is alone in a network namespace with the name server on loopback that it believes; in another are receivers, one address each,
and a second gateway that passes on to a receiver behind it. What arrived, with which parameters, is what the receivers saw. Servers of
other makers that know REQUIRETLS are not to be had here; the receivers speak it by script.
"""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.peers.clients import CLIENT_TIMEOUT
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.mail import Mail
from tests.live.peers.namespaces import Network
from tests.live.peers.receiver import Script, ScriptedReceiver, StartTls
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, connections_of, settled
from tests.live.peers.submit import Refused, hand_over, text_message

from gatepost.core.tlsa import Tlsa, of_key
from gatepost.pki.certificate import read_certificate

OURS = "203.0.113.1"
GOOD, LACKING, CLEAR, SECOND, BEHIND, SENDERS = (f"203.0.113.{number}" for number in range(10, 16))
PRIVATE_PORT = 2587
FROM = "sender@sender.example"

AUTHORITY = TestAuthority("Example CA")
ISSUED = AUTHORITY.issue(["mx.dest.example"])
OF_GATEWAY = AUTHORITY.issue(["mx.second.example"])
OF_LAST = AUTHORITY.issue(["chain.example"])
PROMISING = Script(certificate=ISSUED)
PROMISING = replace(PROMISING, capabilities=(*PROMISING.capabilities, "REQUIRETLS"))
STRANGE = Tlsa(3, 1, 1, b"\x5a" * 32)


def _record(der: bytes) -> Tlsa:
    return of_key(read_certificate(der).public_key_der)


RIGHT = _record(ISSUED.chain_der[0])
RIGHT_OF_GATEWAY = _record(OF_GATEWAY.chain_der[0])


@dataclass(frozen=True)
class Returned:
    """A domain whose mail comes back: the hosts, and what the log and the report say."""

    hosts: tuple[tuple[str, str, Tlsa | None], ...]  # name, address, TLSA record
    status: str
    reason: str


RETURNED = {
    "lacking": Returned(
        (("lacking.dest.example", LACKING, RIGHT),),
        "5.7.30 - REQUIRETLS support required",
        "lacking.dest.example does not offer REQUIRETLS, which the message needs",
    ),
    "clear": Returned(
        (("clear.dest.example", CLEAR, RIGHT),),
        "5.7.10 - Encryption needed",
        "REQUIRETLS: remote host does not offer STARTTLS",
    ),
    "wrong": Returned(
        (("wrong.dest.example", GOOD, STRANGE),),
        "5.7.10 - Encryption needed",
        "REQUIRETLS: verify error: certificate is not of the TLSA records of wrong.dest.example",
    ),
    "misnamed": Returned(
        (("misnamed.dest.example", GOOD, None),),
        "5.7.10 - Encryption needed",
        "REQUIRETLS: verify error: host name mismatch: misnamed.dest.example not in DNS:mx.dest.example",
    ),
    "dark": Returned(
        (("dark.dest.example", GOOD, RIGHT),),
        "5.7.10 - Encryption needed",
        "nothing proves that dark.dest.example takes the mail of dark.example",
    ),
    "off": Returned(
        (("off.dest.example", GOOD, RIGHT),),
        "5.7.10 - Encryption needed",
        "the message requires TLS, and destination_controls.destinations[0] turns it off",
    ),
}
DELIVERED = {
    "good": (("good.dest.example", GOOD, RIGHT),),
    "named": (("mx.dest.example", GOOD, None),),  # by the name, and an authority
    "either": (("lacking.dest.example", LACKING, RIGHT), ("good.dest.example", GOOD, RIGHT)),
    "chain": (("mx.second.example", SECOND, RIGHT_OF_GATEWAY),),
}


def _zone() -> dict[str, dict[str, list[str]]]:
    records: dict[str, dict[str, list[str]]] = {
        "signed.example": {"SOA": ["ns.example. root.example. 1 3600 600 86400 300"]},
        "bogus.example": {"A": ["203.0.113.99"]},
        "sender.example": {"MX": ["10 senders.dest.example."]},
        "plain.example": {"MX": ["10 lacking.dest.example."]},
        "senders.dest.example": {"A": [SENDERS]},
        "_25._tcp.senders.dest.example": {"TLSA": [RIGHT.text()]},
    }
    hosts_of = {**DELIVERED, **{name: one.hosts for name, one in RETURNED.items()}}
    for name, hosts in hosts_of.items():
        records[f"{name}.example"] = {
            "MX": [f"{10 * number} {host}." for number, (host, _, _) in enumerate(hosts, 1)]
        }
        for host, address, tlsa in hosts:
            records[host] = {"A": [address]}
            if tlsa is not None:
                records[f"_25._tcp.{host}"] = {"TLSA": [tlsa.text()]}
    return records


class World:
    def __init__(self, scene: Scene, network: Network) -> None:
        self.network = network
        with network.world():
            self.good = scene.receiver(PROMISING, address=GOOD, port=25)
            self.lacking = scene.receiver(Script(certificate=ISSUED), address=LACKING, port=25)
            self.clear = scene.receiver(
                replace(PROMISING, starttls=StartTls.NOT_OFFERED), address=CLEAR, port=25
            )
            self.last = scene.receiver(replace(PROMISING, certificate=OF_LAST), address=BEHIND, port=25)
            self.senders = scene.receiver(PROMISING, address=SENDERS, port=25)
            self.second = self._second(scene)
        with network.gateway():
            self.dns = scene.ending.enter_context(
                DnsAuthority(_zone(), address="127.0.0.1", port=53, ad=True)
            )
            self.dns.behave("bogus.example", Behaviour.BOGUS)
            self.dns.behave("dark.example", Behaviour.INSECURE)
            self.gateway = scene.gateway()
            self.gateway.trust(AUTHORITY.root_pem)
            self.gateway.configure(self.configuration())
            self.gateway.start()

    @staticmethod
    def _second(scene: Scene) -> Gateway:
        made = scene.gateway()
        made.trust(AUTHORITY.root_pem)
        made.import_certificate("gw", OF_GATEWAY)
        routes = [{"domain": "chain.example", "hosts": [f"[{BEHIND}]"]}]
        wanted = document(25, PRIVATE_PORT, address=SECOND, certificate="gw", routes=routes)
        wanted["certificate_authorities"] = {"system": False, "custom": True}
        made.configure(wanted)
        made.start()
        return made

    @staticmethod
    def configuration(**default: str) -> dict[str, object]:
        made = document(
            2525, PRIVATE_PORT, address="127.0.0.1", destinations=[{"domain": "off.example", "tls": "none"}]
        )
        made["destination_controls"]["default"] |= default
        made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "1d"}
        made["certificate_authorities"] = {"system": False, "custom": True}
        made["dns"] = {
            "servers": ["127.0.0.1"],
            "reverse": False,
            "probe": {"signed": "signed.example", "bogus": "bogus.example"},
        }
        return made

    @contextlib.contextmanager
    def client(self, *, tls: bool = True) -> Iterator[smtplib.SMTP]:
        """A mail program at the private listener."""
        careless = ssl.create_default_context()
        careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
        with (
            self.network.gateway(),
            smtplib.SMTP("127.0.0.1", PRIVATE_PORT, "client.example", timeout=CLIENT_TIMEOUT) as client,
        ):
            if tls:
                client.starttls(context=careless)
            yield client

    def sent(self, name: str, *options: str, content: bytes | None = None, sender: str = FROM) -> int:
        with self.client() as client:
            return hand_over(client, sender, f"user@{name}.example", content, options=options)


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    network = Network(
        [f"{OURS}/24"],
        [f"{address}/24" for address in (GOOD, LACKING, CLEAR, SECOND, BEHIND, SENDERS)],
    )
    scene.ending.callback(network.close)
    return World(scene, network)


def mails_to(receiver: ScriptedReceiver, name: str) -> Sequence[Mail]:
    return [mail for mail in receiver.mails if mail.recipients == (f"user@{name}.example",)]


def arrived(receiver: ScriptedReceiver, name: str, count: int = 1) -> Mail:
    receiver.wait_until(lambda seen: len(mails_to(seen, name)) >= count, f"the mail of {name}")
    return mails_to(receiver, name)[count - 1]


def test_offered_inside_tls_only(world: World) -> None:
    with world.client(tls=False) as client:
        client.ehlo()
        assert not client.has_extn("requiretls")
        with pytest.raises(Refused, match=r"530 5\.7\.10 REQUIRETLS is for TLS only"):
            hand_over(client, FROM, options=["REQUIRETLS"])
    with world.client() as client:
        client.ehlo()
        assert client.has_extn("requiretls")


def test_who_offers_it_tries_the_name_server_before_any_message_comes(world: World) -> None:
    """No entry wants DANE here, and none verifies."""
    world.gateway.wait_for_log(r"Name server 127\.0\.0\.1:53 is believed about DNSSEC$")
    world.sent("good", "REQUIRETLS")
    assert "REQUIRETLS" in arrived(world.good, "good").parameters


@pytest.mark.parametrize(
    ("name", "proof"), [("good", "DANE-EE 3 1 1"), ("named", "mx.dest.example"), ("either", "DANE-EE 3 1 1")]
)
def test_it_goes_to_a_host_that_promises_and_proves_itself(world: World, name: str, proof: str) -> None:
    before = len(mails_to(world.good, name))
    mid = world.sent(name, "REQUIRETLS")
    mail = arrived(world.good, name, before + 1)
    assert "REQUIRETLS" in mail.parameters
    assert mail.tls is not None
    assert not mails_to(world.lacking, name)
    world.gateway.wait_for_log(f"Message finished MID {mid} done")
    lines = about(world.gateway, f"DCID {connections_of(world.gateway, mid)[-1]}")
    # The connection may be that of another domain on the same host, judged anew.
    assert any(f" verified yes: {proof}" in line for line in lines), lines


@pytest.mark.parametrize("name", RETURNED)
def test_what_cannot_be_done_comes_back(world: World, name: str) -> None:
    wanted = RETURNED[name]
    before = len(world.senders.mails)
    mid = world.sent(name, "REQUIRETLS", "RET=FULL", content=text_message(subject=name, body="Secret.\r\n"))
    line = world.gateway.wait_for_log(rf"Bounced: DCID \d+ MID {mid} to RID 0 - .*").string
    assert wanted.status in line
    assert wanted.reason in line
    world.senders.wait_until(lambda seen: len(seen.mails) > before, f"the report about {name}")
    report = world.senders.mails[before]
    assert (report.sender, report.recipients) == ("", (FROM,))
    assert "REQUIRETLS" in report.parameters
    text = report.content.decode()
    assert f"Status: {wanted.status.split()[0]}" in text
    assert f"Subject: {name}" in text
    assert "Secret." not in text
    for receiver in (world.good, world.lacking, world.clear):
        assert not mails_to(receiver, name)


@pytest.mark.parametrize("name", [*RETURNED, *DELIVERED])
def test_explain_foretells_it(world: World, name: str) -> None:
    with world.network.gateway():
        said = world.gateway.command("explain", f"{name}.example", "--live", "--requiretls")
    assert "For a message that requires TLS on its whole way (REQUIRETLS)" in said
    last = " ".join(said.split("A message would ")[-1].split())
    if name in DELIVERED:
        assert last.startswith("go to ")
        assert "encrypted and verified" in last
    else:
        assert last.startswith("bounce: ")
        assert RETURNED[name].reason in last
        assert RETURNED[name].status in last
        assert "would never pass here: " in said or name == "off"


def test_through_two_gateways(world: World) -> None:
    """Ours proves the second by its records, the second its next host by the operator's route and an authority."""
    world.sent("chain", "REQUIRETLS", content=text_message(subject="chain"))
    mail = arrived(world.last, "chain")
    assert "REQUIRETLS" in mail.parameters
    assert mail.received[0].startswith("from mx.example.net ")
    world.second.wait_for_log(r"MID \d+ requires TLS on its whole way \(REQUIRETLS\)$")
    world.second.wait_for_log(r"for chain\.example verified yes: chain\.example$")


def test_a_report_is_not_lost_where_no_promise_is_made(world: World) -> None:
    """RFC 8689 §5: its way is as secure, but the next host may lack the extension."""
    before = len(world.lacking.mails)
    world.sent("lacking", "REQUIRETLS", sender="sender@plain.example")
    world.lacking.wait_until(lambda seen: len(seen.mails) > before, "the report")
    report = world.lacking.mails[before]
    assert (report.sender, report.recipients) == ("", ("sender@plain.example",))
    assert "REQUIRETLS" not in report.parameters
    assert report.tls is not None


def test_tls_required_no_waives_what_the_recipient_published_and_no_more(world: World) -> None:
    """C37. Both wishes at once, and a field that is there twice, count for nothing."""
    with world.network.gateway():
        world.gateway.configure(world.configuration(dane="opportunistic"))
    waived = b"TLS-Required: No\r\n"
    strange = [waived + waived, b"TLS-Required: Maybe\r\n", b""]
    for number, header in enumerate(strange):
        mid = world.sent("wrong", content=header + text_message(subject=f"held {number}"))
        world.gateway.wait_for_log(rf"Delayed: DCID \d+ MID {mid} ")
    both = world.sent("wrong", "REQUIRETLS", content=waived + text_message(subject="both"))
    world.gateway.wait_for_log(rf"Bounced: DCID \d+ MID {both} .* 5\.7\.10 ")
    assert not mails_to(world.good, "wrong")
    mid = world.sent("wrong", content=waived + text_message(subject="waived"))
    mail = arrived(world.good, "wrong")
    assert mail.message["Subject"] == "waived"
    assert mail.message["TLS-Required"] == "No"
    assert mail.tls is not None
    settled(world.gateway, mid)
    dcid = connections_of(world.gateway, mid)[-1]
    world.gateway.wait_for_log(
        rf"DCID {dcid} passes because of TLS-Required: No, else refused: verify error:"
    )
