"""Files that openssl and certtool (GnuTLS) make come in; files that we make open in both (R5, R7, R9, C41).

Nothing is skipped: a missing program fails the test and says what to install.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import Issued, TestAuthority
from tests.live.peers.processes import need

from gatepost.certs.making import import_profile
from gatepost.pki.bundle import read_bundle
from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import load_private_key, public_key_der
from gatepost.pki.pkcs12 import Form, export_pkcs12
from gatepost.pki.profile import Profile

SECRET = "secret"
GOOD = "grüne Kessel am Zaun"
LEGACY = ("-provider", "legacy", "-provider", "default")


@dataclass(frozen=True)
class Workshop:
    """Keys and certificates in PEM files, and the programs that pack them."""

    folder: Path
    issued: Issued

    def openssl(self, *words: str) -> bytes:
        return _succeeded(self.run(need("openssl", "openssl"), *words))

    def certtool(self, *words: str) -> bytes:
        return _succeeded(self.run(need("certtool", "gnutls-bin"), *words))

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(words, cwd=self.folder, input=b"", capture_output=True, timeout=60, check=False)

    def made(self, *words: str) -> bytes:
        """The file `out` that openssl made."""
        self.openssl(*words, "-out", "out")
        return (self.folder / "out").read_bytes()

    def made_by_certtool(self, *words: str) -> bytes:
        self.certtool(*words, "--outfile", "out")
        return (self.folder / "out").read_bytes()

    def pkcs12(self, *words: str, passphrase: str = SECRET) -> bytes:
        pieces = ("-inkey", "key.pem", "-in", "leaf.pem", "-certfile", "sub.pem")
        return self.made("pkcs12", "-export", *pieces, "-passout", f"pass:{passphrase}", *words)

    def gnutls_pkcs12(self, *words: str, keys: str = "key.pem") -> bytes:
        pieces = ("--load-privkey", keys, "--load-certificate", "chain.pem", "--p12-name", "x")
        return self.made_by_certtool("--to-p12", *pieces, *words)

    def chain(self, name: str = "chain.pem") -> bytes:
        return (self.folder / name).read_bytes()


def _succeeded(done: subprocess.CompletedProcess[bytes]) -> bytes:
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("files")
    issued = TestAuthority().intermediate().issue(["mx.example"], key="rsa2048")
    other = TestAuthority("Other CA").issue(["other.example"])
    pieces = {
        "leaf.pem": issued.leaf_pem,
        "sub.pem": issued.intermediates[0].public_bytes(Encoding.PEM),
        "chain.pem": issued.chain_pem,
        "key.pem": issued.key_pem,
        "other.pem": other.key_pem,
        "two.pem": other.key_pem + issued.key_pem,
        "ec.pem": other.key_pem,
        "ec-leaf.pem": other.leaf_pem,
    }
    for name, content in pieces.items():
        (folder / name).write_bytes(content)
    return Workshop(folder, issued)


def imported(shop: Workshop, data: bytes, key: bytes = b"", passphrase: str | None = None) -> Profile:
    return import_profile("gw", data, key, passphrase, shop_time(shop)).profile


def shop_time(shop: Workshop) -> float:
    return shop.issued.leaf.not_valid_before_utc.timestamp() + 3600


def assert_whole(shop: Workshop, profile: Profile, *, chain: bool = True) -> None:
    """Leaf, key and intermediates are those that were packed."""
    assert profile.certificate == shop.issued.chain_der[0]
    assert profile.intermediates == (shop.issued.chain_der[1:] if chain else ())
    held = load_private_key(profile.private_key_pem().reveal())
    assert public_key_der(held) == public_key_der(load_private_key(shop.issued.key_pem))


# --- PKCS#12 ------------------------------------------------------------------------------------------

OPENSSL_PKCS12 = {
    "as it comes": (),
    "with a name": ("-name", "Zertifikat für mx"),
    "old: RC2-40 and 3DES": ("-legacy",),
    "old: 3DES only": ("-legacy", "-descert"),
    "RC2-128": ("-legacy", "-certpbe", "PBE-SHA1-RC2-128"),
    "RC4": ("-legacy", "-certpbe", "PBE-SHA1-RC4-128", "-keypbe", "PBE-SHA1-RC4-128"),
    "AES-128": ("-certpbe", "AES-128-CBC", "-keypbe", "AES-128-CBC"),
    "certificates in clear": ("-certpbe", "NONE"),
    "all in clear, with a MAC": ("-certpbe", "NONE", "-keypbe", "NONE"),
    "SHA-1 MAC": ("-macalg", "sha1"),
    "SHA-512 MAC": ("-macalg", "sha512"),
    "no MAC": ("-nomac",),
    "many rounds": ("-iter", "300000"),
    "one round": ("-noiter", "-nomaciter"),
}


@pytest.mark.parametrize("options", OPENSSL_PKCS12.values(), ids=OPENSSL_PKCS12)
def test_pkcs12_of_openssl(shop: Workshop, options: tuple[str, ...]) -> None:
    data = shop.pkcs12(*options)
    assert_whole(shop, imported(shop, data, passphrase=SECRET))
    with pytest.raises(WrongPassphrase):
        imported(shop, data, passphrase="wrong")
    with pytest.raises(PassphraseNeeded):
        imported(shop, data)


@pytest.mark.parametrize("given", [None, ""], ids=["none given", "empty given"])
@pytest.mark.parametrize("options", [(), ("-legacy",), ("-nomac",), ("-keypbe", "NONE", "-certpbe", "NONE")])
def test_pkcs12_of_openssl_with_an_empty_pass_phrase(
    shop: Workshop, options: tuple[str, ...], given: str | None
) -> None:
    assert_whole(shop, imported(shop, shop.pkcs12(*options, passphrase=""), passphrase=given))


def test_pkcs12_without_mac_and_encryption_needs_no_pass_phrase(shop: Workshop) -> None:
    data = shop.pkcs12("-nomac", "-keypbe", "NONE", "-certpbe", "NONE")
    for given in (None, "", "not needed"):
        assert_whole(shop, imported(shop, data, passphrase=given))


GNUTLS_PKCS12 = {
    "as it comes": ("--outder",),
    "PEM": (),
    "AES-256": ("--pkcs-cipher", "aes-256", "--outder"),
    "3DES": ("--pkcs-cipher", "3des-pkcs12", "--outder"),
    "RC2-40": ("--pkcs-cipher", "rc2-40", "--outder"),
    "RC4": ("--pkcs-cipher", "arcfour", "--outder"),
    "SHA-512 MAC": ("--hash", "sha512", "--outder"),
}


@pytest.mark.parametrize("options", GNUTLS_PKCS12.values(), ids=GNUTLS_PKCS12)
def test_pkcs12_of_certtool(shop: Workshop, options: tuple[str, ...]) -> None:
    data = shop.gnutls_pkcs12("--password", SECRET, *options)
    profile = imported(shop, data, passphrase=SECRET)
    assert profile.certificate == shop.issued.chain_der[0]
    assert set(profile.intermediates) == set(shop.issued.chain_der[1:])
    with pytest.raises(WrongPassphrase):
        imported(shop, data, passphrase="wrong")
    with pytest.raises(PassphraseNeeded):
        imported(shop, data)


@pytest.mark.parametrize("kind", ["--empty-password", "--null-password"])
@pytest.mark.parametrize("given", [None, ""], ids=["none given", "empty given"])
def test_pkcs12_of_certtool_with_an_empty_and_with_no_pass_phrase(
    shop: Workshop, kind: str, given: str | None
) -> None:
    assert imported(shop, shop.gnutls_pkcs12(kind, "--outder"), passphrase=given).certificate


def test_pkcs12_with_several_keys_gives_the_one_that_has_a_certificate(shop: Workshop) -> None:
    data = shop.gnutls_pkcs12("--password", SECRET, "--outder", keys="two.pem")
    assert len(read_bundle(data, SECRET).keys) == 2
    change = import_profile("gw", data, b"", SECRET, shop_time(shop))
    assert change.profile.certificate == shop.issued.chain_der[0]
    assert change.notes == ("of 2 private keys the one was taken that belongs to CN=mx.example",)


def test_pkcs12_without_a_key_or_a_certificate_is_said(shop: Workshop) -> None:
    without_key = shop.made("pkcs12", "-export", "-nokeys", "-in", "chain.pem", "-passout", f"pass:{SECRET}")
    with pytest.raises(PkiError, match="no private key"):
        imported(shop, without_key, passphrase=SECRET)
    profile = imported(shop, without_key, shop.issued.key_pem, SECRET)
    assert profile.certificate == shop.issued.chain_der[0]
    without_certificate = shop.made(
        "pkcs12", "-export", "-nocerts", "-inkey", "key.pem", "-in", "key.pem", "-passout", f"pass:{SECRET}"
    )
    with pytest.raises(PkiError, match="no certificate"):
        imported(shop, without_certificate, passphrase=SECRET)


# --- keys ---------------------------------------------------------------------------------------------

PASSOUT = ("-passout", f"pass:{SECRET}")
ENCRYPTED_KEYS: dict[str, tuple[str, ...]] = {
    "PKCS#8, AES-256": ("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", "key.pem"),
    "PKCS#8, AES-128, SHA-512": (
        *("pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512", "-in", "key.pem"),
    ),
    "PKCS#8, 3DES": ("pkcs8", "-topk8", "-v2", "des3", "-in", "key.pem"),
    "PKCS#8, scrypt": ("pkcs8", "-topk8", "-scrypt", "-in", "key.pem"),
    "PKCS#8, old 3DES": ("pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-in", "key.pem"),
    "PKCS#8, old RC2-40": ("pkcs8", *LEGACY, "-topk8", "-v1", "PBE-SHA1-RC2-40", "-in", "key.pem"),
    "PKCS#8, old MD5 and DES": ("pkcs8", *LEGACY, "-topk8", "-v1", "PBE-MD5-DES", "-in", "key.pem"),
    "PKCS#8 in DER": ("pkcs8", "-topk8", "-outform", "DER", "-in", "key.pem"),
    "traditional, 3DES": ("rsa", "-traditional", "-des3", "-in", "key.pem"),
    "traditional, AES-128": ("rsa", "-traditional", "-aes128", "-in", "key.pem"),
    "traditional, AES-256": ("rsa", "-traditional", "-aes256", "-in", "key.pem"),
}


@pytest.mark.parametrize("words", ENCRYPTED_KEYS.values(), ids=ENCRYPTED_KEYS)
def test_encrypted_keys_of_openssl(shop: Workshop, words: tuple[str, ...]) -> None:
    key = shop.made(*words, *PASSOUT)
    assert_whole(shop, imported(shop, shop.chain(), key, SECRET))
    if b"-----BEGIN" in key:
        assert_whole(shop, imported(shop, key + shop.chain(), passphrase=SECRET))
    with pytest.raises(WrongPassphrase):
        imported(shop, shop.chain(), key, "wrong")
    with pytest.raises(PassphraseNeeded):
        imported(shop, shop.chain(), key)


@pytest.mark.parametrize("cipher", ["aes-128", "aes-256", "3des", "3des-pkcs12", "rc2-40", "arcfour"])
def test_encrypted_keys_of_certtool(shop: Workshop, cipher: str) -> None:
    key = shop.made_by_certtool(
        "--to-p8", "--load-privkey", "key.pem", "--password", SECRET, "--pkcs-cipher", cipher
    )
    assert_whole(shop, imported(shop, shop.chain(), key, SECRET))


def test_a_key_in_a_cipher_that_nobody_reads_is_said(shop: Workshop) -> None:
    key = shop.made("rsa", "-traditional", "-camellia256", "-in", "key.pem", *PASSOUT)
    with pytest.raises(PkiError, match="not supported") as caught:
        imported(shop, shop.chain(), key, SECRET)
    assert "openssl pkcs8" in caught.value.hint
    assert_whole(
        shop, imported(shop, shop.chain(), shop.made("pkcs8", "-topk8", "-nocrypt", "-in", "key.pem"))
    )


def test_an_ec_key_with_its_parameters(shop: Workshop) -> None:
    key = shop.openssl("ecparam", "-name", "prime256v1", "-genkey")
    assert b"EC PARAMETERS" in key
    (shop.folder / "generated.pem").write_bytes(key)
    certificate = shop.openssl(
        "req", "-x509", "-key", "generated.pem", "-subj", "/CN=ec.example", "-days", "9"
    )
    assert imported(shop, key + certificate).leaf.common_name == "ec.example"
    sealed = shop.made("ec", "-in", "ec.pem", "-aes256", *PASSOUT)
    assert b"Proc-Type: 4,ENCRYPTED" in sealed
    assert imported(shop, shop.chain("ec-leaf.pem"), sealed, SECRET).leaf.common_name == "other.example"


def test_a_key_for_pss_only_is_refused_and_not_found_out_when_serving(shop: Workshop) -> None:
    shop.openssl(
        *("req", "-x509", "-newkey", "rsa-pss", "-nodes", "-days", "9", "-subj", "/CN=pss.example"),
        *("-keyout", "pss.key", "-out", "pss.pem"),
    )
    with pytest.raises(PkiError, match="PSS"):
        imported(shop, shop.chain("pss.pem"), shop.chain("pss.key"))


# --- certificates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_pkcs7_of_openssl(shop: Workshop, form: str) -> None:
    data = shop.made("crl2pkcs7", "-nocrl", "-certfile", "leaf.pem", "-certfile", "sub.pem", "-outform", form)
    assert_whole(shop, imported(shop, data, shop.issued.key_pem))


def test_pkcs7_of_certtool(shop: Workshop) -> None:
    """certtool puts the signer's certificates into what it signs."""
    data = shop.made_by_certtool(
        *("--p7-sign", "--p7-include-cert", "--load-certificate", "leaf.pem", "--load-privkey", "key.pem"),
        *("--infile", "leaf.pem"),
    )
    assert_whole(shop, imported(shop, data, shop.issued.key_pem), chain=False)


def test_pem_as_people_have_it(shop: Workshop) -> None:
    text = shop.openssl("x509", "-in", "leaf.pem", "-text") + shop.openssl("x509", "-in", "sub.pem", "-text")
    request = shop.openssl("req", "-new", "-key", "key.pem", "-subj", "/CN=mx.example")
    key = shop.certtool("--key-info", "--load-privkey", "key.pem")  # with the numbers of the key as text
    assert b"modulus:" in key
    whole = request + key + text
    windows = whole.replace(b"\n", b"\r\n")
    latin = "Schlüssel und Zertifikat – für mx\r\n".encode("cp1252") + windows
    wide = whole.decode("ascii").encode("utf-16")
    for data in (whole, windows, b"\xef\xbb\xbf" + windows, latin, wide, text + key + request):
        assert_whole(shop, imported(shop, data))


def test_der_of_openssl(shop: Workshop) -> None:
    certificate = shop.made("x509", "-in", "leaf.pem", "-outform", "DER")
    for words in (("rsa", "-traditional"), ("pkcs8", "-topk8", "-nocrypt")):
        key = shop.made(*words, "-in", "key.pem", "-outform", "DER")
        assert_whole(shop, imported(shop, certificate, key), chain=False)


def test_what_is_no_certificate_is_named(shop: Workshop) -> None:
    request = shop.made("req", "-new", "-key", "key.pem", "-subj", "/CN=mx.example", "-outform", "DER")
    public = shop.made("rsa", "-in", "key.pem", "-pubout")
    for data, what in ((request, "signing request"), (public, "public key only")):
        with pytest.raises(PkiError, match=what):
            imported(shop, data, shop.issued.key_pem)


# --- exports --------------------------------------------------------------------------------------------

KINDS = ["rsa2048", "p256", "p384", "ed25519"]


def exported(shop: Workshop, kind: str, form: Form) -> Issued:
    """Writes the file `export.p12` and its pass-phrase, `phrase`."""
    issued = TestAuthority().intermediate().issue(["export.example"], key=kind)
    key = load_private_key(issued.key_pem)
    made = export_pkcs12(key, issued.chain_der[0], issued.chain_der[1:], GOOD, "Export für mx", form)
    (shop.folder / "export.p12").write_bytes(made)
    (shop.folder / "phrase").write_text(f"{GOOD}\n", encoding="utf-8")
    return issued


def assert_holds(output: bytes, issued: Issued) -> None:
    """PEM in a program's output is the exported key and chain."""
    certificates = x509.load_pem_x509_certificates(output)
    assert {c.public_bytes(Encoding.DER) for c in certificates} == set(issued.chain_der)
    key = re.search(rb"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----\n", output, re.DOTALL)
    assert key is not None
    assert public_key_der(load_private_key(key[0])) == public_key_der(load_private_key(issued.key_pem))


def opened_by_openssl(shop: Workshop, *words: str) -> bytes:
    return shop.openssl("pkcs12", "-in", "export.p12", "-passin", "file:phrase", "-nodes", *words)


@pytest.mark.parametrize("form", [Form.MODERN, Form.COMPATIBLE])
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_opens_in_openssl(shop: Workshop, kind: str, form: Form) -> None:
    issued = exported(shop, kind, form)
    output = opened_by_openssl(shop)
    assert_holds(output, issued)
    assert re.search(
        rb"friendlyName: Export f.{1,4}r mx\n", output
    )  # it shows what is not ASCII in its own way
    assert first_certificate(output) == issued.chain_der[0]
    (shop.folder / "phrase").write_text("another pass-phrase\n")
    done = openssl_says(shop, "-nodes")
    assert done.returncode != 0


def openssl_says(shop: Workshop, *words: str) -> subprocess.CompletedProcess[bytes]:
    return shop.run(
        need("openssl", "openssl"), "pkcs12", "-in", "export.p12", "-passin", "file:phrase", *words
    )


def first_certificate(output: bytes) -> bytes:
    return x509.load_pem_x509_certificates(output)[0].public_bytes(Encoding.DER)


@pytest.mark.parametrize("form", [Form.MODERN, Form.COMPATIBLE])
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_opens_in_certtool(shop: Workshop, kind: str, form: Form) -> None:
    issued = exported(shop, kind, form)
    output = shop.certtool("--p12-info", "--inder", "--infile", "export.p12", "--password", GOOD)
    certificates = x509.load_pem_x509_certificates(output)
    assert {c.public_bytes(Encoding.DER) for c in certificates} == set(issued.chain_der)
    assert output.count(b"PRIVATE KEY-----") == 2


def test_the_default_export_is_sealed_with_todays_algorithms(shop: Workshop) -> None:
    exported(shop, "rsa2048", Form.MODERN)
    done = openssl_says(shop, "-info", "-noout")
    said = (done.stdout + done.stderr).decode()
    assert "MAC: sha256" in said
    assert said.count("PBES2, PBKDF2, AES-256-CBC, Iteration 600000, PRF hmacWithSHA256") == 2


def test_the_compatible_export_is_what_old_programs_take(shop: Workshop) -> None:
    exported(shop, "rsa2048", Form.COMPATIBLE)
    done = openssl_says(shop, "-info", "-noout")
    said = (done.stdout + done.stderr).decode()
    assert "MAC: sha1" in said
    assert said.count("pbeWithSHA1And3-KeyTripleDES-CBC") == 2


@pytest.mark.parametrize("kind", KINDS)
def test_pbmac1_is_the_same_content_under_another_mac(shop: Workshop, kind: str) -> None:
    """OpenSSL reads this MAC from 3.4 on; an older one opens the content when told not to look at the MAC."""
    issued = exported(shop, kind, Form.PBMAC1)
    version = re.match(rb"OpenSSL (\d+)\.(\d+)", shop.openssl("version"))
    assert version is not None
    knows = (int(version[1]), int(version[2])) >= (3, 4)
    assert_holds(opened_by_openssl(shop, *(() if knows else ("-nomacver",))), issued)


@pytest.mark.parametrize("form", Form)
def test_an_export_comes_in_again(shop: Workshop, form: Form) -> None:
    issued = exported(shop, "rsa2048", form)
    profile = imported(shop, (shop.folder / "export.p12").read_bytes(), passphrase=GOOD)
    assert (profile.certificate, *profile.intermediates) == issued.chain_der
