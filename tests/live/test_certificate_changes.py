"""Certificates made by openssl, imported and assigned while the gateway runs: on the wire at once, open sessions go on."""

from __future__ import annotations

import re
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from tests.live.peers.clients import RawClient, s_client, trusting_context
from tests.live.peers.gateway import Document, document
from tests.live.peers.processes import need, run
from tests.live.peers.scene import Scene

WITHIN = (
    1.0  # seconds from the end of the command to the new certificate on the wire (architecture 3, Commit)
)
PASSPHRASE = "a pass-phrase with blanks"


class Site:
    def __init__(self, scene: Scene) -> None:
        self.folder = scene.folder / "openssl"
        self.folder.mkdir()
        self.sink = scene.receiver()
        self.gateway = scene.gateway()
        self.public, self.private = scene.ports.free(), scene.ports.free()
        self.use("Demo")
        self.gateway.start(workers=2)

    def use(self, certificate: str) -> None:
        """Assigns a certificate to both listeners."""
        self.gateway.configure(self._document(certificate))

    def _document(self, certificate: str) -> Document:
        return document(
            self.public, self.private, hop=f"[127.0.0.1]:{self.sink.port}", certificate=certificate
        )

    def openssl(self, *words: str | Path) -> None:
        done = run([need("openssl", "openssl"), *words])
        assert done.returncode == 0, done.stderr.decode()

    def make(self, name: str, kind: str = "rsa:2048") -> tuple[Path, Path]:
        """A self-signed certificate and its key, as an administrator makes them."""
        key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.crt"
        options = (
            ["-newkey", kind] if kind != "ec" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        )
        names = f"subjectAltName=DNS:{name}.example.net"
        subject = f"/CN={name}.example.net/O=Gatepost"
        self.openssl(
            "req", "-x509", *options, "-nodes", "-days", "30", "-subj", subject, "-addext", names,
            "-keyout", key, "-out", certificate,
        )  # fmt: skip
        return key, certificate

    def served(self, port: int | None = None) -> str:
        """The common name that a new connection is shown."""
        with RawClient(port or self.public) as client:
            client.reply()
            client.command("EHLO client.example")
            client.command("STARTTLS")
            client.start_tls()
            assert isinstance(client.socket, ssl.SSLSocket)
            der = client.socket.getpeercert(binary_form=True)
            client.command("QUIT")
        assert der is not None
        (name,) = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return str(name.value)

    def check_seen_everywhere(self, name: str) -> None:
        """Both listeners show it to every one of several connections, so that each worker is asked."""
        limit = time.monotonic() + WITHIN
        while self.served() != name and time.monotonic() < limit:
            pass  # each turn is a whole handshake
        assert {self.served(port) for port in (self.public, self.private) for _ in range(4)} == {name}


@pytest.fixture(scope="module")
def site(scene: Scene) -> Site:
    return Site(scene)


def _secured(port: int) -> RawClient:
    client = RawClient(port)
    client.reply()
    client.command("EHLO client.example")
    assert client.command("STARTTLS")[0].startswith("220 ")
    client.start_tls(trusting_context())
    client.command("EHLO client.example")
    return client


def test_pem_in_two_files(site: Site) -> None:
    key, certificate = site.make("two-files")
    site.gateway.command("cert", "import", "two-files", certificate, "--key", key)
    assert site.served() != "two-files.example.net"  # in the store, not assigned
    site.use("two-files")
    site.check_seen_everywhere("two-files.example.net")


def test_pem_in_one_file(site: Site) -> None:
    key, certificate = site.make("one-file", "ec")
    both = site.folder / "one-file.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    site.gateway.command("cert", "import", "one-file", both)
    site.use("one-file")
    site.check_seen_everywhere("one-file.example.net")


@pytest.mark.parametrize("form", ["modern", "legacy"])
def test_pkcs12(site: Site, form: str) -> None:
    """R7: what openssl writes today, and files with the old RC2 and 3DES."""
    name = f"pkcs12-{form}"
    key, certificate = site.make(name)
    bundle, secret = site.folder / f"{name}.p12", site.folder / f"{name}.txt"
    secret.write_text(f"{PASSPHRASE}\n")
    old = ["-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"]
    site.openssl(
        "pkcs12", "-export", "-inkey", key, "-in", certificate, "-passout", f"file:{secret}", "-out", bundle,
        *(old if form == "legacy" else []),
    )  # fmt: skip
    site.gateway.command("cert", "import", name, bundle, "--passphrase-file", secret)
    site.use(name)
    site.check_seen_everywhere(f"{name}.example.net")


def test_a_wrong_passphrase_changes_nothing(site: Site) -> None:
    key, certificate = site.make("locked")
    bundle = site.folder / "locked.p12"
    site.openssl(
        "pkcs12",
        "-export",
        "-inkey",
        key,
        "-in",
        certificate,
        "-passout",
        f"pass:{PASSPHRASE}",
        "-out",
        bundle,
    )
    before = site.gateway.command("cert", "list", "--json")
    said = site.gateway.refused("cert", "import", "locked", bundle, "--passphrase", "wrong", status=1)
    assert "pass-phrase" in said
    assert PASSPHRASE not in said
    assert site.gateway.command("cert", "list", "--json") == before


def test_a_replaced_certificate_is_served_and_old_sessions_go_on(site: Site) -> None:
    """The name stays, the certificate behind it changes: no connection is dropped by it."""
    key, certificate = site.make("first")
    site.gateway.command("cert", "import", "changing", certificate, "--key", key)
    site.use("changing")
    site.check_seen_everywhere("first.example.net")
    clear, secured = RawClient(site.private), _secured(site.private)
    with clear, secured:
        clear.reply()
        clear.command("EHLO client.example")
        secured.command("MAIL FROM:<a@client.example>")
        secured.command("RCPT TO:<across@dest.example>")
        secured.command("DATA")

        key, certificate = site.make("second")
        said = site.gateway.refused("cert", "import", "changing", certificate, "--key", key, status=1)
        assert "--replace" in said
        site.gateway.command("cert", "import", "changing", certificate, "--key", key, "--replace")
        site.check_seen_everywhere("second.example.net")

        assert secured.command("Subject: across\r\n\r\nthe change\r\n.")[0].startswith("250 2.0.0 Ok: queued")
        # A session that is in clear starts TLS with what is assigned now.
        assert clear.command("STARTTLS")[0].startswith("220 ")
        clear.start_tls(trusting_context())
        assert isinstance(clear.socket, ssl.SSLSocket)
        clear.command("EHLO client.example")
        for client in (clear, secured):
            client.command("MAIL FROM:<a@client.example>")
            client.command("RCPT TO:<after@dest.example>")
            client.command("DATA")
            assert client.command("Subject: after\r\n\r\nthe change\r\n.")[0].startswith(
                "250 2.0.0 Ok: queued"
            )
            client.command("QUIT")
    recipients = [mail.recipients[0] for mail in site.sink.wait_for_mail(3)]
    assert sorted(recipients) == ["across@dest.example", "after@dest.example", "after@dest.example"]


def test_the_certificate_of_a_rollback_is_on_the_wire(site: Site) -> None:
    key, certificate = site.make("before")
    site.gateway.command("cert", "import", "rolled", certificate, "--key", key)
    site.use("rolled")
    site.check_seen_everywhere("before.example.net")
    version = re.search(r'"version": (\d+)', site.gateway.command("config", "history", "--json"))
    assert version is not None
    key, certificate = site.make("after")
    site.gateway.command("cert", "import", "rolled", certificate, "--key", key, "--replace")
    site.check_seen_everywhere("after.example.net")
    site.gateway.command("config", "rollback", version[1])
    site.check_seen_everywhere("before.example.net")


def test_openssl_reads_what_is_served(site: Site) -> None:
    seen = s_client(site.public, "QUIT\r\n", "-showcerts")
    assert re.search(r"subject=.*CN = \S+\.example\.net", seen.transcript)


def test_no_secret_is_in_any_log(site: Site) -> None:
    for file in (site.gateway.home / "logs").iterdir():
        text = file.read_text() if file.is_file() else ""
        assert "PRIVATE KEY" not in text
        assert PASSPHRASE not in text
