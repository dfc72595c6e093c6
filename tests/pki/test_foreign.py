"""Files given by mistake (C41): named, with what to give instead."""

from __future__ import annotations

import io
import zipfile

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import TestAuthority, make_key

from gatepost.pki.bundle import read_bundle
from gatepost.pki.errors import PkiError
from gatepost.pki.foreign import foreign, nothing_in_pem
from gatepost.pki.selfsigned import SubjectFields, csr_pem, make_csr

KEY = make_key("p256")
AUTHORITY = TestAuthority()
CSR = make_csr(SubjectFields("mx.example"), [], KEY)
CERTIFICATE = AUTHORITY.issue(["mx.example"]).chain_der[0]


def archive() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("mx_example.crt", "x")
    return held.getvalue()


@pytest.mark.parametrize(
    ("data", "what", "instead"),
    [
        (b"", "empty", "give"),
        (b" \r\n", "empty", "give"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(range(256)), "JPEG", "certificate"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG", "certificate"),
        (b"<!DOCTYPE html>\n<html><head><title>Log in</title>", "web page", "download it again"),
        (b"\xef\xbb\xbf\n <?xml version='1.0'?><key/>", "web page or XML", "download it again"),
        (archive(), "ZIP", "unpack"),
        (b"\x1f\x8b\x08\0" + bytes(100), "gzip", "unpack"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "PDF", "certificate"),
        (b"\xfe\xed\xfe\xed\0\0\0\2" + bytes(100), "Java keystore", "keytool"),
        (b'{"kty":"EC","crv":"P-256"}', "JSON", "PEM"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "PuTTY", "PuTTYgen"),
        (
            KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
            "public key of OpenSSH",
            "logins",
        ),
        (KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), "OpenSSH", "ssh-keygen"),
        (
            KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "public key only",
            "give the certificate",
        ),
        (
            KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "public key only",
            "give the certificate",
        ),
        (CSR, "signing request", "made from it"),
        (csr_pem(CSR).encode(), "signing request", "made from it"),
        (AUTHORITY.revocation_list(), "revocation list", "certificate"),
        (
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n",
            "OpenPGP",
            "kind",
        ),
        (b"Dear customer,\nyour certificate is attached.\n", "neither PEM", "text without the lines"),
        (bytes(range(256)), "neither PEM", "certificate"),
        (CERTIFICATE[:200], "cut off", "again"),
        (CERTIFICATE + b"abc", "goes on behind the end", "again"),
        (CERTIFICATE.replace(b"\x55\x1d\x11", b"\x55\x1d\x13"), "certificate 1 of the file", "anew"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_what_a_file_is_is_said(data: bytes, what: str, instead: str) -> None:
    with pytest.raises(PkiError) as caught:
        read_bundle(data, "a pass-phrase that changes nothing")
    assert what in caught.value.text
    assert instead in caught.value.hint


def test_labels_that_nobody_knows() -> None:
    assert "no certificate and no key" in nothing_in_pem(["SOMETHING"]).text
    assert "no certificate and no key" in nothing_in_pem([]).text


@settings(max_examples=100)
@given(
    st.one_of(
        st.binary(max_size=200), st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace"))
    )
)
def test_any_bytes_get_a_sentence_and_what_to_do(data: bytes) -> None:
    error = foreign(data)
    assert error.text.isprintable()
    assert error.hint
