"""The verifier of SCRAM-SHA-256: the example of RFC 7677, the text form, and users that do not exist."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from gatepost.wire.scram import ScramVerifier

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
MESSAGE = (
    b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)
PROOF = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
PENCIL = ScramVerifier.derive("pencil", SALT, 4096)


def test_the_example_of_the_rfc() -> None:
    assert PENCIL.proves(MESSAGE, PROOF)
    assert b64encode(PENCIL.signature(MESSAGE)) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize("proof", [b"", PROOF[:-1], PROOF + b"\0", bytes(32), PROOF[::-1]])
def test_another_proof_proves_nothing(proof: bytes) -> None:
    assert not PENCIL.proves(MESSAGE, proof)
    assert not PENCIL.proves(MESSAGE + b"x", PROOF)


def test_a_pass_phrase_is_compared() -> None:
    assert PENCIL.accepts("pencil")
    assert not PENCIL.accepts("Pencil")
    assert not PENCIL.accepts("")


def test_the_text_form_there_and_back() -> None:
    text = PENCIL.text()
    assert text.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    assert ScramVerifier.of_text(text) == PENCIL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$x:y",
        PENCIL.text() + " ",
        PENCIL.text().replace("$4096:", "$0001:"),
        PENCIL.text().replace("$4096:", "$99999999:"),
        PENCIL.text().replace("gQ==$", "gR==$"),
        PENCIL.text()[:-2] + "==",
    ],
)
def test_what_is_no_verifier(text: str) -> None:
    with pytest.raises(ValueError, match="not a SCRAM"):
        ScramVerifier.of_text(text)


def test_nobody_is_always_the_same_and_fits_nothing() -> None:
    one = ScramVerifier.nobody(b"secret", "mary", 4096)
    assert one == ScramVerifier.nobody(b"secret", "mary", 4096)
    assert len(one.salt) == len(PENCIL.salt)
    assert one.salt != ScramVerifier.nobody(b"secret", "jane", 4096).salt
    assert one.salt != ScramVerifier.nobody(b"other", "mary", 4096).salt
    assert not one.accepts("pencil")
    assert not one.proves(MESSAGE, PROOF)


def test_the_repr_shows_nothing() -> None:
    assert repr(PENCIL) == "ScramVerifier(iterations=4096)"
