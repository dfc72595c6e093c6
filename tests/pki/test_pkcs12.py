"""PKCS#12, old and new."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12
from tests.fakes.ca import TestAuthority, make_key

from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import key_pem
from gatepost.pki.pkcs12 import Form, export_pkcs12, is_pkcs12, load_pkcs12

AT = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
ISSUED = TestAuthority(at=AT).intermediate().issue(["mx.example"])
GOOD = "grüne Kessel am Zaun"
LEGACY = Path(__file__).parent / "data" / "legacy-rc2.p12"  # RC2-40 and 3DES, SHA-1 MAC, pass-phrase `test`


@pytest.mark.parametrize("form", Form)
def test_what_is_exported_opens_again(form: Form) -> None:
    made = export_pkcs12(ISSUED.key, ISSUED.chain_der[0], ISSUED.chain_der[1:], GOOD, "gw", form)
    assert is_pkcs12(made)
    opened = load_pkcs12(made, GOOD)
    assert opened.key is not None
    assert key_pem(opened.key).reveal() == ISSUED.key_pem
    assert (opened.certificate, opened.others) == (ISSUED.chain_der[0], ISSUED.chain_der[1:])
    assert opened.friendly_name == "gw"
    with pytest.raises(WrongPassphrase):
        load_pkcs12(made, GOOD + "x")


def test_a_wrong_or_missing_pass_phrase_is_said() -> None:
    with pytest.raises(WrongPassphrase):
        load_pkcs12(LEGACY.read_bytes(), "wrong")
    with pytest.raises(PassphraseNeeded):
        load_pkcs12(LEGACY.read_bytes())


def test_an_old_file_with_rc2_opens() -> None:
    opened = load_pkcs12(LEGACY.read_bytes(), "test")
    assert opened.key is not None
    assert opened.certificate is not None
    assert read_certificate(opened.certificate).subject == "CN=legacy.example"
    assert opened.friendly_name == "Legacy name"


@pytest.mark.parametrize("given", [None, ""])
def test_a_file_without_pass_phrase(given: str | None) -> None:
    data = pkcs12.serialize_key_and_certificates(None, ISSUED.key, ISSUED.leaf, None, NoEncryption())
    opened = load_pkcs12(data, given)
    assert opened.key is not None
    assert opened.friendly_name == ""


def test_a_file_of_certificates_only() -> None:
    data = pkcs12.serialize_key_and_certificates(None, None, None, list(ISSUED.certificates), NoEncryption())
    opened = load_pkcs12(data)
    assert (opened.key, opened.certificate) == (None, None)
    assert set(opened.others) == set(ISSUED.chain_der)


def test_a_bomb_is_refused_before_it_is_opened() -> None:
    """The MAC's 2,048 rounds become 1,000,000,000; the lengths of the two structures around grow by two."""
    data = bytearray(LEGACY.read_bytes())
    at = len(data) - 4  # macData is the last element, its rounds the last integer
    assert data[at:] == b"\x02\x02\x08\x00"
    assert (data[0], data[1]) == (0x30, 0x82)
    mac = bytes(data).rindex(b"\x30\x31\x30\x21")  # MacData, and the DigestInfo in it
    assert mac + 2 + data[mac + 1] == len(data)
    data[at:] = b"\x02\x04\x3b\x9a\xca\x00"
    data[mac + 1] += 2
    data[2:4] = (int.from_bytes(data[2:4], "big") + 2).to_bytes(2, "big")
    with pytest.raises(PkiError, match="rounds"):
        load_pkcs12(bytes(data), "test")


@pytest.mark.parametrize("data", [b"", b"garbage", ISSUED.chain_der[0], b"\x30\x05\x02\x01\x03\x05\x00"])
def test_what_is_no_pkcs12_is_said(data: bytes) -> None:
    with pytest.raises(PkiError, match="PKCS#12"):
        load_pkcs12(data, "x")


def test_an_export_needs_a_good_pass_phrase_and_the_right_key() -> None:
    for weak in ("", "short", "Password2026!"):
        with pytest.raises(PkiError, match="pass-phrase"):
            export_pkcs12(ISSUED.key, ISSUED.chain_der[0], (), weak, "gw", Form.MODERN)
    with pytest.raises(PkiError, match="belong"):
        export_pkcs12(make_key("p256"), ISSUED.chain_der[0], (), GOOD, "gw", Form.MODERN)
