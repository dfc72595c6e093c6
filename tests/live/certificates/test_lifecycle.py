"""R3 to R9 on a running gateway: openssl is the authority that signs our request, the peer that looks, and the reader of exports.

One gateway, one administrator's commands; the file's tests follow a certificate through its life, each with a profile of its own.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.live.certificates.openssl_ca import OpensslCa, fingerprint, openssl
from tests.live.peers.clients import s_client
from tests.live.peers.gateway import Document, document
from tests.live.peers.processes import need, need_root, run
from tests.live.peers.scene import Scene

from gatepost.control.protocol import call
from gatepost.core.errors import OperatorError

PHRASE = "seven green bicycles at noon"
WITHIN = 5.0  # seconds from the end of a command to the certificate on the wire, on a busy machine


class Site:
    def __init__(self, scene: Scene) -> None:
        self.folder = scene.folder / "lifecycle"
        self.folder.mkdir()
        self.ca = OpensslCa(self.folder / "ca")
        self.gateway = scene.gateway()
        self.public, self.private = scene.ports.free(), scene.ports.free()
        self.use("Demo")
        self.gateway.start(workers=2)
        self.gateway.command("ca", "import", self.ca.root)

    def use(self, certificate: str) -> None:
        written: Document = document(self.public, self.private, hop="[127.0.0.1]:9", certificate=certificate)
        self.gateway.configure(written)

    def show(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.gateway.command("cert", "show", name, "--json"))
        return found

    def new(self, name: str, *options: str) -> Path:
        """A self-signed certificate in use, and the file with its request."""
        self.gateway.command(
            "cert", "new", name, "--common-name", "mx.example.net", "--key", "p256", *options
        )
        self.use(name)
        return self.request(name)

    def request(self, name: str) -> Path:
        file = self.folder / f"{name}-{time.monotonic_ns()}.csr"
        file.write_text(self.gateway.command("cert", "csr", name))
        return file

    def served(self, *options: str) -> list[str]:
        """What a new connection is shown: SHA-256 of each certificate, by openssl."""
        seen = s_client(self.public, "QUIT\r\n", "-showcerts", *options)
        blocks = re.findall(
            r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", seen.transcript, re.DOTALL
        )
        found = []
        for number, block in enumerate(dict.fromkeys(blocks)):
            file = self.folder / f"seen-{number}.pem"
            file.write_text(block)
            found.append(fingerprint(file))
        return found

    def check_seen_everywhere(self, wanted: list[str], *options: str) -> None:
        """Several connections in a row are shown this, so that every worker was asked."""
        limit = time.monotonic() + WITHIN
        while self.served(*options) != wanted and time.monotonic() < limit:
            pass  # each turn is a whole handshake
        seen = [self.served(*options) for _ in range(4)]
        assert seen == [wanted] * 4, "\n".join(self.gateway.log.all[-25:])


@pytest.fixture(scope="module")
def site(scene: Scene) -> Site:
    return Site(scene)


def test_r3_one_step_makes_certificate_and_request(site: Site) -> None:
    said = run_gatepost(
        site, "cert", "new", "r3", "--common-name", "www.example.net", "--san", "a.example.net", "--organization",
        "Example", "--unit", "Mail", "--locality", "Bolzano", "--state", "BZ", "--country", "IT", "--key", "rsa3072",
        "--days", "60",
    )  # fmt: skip
    assert "mx.example.net (listener IncomingMail" in said  # the warning names the interfaces' host names
    text = openssl("req", "-in", site.request("r3"), "-noout", "-text", "-verify")
    assert re.search(
        r"Subject: C = IT, ST = BZ, L = Bolzano, O = Example, OU = Mail, CN = www\.example\.net", text
    )
    assert "DNS:a.example.net" in text
    assert "(3072 bit)" in text
    assert site.show("r3")["status"] == "self-signed"


def run_gatepost(site: Site, *words: str) -> str:
    """Both outputs of a command that succeeds, on one line."""
    from tests.live.peers.gateway import COMMAND

    done = run([*COMMAND, *words], environment={"GATEPOST_HOME": str(site.gateway.home), "COLUMNS": "80"})
    assert done.returncode == 0, done.stderr.decode()
    return " ".join((done.stdout + done.stderr).decode().split())


def test_r4_a_request_exists_after_the_commit_and_not_before(site: Site) -> None:
    site.gateway.command("cert", "new", "r4", "--common-name", "mx.example.net", "--key", "p256", "--pending")
    said = site.gateway.refused("cert", "csr", "r4", status=1)
    assert "a signed answer could not be applied" in said
    site.gateway.command("config", "commit")
    text = openssl("req", "-in", site.request("r4"), "-noout", "-text", "-verify")
    assert "mx.example.net" in text


def test_r5_the_signed_certificate_is_served_after_the_commit_and_not_before(site: Site) -> None:
    request = site.new("r5")
    old = [site.show("r5")["fingerprint"]]
    site.check_seen_everywhere(old)
    signed = site.ca.sign(request, "mx.example.net")
    site.gateway.command("cert", "install", "r5", signed, "--intermediates", site.ca.sub, "--pending")
    site.check_seen_everywhere(old)
    site.gateway.command("config", "commit")
    site.check_seen_everywhere([fingerprint(signed), fingerprint(site.ca.sub)])
    seen = s_client(site.public, "QUIT\r\n", "-CAfile", str(site.ca.root), "-verify_return_error")
    assert "Verify return code: 0 (ok)" in seen.transcript
    assert site.show("r5")["origin"] == "signed"


@pytest.mark.parametrize("form", ["der", "pkcs7", "pkcs7-der", "any-order", "with-key-and-root", "letter"])
def test_r5_whatever_form_the_authority_sends(site: Site, form: str) -> None:
    name = f"r5-{form}"
    signed = site.ca.sign(site.new(name), "mx.example.net")
    file = site.folder / f"{name}.answer"
    chain = [site.ca.root, signed, site.ca.sub]
    match form:
        case "der":
            openssl("x509", "-in", signed, "-outform", "DER", "-out", file)
        case "pkcs7" | "pkcs7-der":
            kind = "DER" if form.endswith("der") else "PEM"
            both = ["-certfile", signed, "-certfile", site.ca.sub]
            openssl("crl2pkcs7", "-nocrl", *both, "-outform", kind, "-out", file)
        case "with-key-and-root":
            secret = site.folder / f"{name}.p12"
            phrase = site.folder / "phrase"
            phrase.write_text(PHRASE)
            site.gateway.command("cert", "export", name, secret, "--passphrase-file", phrase)
            key = openssl("pkcs12", "-in", secret, "-nocerts", "-nodes", "-passin", f"file:{phrase}")
            file.write_text(key + "".join(one.read_text() for one in chain))
        case "letter":
            text = "\ufeffDear customer,\n\nyour certificate:\n\n" + "\nand ours:\n".join(
                c.read_text() for c in chain
            )
            file.write_bytes(text.replace("\n", "\r\n").encode())
        case _:
            file.write_text("".join(one.read_text() for one in chain))
    site.gateway.command("cert", "install", name, file)
    behind = [] if form == "der" else [fingerprint(site.ca.sub)]
    site.check_seen_everywhere([fingerprint(signed), *behind])  # the root is never sent


@pytest.mark.parametrize("wrong", ["other-key", "expired", "not-yet-valid", "garbage", "cut", "authority"])
def test_r5_what_is_wrong_is_named_and_the_old_one_stays(site: Site, wrong: str) -> None:
    name = f"bad-{wrong}"
    request = site.new(name)
    old = [site.show(name)["fingerprint"]]
    site.check_seen_everywhere(old)
    file = site.folder / f"{name}.pem"
    match wrong:
        case "other-key":
            site.gateway.command(
                "cert", "new", "elsewhere", "--common-name", "mx.example.net", "--key", "p256"
            )
            file.write_text(site.ca.sign(site.request("elsewhere"), "mx.example.net").read_text())
            words = "was not made for a key of bad-other-key"
        case "expired":
            dated = site.ca.sign_dated(request, "mx.example.net", "20250101000000Z", "20250201000000Z")
            file.write_text(dated.read_text())
            words = "expired on 2025-02-01"
        case "not-yet-valid":
            dated = site.ca.sign_dated(request, "mx.example.net", "20400101000000Z", "20400201000000Z")
            file.write_text(dated.read_text())
            words = "not yet valid, it begins at 2040-01-01"
        case "garbage":
            file.write_bytes(bytes(range(256)) * 40)
            words = f"{file}: "
        case "cut":
            file.write_text(site.ca.sign(request, "mx.example.net").read_text()[:300])
            words = f"{file}: "
        case _:
            file.write_text(site.ca.sub.read_text())
            words = "authorities only"
    said = site.gateway.refused("cert", "install", name, file, status=1)
    assert words in said
    assert "Traceback" not in said
    site.check_seen_everywhere(old)
    assert len(site.show(name)["history"]) == 1


def test_r6_last_years_intermediate_is_not_beside_this_years(site: Site) -> None:
    name = "r6"
    signed = site.ca.sign(site.new(name), "mx.example.net")
    site.gateway.command("cert", "install", name, signed, "--intermediates", site.ca.sub)
    moved = OpensslCa(site.folder / "moved", "Moved")
    again = moved.sign(site.request(name), "mx.example.net")
    site.gateway.command("cert", "install", name, again, "--intermediates", moved.sub)
    site.check_seen_everywhere([fingerprint(again), fingerprint(moved.sub)])
    # Nothing comes with the third one: what still belongs stays, and that is this year's.
    third = moved.sign(site.request(name), "mx.example.net", "-days", "30")
    site.gateway.command("cert", "install", name, third)
    site.check_seen_everywhere([fingerprint(third), fingerprint(moved.sub)])


def test_r6_an_untidy_bundle_is_stored_found_and_repaired_on_request(site: Site) -> None:
    name = "untidy"
    signed = site.ca.sign(site.new(name), "mx.example.net")
    stranger = OpensslCa(site.folder / "stranger", "Stranger")
    file = site.folder / "untidy.pem"
    parts = [stranger.sub, site.ca.sub, site.ca.sub, site.ca.root, signed]
    file.write_text("".join(one.read_text() for one in parts))
    site.gateway.command("cert", "install", name, file)
    found = json.loads(site.gateway.command("cert", "check", name, "--json", status=None))
    assert {"duplicate", "unrelated", "root-included"} <= {finding["code"] for finding in found["findings"]}
    assert len(site.show(name)["chain"]) == len(parts)
    said = site.gateway.command("cert", "check", name, "--repair")
    assert "taken out: CN=Stranger sub" in said
    site.check_seen_everywhere([fingerprint(signed), fingerprint(site.ca.sub)])
    found = json.loads(site.gateway.command("cert", "check", name, "--json"))
    assert not {"duplicate", "unrelated", "root-included"} & {f["code"] for f in found["findings"]}


def test_r7_an_rsa_certificate_stands_beside_the_other(site: Site) -> None:
    request = site.new("both")
    signed = site.ca.sign(request, "mx.example.net")
    site.gateway.command("cert", "install", "both", signed, "--intermediates", site.ca.sub)
    site.gateway.command("cert", "renew", "both", "--beside", "--key", "rsa2048")
    rsa = site.ca.sign(site.request("both"), "mx.example.net")
    site.gateway.command("cert", "install", "both", rsa, "--beside")
    sub = fingerprint(site.ca.sub)
    only = ("-tls1_2", "-cipher")
    site.check_seen_everywhere([fingerprint(rsa), sub], *only, "ECDHE-RSA-AES256-GCM-SHA384")
    site.check_seen_everywhere([fingerprint(signed), sub], *only, "ECDHE-ECDSA-AES256-GCM-SHA384")


def test_r8_renewed_with_a_new_key_that_waits_beside_the_served_one(site: Site) -> None:
    request = site.new("r8")
    first = site.ca.sign(request, "mx.example.net")
    site.gateway.command("cert", "install", "r8", first, "--intermediates", site.ca.sub)
    sub = fingerprint(site.ca.sub)
    said = site.gateway.command("cert", "renew", "r8", "--new-key", "--dry-run")
    assert "Nothing was changed" in said
    site.gateway.command("cert", "renew", "r8", "--new-key")
    site.check_seen_everywhere([fingerprint(first), sub])
    again = site.request("r8")
    publics = {openssl("req", "-in", one, "-noout", "-pubkey") for one in (request, again)}
    assert len(publics) == 2
    assert openssl("req", "-in", again, "-noout", "-subject") == openssl(
        "req", "-in", request, "-noout", "-subject"
    )
    second = site.ca.sign(again, "mx.example.net")
    site.gateway.command("cert", "install", "r8", second)
    site.check_seen_everywhere([fingerprint(second), sub])
    version = next(row["version"] for row in site.show("r8")["history"] if not row["in_force"])
    site.gateway.command("cert", "restore", "r8", str(version))  # certificate and key of before the answer
    site.check_seen_everywhere([fingerprint(first), sub])
    site.gateway.wait_for_log(f"r8.*signed.*{fingerprint(second)[:16]}")


def test_r8_a_self_signed_certificate_is_made_anew_at_once(site: Site) -> None:
    site.new("anew", "--days", "30")
    old = site.show("anew")["fingerprint"]
    site.check_seen_everywhere([old])
    site.gateway.command("cert", "renew", "anew", "--days", "60")
    new = site.show("anew")["fingerprint"]
    assert new != old
    site.check_seen_everywhere([new])


@pytest.mark.parametrize("options", [(), ("--compatible",)])
def test_r9_an_export_is_opened_by_openssl_and_certtool(site: Site, options: tuple[str, ...]) -> None:
    name = f"r9{len(options)}"
    signed = site.ca.sign(site.new(name), "mx.example.net")
    site.gateway.command("cert", "install", name, signed, "--intermediates", site.ca.sub)
    out, phrase = site.folder / f"{name}.p12", site.folder / f"{name}.phrase"
    phrase.write_text(PHRASE + "\n")
    site.gateway.command("cert", "export", name, out, "--passphrase-file", phrase, *options)
    assert out.stat().st_mode & 0o777 == 0o600
    legacy = ["-legacy"] if options else []
    text = openssl("pkcs12", "-in", out, "-nokeys", "-passin", f"pass:{PHRASE}", *legacy)
    assert text.count("BEGIN CERTIFICATE") == 2
    key = openssl("pkcs12", "-in", out, "-nocerts", "-nodes", "-passin", f"pass:{PHRASE}", *legacy)
    assert "PRIVATE KEY" in key
    wrong = run(
        [need("openssl", "openssl"), "pkcs12", "-in", out, "-noout", "-passin", "pass:wrong", *legacy]
    )
    assert wrong.returncode != 0
    seen = run(
        [need("certtool", "gnutls-bin"), "--p12-info", "--inder", "--infile", out, "--password", PHRASE]
    )
    assert seen.returncode == 0, seen.stderr.decode(errors="replace")
    assert seen.stdout.decode(errors="replace").count("BEGIN CERTIFICATE") == 2
    # And back again, under another name.
    site.gateway.command("cert", "import", f"{name}-back", out, "--passphrase-file", phrase)
    assert site.show(f"{name}-back")["fingerprint"] == fingerprint(signed)


def test_r9_a_weak_or_a_wrong_pass_phrase_is_refused(site: Site) -> None:
    out = site.folder / "weak.p12"
    for weak in ("short", "passwordpassword"):
        said = site.gateway.refused("cert", "export", "Demo", out, "--passphrase", weak, status=1)
        assert weak not in said.replace("pass-phrase", "")
    assert not out.exists()
    site.gateway.command("cert", "export", "Demo", out, "--passphrase", PHRASE)
    said = site.gateway.refused(
        "cert", "import", "opened", out, "--passphrase", "not the right one", status=1
    )
    assert str(out) in said
    assert "pass-phrase does not open" in said


OWNER = 65_534  # the second administrator: the user that the gateway runs as


def readable_by_others(program: Path) -> bool:
    """Every folder on the way to the real program lets others through."""
    real = program.resolve()
    return all(path.stat().st_mode & 0o001 for path in (real, *real.parents))


def as_owner(home: Path, op: str, **args: Any) -> Any:
    """An operation of the running gateway, asked for by its owner; its answer, or the text of its refusal."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # only this process changes its user
        os.setresgid(OWNER, OWNER, OWNER)
        os.setresuid(OWNER, OWNER, OWNER)
        try:
            told: Any = call(home / "run" / "control.sock", op, args)
        except OperatorError as error:
            told = " ".join((error.message, *(problem.line() for problem in error.problems)))
        os.write(write, json.dumps(told).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


def test_r31_two_administrators_change_the_same_certificate(scene: Scene) -> None:
    """Root and the gateway's own user: the first to commit wins, the second is told and loses nothing."""
    need_root("acts as two users")
    if not readable_by_others(Path(sys.executable)):
        pytest.skip(f"only root can run {sys.executable}, and the gateway is to run as another user")
    folder = scene.folder / "two"
    folder.mkdir()
    ca, gateway, port = OpensslCa(folder / "ca"), scene.gateway(), scene.ports.free()
    gateway.command("cert", "new", "shared", "--common-name", "mx.example.net", "--key", "p256")
    gateway.configure(document(port, scene.ports.free(), hop="[127.0.0.1]:9", certificate="shared"))
    for path in (gateway.home, *gateway.home.rglob("*")):
        os.chown(path, OWNER, OWNER)
    before = os.umask(0)  # the owner says on a socket of ours that it is ready
    try:
        gateway.start()
    finally:
        os.umask(before)
    request = folder / "shared.csr"
    request.write_text(gateway.command("cert", "csr", "shared"))
    first = ca.sign(request, "mx.example.net")
    first_text = first.read_bytes()
    second_text = ca.sign(request, "mx.example.net", "-days", "30").read_bytes()
    file = folder / "first.pem"
    file.write_bytes(first_text)
    gateway.command("cert", "install", "shared", file, "--pending")
    coded = b64encode(second_text).decode()
    assert as_owner(gateway.home, "cert.install", name="shared", file=coded, pending=True)["pending"]
    gateway.command("config", "commit")
    told = as_owner(gateway.home, "config.commit")
    assert "changed the same place as you did" in told
    assert "certificates[shared]" in told
    assert as_owner(gateway.home, "config.pending")["pending"]
    assert json.loads(gateway.command("cert", "show", "shared", "--json"))["fingerprint"] == fingerprint(file)
    seen = s_client(port, "QUIT\r\n", "-showcerts").transcript
    assert file.read_text().strip() in seen
    # The second gives its change up and makes it again, on what is there now.
    as_owner(gateway.home, "config.clear")
    assert as_owner(gateway.home, "cert.install", name="shared", file=coded)["version"]
    assert json.loads(gateway.command("cert", "show", "shared", "--json"))["origin"] == "signed"


def test_a_used_certificate_is_not_deleted(site: Site) -> None:
    site.new("kept")
    said = site.gateway.refused("cert", "delete", "kept", "--force", status=1)
    assert "listener IncomingMail" in said
    assert "listener OutgoingMail" in said
    site.use("Demo")
    site.gateway.command("cert", "delete", "kept")
    site.gateway.refused("cert", "show", "kept", status=1)


def test_nothing_secret_is_in_the_logs(site: Site) -> None:
    for file in (site.gateway.home / "logs").iterdir():
        text = file.read_text() if file.is_file() else ""
        assert "PRIVATE KEY" not in text
        assert PHRASE not in text
