"""One DKIM-Signature field: what it says, and every way in which it may be none."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.wire.dkim import Algorithm
from gatepost.wire.dkim_message import RawField, split_message
from gatepost.wire.dkim_signature import (
    MAX_FIELD,
    MAX_NAMES,
    Signature,
    SignatureFault,
    canonical_body,
    header_digest,
    read_signature,
)

HASH = b64encode(bytes(32)).decode()
USUAL = {"v": "1", "a": "rsa-sha256", "d": "x.example", "s": "s1", "h": "From:To", "bh": HASH, "b": "AAAA"}


def field(**tags: str | None) -> RawField:
    """A field with these tags beside, or in the place of, the usual ones; None leaves one out."""
    text = "; ".join(f"{name}={value}" for name, value in (USUAL | tags).items() if value is not None)
    return RawField("dkim-signature", f"DKIM-Signature: {text}\r\n".encode("latin-1"))


def test_the_least_that_a_signature_says() -> None:
    assert read_signature(field()) == Signature(
        *("x.example", "s1", "x.example", Algorithm.RSA_SHA256, False, False, ("from", "to")),
        *(bytes(32), bytes(3), None, None, None),
    )


def test_all_that_it_may_say() -> None:
    found = read_signature(
        field(
            a="ed25519-sha256",
            c="relaxed/simple",
            d="X.Example",
            i="a=3Db@Mail.x.example",
            s="S1.2026",
            h=" from :\r\n\tX-Other : from",
            b="AA\r\n AA",
            l="7",
            q="dns/txt",
            t="10",
            x="11",
            z="From:a|To:b",
            unknown="!",
        )
    )
    assert (found.domain, found.selector, found.identity) == ("x.example", "s1.2026", "mail.x.example")
    assert (found.algorithm, found.relaxed_header, found.relaxed_body) == ("ed25519-sha256", True, False)
    assert found.names == ("from", "x-other", "from")
    assert (found.length, found.made, found.until) == (7, 10, 11)


@pytest.mark.parametrize(
    ("way", "ways"),
    [
        ("simple", (False, False)),
        ("relaxed", (True, False)),
        ("simple/relaxed", (False, True)),
        ("relaxed/relaxed", (True, True)),
    ],
)
def test_what_is_not_said_of_the_body_is_simple(way: str, ways: tuple[bool, bool]) -> None:
    found = read_signature(field(c=way))
    assert (found.relaxed_header, found.relaxed_body) == ways


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        *(({name: None}, rf"the tag {name}= is missing") for name in USUAL),
        *(({name: ""}, rf"the tag {name}= is missing") for name in USUAL),
        ({"v": "2"}, "another version"),
        ({"a": "rsa-sha1"}, r"not safe enough \(a=rsa-sha1\)"),
        ({"a": "rsa-sha512"}, "not known"),
        ({"a": "RSA-SHA256"}, "not known"),
        ({"c": "none"}, "canonicalisation"),
        ({"c": "relaxed/"}, "canonicalisation"),
        ({"c": "relaxed/relaxed/relaxed"}, "canonicalisation"),
        ({"c": ""}, "canonicalisation"),
        ({"d": "example"}, "d= is no name"),
        ({"d": "x..example"}, "d= is no name"),
        ({"d": "x.example."}, "d= is no name"),
        ({"d": "-x.example"}, "d= is no name"),
        ({"d": "x y.example"}, "d= is no name"),
        ({"d": "x." * 130 + "example"}, "d= is no name"),
        ({"s": "a..b"}, "s= is no name"),
        ({"s": "a b"}, "s= is no name"),
        ({"s": "*"}, "s= is no name"),
        ({"i": "a@y.example"}, r"i= is not of the domain x\.example"),
        ({"i": "a@evilx.example"}, r"i= is not of the domain x\.example"),
        ({"i": "a@example"}, "i= is no name"),
        ({"i": "x.example"}, "i= is no identity"),
        ({"h": "To:Subject"}, "does not sign From"),
        ({"h": "From:"}, "no list of names"),
        ({"h": ":From"}, "no list of names"),
        ({"h": "From:a b"}, "no list of names"),
        ({"h": ":".join(["From"] * (MAX_NAMES + 1))}, "more than 1,000 fields"),
        ({"bh": "%%%"}, "bh= is not base64"),
        ({"b": "AAA"}, "b= is not base64"),
        ({"b": "=AAA"}, "b= is not base64"),
        ({"l": "-1"}, "l= is no number"),
        ({"l": "1 2"}, "l= is no number"),
        ({"l": "9" * 77}, "l= is no number"),
        ({"l": "\u00b2"}, "holds what no tag"),
        ({"t": "yesterday"}, "t= is no time"),
        ({"x": "1e9"}, "x= is no time"),
        ({"x": ""}, "x= is no time"),
        ({"x": "9" * 13}, "x= is no time"),
        ({"t": "10", "x": "10"}, "ends before it was made"),
        ({"q": "http"}, "not in the DNS"),
        ({"z": "a" * MAX_FIELD}, "longer than 64 KiB"),
        ({"n": "1; v=1"}, "twice"),
        ({"n": "1;; o=1"}, "no list of tags"),
    ],
)
def test_what_is_no_signature_says_why(tags: dict[str, str | None], why: str) -> None:
    with pytest.raises(SignatureFault, match=why):
        read_signature(field(**tags))


def test_another_way_to_the_key_may_stand_beside_ours() -> None:
    assert read_signature(field(q="other/x:dns/txt")).domain == "x.example"


# --- what is signed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "simple", "relaxed"),
    [
        (b"", b"\r\n", b""),
        (b"\r\n\r\n", b"\r\n", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 §3.4.5
        (b"no end", b"no end\r\n", b"no end\r\n"),
        (b"a\r\n \r\n", b"a\r\n \r\n", b"a\r\n"),
        (b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
    ],
)
def test_bodies_have_two_forms(body: bytes, simple: bytes, relaxed: bytes) -> None:
    assert canonical_body(body, relaxed=False) == simple
    assert canonical_body(body, relaxed=True) == relaxed


def test_blanks_take_no_time() -> None:
    assert canonical_body(b" " * 5_000_000 + b"x", relaxed=True) == b" x\r\n"
    assert canonical_body(b"a\t" * 1_000_000, relaxed=True) == b"a " * 999_999 + b"a\r\n"


@given(st.lists(st.sampled_from([b" ", b"\t", b"a", b"\r\n"]), max_size=30).map(b"".join))
@settings(max_examples=100)
def test_a_relaxed_body_is_what_the_rfc_says_line_by_line(body: bytes) -> None:
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    assert canonical_body(body, relaxed=True) == b"".join(line + b"\r\n" for line in lines)


def digest_of(message: str, way: str, names: str, *, b: str = "AA\r\n\tAA ") -> bytes:
    own = f"DKIM-Signature: {'; '.join(f'{k}={v}' for k, v in (USUAL | {'b': '', 'c': way, 'h': names}).items())}"
    own = own.replace("; b=", f";\r\n\tb={b};").replace("; c=", " c=")
    parts = split_message(f"{own}\r\n{message}\r\n\r\n".encode())
    return header_digest(parts, parts.fields[0], read_signature(parts.fields[0]))


def expected(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def test_fields_are_signed_from_the_last_and_absent_ones_as_nothing() -> None:
    tail = f"dkim-signature:v=1; a=rsa-sha256; d=x.example; s=s1; h=x:from:x:x:y; bh={HASH}; b=; c=relaxed/relaxed"
    message = "X: 1\r\nFrom:  a \t b\r\nX:\r\n\t2 "
    found = digest_of(message, "relaxed/relaxed", "x:from:x:x:y")
    assert found == expected(f"x:2\r\nfrom:a b\r\nx:1\r\n{tail}")


def test_simple_fields_are_signed_as_they_stand() -> None:
    tail = (
        f"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s1; h=from; bh={HASH};\r\n\tb=; c=simple/relaxed"
    )
    assert digest_of("From :  a\r\n\tb ", "simple/relaxed", "from") == expected(
        f"From :  a\r\n\tb \r\n{tail}"
    )


def test_only_the_value_of_b_is_left_out() -> None:
    """`bh=` ends in `b`-like text too, and the value of b= may hold `=`."""
    one = digest_of("From: a", "relaxed/relaxed", "from", b="AAAA")
    assert one == digest_of("From: a", "relaxed/relaxed", "from", b="\r\n BBB=\r\n ")


@given(st.binary(max_size=80))
@settings(max_examples=100)
def test_any_octets_are_a_signature_or_a_fault(data: bytes) -> None:
    for start in (b"", b"v=1; a=rsa-sha256; d=x.example; s=s1; h=from; bh=AAAA; b=AAAA;"):
        try:
            found = read_signature(RawField("dkim-signature", b"DKIM-Signature: " + start + data + b"\r\n"))
        except SignatureFault:
            continue
        assert found.domain == "x.example"


_names = st.sampled_from(["from", "to", "x"])


@given(
    st.lists(st.tuples(_names, st.integers(0, 3))), st.lists(_names, max_size=6).map(lambda n: ["from", *n])
)
@settings(max_examples=100)
def test_which_fields_are_signed_is_what_a_plain_reading_of_the_rfc_says(
    fields: list[tuple[str, int]], names: list[str]
) -> None:
    message = "\r\n".join(f"{name}:{value}" for name, value in fields) or "Other: x"
    left, text = list(fields), ""
    for name in names:
        index = max((i for i, one in enumerate(left) if one[0] == name), default=-1)
        if index >= 0:
            text += "{}:{}\r\n".format(*left.pop(index))
    listed = ":".join(names)
    own = f"dkim-signature:v=1; a=rsa-sha256; d=x.example; s=s1; h={listed}; bh={HASH}; b=; c=relaxed/relaxed"
    assert digest_of(message, "relaxed/relaxed", listed) == expected(text + own)
