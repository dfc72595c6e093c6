"""New profiles: self-signed, and from whatever file an administrator has."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.ca import Issued, TestAuthority

from gatepost.certs.lifecycle import Brought
from gatepost.certs.making import check_name, import_profile, new_self_signed, read_answer
from gatepost.pki.certificate import read_certificate
from gatepost.pki.errors import PassphraseNeeded, PkiError, WrongPassphrase
from gatepost.pki.keys import KeyKind, load_private_key, public_key_der
from gatepost.pki.profile import Origin, Profile
from gatepost.pki.selfsigned import SubjectFields, csr_matches

NOW = 1_800_000_000.0
CA = TestAuthority("Example CA").intermediate("Example Sub CA")
SOME = CA.issue(["mx.example"])


def take(data: bytes, key: bytes = b"", passphrase: str | None = None) -> Profile:
    return import_profile("gw", data, key, passphrase, NOW).profile


def key_of(profile: Profile) -> bytes:
    return public_key_der(load_private_key(profile.private_key_pem().reveal()))


def p12(issued: Issued, secret: bytes) -> bytes:
    protection = BestAvailableEncryption(secret) if secret else NoEncryption()
    return pkcs12.serialize_key_and_certificates(
        b"gw", issued.key, issued.leaf, issued.intermediates, protection
    )


def test_one_step_makes_key_certificate_and_request() -> None:
    profile = new_self_signed("gw", SubjectFields("mx.example"), [], 30, KeyKind.P256, NOW)
    assert profile.origin is Origin.SELF_SIGNED
    assert profile.leaf.names.dns == ("mx.example",)
    assert csr_matches(profile.csr, load_private_key(profile.private_key_pem().reveal()))


@pytest.mark.parametrize("country", ["I", "ITA", "1T", "ÄÖ"])
def test_a_country_is_two_letters(country: str) -> None:
    with pytest.raises(PkiError, match="two-letter"):
        new_self_signed("gw", SubjectFields("mx.example", country=country), [], 30, KeyKind.P256, NOW)


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\x00", "x" * 129])
def test_a_name_is_one_line(name: str) -> None:
    with pytest.raises(PkiError):
        check_name(name)


def test_the_certificate_of_the_key_is_found_wherever_it_stands() -> None:
    issued = CA.issue(["mx.example"])
    pieces = [issued.leaf_pem, CA.root_pem, issued.key_pem]
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        profile = take(b"".join(pieces[place] for place in order))
        assert profile.leaf.common_name == "mx.example"
        assert len(profile.intermediates) == 1
        assert key_of(profile) == public_key_der(issued.key)


def test_nothing_that_came_with_it_is_dropped() -> None:
    untidy = CA.issue(["mx.example"]).sending(root=True, duplicate=True)
    assert len(take(untidy.chain_pem, untidy.key_pem).intermediates) == len(untidy.intermediates)


@pytest.mark.parametrize("secret", [b"", b"open"])
def test_a_pkcs12_file_brings_key_and_chain(secret: bytes) -> None:
    issued = CA.issue(["mx.example"])
    profile = take(p12(issued, secret), passphrase=secret.decode() or None)
    assert profile.certificate == issued.chain_der[0]
    assert profile.intermediates == issued.chain_der[1:]
    assert key_of(profile) == public_key_der(issued.key)


def test_a_pass_phrase_that_is_missing_differs_from_one_that_is_wrong() -> None:
    issued = CA.issue(["mx.example"])
    secret = issued.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"open"))
    for data, key in ((p12(issued, b"open"), b""), (issued.leaf_pem, secret)):
        with pytest.raises(PassphraseNeeded):
            take(data, key)
        with pytest.raises(WrongPassphrase):
            take(data, key, "shut")
        assert take(data, key, "open").certificate == issued.chain_der[0]


def test_a_second_file_without_a_key_is_said() -> None:
    issued = CA.issue(["mx.example"])
    with pytest.raises(PkiError, match="--key"):
        take(issued.chain_pem, issued.leaf_pem)


def test_a_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(PkiError, match="does not belong"):
        take(CA.issue(["mx.example"]).chain_pem, CA.issue(["mx.example"]).key_pem)


def test_of_several_keys_the_one_with_a_certificate_is_taken_and_that_is_said() -> None:
    issued = CA.issue(["mx.example"])
    other = CA.issue(["other.example"])
    change = import_profile("gw", other.key_pem + issued.key_pem + issued.leaf_pem, b"", None, NOW)
    assert key_of(change.profile) == public_key_der(issued.key)
    assert change.notes == ("of 2 private keys the one was taken that belongs to CN=mx.example",)
    assert import_profile("gw", issued.leaf_pem + issued.key_pem * 2, b"", None, NOW).notes == ()


def test_a_file_with_the_key_may_be_of_any_kind_and_is_named_when_it_has_none() -> None:
    issued = CA.issue(["mx.example"])
    assert take(issued.leaf_pem, p12(issued, b"open"), "open").certificate == issued.chain_der[0]
    der = issued.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert take(issued.leaf_pem, der).certificate == issued.chain_der[0]
    with pytest.raises(PkiError, match="no private key"):
        take(issued.leaf_pem, issued.leaf_pem)
    with pytest.raises(PkiError, match="JPEG"):
        take(issued.leaf_pem, b"\xff\xd8\xff\xe0")


# --- the answer of an authority ---------------------------------------------------------------------


def test_an_answer_is_read_without_its_private_key() -> None:
    issued = CA.issue(["mx.example"])
    brought = read_answer(issued.chain_pem + issued.key_pem, CA.certificate.public_bytes(Encoding.PEM))
    assert brought.certificates == issued.chain_der
    assert brought.behind == issued.chain_der[1:]
    assert brought.keys == (public_key_der(issued.key),)
    assert "PRIVATE" not in repr(brought)


def test_an_answer_that_is_of_no_use_is_named() -> None:
    issued = CA.issue(["mx.example"])
    with pytest.raises(PkiError, match=r"^a\.p12: the file is PKCS#12"):
        read_answer(p12(issued, b""), b"", label="a.p12")
    with pytest.raises(PkiError, match=r"^more\.pem: the file holds no certificate"):
        read_answer(issued.leaf_pem, issued.key_pem, label="a.pem", behind_label="more.pem")
    with pytest.raises(PkiError, match=r"^…") as caught:
        read_answer(b"x", b"", label="d/" * 300)
    assert len(caught.value.text) < 400


@settings(max_examples=100)
@given(place=st.integers(0, 2_000), value=st.integers(0, 255), cut=st.integers(0, 2_000), der=st.booleans())
def test_a_damaged_answer_is_refused_or_read_and_nothing_else(
    place: int, value: int, cut: int, der: bool
) -> None:
    """Truncated and bit-flipped: one clear refusal at most, and no key in it."""
    issued = SOME
    data = bytearray(issued.chain_der[0] if der else issued.chain_pem + issued.key_pem)
    data[place % len(data)] = value
    data = data[: max(len(data) - cut % len(data), 1)]
    said, brought = "answer.pem: ", Brought()
    try:
        brought = read_answer(bytes(data), b"", label="answer.pem")
    except PkiError as error:
        said = error.text
    assert said.startswith("answer.pem: ")
    assert not any(line in said for line in SOME.key_pem.decode().splitlines()[1:-1])
    assert all(read_certificate(one) for one in brought.certificates)
