"""No text can put a second command, or another parameter, into a command (C26)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.core.address import NULL_ADDRESS, Address
from gatepost.core.envelope import Envelope, Notify, Recipient, Ret
from gatepost.wire.client_commands import UnsendableText, checked_word, mail_line, rcpt_line
from gatepost.wire.client_events import Capabilities, Transaction

EVERYTHING = Capabilities(
    esmtp=True, pipelining=True, size=0, eightbitmime=True, smtputf8=True, dsn=True, enhanced=True
)
NOTHING = Capabilities()


def address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(text, local, domain)


ALICE = address("alice@example.org")


def test_parameters_are_sent_where_they_are_offered() -> None:
    transaction = Transaction(ALICE, (), 4096, True, True, Ret.HEADERS, "QQ+3D1")
    assert (
        mail_line(transaction, EVERYTHING)
        == "MAIL FROM:<alice@example.org> SIZE=4096 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+3D1\r\n"
    )
    assert mail_line(transaction, NOTHING) == "MAIL FROM:<alice@example.org>\r\n"


def test_requiretls_is_asked_of_a_host_that_offers_it() -> None:
    transaction = Transaction.of(Envelope(ALICE, (), requiretls=True), (), 0)
    promising = replace(NOTHING, requiretls=True)
    assert mail_line(transaction, promising) == "MAIL FROM:<alice@example.org> REQUIRETLS\r\n"
    assert mail_line(transaction, NOTHING) == "MAIL FROM:<alice@example.org>\r\n"
    assert mail_line(replace(transaction, requiretls=False), promising) == "MAIL FROM:<alice@example.org>\r\n"


def test_recipients_carry_their_dsn_parameters_where_these_are_offered() -> None:
    recipient = Recipient(
        address("bob@example.com"), frozenset({Notify.DELAY, Notify.SUCCESS}), "rfc822;bob+40old.example"
    )
    transaction = Transaction(ALICE, (recipient,))
    assert (
        rcpt_line(recipient, transaction, EVERYTHING)
        == "RCPT TO:<bob@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;bob+40old.example\r\n"
    )
    assert rcpt_line(recipient, transaction, NOTHING) == "RCPT TO:<bob@example.com>\r\n"
    kept_back = Transaction(ALICE, (recipient,), use_dsn=False)
    assert rcpt_line(recipient, kept_back, EVERYTHING) == "RCPT TO:<bob@example.com>\r\n"


def test_the_null_sender_and_a_quoted_local_part() -> None:
    assert mail_line(Transaction(NULL_ADDRESS, ()), NOTHING) == "MAIL FROM:<>\r\n"
    quoted = address('"a <b> c\\" d"@example.org')
    assert mail_line(Transaction(quoted, ()), NOTHING) == 'MAIL FROM:<"a <b> c\\" d"@example.org>\r\n'


@pytest.mark.parametrize(
    "text",
    [
        "a\r\nRCPT TO:<x@y>@example.org",
        "a\n@example.org",
        "a\r@example.org",
        "a\0@example.org",
        "a@example.org> BODY=7BIT <x",
        "a b@example.org",
        '"a"> SIZE=1 "b"@example.org',
        '"a@example.org> x',
        '"a\\"@example.org>',
        "ü\r\n@example.org",
        "ü\x85@example.org",
        "ü\u2028@example.org",
        "\ud800@example.org",
    ],
)
def test_an_address_that_would_end_its_path_is_not_sent(text: str) -> None:
    with pytest.raises(UnsendableText):
        mail_line(Transaction(address(text), ()), EVERYTHING)
    with pytest.raises(UnsendableText):
        rcpt_line(Recipient(address(text)), Transaction(ALICE, ()), EVERYTHING)


@pytest.mark.parametrize("text", ["a\r\nb", "a b", "a\0", "", "ü"])
def test_a_parameter_is_one_word(text: str) -> None:
    with pytest.raises(UnsendableText):
        checked_word(text, "a value")
    if text:
        with pytest.raises(UnsendableText):
            mail_line(Transaction(ALICE, (), envelope_id=text), EVERYTHING)
    if text not in ("", "ü"):
        with pytest.raises(UnsendableText):
            rcpt_line(Recipient(ALICE, original=text), Transaction(ALICE, ()), EVERYTHING)


def test_utf8_goes_only_where_it_is_offered() -> None:
    recipient = Recipient(address("jürgen@example.org"), original="utf-8;jürgen@example.org")
    line = rcpt_line(recipient, Transaction(ALICE, ()), EVERYTHING)
    assert line == "RCPT TO:<jürgen@example.org> ORCPT=utf-8;jürgen@example.org\r\n"
    with pytest.raises(UnsendableText, match="SMTPUTF8"):
        rcpt_line(recipient, Transaction(ALICE, ()), NOTHING)
    with_dsn_only = Capabilities(dsn=True)
    plain = Recipient(ALICE, original="utf-8;jürgen@example.org")
    assert "ORCPT=utf-8;j\\x{FC}rgen@example.org" in rcpt_line(plain, Transaction(ALICE, ()), with_dsn_only)


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_whatever_is_sent_is_one_line(local: str, envelope_id: str, original: str) -> None:
    transaction = Transaction(address(f"{local}@example.org"), (), envelope_id=envelope_id)
    try:
        lines = (
            mail_line(transaction, EVERYTHING)
            + rcpt_line(Recipient(ALICE, original=original), transaction, EVERYTHING)
        ).encode()
    except UnsendableText:
        return
    assert lines.count(b"\n") == lines.count(b"\r") == 2
    assert b"\0" not in lines
