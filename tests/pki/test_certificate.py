"""One certificate read once: texts that are safe to show, and damage that shows at once."""

from __future__ import annotations

import datetime
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from tests.fakes.ca import TestAuthority, damaged, self_signed

from gatepost.pki.certificate import describe, read_certificate, signed_by
from gatepost.pki.errors import MalformedCertificate
from gatepost.pki.text import printable

AT = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
CA = TestAuthority("Example CA", at=AT)
ISSUED = CA.issue(["mx.partner.example"])


def test_what_a_certificate_says() -> None:
    read = read_certificate(ISSUED.chain_der[0])
    assert (read.subject, read.issuer) == ("CN=mx.partner.example", "CN=Example CA")
    assert read.fingerprint == hashlib.sha256(ISSUED.chain_der[0]).hexdigest()
    assert read.not_after == (AT + datetime.timedelta(days=90)).timestamp()
    assert (read.is_ca, read.self_issued, read.self_signed) == (False, False, False)
    assert read == read_certificate(ISSUED.chain_der[0])
    assert read.pem == ISSUED.leaf_pem
    described = read.described()
    assert described == describe(ISSUED.chain_der[0])
    assert described.names == ("DNS:mx.partner.example",)


def test_self_signed_is_proved_by_the_signature() -> None:
    own = read_certificate(self_signed(["mx.example"], at=AT).chain_der[0])
    assert own.self_signed
    same_name = TestAuthority("Example CA", at=AT, parent=CA)
    looks_like = read_certificate(same_name.certificate.public_bytes(Encoding.DER))
    assert looks_like.self_issued
    assert not looks_like.self_signed
    assert signed_by(same_name.certificate, CA.certificate)
    assert not signed_by(CA.certificate, same_name.certificate)


def test_names_that_differ_in_case_and_blanks_are_one_issuer() -> None:
    upper = read_certificate(TestAuthority("EXAMPLE  CA", at=AT).certificate.public_bytes(Encoding.DER))
    assert upper.subject_key == read_certificate(CA.root_der).subject_key


@pytest.mark.parametrize("name", ["a\r\nICID 1 close", "a\0b", "\x1b]0;x\x07", "%s%n", "\u202egnp", "x" * 60])
def test_hostile_subjects_become_one_printable_line(name: str) -> None:
    described = describe(CA.issue(["mx.example"], common_name=name).chain_der[0])
    assert described.subject.isprintable()
    assert described.subject.startswith("CN=")


def test_long_text_is_cut() -> None:
    assert len(printable("x" * 10_000)) == 501


@pytest.mark.parametrize("cut", [0, 1, 10, 100, 200, 300])
def test_truncated_certificates_are_malformed(cut: int) -> None:
    with pytest.raises(MalformedCertificate):
        read_certificate(ISSUED.chain_der[0][:cut])
    assert describe(ISSUED.chain_der[0][:cut]).subject == "(unreadable)"


@pytest.mark.parametrize("oid", ["2.5.29.17", "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.30"])
def test_a_damaged_extension_refuses_the_certificate(oid: str) -> None:
    damaged = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x30\x99nonsense")
    builder = (
        x509.CertificateBuilder()
        .subject_name(CA.certificate.subject)
        .issuer_name(CA.certificate.subject)
        .public_key(CA.key.public_key())
        .serial_number(1)
        .not_valid_before(AT)
        .not_valid_after(AT + datetime.timedelta(days=1))
        .add_extension(damaged, critical=False)
    )
    der = builder.sign(CA.key, hashes.SHA256()).public_bytes(Encoding.DER)
    with pytest.raises(MalformedCertificate):
        read_certificate(der)


def test_a_serial_that_is_not_positive_is_read_without_a_warning() -> None:
    der = bytearray(ISSUED.chain_der[0])
    serial = ISSUED.leaf.serial_number
    raw = serial.to_bytes((serial.bit_length() + 8) // 8, "big")
    at = bytes(der).index(raw)
    der[at] = 0x90  # negative, and minimal whatever follows
    assert read_certificate(bytes(der)).subject == "CN=mx.partner.example"


@pytest.mark.parametrize("kind", ["p256", "p521", "rsa2048", "ed25519"])
def test_who_signed_is_told_by_the_key_and_by_names_as_the_rfc_compares_them(kind: str) -> None:
    authority = TestAuthority("Example CA", key=kind)
    leaf = authority.issue(["mx.example"]).leaf
    assert signed_by(leaf, authority.certificate)
    written = TestAuthority("EXAMPLE  ca", key=authority.key)
    assert signed_by(leaf, written.certificate)
    assert not signed_by(leaf, TestAuthority("Another CA", key=authority.key).certificate)
    for other in ("p384", "rsa3072", "ed25519"):
        assert not signed_by(leaf, authority.again(key=other).certificate)
    assert not signed_by(damaged(leaf), authority.certificate)


def test_a_signature_with_pss_is_known() -> None:
    authority = TestAuthority("Example CA", key="rsa2048")
    key = authority.key
    assert isinstance(key, rsa.RSAPrivateKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(authority.at)
        .not_valid_after(authority.at)
    )
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
    made = builder.sign(key, hashes.SHA256(), rsa_padding=pss)
    assert signed_by(made, authority.certificate)
    assert not signed_by(damaged(made), authority.certificate)


@pytest.mark.parametrize(
    ("names", "kept", "shown"), [(1000, 50, 990), (51, 50, 41), (50, 50, 40), (11, 11, 1)]
)
def test_names_that_are_not_kept_are_counted(names: int, kept: int, shown: int) -> None:
    described = describe(CA.issue([f"n{number}.example" for number in range(names)]).chain_der[0])
    assert (len(described.names), described.more_names) == (kept, names - kept)
    assert described.shown_names(2) == f"DNS:n0.example, DNS:n1.example and {names - 2} more"
    assert described.shown_names(10).endswith(f"DNS:n9.example and {shown} more")


def test_without_an_alternative_name_the_common_name_is_the_only_one() -> None:
    described = describe(CA.root_der)
    assert (described.names, described.more_names) == (("CN:Example CA",), 0)
    assert described.shown_names(10) == "CN:Example CA"
