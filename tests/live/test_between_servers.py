"""Mail between real servers through the gateway: Postfix and Exim before and behind it, and what clients can ask for.

What goes through: TLS on both sides or neither, DSN parameters, SMTPUTF8, CHUNKING, and every octet of a body.
"""

from __future__ import annotations

import re
import smtplib
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.fakes.ca import TestAuthority
from tests.live.peers.clients import s_client, swaks
from tests.live.peers.exim import Exim
from tests.live.peers.gateway import document
from tests.live.peers.mail import Mail
from tests.live.peers.postfix import Postfix
from tests.live.peers.scene import Scene
from tests.live.peers.story import about, incoming_of, settled
from tests.live.peers.submit import hand_over, submit

AUTHORITY = TestAuthority("Example CA")
SUB_AUTHORITY = AUTHORITY.intermediate("Example Sub CA")

LINES = b"".join(b"." * (number % 7) + b"line %d\r\n" % number for number in range(200))
BODIES = {
    "dots": b"first\r\n.\r\n..\r\n.dot\r\n\r\n.\r\n" + LINES,
    "eight-bit": bytes(octet for octet in range(1, 256) if octet not in (10, 13)) + b"\r\n",
    "long-line": b"x" * 990 + b"\r\n" + b"y" * 998 + b"\r\n",
    "empty": b"",
    "white-ends": b"blank at the end \t \r\n   \r\n\r\n\r\n",
    "big": LINES * 2_000,  # about 3 MB: streamed to a file
}


class Site:
    """One gateway between two Postfixes and two Exims on each side, with TLS and without."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.gateway = scene.gateway()
        self.public, self.private, self.implicit = (scene.ports.free() for _ in range(3))
        self.served = SUB_AUTHORITY.issue(["mx.example.net"])
        receiving = {
            "postfix-tls": lambda: scene.postfix(certificate=AUTHORITY.issue(["postfix.example"])),
            "postfix-clear": lambda: scene.postfix(
                hostname="clear.postfix.example", options={"smtputf8_enable": "no"}
            ),
            "exim-tls": lambda: scene.exim(certificate=AUTHORITY.issue(["exim.example"])),
            "exim-clear": lambda: scene.exim(hostname="clear.exim.example"),
        }
        to_us = f"127.0.0.1:{self.private}"
        never = {"smtp_tls_security_level": "none"}
        always = {"smtp_tls_security_level": "encrypt"}
        sending = {
            "postfix-tls": lambda: scene.postfix(relay_to=to_us, options=always),
            "postfix-clear": lambda: scene.postfix(relay_to=to_us, options=never),
            "exim-tls": lambda: scene.exim(
                relay_to=to_us,
                smtp_options="tls_verify_hosts =\n  tls_try_verify_hosts =\n  hosts_require_tls = *",
            ),
            "exim-clear": lambda: scene.exim(relay_to=to_us, smtp_options="hosts_avoid_tls = *"),
        }
        with ThreadPoolExecutor() as pool:
            ends = [{name: pool.submit(make) for name, make in side.items()} for side in (sending, receiving)]
            started = [{name: future.result() for name, future in side.items()} for side in ends]
        self.senders: dict[str, Postfix | Exim] = started[0]
        self.receivers: dict[str, Postfix | Exim] = started[1]
        self.gateway.import_certificate("gw", self.served)
        self.gateway.configure(self._document())
        self.gateway.start()

    def new_sender(self, options: dict[str, str]) -> Postfix:
        """Another Postfix that hands its mail to the gateway."""
        return self._scene.postfix(relay_to=f"127.0.0.1:{self.private}", options=options)

    def _document(self) -> dict[str, object]:
        routes = [
            {"domain": f".{name}.example", "hosts": [f"[127.0.0.1]:{peer.port}"]}
            for name, peer in self.receivers.items()
        ]
        made = document(self.public, self.private, certificate="gw", routes=routes)
        made["listeners"].append(
            made["listeners"][1] | {"name": "Submission", "port": self.implicit, "tls": "implicit"}
        )
        made["delivery"] = {"timeouts": {"idle": "1s"}}
        return made

    def arrived(self, receiver: str, recipient: str) -> Mail:
        """The message to this recipient at this receiver, once it is there."""
        peer = self.receivers[receiver]
        word = re.escape(recipient)
        if isinstance(peer, Postfix):
            peer.log.wait_for(rf"postfix/virtual\[.*to=<{word}>.*status=sent")
        else:
            peer.log.wait_for(rf"=> .*{word}.* T=keep|=> \S+ <{word}>.* T=keep")
        head = re.compile(rf"(?:X-Original-To|Envelope-to): {word}\n".encode())
        found = [mail for mail in peer.wait_for_mail() if head.search(mail.content)]
        assert len(found) == 1, recipient
        return found[0]


@pytest.fixture(scope="module")
def site(scene: Scene) -> Site:
    return Site(scene)


@pytest.mark.parametrize("receiver", ["postfix-tls", "postfix-clear", "exim-tls", "exim-clear"])
@pytest.mark.parametrize("sender", ["postfix-tls", "postfix-clear", "exim-tls", "exim-clear"])
def test_mail_between_two_servers(site: Site, sender: str, receiver: str) -> None:
    recipient = f"user@{sender}.{receiver}.example"
    sent = swaks(site.senders[sender].port, to=recipient, body="from server to server")
    assert sent.accepted, sent.transcript
    mail = site.arrived(receiver, recipient)
    assert b"from server to server" in mail.content
    theirs, ours = mail.received[0], mail.received[1]
    assert (" with ESMTPS " in ours) == sender.endswith("tls")
    assert re.search(r"TLSv?1\.3", ours) or not sender.endswith("tls")
    assert bool(re.search(r"TLSv?1\.3", theirs)) == receiver.endswith("tls")

    mid = int(re.search(r" id (\d+)\b", ours)[1])  # type: ignore[index]
    settled(site.gateway, mid)
    icid = incoming_of(site.gateway, mid)
    incoming = about(site.gateway, f"ICID {icid}")
    assert re.fullmatch(
        rf"New SMTP ICID {icid} interface Data 1 \(127\.0\.0\.1\) address 127\.0\.0\.1 reverse dns host unknown"
        " verified None",
        incoming[0],
    )
    assert incoming[1] == f"ICID {icid} RELAY SG RELAYLIST match 127.0.0.0/8 SBRS not enabled"
    encrypted = [line for line in incoming if " TLS success protocol TLSv1.3 cipher TLS_" in line]
    assert len(encrypted) == int(sender.endswith("tls"))
    story = about(site.gateway, f"MID {mid}")
    assert story[0] == f"Start MID {mid} ICID {icid}"
    assert story[1] == f"MID {mid} ICID {icid} From: <sender@client.example>"
    assert story[2] == f"MID {mid} ICID {icid} RID 0 To: <{recipient}>"
    assert re.fullmatch(rf"MID {mid} ready \d+ bytes from <sender@client\.example>", story[5])


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("receiver", ["postfix-tls", "exim-tls"])
def test_every_octet_arrives(site: Site, receiver: str, body: str) -> None:
    recipient = f"{body}@octets.{receiver}.example"
    head = f"From: a@client.example\r\nTo: {recipient}\r\nSubject: {body}\r\n\r\n".encode()
    mid = submit(site.private, to=recipient, content=head + BODIES[body], options=["BODY=8BITMIME"])
    mail = site.arrived(receiver, recipient)
    # A Maildir has the line ends of its system; Exim adds one line end behind each message.
    _, _, kept = mail.content.partition(b"\n\n")
    wanted = BODIES[body].replace(b"\r\n", b"\n")
    assert kept == wanted or (receiver.startswith("exim") and kept == wanted + b"\n")
    settled(site.gateway, mid)


def test_many_recipients_in_one_message(site: Site) -> None:
    """100 recipients at two servers: one delivery to each, every recipient in both logs."""
    recipients = [
        f"r{number}@many.{name}.example" for name in ("postfix-tls", "exim-tls") for number in range(50)
    ]
    sent = swaks(site.private, "--tls", to=recipients)
    assert sent.accepted, sent.transcript
    mid = int(re.search(r"queued as (\d+)", sent.transcript)[1])  # type: ignore[index]
    site.gateway.wait_for_log(rf"Message finished MID {mid} done")
    lines = about(site.gateway, f"MID {mid}")
    assert [line for line in lines if " To: <" in line] == [
        f"MID {mid} ICID {incoming_of(site.gateway, mid)} RID {rid} To: <{recipient}>"
        for rid, recipient in enumerate(recipients)
    ]
    done = [re.search(r"to RID \[([\d, ]+)\]$", line) for line in lines if line.startswith("Message done")]
    rids = sorted(int(number) for match in done if match for number in match[1].split(", "))
    assert rids == list(range(100))
    assert len(done) == 2
    site.receivers["postfix-tls"].log.wait_for(r"to=<r\d+@many\.postfix-tls\.example>.*status=sent", count=50)


@pytest.mark.parametrize(
    "options",
    [
        ("--tls",),
        ("--tls", "--pipeline"),
        ("--pipeline",),
        ("--tls", "--tls-protocol", "tlsv1_2"),
        ("--ehlo", "[127.0.0.1]"),
        ("--protocol", "SMTP"),
    ],
    ids=" ".join,
)
def test_swaks(site: Site, options: tuple[str, ...]) -> None:
    recipient = f"swaks{abs(hash(options))}@swaks.postfix-tls.example"
    sent = swaks(site.private, *options, to=recipient)
    assert sent.accepted, sent.transcript
    ours = site.arrived("postfix-tls", recipient).received[1]
    if "--tls" in options:
        assert " with ESMTPS " in ours
        assert ("version=TLSv1.2" if "tlsv1_2" in options else "version=TLSv1.3") in ours
    elif "SMTP" in options:
        assert " with SMTP " in ours
    else:
        assert " with ESMTP " in ours


def test_swaks_over_implicit_tls(site: Site) -> None:
    recipient = "user@implicit.postfix-tls.example"
    sent = swaks(site.implicit, "--tls-on-connect", to=recipient)
    assert sent.accepted, sent.transcript
    ours = site.arrived("postfix-tls", recipient).received[1]
    assert " with ESMTPS " in ours
    mid = int(re.search(r" id (\d+)\b", ours)[1])  # type: ignore[index]
    lines = about(site.gateway, f"ICID {incoming_of(site.gateway, mid)}")
    assert " TLS success protocol TLSv1.3 cipher " in lines[2]


def test_a_postfix_that_verifies_trusts_what_is_served(site: Site) -> None:
    """R10: the sender wants a chain to its root, and the name of the MX in the certificate."""
    roots = site.gateway.files / "postfix-roots.pem"
    roots.write_bytes(AUTHORITY.root_pem)
    strict = {
        "smtp_tls_security_level": "secure",
        "smtp_tls_secure_cert_match": "mx.example.net",
        "smtp_tls_CAfile": str(roots),
    }
    sender = site.new_sender(strict)
    recipient = "user@verified.postfix-tls.example"
    assert swaks(sender.port, to=recipient).accepted
    sender.log.wait_for(r"Verified TLS connection established to 127\.0\.0\.1.*TLSv1\.3")
    site.arrived("postfix-tls", recipient)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("name", ["mx.example.net", "anything.else.example", ""])
def test_openssl_sees_the_assigned_chain(site: Site, version: str, name: str) -> None:
    """R13: the leaf and its intermediate, whatever name was asked for; the root is not sent."""
    roots = site.gateway.files / "roots.pem"
    roots.write_bytes(AUTHORITY.root_pem)
    naming = ("-servername", name) if name else ("-noservername",)
    seen = s_client(
        site.public, "EHLO client.example\r\nQUIT\r\n", version, *naming, "-showcerts", "-CAfile", str(roots)
    )
    assert "Verify return code: 0 (ok)" in seen.transcript, seen.transcript
    shown = re.findall(r"^ \d s:(.*)$", seen.transcript, re.MULTILINE)
    assert shown == ["CN = mx.example.net", "CN = Example Sub CA"]
    assert ("TLSv1.2" if version == "-tls1_2" else "TLSv1.3") in seen.transcript
    assert (
        "250-STARTTLS" not in seen.transcript.split("Verify return code")[1]
    )  # not offered again inside TLS


def test_openssl_with_an_old_protocol_is_refused_and_logged(site: Site) -> None:
    start = site.gateway.log.mark()
    seen = s_client(site.public, "QUIT\r\n", "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0")
    assert not seen.accepted
    failed = site.gateway.log.wait_for(r"ICID (\d+) TLS failed: (.*)$", start=start)
    assert re.fullmatch(r"\(\d+, 'error:0A000102:SSL routines::unsupported protocol'\)", failed[2])
    site.gateway.log.wait_for(rf"ICID {failed[1]} close", start=start)
    assert about(site.gateway, f"ICID {failed[1]}")[-3:] == [
        f"ICID {failed[1]} TLS failed: {failed[2]}",
        f"ICID {failed[1]} lost",
        f"ICID {failed[1]} close",
    ]


def test_dsn_parameters_are_passed_on_to_postfix(site: Site) -> None:
    """RFC 3461: what the sender asks for reaches the next server, which then owes the report."""
    with smtplib.SMTP("127.0.0.1", site.private) as client:
        mid = hand_over(
            client,
            to="user@dsn.postfix-tls.example",
            options=["RET=HDRS", "ENVID=env+2Bid"],
            rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first+40dest.example"],
        )
    site.arrived("postfix-tls", "user@dsn.postfix-tls.example")
    # Postfix itself writes the receipt that was asked for, with the client's words in it.
    site.receivers["postfix-tls"].log.wait_for(r"sender delivery status notification")
    receipt = site.arrived("postfix-tls", "sender@client.example")
    assert b"Original-Envelope-Id: env+id\n" in receipt.content
    assert b"Original-Recipient: rfc822;first@dest.example\n" in receipt.content
    assert b"Action: delivered\n" in receipt.content
    assert b"A test message." not in receipt.content  # RET=HDRS
    settled(site.gateway, mid)
    assert not any("was generated for bounce" in line for line in about(site.gateway, f"MID {mid}"))


def test_internationalised_mail_goes_to_postfix(site: Site) -> None:
    recipient = "jörg@smtputf8.postfix-tls.example"
    content = (
        f"From: müller@client.example\r\nTo: {recipient}\r\nSubject: Grüße\r\n\r\nHallo Jörg\r\n".encode()
    )
    with smtplib.SMTP("127.0.0.1", site.private) as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        mid = hand_over(
            client, "müller@client.example", recipient, content, options=["SMTPUTF8", "BODY=8BITMIME"]
        )
    mail = site.arrived("postfix-tls", recipient)
    assert b"Subject: Gr\xc3\xbc\xc3\x9fe\n" in mail.content
    assert " with UTF8SMTP " in mail.received[1]
    settled(site.gateway, mid)
    assert f"MID {mid} ICID {incoming_of(site.gateway, mid)} RID 0 To: <{recipient}>" in about(
        site.gateway, f"MID {mid}"
    )


def test_internationalised_mail_bounces_where_the_next_server_cannot(site: Site) -> None:
    """5.6.7, and the report goes to the sender."""
    with smtplib.SMTP("127.0.0.1", site.private) as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        mid = hand_over(
            client,
            "sender@back.postfix-tls.example",
            "jörg@smtputf8.postfix-clear.example",
            options=["SMTPUTF8", "BODY=8BITMIME"],
        )
    line = site.gateway.wait_for_log(rf"Bounced: DCID \d+ MID {mid} to RID 0 - (.*)$")[1]
    assert line.startswith(
        "5.6.7 - Non-ASCII addresses not permitted for that sender/recipient ('000', ['127.0.0.1 does not support"
    )
    site.receivers["postfix-tls"].log.wait_for(r"to=<sender@back\.postfix-tls\.example>.*status=sent")


def test_chunks_and_data_give_the_same_message(site: Site) -> None:
    """BDAT in three pieces that cut a line end and a dot, as Python would never send it."""
    head = b"Subject: chunks\r\nTo: user@chunks.postfix-tls.example\r\n\r\n"
    content = head + b"one\r\n.two\r\n..\r\nthree\r\n"
    pieces = [content[:20], content[20:61], content[61:]]
    with smtplib.SMTP("127.0.0.1", site.private) as client:
        client.ehlo("client.example")
        assert client.has_extn("chunking")
        client.mail("sender@client.example")
        client.rcpt("user@chunks.postfix-tls.example")
        for number, piece in enumerate(pieces):
            last = " LAST" if number == len(pieces) - 1 else ""
            assert client.sock is not None
            client.sock.sendall(f"BDAT {len(piece)}{last}\r\n".encode() + piece)
            code, _ = client.getreply()
            assert code == 250
    mail = site.arrived("postfix-tls", "user@chunks.postfix-tls.example")
    assert mail.content.endswith(b"\n\none\n.two\n..\nthree\n")


def test_exim_sends_in_chunks(site: Site) -> None:
    """Exim uses CHUNKING where it is offered: its log marks such a delivery with K."""
    recipient = "user@bdat.postfix-tls.example"
    assert swaks(site.senders["exim-tls"].port, to=recipient, body=".dotted").accepted
    site.arrived("postfix-tls", recipient)
    site.senders["exim-tls"].log.wait_for(rf"=> {re.escape(recipient)} .* K ")
