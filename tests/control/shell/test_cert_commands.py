"""`gatepost cert …`: what the commands on a certificate's life say, where, and how they end."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12
from tests.control.kit import CONTRACT_LIKE, Bench, pem_of
from tests.control.shell.running import Said, desk, gatepost
from tests.fakes.ca import TestAuthority

from gatepost.core.errors import Exit
from gatepost.pki.keys import SecretBytes, load_private_key
from gatepost.pki.profile import split_keys
from gatepost.store.home import Home

CA = TestAuthority("Example Root").intermediate("Example Sub CA")
PHRASE = "seven green bicycles at noon"
NEW = ("cert", "new", "gw", "--common-name", "mx.example.net", "--key", "p256")


@pytest.fixture
def stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("GATEPOST_HOME", str(home.root))
    return home


@pytest.fixture
def running(stopped: Home) -> Iterator[Bench]:
    bench = Bench(stopped)
    with desk(bench):
        yield bench
    bench.store.close()


@pytest.fixture
def bench(stopped: Home) -> Iterator[Bench]:
    bench = Bench(stopped)
    yield bench
    bench.store.close()


def ok(*words: str, stdin: bytes = b"") -> Said:
    said = gatepost(*words, stdin=stdin)
    assert said.code == 0, said.err
    if words[0] == "cert" and "--json" not in words:
        assert max(map(len, (said.out + said.err).splitlines()), default=0) <= 80
    return said


def answer_file(bench: Bench, folder: Path) -> Path:
    """The request signed by the test's authority, as a file."""
    request = x509.load_pem_x509_csr(ok("cert", "csr", "gw").out.encode())
    key = load_private_key(split_keys(SecretBytes(bench.opens("gw")))[-1].reveal())
    issued = CA.issue(["mx.example.net"], key=key)  # type: ignore[arg-type]
    assert issued.leaf.public_key() == request.public_key()
    file = folder / "signed.pem"
    file.write_bytes(issued.chain_pem)
    return file


def test_from_a_request_to_the_signed_certificate(running: Bench, tmp_path: Path) -> None:
    said = ok(*NEW)
    assert "none of its names is the host name" in " ".join(
        said.err.split()
    )  # the default document's host is another
    assert "verification will" in said.out
    assert "gatepost cert csr gw" in said.out
    said = ok("cert", "csr", "gw")
    assert said.out.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert "X.509/PEM (Apache) form" in said.err
    assert json.loads(ok("cert", "csr", "gw", "--json").out)["names"] == ["DNS:mx.example.net"]
    ok("config", "apply", "-", stdin=CONTRACT_LIKE.replace("certificate: Demo", "certificate: gw").encode())
    file = answer_file(running, tmp_path)
    said = ok("cert", "install", "gw", str(file), "--pending")
    assert "After the commit it is served by listener IncomingMail; until then" in " ".join(said.out.split())
    ok("config", "commit")
    page = ok("cert", "show", "gw").out
    assert "Origin   signed" in page
    assert "Level    machine" in page  # R12
    assert "CN=Example Sub CA, until" in page
    assert "(now)" in page
    again = json.loads(ok("cert", "install", "gw", str(file), "--json").out)
    assert again["replaces"] == ["listener IncomingMail"]


def test_a_request_that_is_pending_is_refused_with_exit_1(stopped: Home) -> None:
    said = ok(*NEW, "--pending")
    assert "commit it, then gatepost cert csr gw" in said.out
    said = gatepost("cert", "csr", "gw")
    assert (said.code, said.out) == (Exit.REFUSED, "")
    assert "a signed answer could not be applied to it" in said.err


def test_a_file_that_is_no_answer_is_named(running: Bench, tmp_path: Path) -> None:
    ok(*NEW)
    file = tmp_path / "wrong.pem"
    for content, words in (
        (b"hello", str(file)),
        (b"", "is empty"),
        (pem_of(CA.issue(["x.example"])), "not made"),
    ):
        file.write_bytes(content)
        said = gatepost("cert", "install", "gw", str(file))
        assert (said.code, said.out) == (Exit.REFUSED, "")
        assert words in said.err
        assert str(file) in said.err
    assert gatepost("cert", "install", "gw").code == Exit.USAGE
    assert gatepost("cert", "install", "gw", "-", "--intermediates", "-").code == Exit.USAGE
    assert running.versions() == 2


def test_without_a_common_name_the_interfaces_names_are_offered(stopped: Home) -> None:
    ok("config", "apply", "-", stdin=CONTRACT_LIKE.encode())
    said = gatepost("cert", "new", "gw")
    assert said.code == Exit.USAGE
    assert "mx.example.net" in said.err


def test_an_export_is_a_file_for_its_owner_only(bench: Bench, stopped: Home, tmp_path: Path) -> None:
    ok(*NEW)
    out, secret = tmp_path / "gw.p12", tmp_path / "secret"
    secret.write_text(PHRASE + "\n")
    said = ok("cert", "export", "gw", str(out), "--passphrase-file", str(secret))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert pkcs12.load_pkcs12(out.read_bytes(), PHRASE.encode()).key is not None
    assert PHRASE not in said.out + said.err
    before = out.read_bytes()
    said = gatepost("cert", "export", "gw", str(out), "--passphrase-file", str(secret))
    assert (said.code, out.read_bytes()) == (Exit.REFUSED, before)
    assert "--overwrite" in said.err
    said = ok(
        "cert", "export", "gw", str(out), "--passphrase", PHRASE, "--compatible", "--overwrite", "--json"
    )
    assert json.loads(said.out)["form"] == "compatible"
    assert said.err.count("visible to others") == 1
    assert out.read_bytes() != before
    for wrong, code in ((("--passphrase", "short"), Exit.REFUSED), ((), Exit.USAGE)):
        said = gatepost("cert", "export", "gw", str(tmp_path / "no.p12"), *wrong)
        assert said.code == code
    assert (
        gatepost("cert", "export", "x", str(tmp_path / "no.p12"), "--passphrase", PHRASE).code == Exit.REFUSED
    )
    assert not (tmp_path / "no.p12").exists()


def test_a_renewal_is_shown_before_and_done(running: Bench, tmp_path: Path) -> None:
    ok(*NEW)
    said = ok("cert", "renew", "gw", "--dry-run")
    assert "made anew at once, with the key that is there" in " ".join(said.out.split())
    assert "Nothing was changed." in said.out
    assert running.versions() == 2
    assert (
        json.loads(ok("cert", "renew", "gw", "--dry-run", "--key", "rsa2048", "--json").out)["new_key"]
        == "rsa2048"
    )
    said = ok("cert", "renew", "gw", "--days", "7")
    assert "Version 3 is active." in said.out
    ok("cert", "install", "gw", str(answer_file(running, tmp_path)))
    said = ok("cert", "renew", "gw", "--new-key", "--pending")
    text = " ".join(said.out.split())
    assert "Commit it first" in text
    assert "waits beside the served one" in text
    assert "served by" not in text  # only the request is new
    ok("config", "commit")
    assert "for a new key, which waits" in ok("cert", "show", "gw").out
    assert "given up" in " ".join(ok("cert", "renew", "gw", "--new-key", "--dry-run").out.split())
    assert gatepost("cert", "renew", "gw", "--days", "9").code == Exit.REFUSED


def test_a_check_ends_with_1_when_verification_breaks(running: Bench, tmp_path: Path) -> None:
    assert ok("cert", "check", "Demo", "--json").code == 0
    root = tmp_path / "root.pem"
    root.write_bytes(CA.root_pem)
    ok("ca", "import", str(root))
    for name, issued in (
        ("whole", CA.issue(["mx.example.net"])),
        ("gap", CA.issue(["mx.example.net"]).sending(leaf_only=True)),
    ):
        file = tmp_path / f"{name}.pem"
        file.write_bytes(pem_of(issued))
        ok("cert", "import", name, str(file))
    said = gatepost("cert", "check", "--json")
    assert said.code == Exit.REFUSED
    rows = {row["name"]: row for row in json.loads(said.out)}
    # The bench lives in 2027, when these certificates of today have expired: only the codes are of interest.
    codes = {finding["code"] for finding in rows["gap"]["findings"]}
    assert "missing-intermediate" in codes
    said = gatepost("cert", "check", "gap", "--repair")
    assert "put in: CN=Example Sub CA" in said.out
    assert "is active" in said.out
    found = json.loads(gatepost("cert", "check", "gap", "--json").out)
    assert "missing-intermediate" not in {finding["code"] for finding in found["findings"]}
    assert "No bundle had to be repaired." in gatepost("cert", "check", "gap", "--repair").out


def test_restore_and_delete(running: Bench, tmp_path: Path) -> None:
    ok(*NEW)
    first = running.opens("gw")
    ok("cert", "renew", "gw", "--new-key")
    assert running.opens("gw") != first
    said = ok("cert", "restore", "gw", "2")
    assert "Version 4 is active." in said.out
    assert running.opens("gw") == first
    assert gatepost("cert", "restore", "gw", "1").code == Exit.REFUSED
    assert gatepost("cert", "restore", "gw", "first").code == Exit.USAGE
    said = gatepost("cert", "delete", "Demo")
    assert (said.code, said.out) == (Exit.REFUSED, "")
    assert "listener IncomingMail" in said.err
    assert ok("cert", "delete", "gw", "--pending").out.startswith("Certificate gw is to be deleted.")
    ok("config", "commit")
    assert [row["name"] for row in json.loads(ok("cert", "list", "--json").out)] == ["Demo"]


def test_two_certificates_under_one_name_are_shown(stopped: Home, tmp_path: Path) -> None:
    for kind, words in (("rsa2048", ()), ("p256", ("--beside",))):
        file = tmp_path / f"{kind}.pem"
        file.write_bytes(pem_of(CA.issue(["mx.example.net"], key=kind)))
        ok("cert", "import", "gw", str(file), *words)
    page = ok("cert", "show", "gw").out
    assert "Key      RSA 2048" in page
    assert "Second certificate" in page
    assert "EC secp256r1" in page
    assert "The second certificate of gw is deleted." in ok("cert", "delete", "gw", "--beside").out
    assert "Second certificate" not in ok("cert", "show", "gw").out
