"""Acceptance of the rows R1, R2, R10 to R15 and R37: what uses a certificate, who verifies it, and what the product says of it.

One test a row, each by itself, on one running gateway with a name server and a Postfix that asks for a client
certificate. The special cases stand in `test_names`, `test_authorities`, `test_proof`; R3 to R9 in `test_rows`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.fakes.ca import Issued
from tests.fakes.dns_authority import DnsAuthority
from tests.live.certificates.openssl_ca import BLOCK, OpensslCa, fingerprint, openssl
from tests.live.certificates.rows_site import HOST, RowsSite
from tests.live.peers.clients import swaks
from tests.live.peers.gateway import Document
from tests.live.peers.postfix import Postfix
from tests.live.peers.processes import need, run
from tests.live.peers.scene import Scene
from tests.live.peers.story import delivery
from tests.live.peers.submit import submit

PARTNER = "partner.example"
LINKS = ("ldap", "web_security", "dlp", "file_analysis")
USES = (
    "https of Data 1",
    "listener IncomingMail",
    "listener OutgoingMail",
    "delivery",
    *(name.replace("_", " ") for name in LINKS),
)
RECORDS = {
    "example.net": {"MX": [f"10 {HOST}."]},
    HOST: {"A": ["127.0.0.1"]},
    "new.example.net": {"A": ["127.0.0.1"]},
}


class Site(RowsSite):
    """Mail goes to a Postfix whose certificate the partner's own authority signed."""

    def __init__(self, scene: Scene, dns: DnsAuthority) -> None:
        folder = scene.folder / "partner"
        folder.mkdir()
        self.partner = OpensslCa(folder / "ca", "Partner")
        port = scene.ports.free()
        super().__init__(
            scene,
            hop=f"[127.0.0.1]:{port}",
            sections={
                "dns": {"servers": [f"{dns.address}:{dns.port}"], "reverse": False},
                "delivery": {"timeouts": {"idle": "1s"}},
            },
        )
        self.dns = dns
        ours = scene.folder / "ours.pem"  # where Postfix may read it
        ours.write_text(self.ca.root.read_text())
        self.postfix: Postfix = scene.postfix(
            port=port,
            certificate=self._partners(folder),
            options={"smtpd_tls_ask_ccert": "yes", "smtpd_tls_CAfile": str(ours)},
        )

    def _partners(self, folder: Path) -> Issued:
        key, request = folder / "host.key", folder / "host.csr"
        openssl(
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-subj",
            f"/CN={PARTNER}",
            "-out",
            request,
        )
        leaf = self.partner.sign(request, PARTNER)
        read = [x509.load_pem_x509_certificate(one.read_bytes()) for one in (leaf, self.partner.sub)]
        secret: Any = load_pem_private_key(key.read_bytes(), None)
        return Issued(read[0], secret, (read[1],))

    def document(self, certificate: str) -> Document:
        made = super().document(certificate)
        made["listeners"][0]["recipient_access"] = [{"recipient": "example.net", "action": "accept"}]
        made["destination_controls"]["global"] = {"certificate": certificate}
        made["destination_controls"]["default"]["tls"] = "required"
        return made

    def everywhere(self, certificate: str, *only: str) -> Document:
        """The certificate at every use, or only at some of them and `Demo` elsewhere."""
        chosen = {use: certificate if not only or use in only else "Demo" for use in USES}
        made = self.document("Demo")
        made["interfaces"][0]["https"] = {"port": 8443, "certificate": chosen[USES[0]]}
        for listener in made["listeners"]:
            listener["certificate"] = chosen[f"listener {listener['name']}"]
        made["destination_controls"]["global"] = {"certificate": chosen["delivery"]}
        for link in LINKS:
            made[link] = {"certificate": chosen[link.replace("_", " ")]}
        return made

    def delivered(self) -> str:
        """One message; what Postfix wrote into its Received field of the TLS connection."""
        count = len(self.postfix.log.matching(r"postfix/virtual\[.*status=sent")) + 1
        submit(self.private, to="user@dest.example")
        return self.postfix.wait_for_mail(count)[-1].received[0]

    def story(self) -> str:
        """One message to the partner, whose certificate has to verify: the lines of its delivery."""
        return "\n".join(delivery(self.gateway, submit(self.private, to=f"user@{PARTNER}")))


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsAuthority]:
    with DnsAuthority(RECORDS) as running:
        yield running


@pytest.fixture(scope="module")
def site(scene: Scene, dns: DnsAuthority) -> Site:
    return Site(scene, dns)


def test_r1_one_certificate_serves_every_use(site: Site) -> None:
    """R1. Any certificate in the store serves any use: SMTP in, SMTP out, HTTPS (GUI/API), LDAP client, web-security client,
    DLP manager link, file-analysis link.
    """
    signed = site.signed("r1")
    site.gateway.configure(site.everywhere("r1"))
    for port in (site.public, site.private):
        site.seen([signed, site.ca.sub], port=port)
        assert "Verify return code: 0 (ok)" in site.verified(port=port).transcript
    assert f'(Client CN "{HOST}", Issuer "Openssl sub" (verified OK))' in site.delivered()
    (row,) = (row for row in site.asked("cert", "list") if row["name"] == "r1")
    assert row["used_by"] == site.asked("cert", "show", "r1")["used_by"] == list(USES)

    refused = site.said("cert", "delete", "r1", status=1)
    assert f"r1 is used by {', '.join(USES)}" in refused
    for use in USES:
        site.gateway.configure(site.everywhere("r1", use))
        assert f"r1 is used by {use} (" in site.said("cert", "delete", "r1", "--force", status=1)
    site.use("Demo")
    site.gateway.command("cert", "delete", "r1")
    assert "r1" not in [row["name"] for row in site.asked("cert", "list")]


def test_r2_the_demo_certificate_and_self_signed_ones(scene: Scene, site: Site) -> None:
    """R2. A demo certificate exists from the first start, so TLS works at once. Everywhere it is used the product says that it
    encrypts but cannot be verified. The same is said of every self-signed certificate wherever it is assigned.
    """
    fresh = scene.gateway()
    first = json.loads(fresh.command("config", "show", "--format", "json"))
    for listener in first["listeners"]:
        assert listener["certificate"] == "Demo"
        listener["port"] = scene.ports.free()  # the default ones may be another's
    public = first["listeners"][0]["port"]
    fresh.configure(first)
    fresh.start()
    assert swaks(public, "--tls", "--quit-after", "EHLO").accepted
    looked = site.look("-verify_return_error", port=public)
    assert "self-signed certificate" in looked.transcript
    assert not swaks(public, "--tls", "--tls-verify", "--quit-after", "EHLO").accepted
    encrypts = "it encrypts, but nobody can verify it"
    assert encrypts in " ".join(fresh.command("status").split())
    (row,) = json.loads(fresh.command("cert", "list", "--json"))
    assert row["status"] == "demo"
    assert [finding["code"] for finding in row["findings"]] == ["demo"]
    assert "encrypts, but nobody can verify it" in " ".join(fresh.command("cert", "check", "Demo").split())
    fresh.stop()

    site.use("Demo")
    site.new("r2")
    file = site.write("r2.yaml", json.dumps(site.everywhere("r2")))
    told = site.said("config", "apply", file)
    refuses = "r2 is self-signed: TLS works, but a sender that requires verification will refuse it"
    assert f"{refuses} ({', '.join(USES)}) (have it signed by an authority)" in told
    assert refuses in " ".join(site.gateway.command("status").split())
    assert "self-signed certificate" in site.verified().transcript
    file = site.write("r2.yaml", json.dumps(site.everywhere("Demo")))
    assert f"Demo is a demo certificate: {encrypts} ({', '.join(USES)})" in site.said("config", "apply", file)


def test_r10_three_names_side_by_side(site: Site) -> None:
    """R10. For verifiable inbound TLS three things must be the same: MX host name, certificate name (CN/SAN), interface host
    name. The product shows the three side by side for every listener and says which differs. For outbound it compares the
    certificate with the delivery interface's host name. The system host name plays no part in it and is shown apart.
    """
    site.signed("r10")
    site.signed("r10-new", "new.example.net")
    made = site.document("r10")

    def compared() -> tuple[str, list[str], str]:
        found = site.asked("cert", "names")
        public = found["listeners"][0]
        assert len(found["listeners"]) == 2
        assert found["system"]["hostname"] == "gw.example.net"  # differs all the time
        return public["verdict"], public["differs"], found["outbound"]["verdict"]

    site.gateway.configure(made)
    assert compared() == ("same", [], "same")
    assert "Verify return code: 0 (ok)" in site.verified().transcript

    site.use("r10-new")
    assert compared() == ("differs", ["certificate"], "differs")
    assert "hostname mismatch" in site.verified().transcript.lower()
    table = site.gateway.command("cert", "names")
    assert re.search(
        r"  MX record +mx\.example\.net .*\n! Certificate +new\.example\.net .*\n  Interface host +mx\.example\.net ",
        table,
    )
    assert "gw.example.net, plays no part in it" in " ".join(table.split())

    made["interfaces"][0]["hostname"] = "new.example.net"
    site.gateway.configure(made)
    assert compared() == ("differs", ["interface"], "differs")
    assert re.search(r"\n! Interface host +new\.example\.net ", site.gateway.command("cert", "names"))

    site.use("r10")
    try:
        site.dns.update({"example.net": {"MX": ["10 new.example.net."]}})
        assert compared() == ("differs", ["mx"], "same")
        assert re.search(r"\n! MX record +new\.example\.net ", site.gateway.command("cert", "names"))
        moved = site.document("r10-new")  # certificate and interface follow
        moved["interfaces"][0]["hostname"] = "new.example.net"
        site.gateway.configure(moved)
        assert compared() == ("same", [], "same")
    finally:
        site.dns.update(RECORDS)


def test_r11_certificate_authorities(site: Site) -> None:
    """R11. Certificate authorities: the system bundle and a custom list, each switched on or off, imported and exported, used
    for every verification.
    """
    made = site.document("Demo")
    made["destination_controls"]["destinations"] = [{"domain": PARTNER, "tls": "required-verify"}]
    made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "3d"}
    site.gateway.configure(made)
    unknown, verified = "unable to get local issuer certificate", f"verified yes: {PARTNER}"
    site.said("ca", "import", site.write("none.pem", "no certificate"), status=1)
    site.gateway.command("ca", "import", site.partner.root)  # does not switch the list on
    assert unknown in site.story()
    site.gateway.command("ca", "enable", "custom")
    assert verified in site.story()
    site.gateway.command("ca", "disable", "system")  # only our own count
    assert verified in site.story()
    told = " ".join(site.gateway.command("ca", "list").split())
    assert "Custom list: on" in told
    assert "System list: off" in told

    out = site.folder / "exported.pem"
    site.gateway.command("ca", "export", out)
    assert fingerprint(site.partner.root) in [
        fingerprint(site.write("one.pem", block)) for block in BLOCK.findall(out.read_text())
    ]
    chain = ["-untrusted", site.partner.sub, site.folder.parent / "partner" / "host.signed"]
    assert openssl("verify", "-CAfile", out, *chain).rstrip().endswith(": OK")
    system = site.folder / "system.pem"
    site.gateway.command("ca", "export", system, "--list", "system")
    assert len(BLOCK.findall(system.read_text())) > 50
    assert run([need("openssl", "openssl"), "verify", "-CAfile", system, *chain]).returncode != 0

    site.gateway.command("ca", "disable", "custom")
    site.gateway.command("ca", "enable", "system")
    assert unknown in site.story()
    site.gateway.command("ca", "enable", "custom")
    site.gateway.command("ca", "remove", fingerprint(site.partner.root))
    assert unknown in site.story()
    site.gateway.command("ca", "import", out)  # what was exported can be imported
    assert verified in site.story()


def test_r12_the_level_and_the_way_out(scene: Scene, site: Site) -> None:
    """R12, as far as there are no clusters: the product says on which level a certificate lives, and offers the export before a
    machine gives it up; what was exported brings it back on an empty one.
    """
    site.signed("r12")
    site.use("r12")
    page = site.asked("cert", "show", "r12")
    assert page["level"] == "machine"
    assert re.search(r"^Level +machine$", site.gateway.command("cert", "show", "r12"), re.MULTILINE)
    out = site.folder / "everything.yaml"
    site.gateway.command("config", "export", out, "--with-certificates")
    assert out.stat().st_mode & 0o077 == 0
    empty = scene.gateway()
    empty.command("config", "apply", out)
    found = json.loads(empty.command("cert", "show", "r12", "--json"))
    assert (found["fingerprint"], found["private_key"]) == (page["fingerprint"], True)
    assert found["chain"] == page["chain"]
    assert empty.command("cert", "csr", "r12") == site.gateway.command("cert", "csr", "r12")


def test_r13_a_certificate_for_each_listener(site: Site) -> None:
    """R13. Inbound: a certificate per listener, public or private."""
    one, other = site.signed("r13-public"), site.signed("r13-private")
    supervisor, children = site.gateway.pid, site.gateway.children()
    for names in (("r13-public", "r13-private"), ("r13-private", "r13-public")):
        made = site.document("Demo")
        for listener, name in zip(made["listeners"], names, strict=True):
            listener["certificate"] = name
        site.gateway.configure(made)
        wanted = (one, other) if names[0] == "r13-public" else (other, one)
        for port, leaf in zip((site.public, site.private), wanted, strict=True):
            site.seen([leaf, site.ca.sub], port=port)
        assert site.asked("cert", "show", names[0])["used_by"] == ["listener IncomingMail"]
        assert site.asked("cert", "show", names[1])["used_by"] == ["listener OutgoingMail"]
    assert (site.gateway.pid, site.gateway.children()) == (supervisor, children)  # without a restart


def test_r14_the_client_certificate_of_outgoing_tls(site: Site) -> None:
    """R14. Outbound: Destination Controls, Global Settings, Certificate (client certificate for outgoing TLS)."""
    site.signed("r14")
    made = site.document("Demo")
    made["destination_controls"]["global"] = {"certificate": "r14"}
    site.gateway.configure(made)
    assert f'(Client CN "{HOST}", Issuer "Openssl sub" (verified OK))' in site.delivered()
    site.new("r14-alone")
    made["destination_controls"]["global"] = {"certificate": "r14-alone"}
    site.gateway.configure(made)
    assert re.search(rf'\(Client CN "{HOST}", Issuer "{HOST}" \(not verified\)\)', site.delivered())
    made["destination_controls"]["default"]["client_certificate"] = "never"
    site.gateway.configure(made)
    assert "(Client did not present a certificate)" in site.delivered()


def test_r15_https_is_assigned_and_not_yet_served(site: Site) -> None:
    """R15. HTTPS: a certificate per interface. The service is not there yet: the choice is stored and checked, and the product
    says that it has no effect.
    """
    site.signed("r15")
    made = site.document("Demo")
    made["interfaces"][0]["https"] = {"port": 8443, "certificate": "nowhere"}
    file = site.write("r15.yaml", json.dumps(made))
    assert "interfaces[0].https.certificate" in site.said("config", "apply", file, status=78)
    made["interfaces"][0]["https"]["certificate"] = "r15"
    file = site.write("r15.yaml", json.dumps(made))
    assert "interfaces[0].https: stored, not yet enforced" in site.said("config", "apply", file)
    assert site.asked("cert", "show", "r15")["used_by"] == ["https of Data 1"]
    assert "interfaces[0].https: stored, not yet enforced" in site.gateway.command("status")


def test_r37_troubleshooting_where_the_failure_is_shown(site: Site) -> None:
    """R37. A self-signed certificate is expected to fail "Cert OK"; a CA-signed one that fails is walked through CN, interface host
    name, MX name, then intermediates (missing, duplicate, wrong order).
    """
    site.gateway.command("ca", "import", site.ca.root)

    def walked(name: str, status: int) -> dict[str, str]:
        (walk,) = site.asked("cert", "check", name, status=status)["walks"]
        return {step["question"]: step["outcome"] for step in walk["steps"]}

    site.new("r37-alone")
    site.use("r37-alone")
    assert walked("r37-alone", 0) == {"self-signed": "expected"}
    assert "self-signed certificate" in site.verified().transcript

    questions = [
        "self-signed", "common-name", "interface-host-name", "mx-name", "intermediates-missing",
        "intermediates-duplicate", "intermediates-order", "certificate-and-trust",
    ]  # fmt: skip
    site.gateway.command("cert", "new", "r37", "--common-name", "other.example.net", "--key", "p256")
    issuing = site.ca.sub_authority("issuing", site.ca.sub)
    signed = site.ca.sign(site.request("r37"), "other.example.net", by=issuing)
    site.gateway.command("cert", "install", "r37", signed)
    site.use("r37")
    steps = walked("r37", 1)
    assert list(steps) == questions
    failed = [question for question, outcome in steps.items() if outcome == "failed"]
    assert failed == ["interface-host-name", "mx-name", "intermediates-missing"]
    told = site.said("cert", "check", "r37", status=1)
    assert (
        f"NO: it is not valid for the interface's host name {HOST} repair: use a certificate for {HOST}"
        in told
    )
    assert "unable to get local issuer certificate" in site.verified().transcript

    again = site.ca.sign(site.new("r37-named"), HOST, by=issuing)  # the names put right, the bundle not
    bundle = site.write("r37.bundle", site.ca.sub, issuing, issuing)
    site.gateway.command("cert", "install", "r37-named", again, "--intermediates", bundle)
    site.use("r37-named")
    steps = walked("r37-named", 0)  # openssl puts up with it, others do not
    failed = [question for question, outcome in steps.items() if outcome == "failed"]
    assert failed == ["intermediates-duplicate", "intermediates-order"]
    site.gateway.command("cert", "check", "r37-named", "--repair")
    assert set(walked("r37-named", 0).values()) == {"passed"}
    assert "Verify return code: 0 (ok)" in site.verified().transcript
