"""Acceptance of the rows R3 to R9: a certificate's life by hand, in the words of an administrator's commands.

One test a row, each by itself, on one running gateway; openssl and certtool make and read the files and look at the
listener. The special cases stand in `test_lifecycle`, `test_files` and `test_renewal`; R1, R2, R10 to R15 and
R37 in `test_rows_in_use`.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from tests.live.certificates.openssl_ca import OpensslCa, fingerprint, openssl
from tests.live.certificates.rows_site import HOST, RowsSite
from tests.live.peers.gateway import COMMAND
from tests.live.peers.processes import need, run
from tests.live.peers.scene import Scene

PHRASE = "seven green bicycles at noon"


@pytest.fixture(scope="module")
def site(scene: Scene) -> RowsSite:
    return RowsSite(scene)


def certtool(*words: str | Path) -> str:
    done = run([need("certtool", "gnutls-bin"), *words])
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace")


def public_key(command: str, file: Path) -> str:
    """The public key of a certificate (`x509`) or of a request (`req`), by openssl."""
    return openssl(command, "-in", file, "-noout", "-pubkey")


def codes(site: RowsSite, name: str, status: int | None = None) -> set[str]:
    found = site.asked("cert", "check", name, status=status)
    return {finding["code"] for finding in found["findings"]}


def test_r3_create_self_signed(site: RowsSite) -> None:
    """R3. Create self-signed: common name, organisation, unit, locality, state, country, duration, key type and size,
    alternative names. One step makes the key, the certificate and its CSR. The host names of the listening and delivery
    interfaces are offered as common name, and a warning comes before the submit when neither CN nor SAN matches one.
    """
    offered = site.said("cert", "new", "r3", status=2)
    assert f"the interfaces' host names are {HOST}" in offered
    fields = [
        "--san", "a.example.net", "--san", "b.example.net", "--organization", "Example", "--unit", "Mail",
        "--locality", "Bolzano", "--state", "BZ", "--country", "IT", "--days", "60", "--key", "rsa3072", "--pending",
    ]  # fmt: skip
    warned = site.said("cert", "new", "r3", "--common-name", "www.example.net", *fields)
    assert f"{HOST} (listener IncomingMail, listener OutgoingMail, delivery)" in warned
    site.gateway.command("config", "clear")
    made = site.said("cert", "new", "r3", "--common-name", HOST, "--san", HOST, *fields)
    assert "none of its names" not in made
    site.gateway.command("config", "commit")

    request = site.request("r3")
    asked = openssl("req", "-in", request, "-noout", "-text", "-verify")
    site.use("r3")
    (shown,) = site.served()
    certificate = site.shown
    text = openssl("x509", "-in", certificate, "-noout", "-text")
    for seen in (asked, text):
        assert re.search(
            r"Subject: C = IT, ST = BZ, L = Bolzano, O = Example, OU = Mail, CN = mx\.example\.net", seen
        )
        assert "DNS:mx.example.net, DNS:a.example.net, DNS:b.example.net" in seen
        assert "(3072 bit)" in seen
    assert public_key("req", request) == public_key("x509", certificate)
    assert shown == site.asked("cert", "show", "r3")["fingerprint"]
    day = 86_400
    for days, ends in ((59, 0), (61, 1)):  # openssl: 1 when it ends within so many seconds
        done = run(
            [need("openssl", "openssl"), "x509", "-in", certificate, "-noout", "-checkend", str(days * day)]
        )
        assert done.returncode == ends


def test_r4_the_request_can_be_downloaded_after_the_commit(site: RowsSite) -> None:
    """R4. The CSR can be downloaded in PEM; the page says what to ask of the CA: X.509/PEM (Apache) form, and its
    intermediate certificate. A certificate that is only submitted, not committed, has no downloadable CSR: the product says
    that it must be committed first, since a signed answer could not be applied to it.
    """
    site.gateway.command("cert", "new", "r4", "--common-name", HOST, "--key", "p384", "--pending")
    refused = site.said("cert", "csr", "r4", status=1)
    assert "a signed answer could not be applied to it" in refused
    assert "commit" in refused
    site.gateway.command("config", "commit")
    asks = site.said("cert", "csr", "r4")
    assert "X.509/PEM (Apache) form, and for its intermediate certificate" in asks
    request = site.request("r4")
    openssl("req", "-in", request, "-noout", "-verify")
    read = certtool("--crq-info", "--infile", request)
    assert f"CN={HOST}" in read
    assert f"DNSname: {HOST}" in read
    assert "SECP384R1" in read


def test_r5_upload_the_signed_certificate(site: RowsSite) -> None:
    """R5. The signed certificate is uploaded to the same name: PEM, or a format convertible to it, with the whole chain in any
    order. A PEM that also holds the private key and roots is taken: the key is compared, roots are set apart and not
    served. It replaces the current certificate for every use, after commit, and says so; until then the old pair is served. A
    mismatch, an expired or a not-yet-valid one, and a garbage file are each refused by name, and the old certificate stays.
    """
    request = site.new("r5")
    site.use("r5")
    old = site.asked("cert", "show", "r5")["fingerprint"]
    site.seen([old])

    other = site.ca.sign(site.new("r5-other"), HOST)
    assert "was not made for a key of r5" in site.said("cert", "install", "r5", other, status=1)
    past = site.ca.sign_dated(request, HOST, "20250101000000Z", "20250201000000Z")
    assert "expired on 2025-02-01" in site.said("cert", "install", "r5", past, status=1)
    later = site.ca.sign_dated(request, HOST, "20400101000000Z", "20400201000000Z")
    assert "not yet valid, it begins at 2040-01-01" in site.said("cert", "install", "r5", later, status=1)
    garbage = site.write("garbage.pem", "-----BEGIN CERTIFICATE-----\nZZZZ\n-----END CERTIFICATE-----\n")
    assert str(garbage) in site.said("cert", "install", "r5", garbage, status=1)
    site.still_seen([old])

    phrase = site.write("r5.phrase", PHRASE)
    out = site.folder / "r5.p12"
    site.gateway.command("cert", "export", "r5", out, "--passphrase-file", phrase)
    key = openssl("pkcs12", "-in", out, "-nocerts", "-nodes", "-passin", f"file:{phrase}")
    signed = site.ca.sign(request, HOST)
    answer = site.write("r5.answer", site.ca.root, key, site.ca.sub, signed)
    told = site.said("cert", "install", "r5", answer, "--pending")
    assert "After the commit it is served by listener IncomingMail, listener OutgoingMail" in told
    assert "until then the old one is" in told
    assert "PRIVATE KEY" not in told
    site.still_seen([old])
    site.gateway.command("config", "commit")
    for port in (site.public, site.private):
        site.seen([signed, site.ca.sub], port=port)  # the root is kept, and not sent
        assert "Verify return code: 0 (ok)" in site.verified(port=port).transcript
    kept = {one["fingerprint"]: one["sent"] for one in site.asked("cert", "show", "r5")["chain"]}
    assert kept == {
        fingerprint(signed): True,
        fingerprint(site.ca.sub): True,
        fingerprint(site.ca.root): False,
    }

    again = site.ca.sign(request, HOST, "-days", "80")
    bundle = site.folder / "r5.p7b"
    openssl(
        "crl2pkcs7", "-nocrl", "-certfile", again, "-certfile", site.ca.sub, "-outform", "DER", "-out", bundle
    )
    assert "It is served by listener IncomingMail" in site.said("cert", "install", "r5", bundle)
    site.seen([again, site.ca.sub])


def test_r6_intermediates(site: RowsSite) -> None:
    """R6. Intermediates can be uploaded with it and later. Duplicates (the same certificate twice, or two for the same subject
    and key, one of them stale), wrong order, gaps and strangers to the chain are found, explained and repaired on
    request. Updating a certificate never leaves last year's intermediate beside this year's.
    """
    issuing = site.ca.sub_authority("issuing", site.ca.sub)
    stale = site.ca.sign_dated(
        site.ca.file("issuing.csr"), HOST, "20240101000000Z", "20250101000000Z", by=site.ca.sub,
        section="authority",
    )  # fmt: skip
    stranger = OpensslCa(site.folder / "stranger", "Stranger")
    signed = site.ca.sign(site.new("r6"), HOST, by=issuing)
    untidy = site.write("r6.bundle", site.ca.sub, stale, stranger.sub, issuing, issuing)
    site.gateway.command("cert", "install", "r6", signed, "--intermediates", untidy)
    site.use("r6")
    found = site.asked("cert", "check", "r6", status=None)["findings"]
    assert {"duplicate", "stale", "misordered", "unrelated"} <= {finding["code"] for finding in found}
    assert all(finding["text"] and finding["meaning"] and finding["repair"] for finding in found)

    site.gateway.command("ca", "import", site.ca.root)
    repaired = site.said("cert", "check", "r6", "--repair")
    assert "taken out: CN=Stranger sub" in repaired
    whole = [signed, issuing, site.ca.sub]
    site.seen(whole)
    assert "Verify return code: 0 (ok)" in site.verified().transcript
    assert not {"duplicate", "stale", "misordered", "unrelated"} & codes(site, "r6")

    site.gateway.command("cert", "install", "r6", "--intermediates", site.ca.sub)  # later, and with a gap
    assert "missing-intermediate" in codes(site, "r6", status=1)
    site.seen([signed, site.ca.sub])
    assert "unable to get local issuer certificate" in site.verified().transcript
    # From the custom list the gap can be filled.
    site.gateway.command("ca", "import", site.write("both.pem", site.ca.sub, issuing))
    site.gateway.command("cert", "check", "r6", "--repair")
    site.seen(whole)

    this_year = OpensslCa(site.folder / "this-year", "This year's")
    renewed = this_year.sign(site.request("r6"), HOST)
    told = site.said("cert", "install", "r6", renewed, "--intermediates", this_year.sub)
    assert "It is served by listener IncomingMail" in told
    site.seen([renewed, this_year.sub])
    assert len(site.asked("cert", "show", "r6")["chain"]) == 2


def test_r7_import_pkcs12_and_pem(site: RowsSite) -> None:
    """R7. Import PKCS#12 with its private key and pass-phrase (old RC2/3DES files too); import PEM certificate and key, in one
    file or two, with or without the chain.
    """
    secret = site.write("r7.phrase", PHRASE)
    forms = ("new", "old", "one-file", "two-files")
    names = [f"{form}.example.net" for form in forms]
    made: dict[str, list[Path]] = {}
    for form, host in zip(forms, names, strict=True):
        key, request = site.folder / f"r7-{form}.key", site.folder / f"r7-{form}.csr"
        openssl(
            "req",
            "-new",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            key,
            "-subj",
            f"/CN={host}",
            "-out",
            request,
        )
        leaf = site.ca.sign(request, host)
        chain = site.write(f"r7-{form}.chain", leaf, site.ca.sub)
        out = site.folder / f"r7-{form}.p12"
        made[host] = [leaf, site.ca.sub]
        match form:
            case "new":
                certtool(
                    "--to-p12", "--outder", "--load-privkey", key, "--load-certificate", chain, "--p12-name", "x",
                    "--password", PHRASE, "--outfile", out,
                )  # fmt: skip
                wrong = site.said("cert", "import", form, out, "--passphrase", "not this one", status=1)
                assert "pass-phrase" in wrong
                site.gateway.command("cert", "import", form, out, "--passphrase-file", secret)
            case "old":
                openssl(
                    "pkcs12", "-export", "-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-3DES",
                    "-macalg", "sha1", "-inkey", key, "-in", chain, "-passout", f"file:{secret}", "-out", out,
                )  # fmt: skip
                site.gateway.command("cert", "import", form, out, "--passphrase-file", secret)
            case "one-file":
                site.gateway.command("cert", "import", form, site.write("r7.pem", key, chain))
            case _:
                site.gateway.command("cert", "import", form, leaf, "--key", key)  # without the chain
                made[host] = [leaf]
    listeners = site.document("Demo")["listeners"]
    listeners[0]["sni"] = [
        {"name": host, "certificate": form} for form, host in zip(forms, names, strict=True)
    ]
    site.use("Demo", listeners=listeners)
    for host, chain_files in made.items():
        site.seen(chain_files, "-servername", host)


def test_r8_renew_by_hand(site: RowsSite) -> None:
    """R8. Renew: sign an existing entry again (same name, same uses): the existing CSR once more, a new CSR with the same key
    or a new one (which waits beside the served pair), self-signed anew. Automatic issue: `test_renewal`.
    """
    served = site.signed("r8")
    first = site.request("r8")
    site.use("r8")
    uses = site.asked("cert", "show", "r8")["used_by"]
    assert uses == ["listener IncomingMail", "listener OutgoingMail"]

    again = site.ca.sign(first, HOST, "-days", "91")  # the existing request once more
    assert fingerprint(again) != fingerprint(served)
    site.gateway.command("cert", "install", "r8", again)
    site.seen([again, site.ca.sub])

    site.gateway.command("cert", "renew", "r8")  # a new request with the same key
    same_key = site.request("r8")
    assert public_key("req", same_key) == public_key("req", first)
    site.still_seen([again, site.ca.sub])
    signed = site.ca.sign(same_key, HOST)
    site.gateway.command("cert", "install", "r8", signed)
    site.seen([signed, site.ca.sub])

    site.gateway.command("cert", "renew", "r8", "--new-key")  # a new key, which waits
    new_key = site.request("r8")
    assert public_key("req", new_key) != public_key("req", first)
    assert site.asked("cert", "show", "r8")["request"]["waiting_key"]
    site.still_seen([signed, site.ca.sub])
    last = site.ca.sign(new_key, HOST)
    site.gateway.command("cert", "install", "r8", last)
    site.seen([last, site.ca.sub])
    assert public_key("x509", last) == public_key("req", new_key)
    assert site.asked("cert", "show", "r8")["used_by"] == uses

    alone = site.new("r8-alone", "--days", "30")  # self-signed anew
    site.use("r8-alone")
    before = site.served()
    site.gateway.command("cert", "renew", "r8-alone", "--days", "60")
    anew = site.asked("cert", "show", "r8-alone")["fingerprint"]
    assert before != [anew]
    site.seen([anew])
    assert public_key("x509", site.shown) == public_key("req", alone)


def test_r9_export_as_pkcs12(site: RowsSite) -> None:
    """R9. Export one certificate as a pass-phrase-protected PKCS#12 under a chosen file name; then another, or cancel."""
    phrase = site.write("r9.phrase", PHRASE + "\n")
    for name in ("r9", "r9-another"):
        signed = site.signed(name)
        out = site.folder / f"chosen name of {name}.p12"
        site.gateway.command("cert", "export", name, out, "--passphrase-file", phrase)
        certificates = openssl("pkcs12", "-in", out, "-nokeys", "-passin", f"file:{phrase}")
        assert certificates.count("BEGIN CERTIFICATE") == 2
        key = site.write(
            "r9.key", openssl("pkcs12", "-in", out, "-nocerts", "-nodes", "-passin", f"file:{phrase}")
        )
        assert openssl("pkey", "-in", key, "-pubout") == public_key("x509", signed)
        info = certtool("--p12-info", "--inder", "--infile", out, "--password", PHRASE)
        assert info.count("BEGIN CERTIFICATE") == 2
        wrong = run([need("openssl", "openssl"), "pkcs12", "-in", out, "-noout", "-passin", "pass:wrong"])
        assert wrong.returncode != 0
    cancelled = site.folder / "cancelled.p12"
    assert "Pass-phrase" in interrupted(site, "cert", "export", "r9", cancelled)
    assert not cancelled.exists()
    site.said("cert", "export", "r9", cancelled, "--passphrase", "too short", status=1)
    assert not cancelled.exists()


def _heed_interrupts() -> None:
    """Whoever runs the tests in the background of a script has Ctrl-C ignored, and hands that down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(site: RowsSite, *words: str | Path) -> str:
    """A command on a terminal, given up with Ctrl-C where it asks for a pass-phrase; what it wrote until its end."""
    line = shlex.join([*COMMAND, *map(str, words), "--home", str(site.gateway.home)])
    said = b""
    with subprocess.Popen(
        [need("script", "bsdutils"), "-qec", line, "/dev/null"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=_heed_interrupts,
    ) as terminal:  # fmt: skip
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        while b"Pass-phrase" not in said and (piece := terminal.stdout.read1()):
            said += piece
        terminal.stdin.write(b"\x03")
        terminal.stdin.flush()
        while piece := terminal.stdout.read1():
            said += piece
    assert terminal.returncode not in (0, None), said
    assert b"Traceback" not in said, said
    return said.decode()
