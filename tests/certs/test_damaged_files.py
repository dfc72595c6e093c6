"""Files of every kind, cut and with flipped bits: a profile that is right, or one sentence; never the key, never long (C34, C41).

The files are made at run time, the fuzzing is on what an administrator's import really runs through.
"""

from __future__ import annotations

import base64
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import TestAuthority

from gatepost.certs.making import import_profile
from gatepost.pki.errors import PkiError
from gatepost.pki.keys import key_matches, load_private_key
from gatepost.pki.pbmac1 import with_pbmac1
from gatepost.pki.selfsigned import SubjectFields, csr_pem, make_csr

NOW = 1_800_000_000.0
SECRET = b"secret"
EC = TestAuthority("Example CA").intermediate("Example Sub CA").issue(["mx.example"])
RSA = TestAuthority("Example CA").issue(["mx.example"], key="rsa2048")
FEW = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(1000)
NEW = FEW.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(hashes.SHA256()).build(SECRET)
OLD = FEW.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(hashes.SHA1()).build(SECRET)


def p12(protection: object) -> bytes:
    return pkcs12.serialize_key_and_certificates(b"gw", EC.key, EC.leaf, EC.intermediates, protection)  # type: ignore[arg-type]


def key(issued: object, encoding: Encoding, form: PrivateFormat, *, sealed: bool) -> bytes:
    protection = BestAvailableEncryption(SECRET) if sealed else NoEncryption()
    return issued.key.private_bytes(encoding, form, protection)  # type: ignore[attr-defined,no-any-return]


TRADITIONAL = key(RSA, Encoding.PEM, PrivateFormat.TraditionalOpenSSL, sealed=True)
FILES = {
    "PKCS#12, new": (p12(NEW), b""),
    "PKCS#12, old": (p12(OLD), b""),
    "PKCS#12, PBMAC1": (with_pbmac1(p12(NEW), SECRET, b"saltsalt", 1000), b""),
    "PKCS#12, in clear": (p12(NoEncryption()), b""),
    "PEM": (EC.key_pem + EC.chain_pem, b""),
    "PEM, UTF-16": ((EC.key_pem + EC.chain_pem).decode().encode("utf-16"), b""),
    "PEM, RSA": (RSA.leaf_pem + key(RSA, Encoding.PEM, PrivateFormat.TraditionalOpenSSL, sealed=False), b""),
    "PEM, sealed key": (
        EC.chain_pem
        + key(EC, Encoding.PEM, PrivateFormat.PKCS8, sealed=True)
        + csr_pem(make_csr(SubjectFields("mx.example"), [], EC.key)).encode(),
        b"",
    ),
    "PEM, traditional sealed key": (RSA.leaf_pem + TRADITIONAL, b""),
    "PKCS#7, DER": (pkcs7.serialize_certificates(list(EC.certificates), Encoding.DER), EC.key_pem),
    "PKCS#7, PEM": (pkcs7.serialize_certificates(list(EC.certificates), Encoding.PEM), EC.key_pem),
    "certificate, DER": (EC.chain_der[0], EC.key_pem),
    "key, DER": (key(RSA, Encoding.DER, PrivateFormat.PKCS8, sealed=False), RSA.leaf_pem),
    "key, old DER": (key(RSA, Encoding.DER, PrivateFormat.TraditionalOpenSSL, sealed=False), RSA.leaf_pem),
    "sealed key, DER": (key(EC, Encoding.DER, PrivateFormat.PKCS8, sealed=True), EC.leaf_pem),
    "base64 alone": (base64.encodebytes(EC.chain_der[0]), EC.key_pem),
}


def check_taken_or_refused(data: bytes, other: bytes) -> None:
    """The import of one damaged file, its companion whole: of both kinds, since either may be the damaged one."""
    is_key = b"CERTIFICATE" in other
    started = time.process_time()
    try:
        change = import_profile(
            "gw", other if is_key else data, data if is_key else other, SECRET.decode(), NOW
        )
    except PkiError as error:
        assert_says_something_and_no_secret(f"{error.text} {error.hint}")
    else:
        held = load_private_key(change.profile.private_key_pem().reveal())
        assert key_matches(held, change.profile.leaf.parsed)
    assert time.process_time() - started < 2


SECRETS = tuple(
    piece
    for issued in (EC, RSA)
    for line in issued.key_pem.decode().splitlines()[1:-1]
    for piece in (line[start : start + 16] for start in range(0, len(line) - 16, 8))
)


def assert_says_something_and_no_secret(text: str) -> None:
    assert text.strip().isprintable()
    assert len(text) < 700
    assert SECRET.decode() not in text
    assert not any(piece in text for piece in SECRETS)


@pytest.mark.parametrize("name", FILES)
def test_the_whole_file_is_taken(name: str) -> None:
    data, other = FILES[name]
    is_key = b"CERTIFICATE" in other
    passphrase = None if name.endswith("in clear") else SECRET.decode()
    made = import_profile("gw", other if is_key else data, data if is_key else other, passphrase, NOW)
    held = load_private_key(made.profile.private_key_pem().reveal())
    assert key_matches(held, made.profile.leaf.parsed)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_cut_file(name: str, data: st.DataObject) -> None:
    whole, other = FILES[name]
    check_taken_or_refused(whole[: data.draw(st.integers(0, len(whole) - 1))], other)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_flipped_bits(name: str, data: st.DataObject) -> None:
    whole, other = FILES[name]
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    check_taken_or_refused(bytes(damaged), other)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_piece_taken_out_or_put_in(name: str, data: st.DataObject) -> None:
    whole, other = FILES[name]
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 100)))
    check_taken_or_refused(whole[:start] + data.draw(st.binary(max_size=50)) + whole[end:], other)
