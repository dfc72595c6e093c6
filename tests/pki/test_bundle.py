"""Files as people have them: PEM, DER and PKCS#7 in any order."""

from __future__ import annotations

import base64
import contextlib
import time

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    pkcs7,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import TestAuthority

from gatepost.pki.bundle import read_bundle
from gatepost.pki.der import OCTETS, OID, integer, sequence, tlv
from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import key_pem
from gatepost.pki.pkcs12 import Form, export_pkcs12
from gatepost.pki.selfsigned import SubjectFields, csr_pem, make_csr

ISSUED = TestAuthority().intermediate().issue(["mx.example"])
GOOD = "grüne Kessel am Zaun"
TEXT = (ISSUED.chain_pem + ISSUED.key_pem).decode()
EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(ISSUED.chain_pem + ISSUED.key_pem, id="certificates first"),
        pytest.param(ISSUED.key_pem + ISSUED.chain_pem, id="key first"),
        pytest.param((ISSUED.key_pem + ISSUED.chain_pem).replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(b"\xef\xbb\xbf" + ISSUED.key_pem + ISSUED.chain_pem, id="byte order mark"),
        pytest.param(
            b"Bag Attributes\n  \xe4\xf6\xfc - -- x\n" + ISSUED.chain_pem + ISSUED.key_pem, id="text"
        ),
        pytest.param(EC_PARAMETERS + ISSUED.key_pem + ISSUED.chain_pem, id="EC parameters"),
        pytest.param((ISSUED.chain_pem + ISSUED.key_pem).rstrip(), id="no line end"),
        pytest.param((ISSUED.chain_pem + ISSUED.key_pem).replace(b"\n", b" \n  "), id="blanks"),
        pytest.param(
            (ISSUED.chain_pem + ISSUED.key_pem).replace(b" CERTIFICATE-", b" X509 CERTIFICATE-"), id="X509"
        ),
        pytest.param(
            "Schlüssel – für Sie\r\n".encode("cp1252") + ISSUED.chain_pem + ISSUED.key_pem, id="Windows-1252"
        ),
        pytest.param(TEXT.encode("utf-16"), id="UTF-16"),
        pytest.param(b"\xfe\xff" + TEXT.encode("utf-16-be"), id="UTF-16 big end first"),
        pytest.param(TEXT.replace("\n", "\\n").encode(), id="written line ends"),
        pytest.param(
            ISSUED.chain_pem.replace(b"E-----\n", b"E-----\nOriginator: x\n\n", 1) + ISSUED.key_pem,
            id="headers",
        ),
    ],
)
def test_pem_in_any_dress(data: bytes) -> None:
    bundle = read_bundle(data)
    assert bundle.certificates == ISSUED.chain_der
    assert [key_pem(key).reveal() for key in bundle.keys] == [ISSUED.key_pem]


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_pkcs7(encoding: Encoding) -> None:
    data = pkcs7.serialize_certificates(list(ISSUED.certificates), encoding)
    assert set(read_bundle(data).certificates) == set(ISSUED.chain_der)
    if encoding is Encoding.PEM:
        assert set(read_bundle(data.replace(b" PKCS7-", b" CMS-")).certificates) == set(ISSUED.chain_der)


def test_der() -> None:
    assert read_bundle(ISSUED.chain_der[0]).certificates == ISSUED.chain_der[:1]
    key = ISSUED.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    assert [key_pem(k).reveal() for k in read_bundle(key, "x").keys] == [ISSUED.key_pem]


def test_an_encrypted_key_needs_its_pass_phrase() -> None:
    key = ISSUED.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    data = ISSUED.chain_pem + key
    assert len(read_bundle(data, "secret").keys) == 1
    with pytest.raises(PassphraseNeeded):
        read_bundle(data)
    with pytest.raises(WrongPassphrase):
        read_bundle(data, "other")


def test_a_request_and_what_is_of_no_use() -> None:
    csr = make_csr(SubjectFields("mx.example"), [], ISSUED.key)
    odd = b"-----BEGIN SSH2 THING-----\nAAAA\n-----END SSH2 THING-----\n"
    bundle = read_bundle(csr_pem(csr).encode() + odd + ISSUED.leaf_pem)
    assert bundle.requests == (csr,)
    assert bundle.certificates == ISSUED.chain_der[:1]
    assert bundle.notes == ("block 2 (SSH2 THING) is of no use here",)


def test_base64_without_its_first_and_last_line() -> None:
    assert read_bundle(base64.encodebytes(ISSUED.chain_der[0])).certificates == ISSUED.chain_der[:1]
    made = pkcs7.serialize_certificates(list(ISSUED.certificates), Encoding.DER)
    assert set(read_bundle(base64.b64encode(made)).certificates) == set(ISSUED.chain_der)


def test_a_line_end_behind_der_is_no_part_of_it() -> None:
    assert read_bundle(ISSUED.chain_der[0] + b"\r\n").certificates == ISSUED.chain_der[:1]


@pytest.mark.parametrize("label", [b"PKCS12", b"PKCS #12"])
def test_pkcs12(label: bytes) -> None:
    made = export_pkcs12(ISSUED.key, ISSUED.chain_der[0], ISSUED.chain_der[1:], GOOD, "", Form.MODERN)
    pem = b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, base64.encodebytes(made), label)
    for data in (made, pem):
        bundle = read_bundle(data, GOOD)
        assert bundle.certificates == ISSUED.chain_der
        assert [key_pem(key).reveal() for key in bundle.keys] == [ISSUED.key_pem]
        with pytest.raises(PassphraseNeeded):
            read_bundle(data)


def test_a_part_of_the_file_is_named() -> None:
    damaged = ISSUED.leaf_pem.replace(b"MII", b"MIJ", 1)
    with pytest.raises(PkiError, match="certificate 3 of the file is damaged"):
        read_bundle(ISSUED.chain_pem + damaged)
    wrong = ISSUED.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"other"))
    with pytest.raises(WrongPassphrase, match="does not open private key 2 of the file"):
        read_bundle(ISSUED.key_pem + wrong, "secret")
    with pytest.raises(PassphraseNeeded, match="private key 2 of the file is encrypted"):
        read_bundle(ISSUED.key_pem + wrong)
    with pytest.raises(PkiError, match="signing request 1 of the file"):
        read_bundle(ISSUED.chain_pem + ISSUED.leaf_pem.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"))


def test_a_certificate_with_a_damaged_extension_is_found_at_once() -> None:
    der = ISSUED.chain_der[0]
    at = der.index(b"mx.example", der.index(b"\x55\x1d\x11"))  # in the alternative names
    odd = base64.encodebytes(der[:at] + b"\xff" + der[at + 1 :])
    with pytest.raises(PkiError, match="certificate 1 of the file is damaged"):
        read_bundle(b"-----BEGIN CERTIFICATE-----\n" + odd + b"-----END CERTIFICATE-----\n")


def test_a_cut_block_behind_whole_ones_is_not_passed_over() -> None:
    line = ISSUED.chain_pem.count(b"\n") + 1
    with pytest.raises(PkiError, match=f"not whole: the CERTIFICATE of line {line} has no end"):
        read_bundle(ISSUED.chain_pem + ISSUED.leaf_pem[:-10])


def test_ten_thousand_certificates_are_refused_by_count() -> None:
    data = ISSUED.leaf_pem * 10_000
    started = time.process_time()
    with pytest.raises(PkiError, match="10,000 PEM blocks"):
        read_bundle(data)
    assert time.process_time() - started < 0.1
    many = pkcs7.serialize_certificates([ISSUED.leaf] * 1000, Encoding.DER)
    with pytest.raises(PkiError, match="1,000 certificates"):
        read_bundle(many)


def test_three_hundred_certificates_are_read() -> None:
    started = time.process_time()
    assert len(read_bundle(ISSUED.leaf_pem * 300).certificates) == 300
    assert time.process_time() - started < 0.5


def test_many_keys_are_refused_by_count() -> None:
    with pytest.raises(PkiError, match="21 private keys"):
        read_bundle(ISSUED.key_pem * 21)


def test_the_rounds_of_all_keys_together_are_bounded() -> None:
    asked = sequence(tlv(OCTETS, b"saltsalt"), integer(600_000))
    sealed = sequence(
        sequence(tlv(OID, bytes.fromhex("2a864886f70d010c0103")), asked), tlv(OCTETS, bytes(64))
    )
    label = b"ENCRYPTED PRIVATE KEY"
    key = b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, base64.encodebytes(sealed), label)
    started = time.process_time()
    with pytest.raises(PkiError, match="rounds"):
        read_bundle(key * 10, "x")
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"hello", "neither PEM"),
        (ISSUED.leaf_pem[:100], "not whole"),
        (ISSUED.leaf_pem.replace(b"M", b"!", 1), "certificate 1 of the file"),
        (EC_PARAMETERS, "no certificate"),
        (ISSUED.leaf_pem * 301, "blocks"),
        (ISSUED.leaf_pem.replace(b" CERT", b" TRUSTED CERT"), "TRUSTED"),
        (b"-----BEGIN PKCS7-----\n!!!!\n-----END PKCS7-----\n", "block 1 of the file is damaged"),
        (pkcs7.serialize_certificates([ISSUED.leaf], Encoding.DER)[:-1], "cut off|PKCS#7"),
        (b"x" * (1024 * 1024 + 1), "longer"),
        (b"-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n", "PKCS#7"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # certificates differ between test processes
)
def test_what_is_wrong_is_said(data: bytes, text: str) -> None:
    with pytest.raises(PkiError, match=text):
        read_bundle(data)


def test_a_repr_shows_no_key() -> None:
    assert "PRIVATE" not in repr(read_bundle(ISSUED.key_pem))


@pytest.mark.parametrize(
    "piece", [b"-----BEGIN A-----\n-a", b"-----BEGIN A-----\n" + b"-a" * 100, b"-----BEGIN "]
)
def test_hostile_markers_cost_linear_time(piece: bytes) -> None:
    data = piece * (500_000 // len(piece))
    started = time.process_time()
    with pytest.raises(PkiError):
        read_bundle(data)
    assert time.process_time() - started < 0.5


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(0, 1500))
def test_any_bytes_are_a_bundle_or_an_error(noise: bytes, cut: int) -> None:
    for data in (noise, ISSUED.chain_pem[:cut] + noise + ISSUED.chain_pem[cut:]):
        with contextlib.suppress(PkiError):
            assert read_bundle(data).certificates
