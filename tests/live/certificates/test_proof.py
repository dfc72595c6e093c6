"""Activations that prove themselves: what is on the wire, by `openssl s_client` too, and the ways in which it can fail."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import Issued, TestAuthority
from tests.live.certificates.stubborn import FLAG, PROGRAM
from tests.live.peers.clients import s_client
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.ports import Ports

RSA, ECDSA = "RSA+SHA256:rsa_pss_rsae_sha256", "ECDSA+SHA256"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
NewGateway = Callable[[], Gateway]


def shown(port: int, *options: str, sni: str = "") -> tuple[bytes, ...]:
    """The chain that openssl is sent (DER); empty when there is no handshake."""
    name = ["-servername", sni] if sni else ["-noservername"]
    told = s_client(port, "QUIT\r\n", "-showcerts", *name, *options).transcript
    return tuple(
        x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER) for pem in _PEM.findall(told)
    )


class Site:
    """A gateway with two listeners, and what it says of its proofs."""

    def __init__(self, gateway: Gateway, ports: Ports, authority: TestAuthority) -> None:
        self.gateway = gateway
        self.authority = TestAuthority("Issuing CA", parent=authority)
        self.public, self.private = ports.free(), ports.free()

    def issue(self, *names: str, key: str = "p256") -> Issued:
        return self.authority.issue(names or ("mx.example.net",), key=key)

    def configure(self, **public: Any) -> None:
        made = document(self.public, self.private, hop="[127.0.0.1]:9", certificate="gw")
        made["listeners"][0].update(public)
        self.gateway.configure(made)

    def beside(self, name: str, issued: Issued) -> None:
        """Give a profile a second certificate with a key of another kind."""
        file = self.gateway.files / "beside.pem"
        file.write_bytes(issued.key_pem + issued.chain_pem)
        self.gateway.command("cert", "import", name, file, "--beside")

    def flag(self, text: str) -> None:
        (self.gateway.home / FLAG).write_text(text)

    def proven(self, count: int = 1) -> int:
        """The version of the `count`-th proof that found everything as meant."""
        return int(
            self.gateway.wait_for_log(r"Certificates of version (\d+) are on the wire", count=count)[1]
        )

    def prove(self, *, status: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.gateway.command("cert", "prove", "--json", status=status))
        return found

    def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.gateway.command("config", "history", "--json"))
        return found

    def lines(self, pattern: str) -> list[str]:
        text = (self.gateway.home / "logs" / "mail_logs").read_text()
        return [line for line in text.splitlines() if re.search(pattern, line)]


@pytest.fixture
def site(gateway: Gateway, ports: Ports, authority: TestAuthority) -> Site:
    return Site(gateway, ports, authority)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_two_kinds_of_keys_and_names_are_on_the_wire_each_with_its_own_chain(
    site: Site, version: str
) -> None:
    rsa, ec = site.issue(key="rsa2048"), site.issue()
    two, wild = site.issue("mx2.example.net"), site.issue("*.example.org", key="rsa2048")
    site.gateway.import_certificate("gw", rsa)
    site.beside("gw", ec)
    site.gateway.import_certificate("two", two)
    site.gateway.import_certificate("wild", wild)
    sni = [
        {"name": "mx2.example.net", "certificate": "two"},
        {"name": "*.example.org", "certificate": "wild"},
    ]
    site.configure(sni=sni)
    site.gateway.start(workers=2)
    assert site.proven() == site.history()[0]["version"]

    for name in ("", "mx.example.net", "unknown.example", "192.0.2.1", "MX.EXAMPLE.NET."):
        assert shown(site.public, version, "-sigalgs", RSA, sni=name) == rsa.chain_der, name
        assert shown(site.public, version, "-sigalgs", ECDSA, sni=name) == ec.chain_der, name
    assert shown(site.public, version, sni="MX2.example.net") == two.chain_der
    assert shown(site.public, version, sni="any.example.org") == wild.chain_der
    assert shown(site.public, version, "-sigalgs", ECDSA, sni="any.example.org") == ()
    assert shown(site.private, version, "-sigalgs", RSA, sni="mx2.example.net") == rsa.chain_der

    found = site.prove()
    assert found["fulfilled"]
    asked = {(row["listener"], row["sni"], row["keys"], row["certificate"]) for row in found["rows"]}
    assert ("IncomingMail", "", "rsa", "gw") in asked
    assert ("IncomingMail", "", "ecdsa", "gw") in asked
    assert ("IncomingMail", "mx2.example.net", "any", "two") in asked
    assert ("IncomingMail", "gatepost-proof.example.org", "any", "wild") in asked
    assert ("OutgoingMail", "unknown-name.invalid", "any", "gw") in asked


@pytest.mark.parametrize("refusal", ["reject", "tcprefuse"])
def test_listeners_that_refuse_this_machine_are_proven_all_the_same(site: Site, refusal: str) -> None:
    """The access table refuses loopback, TLS is off, one connection is allowed; and nothing of the proof is in the log."""
    site.gateway.import_certificate("gw", site.issue())
    made = document(site.public, site.private, hop="[127.0.0.1]:9", certificate="gw")
    made["mail_flow_policies"] = [
        {"name": "ACCEPTED", "action": refusal},
        {"name": "RELAYED", "action": "relay", "tls": "off", "max_connections_per_ip": 1},
        {"name": "BLOCKED", "action": "reject"},
    ]
    made["listeners"][1]["tls"] = "starttls"
    site.gateway.configure(made)
    site.gateway.start(workers=2)
    site.proven()
    assert site.prove()["fulfilled"]
    assert site.lines("ICID|Probe of listener") == []


def test_implicit_tls_is_proven_too(site: Site) -> None:
    issued = site.issue()
    site.gateway.import_certificate("gw", issued)
    site.configure(tls="implicit")
    site.gateway.start(workers=2)
    site.proven()
    assert site.prove()["fulfilled"]
    told = s_client(site.public, "QUIT\r\n", "-showcerts", starttls=False).transcript
    assert len(_PEM.findall(told)) == len(issued.chain_der)


def test_a_new_certificate_that_is_not_on_the_wire_is_an_alert_and_goes_back(site: Site) -> None:
    """The first of the two failures: the renewal came, the workers keep what they had."""
    old, new = site.issue(), site.issue()
    site.gateway.import_certificate("gw", old)
    site.gateway.import_certificate("two", site.issue("mx2.example.net"))
    site.configure(sni=[{"name": "mx2.example.net", "certificate": "two"}])
    site.gateway.start(workers=2, program=PROGRAM)
    good = site.proven()

    site.flag("all")
    site.gateway.import_certificate("gw", new, replace=True)
    broken = good + 1
    site.gateway.wait_for_log(
        rf"Critical: Certificate not on the wire: listener IncomingMail no SNI version {broken} "
        rf"wanted SHA-256 {_short(new)} served SHA-256 {_short(old)} reason: another certificate"
    )
    site.gateway.wait_for_log(
        r"Alert \(critical\) .*: Certificate gw is not on the wire of listener IncomingMail"
    )
    site.gateway.wait_for_log(
        r"Alert \(critical\) .*: Certificate gw is not on the wire of listener OutgoingMail"
    )
    site.gateway.wait_for_log(rf"Version {broken + 1} brings back the certificates of version {good}: gw")
    assert site.proven(2) == broken + 1
    last, before, *_ = site.history()
    assert (last["version"], last["author"]) == (broken + 1, "gatepost")
    assert "not on the wire" in last["comment"]
    assert before["version"] == broken

    assert shown(site.public) == old.chain_der
    page = json.loads(site.gateway.command("cert", "show", "gw", "--json"))
    assert page["fingerprint"] == _fingerprint(old)
    assert site.prove()["fulfilled"]

    # When the workers do as they are told, the new one can come again.
    (site.gateway.home / FLAG).unlink()
    site.gateway.import_certificate("gw", new, replace=True)
    assert site.proven(3) == broken + 2
    assert shown(site.public) == new.chain_der
    assert len(site.lines("brings back")) == 1


def test_one_worker_of_two_that_keeps_the_old_certificate_is_found(site: Site) -> None:
    site.gateway.import_certificate("gw", site.issue())
    site.configure()
    site.gateway.start(workers=2, program=PROGRAM)
    good = site.proven()
    site.flag("1")
    site.gateway.import_certificate("gw", site.issue(), replace=True)
    site.gateway.wait_for_log(rf"Version {good + 2} brings back the certificates of version {good}: gw")
    assert site.proven(2) == good + 2


def test_what_never_worked_is_an_alert_and_nothing_is_brought_back(site: Site) -> None:
    """The second of the two failures: something else answers, and did before."""
    site.gateway.import_certificate("gw", site.issue())
    site.configure()
    site.gateway.command("status", status=69)
    site.flag("foreign")
    site.gateway.start(workers=2, program=PROGRAM)
    site.gateway.wait_for_log(
        r"Alert \(critical\) .*: Certificate gw is not on the wire of listener OutgoingMail"
    )
    found = site.prove(status=1)
    assert not found["fulfilled"]
    assert {one["reason"] for one in found["differences"]} == {"another certificate"}
    assert {one["worker"] for one in found["differences"]} == {None, 0, 1}
    version = found["version"]
    site.gateway.import_certificate("gw", site.issue(), replace=True)
    assert site.prove(status=1)["version"] == version + 1

    (site.gateway.home / FLAG).unlink()
    site.gateway.import_certificate("gw", site.issue(), replace=True)
    assert site.proven() == version + 2
    assert site.lines("brings back") == []
    assert all(row["author"] != "gatepost" for row in site.history()[:-1])
    assert len(site.lines("Alert .*listener IncomingMail")) == 1  # the same trouble, told once


def test_a_proof_shows_a_table(site: Site) -> None:
    site.gateway.import_certificate("gw", site.issue())
    site.configure()
    site.gateway.refused("cert", "prove", status=69)
    site.gateway.start(workers=1)
    text = site.gateway.command("cert", "prove")
    assert re.search(r"IncomingMail +\(no SNI\) +any +gw +[0-9a-f]{12} +yes", text)
    assert re.search(r"IncomingMail +unknown-name.invalid +rsa +gw +none +yes", text)
    assert re.search(r"Version \d+, 2 listeners, \d+ handshakes: all as meant", text)


def _fingerprint(issued: Issued) -> str:
    from hashlib import sha256

    return sha256(issued.chain_der[0]).hexdigest()


def _short(issued: Issued) -> str:
    return _fingerprint(issued)[:16]
