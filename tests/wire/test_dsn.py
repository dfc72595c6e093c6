"""Delivery reports, read back with the standard library's parser."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.core.address import NULL_ADDRESS, Address
from gatepost.core.envelope import Notify, Recipient, Ret
from gatepost.wire.dsn import (
    MAX_RETURNED,
    Kind,
    RecipientReport,
    Report,
    mail_date,
    make_report,
    returns_full,
    wants,
)

NOW = 1_700_000_000.0
BOUNDARY = "0123456789abcdef"
ORIGINAL = b"From: alice@example.org\r\nSubject: Testing\r\n\r\nHello Bob,\r\n\r\nbye\r\n"


def address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(text, local, domain)


FAILED = RecipientReport(
    Recipient(address("bob@example.com"), original="rfc822;bob+2Bold@example.com"),
    status="5.1.1",
    code="550",
    text="5.1.1 no such user",
    remote="mx.example.com[192.0.2.1]",
    last_attempt=NOW - 5,
)
REPORT = Report(
    kind=Kind.FAILED,
    hostname="gw.example.org",
    to=address("alice@example.org"),
    recipients=(FAILED,),
    arrived=NOW - 100,
    original=ORIGINAL,
    size=len(ORIGINAL),
    envelope_id="QQ+2B1",
    subject="Testing",
)


def made(report: Report) -> bytes:
    return make_report(report, now=NOW, boundary=BOUNDARY).content


def parsed(report: Report) -> EmailMessage:
    message = message_from_bytes(made(report), policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def parts(report: Report) -> list[EmailMessage]:
    found = parsed(report).get_payload()
    assert isinstance(found, list)
    return found  # type: ignore[return-value]


def status_fields(report: Report) -> list[dict[str, str]]:
    """The groups of the part for programs."""
    body = made(report).split(f"\r\n--{BOUNDARY}".encode())[2].split(b"\r\n\r\n", 1)[1].decode()
    groups = body.replace("\r\n ", " ").strip().split("\r\n\r\n")
    return [dict(line.split(": ", 1) for line in group.split("\r\n")) for group in groups]


def human_text(report: Report) -> str:
    text = parts(report)[0].get_content()
    assert isinstance(text, str)
    return " ".join(text.split())


# --- the frame --------------------------------------------------------------------------------------


def test_the_header_is_complete() -> None:
    message = parsed(REPORT)
    assert dict(message.items()) == {
        "Date": "Tue, 14 Nov 2023 22:13:20 +0000",
        "From": "Mail Delivery System <MAILER-DAEMON@gw.example.org>",
        "To": "alice@example.org",
        "Subject": "Your message could not be delivered",
        "Message-ID": "<0123456789abcdef@gw.example.org>",
        "Auto-Submitted": "auto-replied",
        "MIME-Version": "1.0",
        "Content-Type": 'multipart/report; report-type="delivery-status"; boundary="0123456789abcdef"',
    }
    assert [part.get_content_type() for part in parts(REPORT)] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    assert not message.defects


def test_the_envelope_has_the_null_sender() -> None:
    envelope = make_report(REPORT, now=NOW, boundary=BOUNDARY).envelope
    assert envelope.sender == NULL_ADDRESS
    assert [r.address.text for r in envelope.recipients] == ["alice@example.org"]
    assert envelope.recipients[0].notify == {Notify.NEVER}
    assert not envelope.body_8bit
    assert not envelope.smtputf8


def test_nothing_is_reported_to_the_null_sender() -> None:
    with pytest.raises(ValueError, match="null sender"):
        made(replace(REPORT, to=NULL_ADDRESS))


@pytest.mark.parametrize("boundary", ["short", 'a"b\r\nBcc: x', "x" * 61, "abc def ghi"])
def test_a_boundary_that_mime_does_not_allow_is_refused(boundary: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        make_report(REPORT, now=NOW, boundary=boundary)


def test_dates_are_rfc_5322() -> None:
    assert mail_date(0) == "Thu, 01 Jan 1970 00:00:00 +0000"


# --- what programs read -----------------------------------------------------------------------------


def test_the_status_part_of_a_failure() -> None:
    assert status_fields(REPORT) == [
        {
            "Original-Envelope-Id": "QQ+1",
            "Reporting-MTA": "dns; gw.example.org",
            "Arrival-Date": "Tue, 14 Nov 2023 22:11:40 +0000",
        },
        {
            "Original-Recipient": "rfc822; bob+old@example.com",
            "Final-Recipient": "rfc822; bob@example.com",
            "Action": "failed",
            "Status": "5.1.1",
            "Remote-MTA": "dns; mx.example.com[192.0.2.1]",
            "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
            "Last-Attempt-Date": "Tue, 14 Nov 2023 22:13:15 +0000",
        },
    ]


def test_a_delay_says_until_when() -> None:
    late = RecipientReport(
        Recipient(address("bob@example.com")),
        status="4.4.1",
        code="000",
        text="[Errno 110] Connection timed out",
        retry_until=NOW + 3600,
    )
    report = replace(REPORT, kind=Kind.DELAYED, recipients=(late,), envelope_id="")
    assert status_fields(report)[1] == {
        "Final-Recipient": "rfc822; bob@example.com",
        "Action": "delayed",
        "Status": "4.4.1",
        "Diagnostic-Code": "x-gatepost; [Errno 110] Connection timed out",
        "Will-Retry-Until": "Tue, 14 Nov 2023 23:13:20 +0000",
    }


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Kind.FAILED, "5.0.0"), (Kind.DELAYED, "4.0.0"), (Kind.RELAYED, "2.0.0"), (Kind.DELIVERED, "2.0.0")],
)
def test_every_kind_has_its_action_and_a_status(kind: Kind, status: str) -> None:
    report = replace(REPORT, kind=kind, recipients=(RecipientReport(Recipient(address("b@example.com"))),))
    assert status_fields(report)[1] == {
        "Final-Recipient": "rfc822; b@example.com",
        "Action": kind.value,
        "Status": status,
    }


def test_several_recipients_have_a_group_each() -> None:
    other = replace(FAILED, recipient=Recipient(address("carol@example.com")))
    groups = status_fields(replace(REPORT, recipients=(FAILED, other)))
    assert [group.get("Final-Recipient") for group in groups] == [
        None,
        "rfc822; bob@example.com",
        "rfc822; carol@example.com",
    ]


# --- what people read -------------------------------------------------------------------------------


def test_people_are_told_what_happened_and_what_to_do() -> None:
    text = human_text(REPORT)
    assert "your message could not be delivered" in text
    assert "<bob@example.com>" in text
    assert "mx.example.com[192.0.2.1] answered: 550 5.1.1 no such user" in text
    assert "Check the address for typing mistakes" in text
    assert "Subject: Testing" in text


def test_a_failure_of_encryption_says_so() -> None:
    reason = "verify error: certificate has expired (CN=mx.partner.example, issuer CN=Example CA)"
    one = replace(FAILED, status="5.7.5", code="000", text=reason, by_tls=True)
    text = human_text(replace(REPORT, recipients=(one,)))
    assert f"What happened: mx.example.com[192.0.2.1]: {reason}" in text
    assert text.count("certificate has expired") == 1
    assert "properly encrypted connection" in text


def test_a_delay_tells_people_to_wait() -> None:
    late = replace(FAILED, status="4.4.1", retry_until=NOW + 3600)
    text = human_text(replace(REPORT, kind=Kind.DELAYED, recipients=(late,)))
    assert "should not send it again" in text
    assert "I keep trying until: Tue, 14 Nov 2023 23:13:20 +0000" in text


def test_text_beyond_ascii_stays_readable() -> None:
    report = replace(REPORT, subject="Grüße", recipients=(replace(FAILED, text="Postfach voll für heute"),))
    assert "Subject: Grüße" in human_text(report)
    assert "voll für heute" in human_text(report)
    assert made(report).isascii()


# --- the original -----------------------------------------------------------------------------------


def test_headers_only_unless_the_whole_was_asked_for() -> None:
    assert b"Hello Bob" not in made(REPORT)
    assert b"Hello Bob" not in made(replace(REPORT, ret=Ret.HEADERS))
    full = made(replace(REPORT, ret=Ret.FULL))
    assert b"Content-Type: message/rfc822\r\n\r\n" + ORIGINAL + b"\r\n--" in full


@pytest.mark.parametrize(
    ("kind", "ret", "size", "full"),
    [
        (Kind.FAILED, Ret.FULL, MAX_RETURNED, True),
        (Kind.FAILED, Ret.FULL, MAX_RETURNED + 1, False),
        (Kind.FAILED, Ret.UNSET, 10, False),
        (Kind.FAILED, Ret.HEADERS, 10, False),
        (Kind.DELAYED, Ret.FULL, 10, False),
        (Kind.RELAYED, Ret.FULL, 10, False),
    ],
)
def test_when_the_whole_is_returned(kind: Kind, ret: Ret, size: int, full: bool) -> None:
    assert returns_full(kind, ret, size) is full


def test_a_message_that_requires_tls_is_never_returned_whole() -> None:
    """RFC 8689 §5: RET=FULL is disregarded, and the report requires TLS as well."""
    report = replace(REPORT, ret=Ret.FULL, requiretls=True)
    assert not returns_full(Kind.FAILED, Ret.FULL, 10, requiretls=True)
    assert b"Hello Bob" not in made(report)
    for kind in Kind:
        dsn = make_report(replace(report, kind=kind), now=NOW, boundary=BOUNDARY)
        assert (dsn.envelope.requiretls, dsn.envelope.sender) == (True, NULL_ADDRESS)
    assert not make_report(REPORT, now=NOW, boundary=BOUNDARY).envelope.requiretls


@pytest.mark.parametrize("status", ["5.7.10", "5.7.30"])
def test_who_required_tls_is_told_what_that_came_to(status: str) -> None:
    one = replace(FAILED, status=status, code="000", text="REQUIRETLS: no", by_tls=True)
    text = human_text(replace(REPORT, recipients=(one,), requiretls=True))
    assert text.count("REQUIRETLS: no") == 1
    assert "You asked that this message travel only" in text
    assert "send it again without that request" in text


def test_a_large_message_is_returned_as_its_headers() -> None:
    report = replace(REPORT, ret=Ret.FULL, size=MAX_RETURNED + 1)
    assert b"Hello Bob" not in made(report)
    assert b"Content-Type: text/rfc822-headers\r\n\r\nFrom: alice" in made(report)


def test_over_long_headers_are_cut_at_a_line_end() -> None:
    header = b"".join(b"X-%05d: %s\r\n" % (i, b"y" * 100) for i in range(2000))
    content = made(replace(REPORT, original=header + b"\r\nbody\r\n", size=300_000))
    assert len(content) < MAX_RETURNED + 3000
    returned = content.partition(b"rfc822-headers\r\n\r\n")[2].partition(f"\r\n--{BOUNDARY}".encode())[0]
    assert returned.endswith(b"y" * 100 + b"\r\n")


def test_a_message_without_a_header_returns_none() -> None:
    assert b"secret" not in made(replace(REPORT, original=b"\r\nsecret\r\n", size=10))


def test_an_eight_bit_original_makes_an_eight_bit_report() -> None:
    original = b"Subject: x\r\n\r\n\xff\xfe\r\n"
    dsn = make_report(
        replace(REPORT, original=original, size=len(original), ret=Ret.FULL), now=NOW, boundary=BOUNDARY
    )
    assert dsn.envelope.body_8bit
    assert b"Content-Transfer-Encoding: 8bit\r\n\r\n" + original in dsn.content


# --- UTF-8 addresses (RFC 6533) ----------------------------------------------------------------------


def test_a_utf8_recipient_is_escaped_in_a_report_to_an_ascii_address() -> None:
    recipient = Recipient(address("jürgen@example.com"), original="utf-8;j\\x{FC}rgen@example.com")
    report = replace(REPORT, recipients=(replace(FAILED, recipient=recipient),), smtputf8=True)
    fields = status_fields(report)[1]
    assert fields["Final-Recipient"] == "utf-8; j\\x{FC}rgen@example.com"
    assert fields["Original-Recipient"] == "utf-8; j\\x{FC}rgen@example.com"
    assert parts(report)[2].get_content_type() == "message/global-headers"
    assert not make_report(report, now=NOW, boundary=BOUNDARY).envelope.smtputf8


def test_a_report_to_a_utf8_address_is_a_global_one() -> None:
    recipient = Recipient(address("jürgen@example.com"), original="utf-8;j\\x{FC}rgen+@example.com")
    report = replace(
        REPORT,
        to=address("älice@example.org"),
        recipients=(replace(FAILED, recipient=recipient),),
        smtputf8=True,
    )
    dsn = make_report(report, now=NOW, boundary=BOUNDARY)
    assert dsn.envelope.smtputf8
    assert dsn.envelope.body_8bit
    assert "To: <älice@example.org>\r\n".encode() in dsn.content
    assert b"report-type=global-delivery-status" in dsn.content
    fields = status_fields(report)[1]
    assert fields["Final-Recipient"] == "utf-8; jürgen@example.com"
    assert fields["Original-Recipient"] == "utf-8; jürgen+@example.com"


# --- who wants what (RFC 3461 §4.1) ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("notify", "wanted"),
    [
        (set(), {Kind.FAILED, Kind.DELAYED}),
        ({Notify.NEVER}, set()),
        ({Notify.FAILURE}, {Kind.FAILED}),
        ({Notify.DELAY}, {Kind.DELAYED}),
        ({Notify.SUCCESS}, {Kind.RELAYED, Kind.DELIVERED}),
        ({Notify.SUCCESS, Notify.FAILURE, Notify.DELAY}, set(Kind)),
    ],
)
def test_who_wants_what(notify: set[Notify], wanted: set[Kind]) -> None:
    recipient = Recipient(address("bob@example.com"), frozenset(notify))
    assert {kind for kind in Kind if wants(recipient, kind)} == wanted


# --- hostile text (C25) ------------------------------------------------------------------------------

EVIL = "x\r\nBcc: victim@example.net\r\n\r\n--0123456789abcdef\r\n\x1b[2J\u2028\u0085"


def test_nobody_can_add_a_header_a_part_or_a_control_character() -> None:
    evil = RecipientReport(
        Recipient(address(EVIL + "@example.com"), original="rfc822;a+0D+0ABcc:+20x"),
        status=EVIL,
        code=EVIL,
        text=EVIL,
        remote=EVIL,
        by_tls=True,
    )
    report = replace(
        REPORT,
        hostname="gw" + EVIL,
        to=address(EVIL + "@example.org"),
        recipients=(evil,),
        envelope_id="+0D+0ABcc:+20x",
        subject=EVIL,
    )
    content = made(report)
    assert b"\r\nBcc:" not in content
    assert content.count(f"\r\n--{BOUNDARY}".encode()) == 4
    assert b"\x1b" not in content
    assert len(parts(report)) == 3
    assert set(status_fields(report)[1]) <= {
        "Original-Recipient",
        "Final-Recipient",
        "Action",
        "Status",
        "Remote-MTA",
        "Diagnostic-Code",
    }


@given(st.text(max_size=300), st.text(max_size=60), st.text(max_size=60))
def test_any_text_gives_lines_that_smtp_can_carry(text: str, local: str, original: str) -> None:
    evil = RecipientReport(
        Recipient(address(f"{local}@example.com"), original=original), text=text, remote=local
    )
    content = made(replace(REPORT, recipients=(evil,), envelope_id=original, subject=text))
    lines = content.split(b"\r\n")
    assert all(b"\r" not in line and b"\n" not in line and b"\0" not in line for line in lines)
    assert max(map(len, lines)) <= 998
    assert content.count(f"--{BOUNDARY}".encode()) == 4


def test_a_long_answer_is_cut_and_folded() -> None:
    report = replace(REPORT, recipients=(replace(FAILED, text="word " * 5000),))
    assert len(made(report)) < 6000
    one_word = replace(REPORT, recipients=(replace(FAILED, text="x" * 5000),))
    assert max(map(len, made(one_word).split(b"\r\n"))) <= 998
