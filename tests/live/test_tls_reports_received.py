"""TLS reports about our domains on the wire: by mail, posted over HTTPS, imported; beside our own handshakes that failed (RFC 8460 §5).

Those by mail are signed, with keys that a name server holds: what is good is verified, and what somebody changed on its way is not.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import smtplib
import socket
import ssl
import time
from typing import Any

import pytest
from tests.fakes.ca import TestAuthority
from tests.fakes.dkim_signer import Key, signed
from tests.fakes.dns_authority import Behaviour, DnsAuthority
from tests.live.peers.gateway import document
from tests.live.peers.receiver import Script, ScriptedReceiver
from tests.live.peers.scene import Scene
from tests.live.peers.submit import submit, text_message

HOST, PATH = "tlsrpt.example.net", "/v1/tlsrpt"
MAILBOX = "tls-reports@example.net"
AUTHORITY = TestAuthority("Example CA")
KEYS = {"s1": Key.ed25519(), "s2": Key.rsa(), "slow": Key.ed25519()}
RECORDS = {
    f"{selector}._domainkey.partner.example": {
        "TXT": [" ".join(f'"{key.record()[i : i + 200]}"' for i in (0, 200, 400))]
    }
    for selector, key in KEYS.items()
}
PIECE = 'Content-Type: application/tlsrpt+gzip; name="x.json.gz"\r\nContent-Transfer-Encoding: base64\r\n\r\n'


def report(identifier: str, *, failed: int = 0, sender: str = "127.0.0.1") -> bytes:
    """A report about the last hour, as a sender's software writes it."""
    now = time.time()
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (now - 3600, now + 60))
    failures = [
        {
            "result-type": "certificate-expired",
            "sending-mta-ip": sender,
            "receiving-mx-hostname": "mx.example.net",
            "failed-session-count": failed,
        }
    ]
    row = {
        "policy": {"policy-type": "sts", "policy-domain": "example.net", "mx-host": ["mx.example.net"]},
        "summary": {"total-successful-session-count": 100, "total-failure-session-count": failed},
        "failure-details": failures if failed else [],
    }
    return json.dumps(
        {
            "organization-name": "Partner Ltd",
            "date-range": {"start-datetime": begin, "end-datetime": end},
            "contact-info": "tls@partner.example",
            "report-id": identifier,
            "policies": [row],
        }
    ).encode()


def report_mail(identifier: str, **keys: Any) -> bytes:
    content = base64.encodebytes(gzip.compress(report(identifier, **keys))).decode().replace("\n", "\r\n")
    return (
        f"From: <tls@partner.example>\r\nTo: <{MAILBOX}>\r\nSubject: Report Domain: example.net Submitter: partner.example\r\n"
        f"Message-ID: <{identifier}@partner.example>\r\nTLS-Report-Domain: example.net\r\n"
        "TLS-Report-Submitter: partner.example\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type="tlsrpt"; boundary="b"\r\n\r\n'
        f"--b\r\nContent-Type: text/plain\r\n\r\nA report.\r\n--b\r\n{PIECE}{content}\r\n--b--\r\n"
    ).encode()


def signed_mail(identifier: str, selector: str = "s1", **keys: Any) -> bytes:
    names = "from:to:subject:message-id:tls-report-domain:tls-report-submitter:mime-version:content-type"
    return signed(
        report_mail(identifier, **keys), KEYS[selector], s=selector, h=names, t=f"{time.time():.0f}"
    )


class World:
    """A gateway with a server behind it, to which other mail goes, and a name server."""

    def __init__(self, scene: Scene) -> None:
        self.receiver: ScriptedReceiver = scene.receiver(Script())
        self.public, self.private, self.web = (scene.ports.free() for _ in range(3))
        self.gateway = scene.gateway()
        self.gateway.trust(AUTHORITY.root_pem)
        self.gateway.import_certificate("web", AUTHORITY.issue([HOST]))
        self.made = document(self.public, self.private, hop=f"[127.0.0.1]:{self.receiver.port}", tls="none")
        self.made["listeners"][0]["recipient_access"] = [
            {"recipient": "example.net", "action": "accept"},
            {"recipient": "ALL", "action": "reject"},
        ]
        self.dns = scene.ending.enter_context(DnsAuthority(RECORDS))
        self.made["dns"] = {"servers": [f"127.0.0.1:{self.dns.port}"], "reverse": False}
        self.made["public_web"] = {"interface": "Data 1", "port": self.web}
        self.made["alerts"] = {"recipients": [{"address": "admin@example.net"}]}
        self.apply()
        self.gateway.start()

    def apply(self, **section: Any) -> None:
        usual = {"mailboxes": [MAILBOX], "https": [{"host": HOST, "path": PATH, "certificate": "web"}]}
        self.made["tls_reports_received"] = usual | section
        self.gateway.configure(self.made)

    def received(self) -> dict[str, dict[str, Any]]:
        """The reports by their id; what has just come in is read first."""
        rows = json.loads(self.gateway.command("tlsrpt", "received", "example.net", "--json"))
        return {row["report_id"]: row for row in rows}

    def verdict(self, identifier: str, content: bytes) -> tuple[bool, str]:
        """What the gateway says of a report that comes by mail."""
        mid = submit(self.public, "tls@partner.example", MAILBOX, content)
        self.gateway.wait_for_log(rf"Message finished MID {mid} done")
        row = self.received()[identifier]
        return row["submitter_verified"], f"{row['dkim']['result']}: {row['dkim']['reason']}"

    def post(self, body: bytes, kind: str = "application/tlsrpt+gzip", path: str = PATH) -> str:
        context = ssl.create_default_context(cadata=AUTHORITY.root_pem.decode())
        plain = socket.create_connection(("127.0.0.1", self.web), timeout=20)
        with context.wrap_socket(plain, server_hostname=HOST) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{self.web}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer.split(b"\r\n")[0].decode()


@pytest.fixture(scope="module")
def world(scene: Scene) -> World:
    return World(scene)


def test_a_report_that_comes_by_mail_is_taken_and_not_delivered(world: World) -> None:
    mid = submit(world.public, "tls@partner.example", MAILBOX, report_mail("by-mail"))
    world.gateway.wait_for_log(rf"MID {mid} RID \[0\] Response '2\.0\.0 taken as a TLS report'")
    world.gateway.wait_for_log(rf"Message finished MID {mid} done")
    row = world.received()["by-mail"]
    assert (row["way"], row["origin"], row["submitter"]) == ("mail", "tls@partner.example", "partner.example")
    assert (row["successful"], row["failed"], row["submitter_verified"]) == (100, 0, False)
    world.gateway.wait_for_log(
        r"TLS report \d+ from Partner Ltd \(not verified: the mail has no DKIM signature\) about example\.net for .*: 100 sessions, 0 failed; by mail"
    )
    assert not any(MAILBOX in mail.recipients for mail in world.receiver.mails)


@pytest.mark.parametrize("selector", ["s1", "s2"])
def test_a_signed_report_is_verified(world: World, selector: str) -> None:
    name = f"{selector}._domainkey.partner.example"
    assert world.verdict(f"signed-{selector}", signed_mail(f"signed-{selector}", selector)) == (
        True,
        f"pass: signed by partner.example with the key {name}",
    )
    world.gateway.wait_for_log(
        rf"TLS report \d+ from Partner Ltd \(verified: signed by partner\.example with the key {name}\) about example\.net"
    )
    shown = world.gateway.command("tlsrpt", "received", "example.net")
    assert any(line.split()[5] == "yes" for line in shown.splitlines() if line[:1].isdigit())


@pytest.mark.parametrize(
    ("identifier", "before", "after", "why"),
    [
        (
            "other-body",
            b"A report.",
            b"A rumour.",
            "fail: the body is not the one that partner.example signed",
        ),
        ("other-header", b"To: <", b"To:  x <", "fail: the signature of partner.example does not match"),
        ("other-author", b"\r\nTo:", b"\r\nFrom: <x@evil.example>\r\nTo:", "fail: the signature of partner"),
        ("other-domain", b"d=partner.example", b"d=evil.example", "permerror: the key s1._domainkey.evil"),
        ("no-key", b"s=s1", b"s=s9", "permerror: the key s9._domainkey.partner.example is of no use: there"),
    ],
)
def test_what_was_changed_on_its_way_is_not_verified(
    world: World, identifier: str, before: bytes, after: bytes, why: str
) -> None:
    good = signed_mail(identifier, failed=50)
    assert before in good
    verified, found = world.verdict(identifier, good.replace(before, after, 1))
    assert not verified
    assert found.startswith(why)


def test_a_key_that_is_not_to_be_had_is_told_and_asked_for_again(world: World) -> None:
    name = "slow._domainkey.partner.example"
    world.dns.behave(name, Behaviour.SERVFAIL)
    mail = signed_mail("slow", "slow")
    verified, found = world.verdict("slow", mail)
    world.dns.behave(name, None)
    assert not verified
    assert found.startswith(f"temperror: the key {name} could not be looked up: ")
    again = world.received()["slow"]["dkim"]["asked_again"]
    assert again > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # The same mail once more finds the key, and the report that is there already is verified.
    assert world.verdict("slow", mail)[0]


def test_other_mail_for_the_mailbox_goes_on(world: World) -> None:
    submit(world.public, "ann@partner.example", MAILBOX, text_message("A question"))
    world.receiver.wait_until(
        lambda seen: any(b"A question" in mail.content for mail in seen.mails), "the question"
    )


def test_a_copy_goes_on_where_that_is_wanted(world: World) -> None:
    world.apply(deliver=True)
    submit(world.public, "tls@partner.example", MAILBOX, report_mail("copied"))
    world.receiver.wait_until(
        lambda seen: any(b"<copied@partner.example>" in mail.content for mail in seen.mails), "the copy"
    )
    assert "copied" in world.received()
    world.apply()


def test_a_report_is_posted(world: World) -> None:
    assert world.post(gzip.compress(report("posted"))) == "HTTP/1.1 201 Created"
    row = world.received()["posted"]
    assert (row["way"], row["origin"], row["submitter"]) == ("https", "127.0.0.1", "")
    assert world.post(report("plain"), "application/tlsrpt+json") == "HTTP/1.1 201 Created"
    assert "plain" in world.received()
    assert world.post(b"x", "text/plain") == "HTTP/1.1 415 Unsupported Media Type"
    assert world.post(b"x", path="/other") == "HTTP/1.1 404 Not Found"
    assert world.post(b"x" * (15 << 20) + b"x") == "HTTP/1.1 413 Content Too Large"


def test_a_bomb_and_nonsense_are_put_aside_and_told(world: World) -> None:
    bomb = gzip.compress(b"[" + b"0," * (11 << 20))
    assert world.post(bomb) == "HTTP/1.1 201 Created"
    before = set(world.received())
    world.gateway.wait_for_log(
        r"Warning: TLS report by https from 127\.0\.0\.1 not taken: the report is longer than 20 MiB; kept as received-tls"
    )
    mid = submit(world.public, "x@partner.example", MAILBOX, report_mail("x").replace(b"H4sI", b"AAAA"))
    world.gateway.wait_for_log(rf"Message finished MID {mid} done")
    assert set(world.received()) == before
    world.gateway.wait_for_log(
        r"Warning: TLS report by mail from x@partner\.example not taken: .*; kept as received-tls"
    )


def test_failures_stand_beside_our_own_handshakes_and_raise_an_alert(world: World) -> None:
    for number in (1, 2):
        connection = smtplib.SMTP("127.0.0.1", world.public, timeout=20)
        connection.docmd("EHLO", "failing.example")
        connection.docmd("STARTTLS")
        assert connection.sock is not None
        connection.sock.sendall(b"this is no TLS at all\r\n")
        world.gateway.wait_for_log(r"ICID \d+ TLS failed: ", count=number)  # nobody else's fails in this home
        connection.close()
    # What nobody has signed raises no alert: it would be told first, and the one behind it within a day.
    assert not world.verdict("rumour", report_mail("rumour", failed=20))[0]
    assert world.verdict("failing", signed_mail("failing", failed=20))[0]
    row = world.received()["failing"]
    assert row["failures"] == {"certificate-expired": 20}
    world.gateway.wait_for_log(r"Alert \(warning\) to 1 recipient: TLS reports of failures for example\.net")
    world.receiver.wait_until(
        lambda seen: any(b"TLS reports of failures" in mail.content for mail in seen.mails), "the alert"
    )
    (alert,) = (mail.content for mail in world.receiver.mails if b"TLS reports of failures" in mail.content)
    assert b"(verified: partner.example): 20 of 120" in alert
    assert alert.count(b"  report ") == 1
    _own(world, row["report"], sessions=2)
    text = world.gateway.command("tlsrpt", "received", "show", str(row["report"]))
    assert "failed: certificate-expired, 20 sessions, from 127.0.0.1" in text
    assert "handshake failed: " in text


def _own(world: World, number: int, *, sessions: int) -> None:
    """Waits until our records beside the failure have so many sessions."""
    deadline = time.monotonic() + 20
    while True:
        found = json.loads(world.gateway.command("tlsrpt", "received", "show", str(number), "--json"))
        own: dict[str, Any] | None = found["policies"][0]["failures"][0]["own"]
        if own is not None and sum(entry["sessions"] for entry in own["tls_failed"]) >= sessions:
            return
        assert time.monotonic() < deadline, found


def test_what_was_answered_outlives_the_desk(world: World) -> None:
    status = json.loads(world.gateway.command("status", "--json"))
    assert world.post(gzip.compress(report("survivor"))) == "HTTP/1.1 201 Created"
    os.kill(status["desk"]["pid"], signal.SIGKILL)
    mid = submit(world.public, "tls@partner.example", MAILBOX, report_mail("meanwhile"))
    world.gateway.wait_for_log(rf"Message finished MID {mid} done")
    deadline = time.monotonic() + 30
    while not {"survivor", "meanwhile"} <= _once_up(world).keys():
        assert time.monotonic() < deadline


def _once_up(world: World) -> dict[str, Any]:
    """The reports, once the next desk answers."""
    if not (world.gateway.home / "run" / "control.sock").exists():
        return {}
    text = world.gateway.command("tlsrpt", "received", "example.net", "--json", status=None)
    return {row["report_id"]: row for row in json.loads(text)} if text.startswith("[") else {}
