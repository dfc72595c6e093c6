"""Profiles: the JSON form, and the key that leaves only when asked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.fakes.ca import Issued, TestAuthority, make_key, self_signed

from gatepost.pki.errors import PkiError
from gatepost.pki.keys import KeyKind, generate, key_pem
from gatepost.pki.profile import Origin, Pair, Profile, make_profile, profile_key
from gatepost.pki.selfsigned import SubjectFields, make_csr

ISSUED = TestAuthority().intermediate().issue(["mx.example"])


def profile(issued: Issued = ISSUED, origin: Origin = Origin.IMPORTED) -> Profile:
    return make_profile(
        "gw",
        issued.chain_der[0],
        issued.key,
        intermediates=issued.chain_der[1:],
        csr=b"csr",
        origin=origin,
        created=5.0,
    )


def test_the_json_form_has_no_key_and_reads_again() -> None:
    made = profile()
    document = json.loads(json.dumps(made.document()))
    assert "PRIVATE" not in json.dumps(document)
    assert "private_key" not in document
    assert Profile.from_document(document, made.key) == made
    without = Profile.from_document(document)
    with pytest.raises(PkiError, match="not at hand"):
        without.private_key_pem()
    with pytest.raises(PkiError, match="not at hand"):
        without.with_key_document()


def test_the_form_with_key_is_explicit() -> None:
    made = profile()
    whole = json.loads(json.dumps(made.with_key_document()))
    assert Profile.from_document(whole) == made
    assert key_pem(profile_key(Profile.from_document(whole))).reveal() == ISSUED.key_pem


def test_nothing_of_the_key_is_shown() -> None:
    text = repr(profile())
    assert "PRIVATE" not in text
    assert "SecretBytes" not in text


def test_what_is_served() -> None:
    assert profile().certificate_pem.encode() == ISSUED.chain_pem
    assert profile().chain == ISSUED.chain_der


def test_verifiable() -> None:
    assert profile().verifiable
    own = self_signed(["mx.example"])
    assert not profile(own).verifiable
    assert not profile(ISSUED, Origin.DEMO).verifiable


def test_a_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(PkiError, match="belong"):
        make_profile("gw", ISSUED.chain_der[0], make_key("p256"), origin=Origin.IMPORTED, created=0)


@pytest.mark.parametrize(
    "change",
    [
        {"certificate": "!"},
        {"certificate": "AAAA"},
        {"intermediates": ["AAAA"]},
        {"intermediates": None},
        {"origin": "elsewhere"},
        {"created": "x"},
        {"private_key": 7},
    ],
)
def test_a_damaged_document_is_said(change: dict[str, object]) -> None:
    with pytest.raises(PkiError):
        Profile.from_document({**profile().document(), **change})


def test_a_given_key_wins() -> None:
    other = key_pem(make_key())
    assert Profile.from_document(profile().document(), other).private_key_pem() == other


def two_pairs_and_a_waiting_key() -> Profile:
    other = TestAuthority().issue(["mx.example"], key=make_key("rsa2048"))
    waiting = generate(KeyKind.P256)
    return replace(
        profile(),
        csr=make_csr(SubjectFields("mx.example"), (), waiting),
        beside=Pair(other.chain_der[0], other.chain_der[1:], key_pem(other.key), Origin.SIGNED, 6.0),
        next_key=key_pem(waiting),
    )


def test_two_certificates_and_a_waiting_key_come_back_in_their_places() -> None:
    made = two_pairs_and_a_waiting_key()
    made.require_keys()
    assert Profile.from_document(json.loads(json.dumps(made.with_key_document()))) == made
    assert Profile.from_document(json.loads(json.dumps(made.document())), made.secret()) == made
    assert [pair.created for pair in made.pairs] == [5.0, 6.0]
    assert len(made.chains_pem) == 2


def test_keys_in_the_wrong_places_are_found() -> None:
    made = two_pairs_and_a_waiting_key()
    assert made.beside is not None
    for wrong in (
        replace(made, key=made.beside.key),
        replace(made, beside=replace(made.beside, key=made.key)),
        replace(made, next_key=made.key),
    ):
        with pytest.raises(PkiError, match="does not belong"):
            wrong.require_keys()
    with pytest.raises(PkiError, match="has 1 private keys, not 3"):
        Profile.from_document(made.document(), made.key)
