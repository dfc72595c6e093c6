"""Paths, parameters and xtext: what is taken, what is refused, and with which reply."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.core.address import NULL_ADDRESS, Address
from gatepost.core.envelope import Notify, Ret
from gatepost.wire.smtp_syntax import (
    SyntaxFault,
    decode_xtext,
    encode_xtext,
    is_xtext,
    parse_mail_parameters,
    parse_path,
    parse_rcpt_parameters,
    split_path,
    split_plain,
)


def path(text: str | bytes, *, utf8: bool = False, null: bool = False, postmaster: bool = False) -> Address:
    raw = text.encode() if isinstance(text, str) else text
    return parse_path(raw, allow_utf8=utf8, allow_null=null, allow_postmaster=postmaster)


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("<user@example.net>", "user", "example.net"),
        ("<User.Name+tag@EXAMPLE.Net>", "User.Name+tag", "example.net"),
        ("<user@example.net.>", "user", "example.net"),
        ("<@relay.example,@[192.0.2.1]:user@example.net>", "user", "example.net"),
        ("<user%victim@example.net>", "user%victim", "example.net"),
        ("<victim!user@example.net>", "victim!user", "example.net"),
        ('<"user@victim.example"@example.net>', '"user@victim.example"', "example.net"),
        ('<"a b>c"@example.net>', '"a b>c"', "example.net"),
        (r'<"a\"b\\"@example.net>', r'"a\"b\\"', "example.net"),
        ('<""@example.net>', '""', "example.net"),
        ("<user@[192.0.2.1]>", "user", "[192.0.2.1]"),
        ("<user@[IPv6:2001:DB8::1]>", "user", "[ipv6:2001:db8::1]"),
        ("<u_s@under_score.example>", "u_s", "under_score.example"),
    ],
)
def test_good_paths(text: str, local: str, domain: str) -> None:
    address = path(text)
    assert (address.local, address.domain) == (local, domain)
    written = text[1:-1].rpartition(":")[2] if text.startswith("<@") else text[1:-1]
    assert address.text == written


@pytest.mark.parametrize(
    "text",
    [
        "user@example.net",
        "<user@example.net",
        "<>",
        "<@>",
        "<user@>",
        "<@example.net>",
        "<user>",
        "<postmaster>",
        "<user@a@b>",
        "<user@victim@example.net>",
        "<user@example..net>",
        "<user@.example.net>",
        "<.user@example.net>",
        "<us..er@example.net>",
        "<user.@example.net>",
        "<us er@example.net>",
        "<us(comment)er@example.net>",
        "<user@example.net:25>",
        "<user@exa mple.net>",
        "<user@[192.0.2]>",
        "<user@[192.0.2.1>",
        "<user@[192.0.2.256]>",
        "<user@[2001:db8::1]>",
        "<user@[IPv6:fe80::1%eth0]>",
        "<user@[IPv6:::g]>",
        "<user@[x-tag:thing]>",
        '<"user@example.net>',
        '<"user"x@example.net>',
        '<"user\\"@example.net>',
        "<@relay.example:>",
        "<@relay.example user@example.net>",
        "<@a b:user@example.net>",
        "<relay.example:user@example.net>",
        b"<us\0er@example.net>",
        b'<"us\r\ner"@example.net>',
        b'<"us\x1ber"@example.net>',
        b"<user@exa\x7fmple.net>",
        b"<us\xc3\xa9r@example.net>",
        "<" + "u" * 65 + "@example.net>",
        "<user@" + "x" * 64 + ".example>",
        "<user@" + ".".join(["x" * 50] * 6) + ">",
    ],
)
def test_bad_paths(text: str | bytes) -> None:
    with pytest.raises(SyntaxFault) as caught:
        path(text)
    assert caught.value.reply.code in (501, 553)
    raw = text.encode() if isinstance(text, str) else text
    assert split_plain(raw) is None


def test_limits_are_exact() -> None:
    assert path("<" + "u" * 64 + "@example.net>").local == "u" * 64
    domain = ".".join(["x" * 60] * 4)
    assert path(f"<user@{domain}>").domain == domain
    inner = "u@" + "x." * 126  # 254 octets and two brackets
    assert path(f"<{inner[:-1]}y>").domain.endswith("y")
    with pytest.raises(SyntaxFault, match="Path too long"):
        path(f"<{inner}yy>")


def test_null_path_and_postmaster_only_where_allowed() -> None:
    assert path("<>", null=True) is NULL_ADDRESS
    assert path("<PostMaster>", postmaster=True) == Address("PostMaster", "PostMaster", "")


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("<é@example.net>", "example.net"),
        ("<用户@例え.example>", "xn--r8jz45g.example"),
        ("<user@Bücher.example>", "xn--bcher-kva.example"),
        ("<user@example。net>", "example.net"),
        ('<"é x"@example.net>', "example.net"),
    ],
)
def test_utf8_paths(text: str, domain: str) -> None:
    assert path(text, utf8=True).domain == domain
    with pytest.raises(SyntaxFault) as caught:
        path(text)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (553, "5.6.7")


@pytest.mark.parametrize(
    "raw",
    [
        b"<\xc0\xaf@example.net>",
        b"<\xe0\x80\xaf@example.net>",
        b"<\xed\xa0\x80@example.net>",
        b"<\xff@example.net>",
        b"<user@ex\xffample.net>",
        "<us\u2028er@example.net>".encode(),
        "<us\x85er@example.net>".encode(),
        "<us\u202eer@example.net>".encode(),
        "<user@exam\u2028ple.net>".encode(),
        "<.é@example.net>".encode(),
        "<é é@example.net>".encode(),
        "<user@☃..net>".encode(),
        "<é>".encode(),
    ],
)
def test_bad_utf8_paths(raw: bytes) -> None:
    with pytest.raises(SyntaxFault):
        path(raw, utf8=True)


def test_plain_and_strict_reader_agree() -> None:
    text = b"<A.b-c@Sub.Example>"
    plain = split_plain(text + b" SIZE=1")
    assert plain == (path(text), b" SIZE=1")


def test_split_path_finds_the_end() -> None:
    assert split_path(b'<"a>\\" b"@x> SIZE=1') == (b'<"a>\\" b"@x>', b" SIZE=1")
    assert split_path(b"<>") == (b"<>", b"")
    for bad in (b"<a@b>junk", b"<a@b", b"a@b", b"", b'<"a@b>', b"<a@b>>", b'<"a\\'):
        with pytest.raises(SyntaxFault):
            split_path(bad)


def test_mail_parameters() -> None:
    found = parse_mail_parameters(b"  size=10 Body=7bit RET=full  ENVID=a+2Bb")
    assert (found.size, found.body_8bit, found.ret, found.envelope_id) == (10, False, Ret.FULL, "a+2Bb")
    assert parse_mail_parameters(b"").size is None
    assert parse_mail_parameters(b" RequireTLS SIZE=1").requiretls
    assert not found.requiretls


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b" SIZE", 501),
        (b" SIZE=", 501),
        (b" SIZE=1x", 501),
        (b" SIZE=" + b"9" * 21, 501),
        (b" BODY=BINARYMIME", 501),
        (b" BODY", 501),
        (b" SMTPUTF8=yes", 501),
        (b" REQUIRETLS=yes", 501),
        (b" REQUIRETLS requiretls", 501),
        (b" RET=ALL", 501),
        (b" ENVID=a b", 555),
        (b" ENVID=a=b", 501),
        (b" ENVID=+2", 501),
        (b" ENVID=+0d+0a", 501),
        (b" ENVID=" + b"x" * 101, 501),
        (b" RET=FULL ret=HDRS", 501),
        (b" AUTH=a+b", 501),
        (b" AUTH", 501),
        (b" AUTH=" + b"a" * 501, 501),
        (b" XFOO", 555),
        (b" =x", 501),
        (b" -x=1", 501),
        (b" \xff=1", 501),
    ],
)
def test_bad_mail_parameters(text: bytes, code: int) -> None:
    with pytest.raises(SyntaxFault) as caught:
        parse_mail_parameters(text)
    assert caught.value.reply.code == code


def test_rcpt_parameters() -> None:
    found = parse_rcpt_parameters(b" NOTIFY=failure,Delay ORCPT=rfc822;a+40b")
    assert found.notify == {Notify.FAILURE, Notify.DELAY}
    assert found.original == "rfc822;a+40b"
    assert parse_rcpt_parameters(b" NOTIFY=NEVER").notify == {Notify.NEVER}
    utf8 = parse_rcpt_parameters(" ORCPT=utf-8;é\\x{20AC}@b".encode(), allow_utf8=True)
    assert utf8.original == "utf-8;é\\x{20AC}@b"


@pytest.mark.parametrize(
    "text",
    [
        b" NOTIFY",
        b" NOTIFY=NEVER,SUCCESS",
        b" NOTIFY=SUCCESS,SUCCESS",
        b" NOTIFY=SUCCESS,",
        b" NOTIFY=OTHER",
        b" ORCPT=a@b",
        b" ORCPT=rfc822;",
        b" ORCPT=;a",
        b" ORCPT=rfc822;a\x01b",
        b" ORCPT=rfc822;" + b"x" * 500,
        " ORCPT=rfc822;é".encode(),
        " ORCPT=utf-8;é".encode(),
        b" SIZE=1",
    ],
)
def test_bad_rcpt_parameters(text: bytes) -> None:
    with pytest.raises(SyntaxFault):
        parse_rcpt_parameters(text)


@given(st.binary(max_size=60))
@settings(max_examples=100)
def test_xtext_round_trip(octets: bytes) -> None:
    text = encode_xtext(octets)
    assert is_xtext(text)
    assert decode_xtext(text) == octets


@pytest.mark.parametrize("bad", [b"a=b", b"+2", b"+2g", b"+2a", b"a b", b"\r\n", b"\xff"])
def test_malformed_xtext(bad: bytes) -> None:
    assert not is_xtext(bad)
    with pytest.raises(ValueError):
        decode_xtext(bad)


@given(st.binary(max_size=40), st.booleans())
@settings(max_examples=100)
def test_any_octets_give_a_clean_address_or_a_fault(inner: bytes, utf8: bool) -> None:
    try:
        address = parse_path(b"<" + inner + b">", allow_utf8=utf8, allow_null=True)
    except SyntaxFault:
        return
    assert address.text.isprintable()
    assert utf8 or address.text.isascii()
    assert address.null or (address.domain and address.local)
