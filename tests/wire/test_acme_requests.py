"""Payloads, the texts of challenges with the RFCs' own examples, and headers read."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gatepost.wire import acme_requests as requests
from gatepost.wire import jose
from gatepost.wire.acme_objects import identifier_of


def test_payloads_hold_what_was_asked_for_and_no_more() -> None:
    assert requests.new_account() == {}
    assert requests.new_account(
        contact=("mailto:a@b.example",), terms_agreed=True, binding={"payload": "p"}, only_existing=True
    ) == {
        "onlyReturnExisting": True,
        "contact": ["mailto:a@b.example"],
        "termsOfServiceAgreed": True,
        "externalAccountBinding": {"payload": "p"},
    }
    names = [identifier_of("*.example.net"), identifier_of("192.0.2.1")]
    assert requests.new_order(names) == {
        "identifiers": [{"type": "dns", "value": "*.example.net"}, {"type": "ip", "value": "192.0.2.1"}]
    }
    extra = requests.new_order(names, profile="shortlived", replaces="a.b")
    assert (extra["profile"], extra["replaces"]) == ("shortlived", "a.b")
    assert requests.finalize(b"\x00\xff") == {"csr": "AP8"}
    assert requests.revoke(b"\x00", 4) == {"certificate": "AA", "reason": 4}


def test_a_request_names_the_key_until_there_is_an_account() -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    def header(account: str) -> dict[str, object]:
        body = json.loads(requests.signed_request(key, "https://ca.example/x", "n0", None, account))
        assert body["payload"] == ""
        found: dict[str, object] = json.loads(jose.decode_b64(body["protected"]))
        return found

    url = "https://ca.example/x"
    assert header("") == {"alg": "ES256", "nonce": "n0", "url": url, "jwk": jose.public_jwk(key)}
    known = "https://ca.example/acct/1"
    assert header(known) == {"alg": "ES256", "nonce": "n0", "url": url, "kid": known}


def test_a_key_change_is_signed_by_the_new_key_and_names_the_old() -> None:
    old, new = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    change = requests.key_change(old, new, "https://ca.example/key-change", "https://ca.example/acct/1")
    header = json.loads(jose.decode_b64(change["protected"]))
    assert header == {"alg": "ES256", "jwk": jose.public_jwk(new), "url": "https://ca.example/key-change"}
    inner = json.loads(jose.decode_b64(change["payload"]))
    assert inner == {"account": "https://ca.example/acct/1", "oldKey": jose.public_jwk(old)}


def test_the_texts_of_challenges() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert requests.key_authorization("token", key) == f"token.{jose.thumbprint(key)}"
    # SHA-256 of "abc" (FIPS 180), as the record has it and as the certificate has it.
    digest = bytes.fromhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert requests.record_value("abc") == jose.encode_b64(digest)
    assert requests.acme_identifier("abc") == b"\x04\x20" + digest


def test_the_certificate_id_is_that_of_the_rfc() -> None:
    """RFC 9773 §4.1: the serial number 00:87:65:43:21 keeps its leading zero."""
    key = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    assert requests.certificate_id(key, 0x87654321) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    assert requests.certificate_id(b"\x01", 0x7F) == "AQ.fw"


@pytest.mark.parametrize(
    ("text", "nonce"),
    [
        ("oFvnlFP1wIhRlYS2jTaXbA", "oFvnlFP1wIhRlYS2jTaXbA"),
        ("", ""),
        ("a b", ""),
        ("a=", ""),
        ("x" * 600, ""),
    ],
)
def test_a_nonce_that_is_none_is_not_used(text: str, nonce: str) -> None:
    assert requests.nonce_of({"replay-nonce": text}) == nonce
    assert requests.nonce_of({}) == ""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("9" * 60, 999_999_999.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("²", None),
        ("Thu, 99 Foo 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert requests.retry_after({"retry-after": text}, 10.0) == seconds


def test_links_to_other_chains() -> None:
    header = (
        '<https://ca.example/dir>;rel="index", <https://ca.example/cert/1/alt/1>;rel="alternate", '
        '<https://ca.example/cert/1/alt,2> ; title="a, b" ; rel=alternate, <x>;rel="up alternate"'
    )
    assert requests.alternate_links({"link": header}) == (
        "https://ca.example/cert/1/alt/1",
        "https://ca.example/cert/1/alt,2",
        "x",
    )
    assert requests.alternate_links({}) == ()
    assert requests.alternate_links({"link": '<a>;"' * 2000}) == ()
