"""PKCS#12, old and new."""

from __future__ import annotations

import datetime
import hashlib
import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from tests.fakes.ca import TestAuthority, make_key

from gatepost.pki.certificate import read_certificate
from gatepost.pki.der import CONTENT, OCTETS, OID, SEQUENCE, elements, integer, sequence, tlv
from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import PrivateKey, key_pem
from gatepost.pki.pbmac1 import with_pbmac1
from gatepost.pki.pkcs12 import MODERN_ROUNDS, Form, export_pkcs12, is_pkcs12, load_pkcs12

AT = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
ISSUED = TestAuthority(at=AT).intermediate().issue(["mx.example"])
GOOD = "grüne Kessel am Zaun"
LEGACY = Path(__file__).parent / "data" / "legacy-rc2.p12"  # RC2-40 and 3DES, SHA-1 MAC, pass-phrase `test`


@pytest.mark.parametrize("form", Form)
def test_what_is_exported_opens_again(form: Form) -> None:
    made = export_pkcs12(ISSUED.key, ISSUED.chain_der[0], ISSUED.chain_der[1:], GOOD, "gw", form)
    assert is_pkcs12(made)
    opened = load_pkcs12(made, GOOD)
    assert [key_pem(key).reveal() for key in opened.keys] == [ISSUED.key_pem]
    assert (opened.certificate, opened.others) == (ISSUED.chain_der[0], ISSUED.chain_der[1:])
    assert opened.friendly_name == "gw"
    with pytest.raises(WrongPassphrase):
        load_pkcs12(made, GOOD + "x")


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("name", ["", "Grüße", "x" * 128, "a\r\nb"])
def test_an_untidy_bundle_and_any_name_are_exported(
    form: Form, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatepost.pki.pkcs12.MODERN_ROUNDS", 2_000)  # so many are another test's subject
    behind = (*ISSUED.chain_der[1:], *ISSUED.chain_der)  # a certificate twice, and the leaf again
    opened = load_pkcs12(export_pkcs12(ISSUED.key, ISSUED.chain_der[0], behind, GOOD, name, form), GOOD)
    assert set(opened.others) == set(behind)
    assert opened.friendly_name == name.replace("\r\n", "\\x0d\\x0a")


def test_a_wrong_or_missing_pass_phrase_is_said() -> None:
    with pytest.raises(WrongPassphrase):
        load_pkcs12(LEGACY.read_bytes(), "wrong")
    with pytest.raises(PassphraseNeeded):
        load_pkcs12(LEGACY.read_bytes())


def test_an_old_file_with_rc2_opens() -> None:
    opened = load_pkcs12(LEGACY.read_bytes(), "test")
    assert len(opened.keys) == 1
    assert opened.certificate is not None
    assert read_certificate(opened.certificate).subject == "CN=legacy.example"
    assert opened.friendly_name == "Legacy name"


@pytest.mark.parametrize("given", [None, ""])
def test_a_file_without_pass_phrase(given: str | None) -> None:
    data = pkcs12.serialize_key_and_certificates(None, ISSUED.key, ISSUED.leaf, None, NoEncryption())
    opened = load_pkcs12(data, given)
    assert len(opened.keys) == 1
    assert opened.friendly_name == ""


def test_a_file_of_certificates_only() -> None:
    data = pkcs12.serialize_key_and_certificates(None, None, None, list(ISSUED.certificates), NoEncryption())
    opened = load_pkcs12(data)
    assert (opened.keys, opened.certificate) == ((), None)
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


def joined(*keys: PrivateKey, odd: bytes = b"", passphrase: bytes = b"secret") -> bytes:
    """A file without a MAC whose keys stand in it one by one, as Java and others write it; `odd` is one more bag."""
    sealed = BestAvailableEncryption(passphrase)
    bags = [
        _bag(2, tlv(CONTENT, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, sealed))) for key in keys
    ]
    certificate = tlv(CONTENT, sequence(X509_CERTIFICATE, tlv(CONTENT, tlv(OCTETS, ISSUED.chain_der[0]))))
    contents = sequence(*bags, odd, _bag(3, certificate))
    return sequence(integer(3), _data(sequence(_data(contents))))


X509_CERTIFICATE = tlv(OID, bytes.fromhex("2a864886f70d01091601"))


def _bag(kind: int, value: bytes) -> bytes:
    return sequence(tlv(OID, bytes.fromhex("2a864886f70d010c0a01") + bytes((kind,))), value)


def _data(content: bytes) -> bytes:
    return sequence(tlv(OID, bytes.fromhex("2a864886f70d010701")), tlv(CONTENT, tlv(OCTETS, content)))


def test_all_keys_of_a_file_are_found() -> None:
    other = make_key("p384")
    opened = load_pkcs12(joined(other, ISSUED.key), "secret")
    assert [key_pem(key).reveal() for key in opened.keys] == [key_pem(other).reveal(), ISSUED.key_pem]
    assert ISSUED.chain_der[0] in (opened.certificate, *opened.others)
    assert opened.notes == ()


def test_a_key_that_is_of_no_use_is_left_out_and_named() -> None:
    x25519_key = x25519.X25519PrivateKey.generate()
    odd = _bag(1, tlv(CONTENT, x25519_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())))
    opened = load_pkcs12(joined(ISSUED.key, odd=odd), "secret")
    assert len(opened.keys) == 1
    (note,) = opened.notes
    assert note.startswith("private key 2 of the file was left out: ")


def test_an_enormous_key_is_refused_before_it_is_opened() -> None:
    odd = _bag(1, tlv(CONTENT, bytes(9000)))
    with pytest.raises(PkiError, match="private key 2 of the PKCS#12 file is larger"):
        load_pkcs12(joined(ISSUED.key, odd=odd), "secret")


@pytest.mark.parametrize(("digest", "name"), [("sha256", "0209"), ("sha512", "020b")])
@pytest.mark.parametrize("rounds_of_old", [1, 2048])
def test_pbmac1_of_others_is_read(digest: str, name: str, rounds_of_old: int) -> None:
    """As RFC 9579's own examples are made: other hashes, and the old MAC's rounds written out."""
    content = sequence(_data(sequence(_bag(3, _certificate_bag()))))
    hmac_name = sequence(tlv(OID, bytes.fromhex("2a864886f70d" + name)), b"\x05\x00")
    size = hashlib.new(digest).digest_size
    derived = hashlib.pbkdf2_hmac(digest, b"1234", b"saltsalt", 2048, size)
    params = sequence(tlv(OCTETS, b"saltsalt"), integer(2048), integer(size), hmac_name)
    pbmac1 = sequence(
        tlv(OID, bytes.fromhex("2a864886f70d01050e")),
        sequence(sequence(tlv(OID, bytes.fromhex("2a864886f70d01050c")), params), hmac_name),
    )
    mac = sequence(
        sequence(pbmac1, tlv(OCTETS, hmac.digest(derived, content, digest))),
        tlv(OCTETS, b"NOT USED"),
        integer(rounds_of_old),
    )
    file = sequence(integer(3), _data(content), mac)
    opened = load_pkcs12(file, "1234")
    assert ISSUED.chain_der[0] in (opened.certificate, *opened.others)
    with pytest.raises(WrongPassphrase):
        load_pkcs12(file, "12345")


def _certificate_bag() -> bytes:
    return tlv(CONTENT, sequence(X509_CERTIFICATE, tlv(CONTENT, tlv(OCTETS, ISSUED.chain_der[0]))))


def test_pbmac1_is_the_mac_that_it_says() -> None:
    """Taken apart and computed again by hand (RFC 9579 §4): the system's OpenSSL and GnuTLS may be too old to do it."""
    made = export_pkcs12(ISSUED.key, ISSUED.chain_der[0], (), GOOD, "gw", Form.PBMAC1)
    (whole,) = elements(made, 1)
    _, safe, mac = whole.inside(SEQUENCE, 3)
    content = safe.inside(SEQUENCE, 2)[1].inside(CONTENT, 1)[0].body
    digest_info, old_salt = mac.inside(SEQUENCE, 2)
    assert old_salt.body
    algorithm, digest = digest_info.inside(SEQUENCE, 2)
    name, params = algorithm.inside(SEQUENCE, 2)
    assert name.body.hex() == "2a864886f70d01050e"
    derivation, scheme = params.inside(SEQUENCE, 2)
    assert scheme.inside(SEQUENCE, 2)[0].body.hex() == "2a864886f70d0209"
    salt, rounds, length, prf = derivation.inside(SEQUENCE, 2)[1].inside(SEQUENCE, 4)
    assert prf.raw == scheme.raw
    assert (len(salt.body), int.from_bytes(rounds.body, "big"), length.body) == (16, MODERN_ROUNDS, b"\x20")
    key = hashlib.pbkdf2_hmac("sha256", GOOD.encode(), salt.body, MODERN_ROUNDS, 32)
    assert digest.body == hmac.digest(key, content, "sha256")


def test_a_file_without_whole_protection_takes_no_pbmac1() -> None:
    for odd in (b"", ISSUED.chain_der[0], joined(ISSUED.key)):
        with pytest.raises(PkiError):
            with_pbmac1(odd, b"secret", b"salt", 1)
