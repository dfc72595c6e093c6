"""What comes in: HAT with confirmed names, TLS off, preferred and required, limits, RAT, and the contract's own file.

Clients call from addresses of 127.0.0.0/8, whose names the tests' DNS authority knows.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from pathlib import Path

import pytest
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.peers.clients import RawClient, s_client, swaks
from tests.live.peers.gateway import Document, document
from tests.live.peers.namespaces import Network
from tests.live.peers.receiver import ScriptedReceiver
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, incoming_of, settled
from tests.live.peers.submit import Refused, submit

CONTRACT = Path(__file__).parents[1] / "config" / "data" / "gateway.yaml"
PARTNER, BELOW, FORGED, UNTOLD, NAMELESS, BAD = (f"127.0.0.{number}" for number in range(11, 17))
REFUSED, OFF, LIMITED, NARROW, HOURLY, CAREFUL = (f"127.0.0.{number}" for number in range(61, 67))


def _pointer(address: str) -> str:
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


RECORDS = {
    _pointer(PARTNER): {"PTR": ["mx.partner.example."]},
    _pointer(BELOW): {"PTR": ["deep.below.partner.example."]},
    _pointer(FORGED): {"PTR": ["mx.partner.example."]},
    _pointer(UNTOLD): {"PTR": ["untold.example."]},
    _pointer(BAD): {"PTR": ["mail.bad.example."]},
    "mx.partner.example": {"A": [PARTNER]},
    "deep.below.partner.example": {"A": [BELOW]},
    "mail.bad.example": {"A": [BAD]},
}
SMALL = {
    "name": "SMALL",
    "action": "accept",
    "tls": "off",
    "max_messages_per_connection": 2,
    "max_recipients_per_message": 3,
    "max_message_size": "1KB",
}
HAT = [
    {"group": "REFUSEDLIST", "senders": [REFUSED], "policy": "TCPREFUSED"},
    {"group": "NOTED", "senders": ["127.0.0.0/8"], "policy": "NOTED"},
    {"group": "OFFLIST", "senders": [OFF], "policy": "OFF"},
    {"group": "LIMITEDLIST", "senders": [LIMITED], "policy": "SMALL"},
    {"group": "NARROWLIST", "senders": [NARROW], "policy": "NARROW"},
    {"group": "HOURLYLIST", "senders": [f"{HOURLY}-{HOURLY.split('.')[-1]}"], "policy": "HOURLY"},
    {"group": "CAREFULLIST", "senders": [f"{CAREFUL}/32"], "policy": "CAREFUL"},
    {"group": "PARTNERS", "senders": ["mx.partner.example", ".partner.example"], "policy": "TLS_ONLY"},
    {"group": "BADLIST", "senders": [".bad.example"], "policy": "BLOCKED"},
    {"group": "ALL", "policy": "ACCEPTED"},
]
POLICIES = [
    {"name": "TCPREFUSED", "action": "tcprefuse"},
    {"name": "NOTED", "action": "continue"},
    {"name": "OFF", "action": "accept", "tls": "off"},
    {"name": "TLS_ONLY", "action": "accept", "tls": "required"},
    {"name": "NARROW", "action": "accept", "tls": "off", "max_connections_per_ip": 1},
    {"name": "HOURLY", "action": "accept", "tls": "off", "max_recipients_per_hour": 2},
    {"name": "CAREFUL", "action": "accept", "tls": "preferred", "tls_mandatory_for": "tls_senders"},
    SMALL,
]
RAT = [
    {"recipient": "blocked@example.net", "action": "reject", "response": "not here any more"},
    {"recipient": "example.net", "action": "accept"},
    {"recipient": ".example.net", "action": "accept"},
    {"recipient": "one@special.example", "action": "accept"},
    {"recipient": "ALL", "action": "reject"},
]


class Site:
    def __init__(self, scene: Scene) -> None:
        self.dns = scene.ending.enter_context(DnsAuthority(RECORDS))
        self.dns.behave(_pointer(UNTOLD), Behaviour.SERVFAIL)
        self._calls: Counter[str] = Counter()
        self.sink: ScriptedReceiver = scene.receiver()
        self.gateway = scene.gateway()
        self.public, self.private = scene.ports.free(), scene.ports.free()
        self.gateway.configure(self._document())
        self.gateway.start()

    def _document(self) -> Document:
        made = document(self.public, self.private, hop=f"[127.0.0.1]:{self.sink.port}")
        made["listeners"][0] |= {"host_access": HAT, "recipient_access": RAT}
        made["mail_flow_policies"] += POLICIES
        made["address_lists"] = [{"name": "tls_senders", "addresses": ["bank.example", "cfo@example.org"]}]
        made["dns"] = {"servers": [f"127.0.0.1:{self.dns.port}"], "reverse": True}
        return made

    def call(self, source: str) -> RawClient:
        self._calls[source] += 1
        return RawClient(self.public, source=source)

    def submit(self, source: str, sender: str = "sender@client.example") -> int:
        self._calls[source] += 1
        return submit(self.public, sender, "user@example.net", source=source)

    def submit_over_tls(self, source: str, sender: str = "sender@client.example") -> int:
        self._calls[source] += 1
        sent = swaks(self.public, "--tls", "--local-interface", source, sender=sender, to="user@example.net")
        found = re.search(r"queued as (\d+)", sent.transcript)
        assert found is not None, sent.transcript
        return int(found[1])

    def story(self, source: str) -> list[str]:
        """The lines of the latest connection from an address, once it is closed."""
        opened = rf"New SMTP ICID (\d+) .* address {re.escape(source)} "
        icid = self.gateway.wait_for_log(opened, count=self._calls[source])[1]
        self.gateway.wait_for_log(rf"ICID {icid} close$")
        return [re.sub(rf"\bICID {icid}\b", "ICID I", line) for line in about(self.gateway, f"ICID {icid}")]


@pytest.fixture(scope="module")
def site(scene: Scene) -> Site:
    return Site(scene)


def _conversation(client: RawClient, *commands: str) -> list[str]:
    """The first line of each reply, the greeting's first."""
    said = [client.reply()[0]]
    said += [client.command(command)[-1] for command in commands]
    return said


@pytest.mark.parametrize(
    ("source", "name", "verified", "group", "match"),
    [
        (PARTNER, "mx.partner.example", "yes", "PARTNERS", "mx.partner.example"),
        (BELOW, "deep.below.partner.example", "yes", "PARTNERS", ".partner.example"),
        (FORGED, "unknown", "no", "ALL", "ALL"),
        (NAMELESS, "unknown", "no", "ALL", "ALL"),
        (OFF, "unknown", "no", "OFFLIST", OFF),
    ],
)
def test_the_group_of_a_sender(
    site: Site, source: str, name: str, verified: str, group: str, match: str
) -> None:
    with site.call(source) as client:
        assert _conversation(client, "QUIT")[0] == "220 mx.example.net ESMTP"
    assert site.story(source) == [
        f"New SMTP ICID I interface Data 1 (127.0.0.1) address {source} reverse dns host {name} verified {verified}",
        f"ICID I ACCEPT SG {group} match {match} SBRS not enabled",
        "ICID I close",
    ]


def test_a_rejected_sender_is_told_so(site: Site) -> None:
    with site.call(BAD) as client:
        assert _conversation(client, "EHLO bad.example", "MAIL FROM:<a@bad.example>") == [
            "554 mx.example.net Access to this mail system is refused",
            "503 5.5.1 Bad sequence of commands",
            "503 5.5.1 Bad sequence of commands",
        ]
        client.command("QUIT")
    assert site.story(BAD)[1] == "ICID I REJECT SG BADLIST match .bad.example SBRS not enabled"


def test_a_name_that_cannot_be_looked_up_is_asked_to_come_again(site: Site) -> None:
    """One of the groups in doubt requires TLS: 451, not a way past it (architecture 4, DNS)."""
    with site.call(UNTOLD) as client:
        assert client.reply()[0].startswith("451 mx.example.net Your host name could not be looked up")
        client.command("QUIT")
    assert site.story(UNTOLD)[0].endswith(f"address {UNTOLD} reverse dns host unknown verified None")


def test_tcprefuse_says_nothing_and_spends_no_number(site: Site) -> None:
    with site.call(REFUSED) as client:
        try:
            assert client.reply() == []
        except ConnectionResetError:
            pass
    site.gateway.log.wait_for(
        rf"Info: ICID 0 TCPREFUSE SG REFUSEDLIST match {re.escape(REFUSED)} SBRS not enabled$"
    )
    assert not site.gateway.log.matching(rf"New SMTP ICID .* address {re.escape(REFUSED)} ")


# --- TLS off, preferred, required (R19, R20) -------------------------------------------------------


def test_off_does_not_offer_starttls(site: Site) -> None:
    with site.call(OFF) as client:
        client.reply()
        assert not any("STARTTLS" in line for line in client.command("EHLO client.example"))
        assert client.command("STARTTLS")[0][:3] in ("500", "502", "503")
        assert client.command("MAIL FROM:<a@client.example>")[0].startswith("250")
        client.command("QUIT")


def test_preferred_takes_mail_in_clear_and_over_tls(site: Site) -> None:
    clear, encrypted = site.submit(NAMELESS), site.submit_over_tls(NAMELESS)
    for mid, lines in ((clear, 0), (encrypted, 1)):
        settled(site.gateway, mid)
        told = about(site.gateway, f"ICID {incoming_of(site.gateway, mid)}")
        assert sum(" TLS success protocol TLSv1.3 cipher " in line for line in told) == lines


def test_preferred_goes_on_in_clear_after_a_failure_before_the_220(site: Site) -> None:
    with site.call(NAMELESS) as client:
        said = _conversation(
            client, "EHLO client.example", "STARTTLS now", "MAIL FROM:<a@client.example>", "QUIT"
        )
    assert said[2].startswith("501 ")
    assert said[3].startswith("250 ")


@pytest.mark.parametrize("source", [NAMELESS, PARTNER], ids=["preferred", "required"])
def test_a_broken_handshake_behind_the_220_ends_the_session(site: Site, source: str) -> None:
    with site.call(source) as client:
        said = _conversation(client, "EHLO client.example", "STARTTLS")
        assert said[2] == "220 2.0.0 Ready to start TLS"
        client.send(b"MAIL FROM:<a@client.example>\r\n" * 3)
        assert b"250" not in _rest(client.socket)
    story = site.story(source)
    assert re.fullmatch(r"ICID I TLS failed: \(\d+, 'error:0A[0-9A-F]{6}:SSL routines::.+'\)", story[2])
    assert story[3:] == ["ICID I lost", "ICID I close"]


def _rest(connection: socket.socket) -> bytes:
    """All that still comes, an alert included."""
    found = b""
    try:
        while data := connection.recv(4096):
            found += data
    except ConnectionResetError:
        pass
    return found


def test_required_wants_tls_before_mail(site: Site) -> None:
    with site.call(PARTNER) as client:
        said = _conversation(
            client,
            "NOOP",
            "EHLO mx.partner.example",
            "MAIL FROM:<a@partner.example>",
            "RSET",
            "HELO mx.partner.example",
            "QUIT",
        )
    assert [line[:3] for line in said] == ["220", "250", "250", "530", "530", "530", "221"]
    assert said[3] == "530 5.7.0 Must issue a STARTTLS command first"
    assert site.story(PARTNER)[2:] == [
        "ICID I TLS was required but remote host did not initiate it",
        "ICID I close",
    ]


def test_required_takes_mail_over_tls(site: Site) -> None:
    mid = site.submit_over_tls(PARTNER)
    settled(site.gateway, mid)
    assert " TLS success protocol TLSv1.3 cipher " in site.story(PARTNER)[2]


def test_some_senders_must_use_tls(site: Site) -> None:
    """`tls_mandatory_for`: these envelope senders in clear are refused, others are not."""
    for sender in ("anyone@bank.example", "cfo@example.org"):
        with pytest.raises(Refused) as refused:
            site.submit(CAREFUL, sender)
        assert refused.value.code in (530, 550, 554)
    site.submit(CAREFUL, "other@example.org")
    site.submit_over_tls(CAREFUL, "cfo@example.org")


# --- limits and recipients -------------------------------------------------------------------------


def test_recipients_are_decided_by_the_table(site: Site) -> None:
    recipients = [
        "user@example.net",
        "user@deep.example.net",
        "one@special.example",
        "two@special.example",
        "blocked@example.net",
        "user@other.example",
    ]
    with site.call(NAMELESS) as client:
        said = _conversation(
            client,
            "EHLO client.example",
            "MAIL FROM:<a@client.example>",
            *(f"RCPT TO:<{recipient}>" for recipient in recipients),
            "QUIT",
        )
    assert [line[:3] for line in said[3:-1]] == ["250", "250", "250", "550", "550", "550"]
    assert "not here any more" in said[7]
    story = site.story(NAMELESS)
    mid = re.search(r"Start MID (\d+)", story[2])[1]  # type: ignore[index]
    assert story[4:10] == [
        *(f"MID {mid} ICID I RID {rid} To: <{recipient}>" for rid, recipient in enumerate(recipients[:3])),
        *(f"MID {mid} ICID I To: <{recipient}> Rejected by RAT" for recipient in recipients[3:]),
    ]
    assert story[-1] == "ICID I close"


def test_sizes_recipients_and_messages_are_limited(site: Site) -> None:
    with site.call(LIMITED) as client:
        said = _conversation(client, "EHLO client.example", "MAIL FROM:<a@client.example> SIZE=1025")
        assert said[2].startswith("552 5.3.4 ")
        client.command("MAIL FROM:<a@client.example>")
        answers = [client.command(f"RCPT TO:<user{number}@example.net>")[0] for number in range(4)]
        assert [answer[:9] for answer in answers] == ["250 2.1.5"] * 3 + ["452 4.5.3"]
        client.command("DATA")
        client.send(b"Subject: big\r\n\r\n" + b"a line that is too much\r\n" * 60 + b".\r\n")
        assert client.reply()[0].startswith("552 5.3.4 ")
        client.command("MAIL FROM:<a@client.example>")
        client.command("RSET")
        assert client.command("MAIL FROM:<a@client.example>")[0].startswith("421 4.7.0 Too many messages")
    story = site.story(LIMITED)
    assert "ICID I Receiving Failed: Message size exceeds limit" in story
    assert "ICID I Receiving Failed: Too many messages on this connection" in story


def test_connections_of_one_address_are_limited(site: Site) -> None:
    with site.call(NARROW) as first:
        assert first.reply()[0].startswith("220 ")
        with site.call(NARROW) as second:
            assert second.reply()[0].startswith("421 4.7.0 Too many connections from your address")
        assert site.story(NARROW)[2:] == [
            "ICID I Receiving Failed: Connection limit exceeded",
            "ICID I close",
        ]
        first.command("QUIT")
    site.story(NARROW)
    site.gateway.wait_for_log(r"ICID \d+ close$")
    with site.call(NARROW) as third:
        assert third.reply()[0].startswith("220 ")
        third.command("QUIT")


def test_recipients_an_hour_are_limited(site: Site) -> None:
    for _ in range(2):
        site.submit(HOURLY)
    with pytest.raises(Refused, match=r"452 4\.5\.3 Too many recipients received this hour") as refused:
        site.submit(HOURLY)
    assert refused.value.code == 452


# --- the contract's own file -----------------------------------------------------------------------


def test_the_contract_s_file_works_as_it_stands(scene: Scene) -> None:
    """`gateway.yaml` untouched, with a certificate `gw`, in a namespace where its ports are free."""
    network = Network(["203.0.113.1/24"], ["203.0.113.2/24"])
    scene.ending.callback(network.close)
    gateway = scene.gateway()
    gateway.command("cert", "new", "gw", "--common-name", "mx.example.net")
    with network.gateway():
        sink = scene.receiver(port=2600)
        gateway.command("config", "apply", CONTRACT)
        gateway.start(workers=2)
        seen = s_client(2525, "EHLO client.example\r\nQUIT\r\n")
        assert "CN = mx.example.net" in seen.transcript
        for port, recipient in ((2525, "in@example.net"), (2587, "out@example.net")):
            sent = swaks(port, "--tls", to=recipient)
            assert sent.accepted, sent.transcript
        stranger = swaks(2525, to="user@other.example")
        assert "Rejected" in stranger.transcript or "550 5.7.1" in stranger.transcript
        refused = swaks(2587, "--local-interface", "203.0.113.1", host="127.0.0.1", to="a@other.example")
    wanted = {("in@example.net",), ("out@example.net",)}
    sink.wait_until(lambda seen: wanted <= {mail.recipients for mail in seen.mails}, "both messages")
    # The contract asks for DANE, and tells its administrator when no name server is believed about it.
    assert {mail.recipients for mail in sink.mails} - wanted <= {("admin@example.net",)}
    assert not stranger.accepted
    assert not refused.accepted
    gateway.wait_for_log(r"ICID \d+ ACCEPT SG ALL match ALL SBRS not enabled")
    gateway.wait_for_log(r"ICID \d+ RELAY SG RELAYLIST match 127\.0\.0\.0/8 SBRS not enabled")
    gateway.wait_for_log(r"MID \d+ ICID \d+ To: <user@other\.example> Rejected by RAT")
    assert gateway.stop() == 0
