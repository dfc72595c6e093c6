"""Authorities and revocation lists, made by openssl, served over HTTP, and asked by real deliveries to Postfix."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.fakes.ca import Issued
from tests.live.peers.gateway import Gateway, document
from tests.live.peers.ports import Ports
from tests.live.peers.postfix import Postfix
from tests.live.peers.processes import need, run
from tests.live.peers.story import delivery, settled
from tests.live.peers.submit import submit

HOST = "partner.example"
VERIFIED = f"verified yes: {HOST}"
STALE = "the issuer's revocation list is out of date"
REVOKED = f"verify error: certificate is revoked (CN={HOST}, issuer CN=OpenSSL CA)"
CONFIGURATION = """\
[ca]
default_ca = own
[own]
dir = {folder}
database = $dir/index.txt
new_certs_dir = $dir
certificate = $dir/ca.pem
private_key = $dir/ca.key
serial = $dir/serial
crlnumber = $dir/crlnumber
default_md = sha256
default_days = 30
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = names
[names]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""


class OpensslAuthority:
    """An authority as an administrator runs one with `openssl ca`: it issues, revokes and writes lists."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.program = need("openssl", "openssl")
        self.configuration = folder / "ca.cnf"
        self.configuration.write_text(CONFIGURATION.format(folder=folder))
        (folder / "index.txt").touch()
        (folder / "serial").write_text("1000\n")
        (folder / "crlnumber").write_text("01\n")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
        self._openssl(
            "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "60",
            "-subj", "/CN=OpenSSL CA", "-extensions", "root",
        )  # fmt: skip

    def _openssl(self, command: str, *words: str) -> None:
        named = [str(self.folder / word) if "." in word and "=" not in word else word for word in words]
        done = run([self.program, command, "-config", self.configuration, *named])
        assert done.returncode == 0, done.stderr.decode()

    @property
    def root(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str) -> Issued:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
        self._openssl(
            "req", *key, "-keyout", "host.key", "-out", "host.csr",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
        )  # fmt: skip
        self._openssl("ca", "-batch", "-notext", "-in", "host.csr", "-out", "host.pem")
        leaf = x509.load_pem_x509_certificate((self.folder / "host.pem").read_bytes())
        key_file = (self.folder / "host.key").read_bytes()
        return Issued(leaf, load_pem_private_key(key_file, None))  # type: ignore[arg-type]

    def revoke(self) -> None:
        """The certificate that was issued last."""
        self._openssl("ca", "-revoke", "host.pem", "-crl_reason", "keyCompromise")

    def revocation_list(self, *life: str) -> bytes:
        """A list as PEM; `life` is `-crldays 7` or `-crl_nextupdate …Z`."""
        self._openssl("ca", "-gencrl", *(life or ("-crldays", "7")), "-out", "list.crl")
        return (self.folder / "list.crl").read_bytes()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class Web:
    """Python's own HTTP server over a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def publish(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return f"{self.url}/{name}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Site:
    """A gateway that sends to one Postfix whose certificate an openssl authority issued."""

    def __init__(self, gateway: Gateway, authority: OpensslAuthority, hop: Postfix, ports: Ports) -> None:
        self.gateway = gateway
        self.authority = authority
        self.public, self.private = ports.free(), ports.free()
        self.hop = hop

    def configure(self, **authorities: Any) -> None:
        made = document(
            self.public,
            self.private,
            hop=f"[127.0.0.1]:{self.hop.port}",
            destinations=[{"domain": HOST, "tls": "required-verify"}],
        )
        made["bounce_profiles"][0] |= {"initial_retry": "1h", "max_retry": "1h", "max_age": "3d"}
        made["delivery"] = {"timeouts": {"idle": "1s"}}
        made["certificate_authorities"] = authorities
        self.gateway.configure(made)

    def send(self) -> list[str]:
        """One message to the host; the lines of its delivery."""
        mid = submit(self.private, to=f"user@{HOST}")
        settled(self.gateway, mid)
        return delivery(self.gateway, mid)

    def check_passes(self, words: str = VERIFIED) -> None:
        lines = self.send()
        assert any(line.endswith(f"for {HOST} {words}") for line in lines), lines
        assert any(line.startswith("Message finished") for line in lines), lines

    def check_kept(self, words: str) -> None:
        lines = self.send()
        assert any(words in line for line in lines), lines
        assert any(line.startswith("Delayed:") for line in lines), lines

    def lists(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.gateway.command("ca", "crl", "list", "--json"))
        return found

    def versions(self) -> int:
        return len(json.loads(self.gateway.command("config", "history", "--json")))


@pytest.fixture
def openssl_ca(place: Path) -> OpensslAuthority:
    return OpensslAuthority(place / "ca")


@pytest.fixture
def web(place: Path, ports: Ports) -> Iterator[Web]:
    server = Web(place / "web", ports.free())
    yield server
    server.close()


@pytest.fixture
def site(
    gateway: Gateway, openssl_ca: OpensslAuthority, postfix: Callable[..., Postfix], ports: Ports
) -> Site:
    return Site(gateway, openssl_ca, postfix(certificate=openssl_ca.issue(HOST)), ports)


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_private_authority_verifies_only_while_the_custom_list_is_on(site: Site, running: bool) -> None:
    site.configure()
    site.gateway.command("ca", "import", site.authority.root)
    if running:
        site.gateway.start()
        site.check_kept("unable to get local issuer certificate")
    site.gateway.command("ca", "enable", "custom")
    if not running:
        site.gateway.start(workers=2)
    site.check_passes()
    site.gateway.command("ca", "disable", "system")
    site.check_passes()
    site.gateway.command("ca", "disable", "custom")
    site.check_kept("unable to get local issuer certificate")
    (row,) = json.loads(site.gateway.command("ca", "list", "--json"))[-1:]
    assert (row["subject"], row["status"]) == ("CN=OpenSSL CA", "valid")
    site.gateway.command("ca", "remove", row["fingerprint"])
    assert site.gateway.refused("ca", "export", site.gateway.files / "out.pem", status=1)


def test_what_openssl_exports_and_what_it_reads(site: Site) -> None:
    site.gateway.command("ca", "import", site.authority.root)
    out = site.gateway.files / "out.pem"
    site.gateway.command("ca", "export", out)
    done = run([site.authority.program, "verify", "-CAfile", out, site.authority.folder / "host.pem"])
    assert done.returncode == 0, done.stderr.decode()
    said = site.gateway.refused("ca", "import", site.authority.folder / "host.pem", status=1)
    assert f"CN={HOST} is not the certificate of an authority" in said


def test_a_revoked_host_is_refused_as_soon_as_its_authority_says_so(site: Site, web: Web) -> None:
    url = web.publish("ca.crl", site.authority.revocation_list())
    site.gateway.trust(site.authority.root.read_bytes())
    site.configure(custom=True)
    site.gateway.start(workers=2)
    site.gateway.command("ca", "crl", "add", url)
    site.gateway.wait_for_log(f"Revocation list {url} of CN=OpenSSL CA: 0 revoked, next update")
    versions = site.versions()
    site.check_passes()
    site.authority.revoke()
    web.publish("ca.crl", site.authority.revocation_list())
    assert "good" in site.gateway.command("ca", "crl", "fetch")
    site.gateway.wait_for_log("of CN=OpenSSL CA: 1 revoked")
    site.check_kept(REVOKED)
    assert site.versions() == versions
    site.gateway.stop()
    web.close()
    site.gateway.start()
    site.check_kept(REVOKED)


def test_a_list_from_a_file_in_der_counts_at_once_and_is_forgotten_on_request(site: Site) -> None:
    site.gateway.trust(site.authority.root.read_bytes())
    site.configure(custom=True)
    site.gateway.start()
    site.authority.revoke()
    site.authority.revocation_list()
    file = site.authority.folder / "list.der"
    done = run([
        site.authority.program, "crl", "-in", site.authority.folder / "list.crl", "-outform", "DER", "-out", file
    ])  # fmt: skip
    assert done.returncode == 0
    said = site.gateway.command("ca", "crl", "import", file)
    assert said.startswith("The list of CN=OpenSSL CA is in use: 1 certificate revoked")
    site.check_kept(REVOKED)
    site.gateway.command("ca", "crl", "remove", "CN=OpenSSL CA")
    site.check_passes()
    assert not site.lists()


@pytest.mark.parametrize("rule", ["warn", "refuse"])
def test_a_list_that_is_out_of_date(site: Site, web: Web, rule: str) -> None:
    past = ("-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200102000000Z")
    url = web.publish("ca.crl", site.authority.revocation_list(*past))
    site.gateway.trust(site.authority.root.read_bytes())
    site.configure(custom=True, crl=[url], crl_stale=rule)
    site.gateway.start()
    site.gateway.wait_for_log(
        f"Revocation list {url} failed: the server gives a list that is out of date since"
    )
    site.gateway.wait_for_log(rf"Alert \({'warning' if rule == 'warn' else 'critical'}\).*Revocation list")
    if rule == "warn":
        site.check_passes(f"{VERIFIED} ({STALE})")
    else:
        site.check_kept(f"verify error: {STALE}")
    web.publish("ca.crl", site.authority.revocation_list())
    site.gateway.command("ca", "crl", "fetch")
    site.check_passes()


def test_a_server_that_is_down_leaves_the_last_good_list_in_use(site: Site, web: Web) -> None:
    url = web.publish("ca.crl", site.authority.revocation_list())
    site.gateway.trust(site.authority.root.read_bytes())
    site.configure(custom=True, crl=[{"url": url, "name": "Partner"}])
    site.gateway.start()
    site.gateway.wait_for_log("of CN=OpenSSL CA: 0 revoked")
    web.close()
    said = site.gateway.refused("ca", "crl", "fetch", "Partner", status=1)
    assert "Partner: the last attempt failed: connection refused" in said
    site.gateway.wait_for_log(f"Revocation list {url} failed: connection refused, next try")
    site.gateway.wait_for_log("Alert .*Revocation list Partner cannot be fetched")
    (row,) = site.lists()
    assert (row["status"], row["failures"], row["reason"]) == ("good", 1, "connection refused")
    site.check_passes()


@pytest.mark.parametrize("kind", ["forged", "older", "html", "endless"])
def test_what_a_server_gives_instead_is_refused(site: Site, web: Web, place: Path, kind: str) -> None:
    old = site.authority.revocation_list()
    url = web.publish("ca.crl", site.authority.revocation_list())
    site.gateway.trust(site.authority.root.read_bytes())
    site.configure(custom=True, crl=[url])
    site.gateway.start()
    site.gateway.wait_for_log("of CN=OpenSSL CA: 0 revoked")
    (before,) = site.lists()
    impostor = OpensslAuthority(place / "impostor")
    instead, words = {
        "forged": (impostor.revocation_list("-crldays", "90"), "the signature"),
        "older": (old, "older than the one in use"),
        "html": (b"<html>Not here</html>", "no revocation list"),
        "endless": (bytes(9 << 20), "answer longer than 8 MiB"),
    }[kind]
    web.publish("ca.crl", instead)
    assert words in site.gateway.refused("ca", "crl", "fetch", status=1)
    (after,) = site.lists()
    assert after["fingerprint"] == before["fingerprint"]
    site.check_passes()
