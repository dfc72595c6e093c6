"""Signatures verified: the messages of RFC 6376 and RFC 8463, every canonicalisation, tampering, keys of every kind, our own signer."""

from __future__ import annotations

import json
import re
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.dkim_signer import Key, signed
from tests.fakes.dkim_verifier import verdicts

from gatepost.pki.dkim import signing
from gatepost.wire.dkim import Algorithm, Signer, sign_message
from gatepost.wire.dkim_message import MessageFault, split_message
from gatepost.wire.dkim_verify import (
    CLOCKS,
    MAX_SIGNATURES,
    Claim,
    DkimResult,
    KeyAnswer,
    claims,
    judge,
    read_claim,
    verify,
)

NOW = 1_800_000_000.0
NAME = "s1._domainkey.partner.example"
WAYS = [f"{header}/{body}" for header in ("simple", "relaxed") for body in ("simple", "relaxed")]
ED25519 = Key.ed25519()
MESSAGE = (
    b"From: <tls@partner.example>\r\nTo: <r@example.net>\r\nSubject: one\r\n two\r\nX-Other: not signed\r\n\r\n"
    b"one  line \r\n\r\nlast\r\n\r\n"
)

# RFC 6376, appendix A, and RFC 8463, appendix A: two messages with three signatures, and the keys that belong to them.
RSA_OF_THE_RFCS = (
    "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
    "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
    "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3"
    "Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
)
RFC_KEYS = {
    "brisbane._domainkey.example.com": KeyAnswer(
        (
            "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt"
            "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi"
            "tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB",
        )
    ),
    "brisbane._domainkey.football.example.com": KeyAnswer(
        ("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",)
    ),
    "test._domainkey.football.example.com": KeyAnswer((RSA_OF_THE_RFCS,)),
}
JOE = """From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

"""
RFC_6376 = f"""DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
{JOE}We lost the game. Are you hungry yet?

Joe.
""".encode().replace(b"\n", b"\r\n")
RFC_8463 = f"""DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
{JOE}We lost the game.  Are you hungry yet?

Joe.
""".encode().replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def rsa_key() -> Key:
    return Key.rsa()


def outcome(message: bytes, *records: str, now: float = NOW, unknown: str = "") -> tuple[str, str]:
    """What the first signature of a message comes to when these records are published for it."""
    found = verify(message, {NAME: KeyAnswer(records or (ED25519.record(),), unknown)}, now)
    return found[0].result.value, found[0].reason


def results(message: bytes, keys: dict[str, KeyAnswer]) -> list[str]:
    return [one.result.value for one in verify(message, keys, NOW)]


def test_the_messages_of_the_rfcs_are_good() -> None:
    assert results(RFC_6376, RFC_KEYS) == ["pass"]
    assert results(RFC_8463, RFC_KEYS) == ["pass", "pass"]
    assert results(RFC_6376.replace(b"\r\n", b"\n"), RFC_KEYS) == ["pass"]
    assert results(RFC_6376.replace(b"hungry", b"thirsty"), RFC_KEYS) == ["fail"]
    assert results(RFC_6376.replace(b"  [192", b" [192"), RFC_KEYS) == ["fail"]
    assert results(RFC_8463.replace(b"  Are", b" Are"), RFC_KEYS) == ["pass", "pass"]
    assert results(RFC_8463.replace(b"dinner", b"supper"), RFC_KEYS) == ["fail", "fail"]


def test_each_signature_is_judged_for_itself() -> None:
    keys = RFC_KEYS | {"test._domainkey.football.example.com": KeyAnswer()}
    first, second = verify(RFC_8463, keys, NOW)
    assert first.reason == (
        "signed by football.example.com with the key brisbane._domainkey.football.example.com"
    )
    assert (first.result, second.result) == (DkimResult.PASS, DkimResult.PERMANENT)
    assert second.reason == "the key test._domainkey.football.example.com is of no use: there is no record"


def test_without_a_signature_there_is_nothing_to_judge() -> None:
    assert verify(MESSAGE, {}, NOW) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_every_canonicalisation_and_algorithm(way: str, kind: str, rsa_key: Key) -> None:
    key = rsa_key if kind == "rsa" else ED25519
    assert outcome(signed(MESSAGE, key, c=way), key.record())[0] == "pass"
    assert outcome(signed(b"From: a\r\n\r\n", key, c=way), key.record())[0] == "pass"


@pytest.mark.parametrize("way", WAYS)
def test_a_change_anywhere_in_what_is_signed_is_noticed(way: str) -> None:
    """Each octet in turn: those of the signed fields, of the signature's own field, and of the body."""
    good = signed(MESSAGE, ED25519, c=way, fold=" ")
    free = range(good.index(b"X-Other"), good.index(b"\r\n\r\n"))
    last = good.index(b"==\r\n") - 1  # four bits of it are no part of the signature
    passed = []
    for at in range(len(good)):
        if at in free or at == last or good[at] in b"\r\n":
            continue
        changed = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        try:
            found = results(changed, {NAME: KeyAnswer((ED25519.record(),))})
        except MessageFault:
            continue
        if "pass" in found:
            passed.append(good[max(0, at - 9) : at + 9])
    assert passed == []


@pytest.mark.parametrize("way", WAYS)
def test_what_is_put_in_or_taken_away_is_noticed(way: str) -> None:
    good = signed(MESSAGE, ED25519, c=way, h="from:from:to:subject:date")
    assert outcome(good)[0] == "pass"
    for before, after in (
        (b"From: ", b"From: <x@evil.example>\r\nFrom: "),
        (b"\r\n\r\none", b"\r\nFrom: <x@evil.example>\r\n\r\none"),
        (b"\r\n\r\none", b"\r\nDate: today\r\n\r\none"),
        (b"To: <r@example.net>\r\n", b""),
        (b"last\r\n", b"last\r\nmore\r\n"),
        (b"last\r\n", b""),
        (b"\r\n\r\none", b"\r\n\r\n\r\none"),
        (b"one  line", b"oneline"),
    ):
        assert before in good
        assert outcome(good.replace(before, after, 1))[0] == "fail"
    assert outcome(good.replace(b"not signed", b"changed"))[0] == "pass"
    assert outcome(good + b"\r\n\r\n")[0] == "pass"  # empty lines at the end belong to no form


def test_relaxed_forms_bear_what_servers_do() -> None:
    good = signed(MESSAGE, ED25519)
    for before, after in (
        (b"one\r\n two", b"one two"),
        (b"From: <", b"FROM :\t  <"),
        (b"one  line \r\n", b"one line\r\n"),
    ):
        assert outcome(good.replace(before, after))[0] == "pass"
        assert outcome(signed(MESSAGE, ED25519, c="simple/simple").replace(before, after))[0] == "fail"


def test_a_part_of_the_body_does_not_count() -> None:
    whole = len(b"one line\r\n\r\nlast\r\n")
    assert outcome(signed(MESSAGE, ED25519, l=str(whole)))[0] == "pass"
    for length in (0, 4, whole - 1):
        good = signed(MESSAGE, ED25519, l=str(length))
        assert outcome(good) == (
            "permerror",
            "the signature of partner.example is not of the whole body (l=)",
        )
    assert outcome(signed(MESSAGE, ED25519, l=str(whole)) + b"more\r\n")[0] == "permerror"
    assert outcome(signed(MESSAGE, ED25519, l=str(whole + 1)))[0] == "permerror"


@pytest.mark.parametrize(
    ("tags", "result"),
    [
        ({"x": f"{NOW:.0f}"}, "pass"),
        ({"x": f"{NOW - 1:.0f}"}, "fail"),
        ({"t": f"{NOW - 10:.0f}", "x": f"{NOW + 1:.0f}"}, "pass"),
        ({"t": f"{NOW + CLOCKS:.0f}"}, "pass"),
        ({"t": f"{NOW + CLOCKS + 1:.0f}"}, "fail"),
        ({"i": "@partner.example"}, "pass"),
        ({"i": "=20x@mail.partner.example"}, "pass"),
        ({"i": "@example"}, "permerror"),
        ({"i": "@other.example"}, "permerror"),
        ({"h": "to:subject"}, "permerror"),
        ({"a": "rsa-sha1"}, "permerror"),
        ({"a": "rsa-sha256"}, "permerror"),  # the key is no such
        ({"v": "2"}, "permerror"),
        ({"bh": "AAAA"}, "fail"),
        ({"h": "From : To : nothing : nothing : Subject"}, "pass"),
    ],
)
def test_what_a_signature_says_of_itself(tags: dict[str, str], result: str) -> None:
    assert outcome(signed(MESSAGE, ED25519, **tags))[0] == result


@pytest.mark.parametrize(
    ("record", "result", "why"),
    [
        (ED25519.record(), "pass", ""),
        (ED25519.record("s=tlsrpt; "), "pass", ""),
        (ED25519.record("s=email; "), "pass", ""),
        (ED25519.record("s=other : * ; "), "pass", ""),
        (ED25519.record("h=sha1:sha256; t=s; n=a note; g=*; "), "pass", ""),
        (ED25519.record().removeprefix("v=DKIM1; "), "pass", ""),
        (ED25519.record("s=other; "), "permerror", r"neither for mail nor for TLS reports \(s=\)"),
        (ED25519.record("h=sha1; "), "permerror", r"does not allow sha256 \(h=\)"),
        (ED25519.record("t=y:s; "), "none", r"only tests DKIM.*t=y"),
        (ED25519.record("p=AAAA; "), "permerror", "the tag p= stands there twice"),
        ("v=DKIM1; k=ed25519; p=", "permerror", "it was revoked"),
        ("v=DKIM1; k=ed25519; p=AAAA", "permerror", "cannot be read"),
        ("v=DKIM1; k=rsa; p=AAAA", "permerror", "no key for ed25519-sha256"),
        ("v=DKIM1; k=ed25519", "permerror", "holds no key"),
        ("v=DKIM2; " + ED25519.record()[9:], "permerror", "does not begin with v=DKIM1"),
        (ED25519.record()[9:] + "; v=DKIM1", "permerror", "does not begin with v=DKIM1"),
        ("v=spf1 -all", "permerror", "does not begin with v=DKIM1"),
        ("some text", "permerror", "is no list of tags"),
        (Key.ed25519(2).record(), "fail", "does not match the header, or its key"),
    ],
)
def test_what_a_record_says(record: str, result: str, why: str) -> None:
    found, reason = outcome(signed(MESSAGE, ED25519), record)
    assert found == result
    assert re.search(why, reason)


def test_a_key_for_its_own_domain_alone() -> None:
    strict = ED25519.record("t=s; ")
    assert outcome(signed(MESSAGE, ED25519, i="@partner.example"), strict)[0] == "pass"
    found, reason = outcome(signed(MESSAGE, ED25519, i="@mail.partner.example"), strict)
    assert found == "permerror"
    assert "(t=s)" in reason


def test_of_several_texts_one_has_to_be_a_record() -> None:
    good = signed(MESSAGE, ED25519)
    assert outcome(good, "v=spf1 -all", ED25519.record())[0] == "pass"
    assert outcome(good, ED25519.record(), Key.ed25519(2).record()) == (
        "permerror",
        f"the key {NAME} is of no use: 2 records stand where one belongs",
    )


def test_a_key_that_nobody_could_look_up_is_told_as_such() -> None:
    assert outcome(signed(MESSAGE, ED25519), unknown="no answer within 5 s") == (
        "temperror",
        f"the key {NAME} could not be looked up: no answer within 5 s",
    )
    tampered = signed(MESSAGE, ED25519).replace(b"last", b"lost")
    assert outcome(tampered, unknown="no answer")[0] == "fail"  # no key makes that good


def test_the_shortest_rsa_key_that_is_taken() -> None:
    key = Key.rsa(1024)
    assert outcome(signed(MESSAGE, key), key.record())[0] == "pass"


def _rsa_record(bits: int) -> str:
    """A record of as many bits, of a key that nobody has."""
    modulus = 1 << (bits - 1) | 1

    def integer(value: int) -> bytes:
        octets = value.to_bytes(value.bit_length() // 8 + 1, "big")
        return b"\x02" + _length(len(octets)) + octets

    body = integer(modulus) + integer(65537)
    return f"v=DKIM1; k=rsa; p={b64encode(b'0' + _length(len(body)) + body).decode()}"


def _length(number: int) -> bytes:
    if number < 128:
        return bytes([number])
    octets = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


@pytest.mark.parametrize(("bits", "said"), [(1_016, "1,016"), (768, "768"), (16_384, "16,384")])
def test_rsa_keys_of_too_few_or_too_many_bits(bits: int, said: str, rsa_key: Key) -> None:
    assert outcome(signed(MESSAGE, rsa_key), _rsa_record(bits)) == (
        "permerror",
        f"the key {NAME} is of no use: it has {said} bits, and 1,024 to 8,192 are taken",
    )


def test_a_key_of_another_kind_in_the_place_of_an_rsa_key(rsa_key: Key) -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    found, reason = outcome(signed(MESSAGE, rsa_key), f"k=rsa; p={b64encode(der).decode()}")
    assert (found, "it is no RSA key" in reason) == ("permerror", True)


def test_an_rsa_key_may_be_written_without_its_kind(rsa_key: Key) -> None:
    public = rsa_key.private.public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert outcome(signed(MESSAGE, rsa_key), f"p={b64encode(der).decode()}")[0] == "pass"


def test_the_first_eight_signatures_are_looked_at() -> None:
    message = signed(MESSAGE, ED25519)
    for number in range(MAX_SIGNATURES - 1):
        message = signed(message, ED25519, s=f"gone{number}")
    assert results(message, {NAME: KeyAnswer((ED25519.record(),))}) == ["permerror"] * 7 + ["pass"]
    message = signed(message, ED25519, s="one-more")
    assert results(message, {NAME: KeyAnswer((ED25519.record(),))}) == ["permerror"] * 8


def test_a_signature_may_cover_another_but_not_itself() -> None:
    inner = signed(MESSAGE, ED25519, s="inner")
    good = signed(inner, ED25519, h="from:dkim-signature")
    assert outcome(good)[0] == "pass"
    assert outcome(good.replace(b"s=inner", b"s=other"))[0] == "fail"


def test_a_claim_can_be_kept_until_its_key_is_known() -> None:
    for message in (
        signed(MESSAGE, ED25519),
        signed(MESSAGE, ED25519, x="1"),
        signed(MESSAGE, ED25519, v="9"),
    ):
        (claim,) = claims(split_message(message), NOW)
        kept = read_claim(json.loads(json.dumps(claim.plain())))
        assert kept == claim
        assert len(json.dumps(claim.plain())) < 600
        key = KeyAnswer((ED25519.record(),))
        assert judge(kept, key) == judge(claim, key)


def test_a_settled_claim_asks_for_no_key() -> None:
    assert Claim(result="fail").key_name == ""
    (claim,) = claims(split_message(signed(MESSAGE, ED25519, x="1")), NOW)
    assert claim.key_name == ""


# --- with our signer, and with the tests' own verifier ------------------------------------------------------


def test_what_our_signer_signs_is_good(rsa_key: Key) -> None:
    signers = [
        Signer("partner.example", "s1", Algorithm.ED25519_SHA256, signing(ED25519.private)),
        Signer("partner.example", "s2", Algorithm.RSA_SHA256, signing(rsa_key.private)),
    ]
    keys = {
        NAME: KeyAnswer((ED25519.record(),)),
        "s2._domainkey.partner.example": KeyAnswer((rsa_key.record(),)),
    }
    message = sign_message(MESSAGE, signers, ("From", "To", "Subject"), NOW)
    assert results(message, keys) == ["pass", "pass"]
    assert results(message.replace(b"last", b"lost"), keys) == ["fail", "fail"]


_lines = st.text(
    st.characters(min_codepoint=9, max_codepoint=126, exclude_characters="\n\r\x0b\x0c"), max_size=20
)


@given(
    st.lists(_lines, max_size=6),
    st.lists(_lines.map(str.strip).filter(bool), min_size=1, max_size=3),
    st.sampled_from(WAYS),
)
@settings(max_examples=100)
def test_any_message_is_read_as_others_sign_and_read_it(
    body: list[str], subject: list[str], way: str
) -> None:
    folded = "\r\n ".join(subject)
    text = f"From: <a@partner.example>\r\nSubject: {folded}\r\n\r\n" + "".join(f"{line}\r\n" for line in body)
    message = signed(text.encode(), ED25519, c=way)
    assert outcome(message)[0] == "pass"
    if way == "relaxed/relaxed":
        assert verdicts(message, {NAME: ED25519.record()}) == ["good"]
