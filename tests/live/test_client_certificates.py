"""Client certificates before a running gateway: `openssl s_client -cert` and Postfix as clients, and what both sides say.

Every certificate goes the whole way: the handshake comes up, whoever shows it, and MAIL has the answer (R19, R22, C34).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.fakes.ca import CLIENT_AUTH, SERVER_AUTH, Issued, TestAuthority, self_signed
from tests.live.peers.clients import s_client, swaks
from tests.live.peers.gateway import Document, document
from tests.live.peers.postfix import Postfix
from tests.live.peers.receiver import ScriptedReceiver
from tests.live.peers.scene import Scene
from tests.live.peers.story import about

NAME = "mx.partner.example"
CA = TestAuthority("Partner CA")
ISSUING = CA.intermediate("Partner Issuing CA")
GOOD = ISSUING.issue([NAME], usages=(CLIENT_AUTH,))
OTHER = CA.issue(["mx.other.example"])
EXPIRED = CA.issue([NAME], expired=True)
SERVER_ONLY = CA.issue([NAME], usages=(SERVER_AUTH,))
STRANGER = TestAuthority("Stranger").issue([NAME])
SELF = self_signed(["pinned.example"])
WEAK = CA.issue([NAME], key="rsa1024")
LARGE = CA.issue([NAME, *(f"mx{number}.partner.example" for number in range(1000))])
UNNAMED = CA.issue([NAME], raw_names=[b"mx.partner.example\r\nICID 1 lost"])

SUCCESS = "ICID I TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384 verified"
FAILED = "ICID I Receiving Failed: client certificate not verified:"
WHO = f"(CN={NAME}, issuer CN=Partner CA)"
NOT_ACCEPTED = "554 5.7.5 Client certificate not accepted:"
STRANGE = "it is not of an accepted client"
NO_USAGE = "extended key usage does not include client authentication"


def key_of(issued: Issued) -> str:
    public = issued.leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(public).hexdigest()


LISTED = [{"authority": "Partner CA", "name": NAME}, {"spki": key_of(SELF)}]
POLICIES: Mapping[str, Mapping[str, Any]] = {
    "preferred": {"tls": "preferred"},
    "required": {"tls": "required"},
    "listed": {"tls": "required", "client_identities": LISTED},
    "lenient": {"tls": "required", "accept_server_only_certificates": True},
    "plain": {"tls": "preferred", "verify_client_certificate": False},
}


class Site:
    """One gateway with a listener for each policy."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.sink: ScriptedReceiver = scene.receiver()
        self.gateway = scene.gateway()
        self.ports = {name: scene.ports.free() for name in POLICIES}
        self.gateway.trust(CA.root_pem)
        self.gateway.configure(self.document(POLICIES))
        self.gateway.start()
        self._files: dict[int, Path] = {}

    def document(self, policies: Mapping[str, Mapping[str, Any]]) -> Document:
        made = document(1, 2, hop=f"[127.0.0.1]:{self.sink.port}")
        pattern = made["listeners"][0]
        made["listeners"] = [
            {**pattern, "name": name, "port": port, "host_access": [{"group": "ALL", "policy": name}]}
            for name, port in self.ports.items()
        ]
        made["mail_flow_policies"] = [
            {"name": name, "action": "accept", "verify_client_certificate": True, **keys}
            for name, keys in policies.items()
        ]
        made["certificate_authorities"] = {"system": False, "custom": True, "crl": []}
        return made

    def file(self, issued: Issued) -> Path:
        """Key and chain in one file, which only its owner may read."""
        if id(issued) not in self._files:
            made = self.scene.folder / f"client-{len(self._files)}.pem"
            made.write_bytes(issued.key_pem + issued.chain_pem)
            made.chmod(0o600)
            self._files[id(issued)] = made
        return self._files[id(issued)]

    def mail(self, listener: str, issued: Issued | None, *options: str) -> tuple[str, list[str]]:
        """One MAIL over TLS by `openssl s_client`: the answer to it, and the connection's lines."""
        start = len(self.gateway.log.all)
        commands = "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nQUIT\r\n"
        shown = ["-cert", self.file(issued), "-cert_chain", self.file(issued)] if issued is not None else []
        words = [*map(str, shown), *(["-key", str(self.file(issued))] if issued is not None else [])]
        sent = s_client(self.ports[listener], commands, *words, *options)
        assert "New, TLSv1." in sent.transcript, sent.transcript
        answers = re.findall(r"^(?:250 2\.1\.0|[45]\d\d) .*$", sent.transcript, re.MULTILINE)
        assert len(answers) == 1, sent.transcript
        return answers[0].strip(), self.story(start)

    def story(self, start: int) -> list[str]:
        """The lines behind the HAT's of the one connection that was opened since."""
        icid = self.gateway.log.wait_for(r"New SMTP ICID (\d+) ", start=start)[1]
        self.gateway.log.wait_for(rf"ICID {icid} close$", start=start)
        self.icid = int(icid)
        lines = about(self.gateway, f"ICID {icid}", start=start)
        return [re.sub(rf"\bICID {icid}\b", "ICID I", line) for line in lines[2:]]

    def event(self) -> dict[str, Any]:
        """What the log of events has of the last connection."""
        return self.gateway.event("InboundTlsEstablished", f'"icid":{self.icid},')


@pytest.fixture(scope="module")
def site(scene: Scene) -> Site:
    return Site(scene)


# --- openssl s_client ----------------------------------------------------------------------------------

ROWS = {
    "preferred, none": ("preferred", None, "250", "no: no certificate was sent"),
    "preferred, valid": ("preferred", GOOD, "250", f"yes: {NAME}"),
    "preferred, self-signed": (
        "preferred",
        SELF,
        "self-signed certificate",
        "no: self-signed certificate (CN=pinned.example, issuer CN=pinned.example)",
    ),
    "preferred, expired": (
        "preferred",
        EXPIRED,
        "certificate has expired",
        f"no: certificate has expired {WHO}",
    ),
    "preferred, stranger": (
        "preferred",
        STRANGER,
        "unable to get local issuer certificate",
        f"no: unable to get local issuer certificate (CN={NAME}, issuer CN=Stranger)",
    ),
    "preferred, server only": ("preferred", SERVER_ONLY, NO_USAGE, f"no: {NO_USAGE} {WHO}"),
    "preferred, weak": (
        "preferred",
        WEAK,
        "RSA key of 1024 bits is too short",
        f"no: RSA key of 1024 bits is too short {WHO}",
    ),
    "preferred, a thousand names": (
        "preferred",
        LARGE,
        "250",
        f"yes: {NAME}, mx0.{NAME[3:]}, mx1.{NAME[3:]}, mx2.{NAME[3:]}, mx3.{NAME[3:]} and 996 more",
    ),
    "required, valid": ("required", GOOD, "250", f"yes: {NAME}"),
    "required, expired": (
        "required",
        EXPIRED,
        "certificate has expired",
        f"no: certificate has expired {WHO}",
    ),
    "listed, by name": ("listed", GOOD, "250", f"yes: {NAME}"),
    "listed, pinned": ("listed", SELF, "250", f"yes: spki:{key_of(SELF)[:16]} (pinned key)"),
    "listed, somebody else": (
        "listed",
        OTHER,
        STRANGE,
        "no: not an accepted identity: DNS:mx.other.example (CN=mx.other.example, issuer CN=Partner CA)",
    ),
    "listed, hostile name": (
        "listed",
        UNNAMED,
        STRANGE,
        r"no: not an accepted identity: DNS:mx.partner.example\x0d\x0aICID 1 lost " + WHO,
    ),
    "lenient, server only": ("lenient", SERVER_ONLY, "250", f"yes: {NAME} (server-only certificate)"),
    "lenient, expired": ("lenient", EXPIRED, "certificate has expired", f"no: certificate has expired {WHO}"),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_certificate_at_every_kind_of_policy(site: Site, row: str) -> None:
    listener, issued, answer, verification = ROWS[row]
    said, lines = site.mail(listener, issued, "-cipher", "DEFAULT:@SECLEVEL=0")
    assert lines[0] == f"{SUCCESS} {verification}"
    if answer == "250":
        assert said.startswith("250 2.1.0")
        assert lines[1].startswith("Start MID ")
    else:
        assert said == f"{NOT_ACCEPTED} {answer}"
        assert lines[1:] == [f"{FAILED} {verification.removeprefix('no: ')}", "ICID I close"]


def test_required_and_none(site: Site) -> None:
    said, lines = site.mail("required", None)
    assert said == "554 5.7.0 A client certificate is required"
    assert lines[:2] == [f"{SUCCESS} no: no certificate was sent", f"{FAILED} no certificate was sent"]


def test_tls_1_2_is_no_different(site: Site) -> None:
    said, lines = site.mail("required", GOOD, "-tls1_2")
    assert said.startswith("250 ")
    assert lines[0].startswith("ICID I TLS success protocol TLSv1.2 cipher ")
    assert lines[0].endswith(f" verified yes: {NAME}")
    said, _ = site.mail("required", EXPIRED, "-tls1_2")
    assert said == f"{NOT_ACCEPTED} certificate has expired"


def test_who_is_not_asked_shows_nothing(site: Site) -> None:
    said, lines = site.mail("plain", EXPIRED)
    assert said.startswith("250 ")
    assert lines[0] == SUCCESS.removesuffix(" verified")


def test_the_event_has_the_whole_verdict_and_the_group(site: Site) -> None:
    site.mail("preferred", GOOD, "-groups", "P-256")
    event = site.event()
    assert (event["group"], event["verification"]) == ("secp256r1", f"yes: {NAME}")
    assert event["client"]["names"] == [NAME]
    assert event["client"]["issuer"] == "CN=Partner Issuing CA"
    assert event["client"]["key"] == key_of(GOOD)


def test_openssl_gives_the_key_that_is_pinned(site: Site) -> None:
    """The way that the manual tells: the log and `openssl x509 -pubkey` name the same key."""
    site.mail("preferred", SELF)
    leaf = x509.load_pem_x509_certificate(SELF.leaf_pem)
    assert leaf == SELF.leaf
    assert site.event()["client"]["key"] == LISTED[1]["spki"]


# --- Postfix -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sender(site: Site, scene: Scene) -> Callable[[str, Issued | None], Postfix]:
    """Makes a Postfix that sends everything to one listener, with this certificate of its own."""

    def make(listener: str, issued: Issued | None) -> Postfix:
        options = {"smtp_tls_security_level": "encrypt"}
        if issued is not None:
            options["smtp_tls_cert_file"] = options["smtp_tls_key_file"] = str(site.file(issued))
        return scene.postfix(relay_to=f"127.0.0.1:{site.ports[listener]}", options=options)

    return make


def test_postfix_delivers_with_its_certificate(
    site: Site, sender: Callable[[str, Issued | None], Postfix]
) -> None:
    postfix = sender("listed", GOOD)
    assert swaks(postfix.port, to="user@example.net").accepted
    postfix.log.wait_for(r"status=sent \(250 2\.0\.0 Ok: queued as \d+\)")
    (mail,) = site.sink.wait_for_mail()[-1:]
    assert f"(verified {NAME})" in mail.received[0]


@pytest.mark.parametrize(
    ("issued", "told"),
    [
        (EXPIRED, "554 5.7.5 Client certificate not accepted: certificate has expired"),
        (OTHER, "554 5.7.5 Client certificate not accepted: it is not of an accepted client"),
        (None, "554 5.7.0 A client certificate is required"),
    ],
)
def test_postfix_reports_the_reason_to_the_sender(
    sender: Callable[[str, Issued | None], Postfix], issued: Issued | None, told: str
) -> None:
    postfix = sender("listed", issued)
    assert swaks(postfix.port, to="user@example.net").accepted
    line = postfix.log.wait_for(r"status=bounced \((.*)\)")[1]
    assert told in line
    assert "in reply to MAIL FROM command" in line
