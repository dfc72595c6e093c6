"""Files as people have them: PEM, DER and PKCS#7 in any order."""

from __future__ import annotations

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
from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import key_pem
from gatepost.pki.selfsigned import SubjectFields, csr_pem, make_csr

ISSUED = TestAuthority().intermediate().issue(["mx.example"])
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
    bundle = read_bundle(csr_pem(csr).encode() + odd)
    assert bundle.requests == (csr,)
    assert bundle.notes == ("block 2 (SSH2 THING) is of no use here",)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "neither PEM"),
        (b"hello", "neither PEM"),
        (ISSUED.leaf_pem[:100], "not whole"),
        (ISSUED.leaf_pem.replace(b"M", b"!", 1), "block 1"),
        (EC_PARAMETERS, "no certificate"),
        (ISSUED.leaf_pem * 301, "blocks"),
        (ISSUED.leaf_pem.replace(b" CERT", b" TRUSTED CERT"), "TRUSTED"),
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
        try:
            assert read_bundle(data).certificates
        except PkiError:
            continue
