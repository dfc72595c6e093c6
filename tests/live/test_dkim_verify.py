"""Our DKIM verifier beside dkimpy: what that one signs is good here, and both say the same of what somebody changed."""

from __future__ import annotations

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.fakes.dkim_signer import Key, signed
from tests.live.peers.dkimpy import judged, signature

from gatepost.wire.dkim_verify import KeyAnswer, verify

NOW = 1_800_000_000.0
SELECTOR, DOMAIN = "s1", "partner.example"
NAME = f"{SELECTOR}._domainkey.{DOMAIN}"
WAYS = [f"{header}/{body}" for header in ("simple", "relaxed") for body in ("simple", "relaxed")]
RSA, ED25519 = Key.rsa(), Key.ed25519()
MESSAGE = (
    b"From: Reports <tls@partner.example>\r\nTo: <r@example.net>\r\nSubject: one\r\n\ttwo  three \r\nX-Other: not signed\r\n\r\n"
    b"one  line \r\n\r\n\tlast\r\n\r\n\r\n"
)
CHANGES = (
    (b"", b""),
    (b"last", b"lost"),
    (b"one  line \r\n", b"one line\r\n"),
    (b"last\r\n\r\n\r\n", b"last\r\n"),
    (b"last\r\n", b"last\r\nmore\r\n"),
    (b"one\r\n\ttwo  three ", b"one two three"),
    (b"one\r\n\ttwo", b"one\r\n\tto"),
    (b"\r\nTo:", b"\r\nTO: "),
    (b"\r\nTo:", b"\r\nFrom: <x@evil.example>\r\nTo:"),
    (b"\r\nTo: <r@example.net>", b""),
    (b"not signed", b"changed"),
)


def ours(message: bytes, record: str) -> bool:
    (found,) = verify(message, {NAME: KeyAnswer((record,))}, NOW)
    return found.result.value == "pass"


def key_text(key: Key) -> str:
    """The private half as dkimpy takes it."""
    if key.kind == "rsa":
        pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        return pem.decode()
    return b64encode(key.private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())).decode()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_what_dkimpy_signs_is_good_until_somebody_changes_it(key: Key, way: str) -> None:
    field = signature(MESSAGE, DOMAIN, SELECTOR, key_text(key), algorithm=f"{key.kind}-sha256", way=way)
    good = field + MESSAGE
    assert ours(good, key.record())
    for before, after in CHANGES:
        changed = good.replace(before, after, 1) if before else good
        theirs = judged(changed, {NAME: key.record()}, tlsrpt=False) == [True]
        assert theirs is ours(changed, key.record()), before


@pytest.mark.parametrize("way", WAYS)
def test_dkimpy_takes_what_the_signer_of_these_tests_signs(way: str) -> None:
    message = signed(signed(MESSAGE, ED25519, c=way), RSA, c=way, s="s2")
    records = {NAME: ED25519.record(), f"s2._domainkey.{DOMAIN}": RSA.record()}
    assert judged(message, records, tlsrpt=False) == [True, True]
    keys = {name: KeyAnswer((record,)) for name, record in records.items()}
    assert [one.result.value for one in verify(message, keys, NOW)] == ["pass", "pass"]


def test_a_length_counts_here_only_where_it_is_all() -> None:
    field = signature(
        MESSAGE, DOMAIN, SELECTOR, key_text(RSA), algorithm="rsa-sha256", way="relaxed/relaxed", length=True
    )
    good = field + MESSAGE
    assert b" l=" in field
    assert ours(good, RSA.record())
    longer = good + b"more\r\n"
    assert judged(longer, {NAME: RSA.record()}, tlsrpt=False) == [True]
    assert not ours(longer, RSA.record())


@pytest.mark.parametrize("service", ["", "s=tlsrpt; ", "s=email; "])
def test_dkimpy_agrees_on_the_services_of_a_key(service: str) -> None:
    message = signed(MESSAGE, RSA)
    assert ours(message, RSA.record(service))
    assert judged(message, {NAME: RSA.record(service)}, tlsrpt="tlsrpt" in service) == [True]
