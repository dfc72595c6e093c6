"""Signatures, judged by a verifier of the tests' own; that one is judged by the message of RFC 8463, appendix A."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.dkim_verifier import verdicts

from gatepost.pki.dkim import public_half, signing
from gatepost.wire.dkim import Algorithm, Signer, relaxed_body, relaxed_field, sign_message
from gatepost.wire.dkim_record import record_text

ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAMES = ("From", "To", "Subject", "Date")

# RFC 8463, appendix A: a message, its key as published, and its signature.
_RFC_PUBLIC = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
_RFC_BODY = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
_RFC_BODY_HASH = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
_RFC_MESSAGE = (
    b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
    b" d=football.example.com; i=@football.example.com;\r\n"
    b" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
    b" subject : date : message-id : from : subject : date;\r\n"
    b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    b" b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"
    b" Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"
    b"From: Joe SixPack <joe@football.example.com>\r\n"
    b"To: Suzie Q <suzie@shopping.example.net>\r\n"
    b"Subject: Is dinner ready?\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n"
) + _RFC_BODY

MESSAGE = (
    b"From: <tls@sender.example>\r\n"
    b"To: <reports@example.org>\r\n"
    b"Subject: Report Domain: example.org\r\n Submitter: sender.example\r\n"
    b"X-Other: not signed\r\n"
    b"\r\n"
    b"one  line \t\r\n\r\nand another\r\n\r\n\r\n"
)


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _ed25519_signer() -> Signer:
    return Signer("sender.example", "a1", Algorithm.ED25519_SHA256, signing(ED25519))


def _published(rsa_key: rsa.RSAPrivateKey | None = None) -> dict[str, str]:
    found = {"a1._domainkey.sender.example": record_text("ed25519", public_half(ED25519))}
    if rsa_key is not None:
        found["b2._domainkey.sender.example"] = record_text("rsa", public_half(rsa_key))
    return found


def test_the_verifier_of_these_tests_agrees_with_the_rfc() -> None:
    published = {"brisbane._domainkey.football.example.com": f"v=DKIM1; k=ed25519; p={_RFC_PUBLIC}"}
    assert verdicts(_RFC_MESSAGE, published) == ["good"]
    assert verdicts(_RFC_MESSAGE.replace(b"hungry", b"thirsty"), published) == ["the body differs"]
    other = _RFC_MESSAGE.replace(b"dinner", b"supper")
    assert verdicts(other, published) == ["the signature is of other text or another key"]


def test_the_hash_of_the_body_is_that_of_the_rfc() -> None:
    assert b64encode(hashlib.sha256(relaxed_body(_RFC_BODY)).digest()).decode() == _RFC_BODY_HASH


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [
        (b"", b""),
        (b"\r\n\r\n", b""),
        (b" \t\r\n", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376 §3.4.5
        (b"no end", b"no end\r\n"),
        (b"a\r\n \r\n", b"a\r\n"),
    ],
)
def test_bodies_are_relaxed(body: bytes, relaxed: bytes) -> None:
    assert relaxed_body(body) == relaxed


def test_fields_are_relaxed() -> None:
    assert relaxed_field("A", b" X ") == b"a:X\r\n"  # RFC 6376 §3.4.5
    assert relaxed_field("B", b" Y\t\r\n\tZ  ") == b"b:Y Z\r\n"


def test_a_message_is_signed_with_each_key(rsa_key: rsa.RSAPrivateKey) -> None:
    signers = [_ed25519_signer(), Signer("sender.example", "b2", Algorithm.RSA_SHA256, signing(rsa_key))]
    signed = sign_message(MESSAGE, signers, NAMES, 1_793_577_600.0)
    assert signed.endswith(MESSAGE)
    assert verdicts(signed, _published(rsa_key)) == ["good", "good"]
    header = signed.partition(b"\r\n\r\n")[0]
    assert max(map(len, header.split(b"\r\n"))) <= 78
    assert b"l=" not in header.partition(b"From:")[0].replace(b"rsa", b"")


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (b"and another", b"and a third", "the body differs"),
        (b"reports@", b"others@", "the signature is of other text or another key"),
        (
            b"From: <tls@sender.example>",
            b"From: <x@evil.example>\r\nFrom: <tls@sender.example>",
            "the signature is of other text or another key",
        ),
        (b"From: <tls", b"From:  <tls", "good"),
        (b"\r\n Submitter", b" Submitter", "good"),
        (b"not signed", b"changed", "good"),
        (b"one  line \t\r\n", b"one line\r\n", "good"),
        (b"another\r\n\r\n\r\n", b"another\r\n", "good"),
    ],
)
def test_a_change_is_noticed_where_it_matters(before: bytes, after: bytes, verdict: str) -> None:
    signed = sign_message(MESSAGE, [_ed25519_signer()], NAMES, 1.0)
    assert before in signed
    assert verdicts(signed.replace(before, after), _published()) == [verdict]


def test_nothing_of_a_key_is_shown() -> None:
    assert repr(_ed25519_signer()) == (
        "Signer(domain='sender.example', selector='a1', algorithm=<Algorithm.ED25519_SHA256: 'ed25519-sha256'>)"
    )


_lines = st.text(
    st.characters(min_codepoint=9, max_codepoint=126, exclude_characters="\n\r\x0b\x0c"), max_size=20
)


@given(st.lists(_lines, max_size=6), st.lists(_lines.map(str.strip).filter(bool), min_size=1, max_size=3))
@settings(max_examples=100)
def test_any_message_is_signed_so_that_others_agree(body: list[str], subject: list[str]) -> None:
    folded = "\r\n ".join(subject)
    message = f"From: <a@b.example>\r\nSubject: {folded}\r\n\r\n" + "".join(f"{line}\r\n" for line in body)
    signed = sign_message(message.encode(), [_ed25519_signer()], NAMES, 1.0)
    assert verdicts(signed, _published()) == ["good"]
