"""Ordinary dialogues with the server engine: commands, sequence, pipelining, bodies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.fakes.transcript import SETTINGS, Talk, in_data, in_transaction, talk

from gatepost.core.envelope import Notify, Ret
from gatepost.core.reply import Reply
from gatepost.wire.server_commands import ServerSettings
from gatepost.wire.server_events import Body, BodyEnd, ChunkDone, Data, Hello, Mail, Rcpt, Reset, StartTls
from gatepost.wire.smtp_server import ServerEngine

NO = Reply(550, "5.7.1", ("No",))


def test_ehlo_lists_what_is_offered() -> None:
    t = talk(hello=False)
    t >> b"EHLO client.example\r\n"
    assert t.reply().split("\n") == [
        "250-mx.example.net",
        "250-PIPELINING",
        "250-SIZE 1000000",
        "250-ENHANCEDSTATUSCODES",
        "250-8BITMIME",
        "250-DSN",
        "250-SMTPUTF8",
        "250 CHUNKING",
    ]
    assert t.events == [Hello("client.example", True)]
    assert (t.engine.hello_name, t.engine.extended) == ("client.example", True)


def test_helo_lists_nothing() -> None:
    t = talk(hello=False)
    t >> b"HELO client.example\r\n" << "250 mx.example.net" << None
    assert t.events == [Hello("client.example", False)]


def test_starttls_is_listed_only_when_offered_and_not_inside_tls() -> None:
    t = talk(hello=False, starttls=True)
    t >> b"EHLO a\r\n"
    assert "250-STARTTLS" in t.reply()
    inside = ServerEngine(SETTINGS, tls_active=True)
    t = talk(inside, hello=False, starttls=True)
    t >> b"EHLO a\r\n"
    assert "STARTTLS" not in t.reply()


PROMISING = replace(SETTINGS, requiretls=True)


def test_requiretls_is_listed_inside_tls_and_where_it_is_offered() -> None:
    """RFC 8689 §2; C37."""
    for settings, tls, listed in (
        (PROMISING, True, True),
        (PROMISING, False, False),
        (SETTINGS, True, False),
    ):
        t = talk(ServerEngine(settings, tls_active=tls), hello=False)
        t >> b"EHLO a\r\n"
        assert ("REQUIRETLS" in t.reply()) is listed


def test_requiretls_after_starttls_and_not_before() -> None:
    t = talk(settings=PROMISING, starttls=True)
    t >> b"MAIL FROM:<a@client.example> REQUIRETLS\r\n"
    t << "530 5.7.10 REQUIRETLS is for TLS only: issue a STARTTLS command first"
    t >> b"STARTTLS\r\n" << "220"
    t.engine.tls_started()
    t >> b"EHLO a\r\n"
    assert "250 REQUIRETLS" in t.reply()
    t >> b"MAIL FROM:<a@client.example> REQUIRETLS=1\r\n" << "501 5.5.4"
    t >> b"MAIL FROM:<a@client.example> requiretls SIZE=9\r\n" << "250"
    t >> b"RSET\r\nMAIL FROM:<a@client.example>\r\n" << "250" << "250"
    mails = [event for event in t.events if isinstance(event, Mail)]
    assert [mail.requiretls for mail in mails] == [True, False]


def test_requiretls_where_it_is_not_offered() -> None:
    t = talk(ServerEngine(SETTINGS, tls_active=True))
    t >> b"MAIL FROM:<a@client.example> REQUIRETLS\r\n" << "555 5.5.4 REQUIRETLS is not offered here"
    t >> b"MAIL FROM:<a@client.example>\r\n" << "250"


def test_one_message_command_by_command() -> None:
    t = talk()
    t >> b"MAIL FROM:<a@client.example> SIZE=42\r\n" << "250 2.1.0"
    t >> b"RCPT TO:<b@example.net>\r\n" << "250 2.1.5"
    t >> b"DATA\r\n" << "354 Go ahead"
    t >> b"Subject: x\r\n\r\nhello\r\n.\r\n" << "250 2.0.0 Queued"
    t >> b"QUIT\r\n" << "221 2.0.0" << None
    assert t.kinds() == ["Mail", "Rcpt", "Data", "BodyStarted", "Body", "BodyEnd", "Quit"]
    assert t.messages[0].body == b"Subject: x\r\n\r\nhello\r\n"
    assert t.engine.closed


WHOLE = (
    b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n",
    b"Subject: x\r\n\r\n..one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<d@example.net>\r\nDATA\r\n",
    b"..\r\n.\r\nQUIT\r\nNOOP\r\n",
)


@pytest.mark.parametrize("bytewise", [False, True])
def test_pipelined_groups_whole_and_byte_by_byte(bytewise: bool) -> None:
    t = talk()
    for group in WHOLE:
        _ = t.one_by_one(group) if bytewise else t >> group
    codes = ["250 2.1.0", "250 2.1.5", "250 2.1.5", "354", "250 2.0.0"]
    codes += ["250 2.1.0", "250 2.1.5", "354", "250 2.0.0", "221"]
    for code in codes:
        t << code
    t << None
    assert [(m.sender, m.recipients, m.body, m.dotted) for m in t.messages] == [
        ("a@client.example", ["b@example.net", "c@example.net"], b"Subject: x\r\n\r\n.one\r\n", True),
        ("", ["d@example.net"], b".\r\n", True),
    ]


def test_bytes_behind_the_end_of_data_wait_for_the_answer() -> None:
    t = in_data()
    t.engine.receive(b"x\r\n.\r\nMAIL FROM:<z@client.example>\r\nNOO")
    kinds = []
    while (event := t.engine.next_event()) is not None:
        kinds.append(type(event))
    assert kinds == [Body, BodyEnd]
    assert t.engine.take_output() == b""
    t.engine.answer(Reply(250, "2.0.0", ("Queued",)))
    t.pump() << "250 2.0.0 Queued" << "250 2.1.0"
    t >> b"P\r\n" << "250 2.0.0 Ok"


def test_an_unanswered_event_holds_the_next_command() -> None:
    t = talk()
    t.engine.receive(b"MAIL FROM:<a@client.example>\r\nNOOP\r\n")
    assert isinstance(t.engine.next_event(), Mail)
    assert t.engine.next_event() is None
    assert t.engine.take_output() == b""
    assert t.engine.buffered == 6


def test_mail_carries_its_parameters() -> None:
    t = talk()
    t >> b"mail from: <a@client.example> BODY=8bitmime SIZE=10 SMTPUTF8 RET=HDRS ENVID=x+2By\r\n" << "250"
    (mail,) = t.events
    assert isinstance(mail, Mail)
    assert (mail.size, mail.body_8bit, mail.smtputf8) == (10, True, True)
    assert (mail.ret, mail.envelope_id) == (Ret.HEADERS, "x+2By")
    t >> b"RCPT TO:<b@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+40example.net\r\n" << "250"
    rcpt = t.events[-1]
    assert isinstance(rcpt, Rcpt)
    assert rcpt.recipient.notify == {Notify.SUCCESS, Notify.DELAY}
    assert rcpt.recipient.original == "rfc822;b+40example.net"


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"MAIL FROM:<a@b.example> AUTH=<>", "250 2.1.0"),
        (b"MAIL FROM:<a@b.example> AUTH=e+3", "501 5.5.4"),
        (b"MAIL FROM:<a@b.example> REQUIRETLS", "555 5.5.4"),
        (b"MAIL FROM:<a@b.example> BODY=BINARYMIME", "501 5.5.4"),
        (b"MAIL FROM:<a@b.example> SIZE=1000001", "552 5.3.4"),
        (b"MAIL FROM:<a@b.example> SIZE=-1", "501 5.5.4"),
        (b"MAIL FROM:<a@b.example> SIZE=1 SIZE=1", "501 5.5.4"),
        (b"MAIL FROM:a@b.example", "501 5.5.4"),
        (b"MAIL", "501 5.5.4"),
        (b"MAIL TO:<a@b.example>", "501 5.5.4"),
        (b"RCPT TO:<a@b.example>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
        (b"DATA now", "503 5.5.1"),
        (b"EHLO", "501 5.5.4"),
        (b"HELO  ", "501 5.5.4"),
        (b"EHLO " + b"x" * 256, "501 5.5.4"),
        (b"RSET x", "501 5.5.4"),
        (b"QUIT x", "501 5.5.4"),
        (b"NOOP anything", "250 2.0.0"),
        (b"HELP", "214-2.0.0"),
        (b"HELP MAIL", "214-2.0.0"),
        (b"VRFY someone", "252 2.1.5"),
        (b"VRFY", "501 5.5.4"),
        (b"EXPN list", "502 5.5.1"),
        (b"TURN", "502 5.5.1"),
        (b"ETRN example.net", "502 5.5.1"),
        (b"AUTH PLAIN AAAA", "502 5.5.1"),
        (b"STARTTLS", "502 5.5.1"),
        (b"FOO", "500 5.5.1"),
        (b"", "500 5.5.1"),
        (b" NOOP", "500 5.5.1"),
        (b"noop", "250 2.0.0"),
    ],
)
def test_single_commands_after_ehlo(line: bytes, reply: str) -> None:
    t = talk()
    t >> line + b"\r\n" << reply << None


def test_mail_before_ehlo_is_out_of_sequence() -> None:
    t = talk(hello=False)
    t >> b"MAIL FROM:<a@b.example>\r\n" << "503 5.5.1"
    t >> b"STARTTLS\r\n" << "502 5.5.1"
    assert t.events == []


def test_nested_mail_is_out_of_sequence() -> None:
    t = in_transaction()
    t >> b"MAIL FROM:<x@y.example>\r\n" << "503 5.5.1"
    t >> b"DATA\r\n" << "354"


def test_refused_recipients_leave_no_one_to_send_to() -> None:
    t = talk(answers={Rcpt: NO})
    (
        t
        >> b"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n"
        << "250"
        << "550 5.7.1"
        << "554 5.5.1"
    )
    t >> b"RSET\r\n" << "250 2.0.0"
    assert t.kinds() == ["Mail", "Rcpt", "Reset"]


def test_refused_sender_opens_no_transaction() -> None:
    t = talk(answers={Mail: NO})
    t >> b"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@y.example>\r\n" << "550 5.7.1" << "503 5.5.1"


def test_refused_data_keeps_the_transaction() -> None:
    t = in_transaction(answers={Data: Reply(451, "4.3.0", ("Later",))})
    t >> b"DATA\r\n" << "451 4.3.0"
    t >> b"RCPT TO:<c@example.net>\r\n" << "250 2.1.5"


def test_refused_message_ends_the_transaction() -> None:
    t = in_data(answers={BodyEnd: NO})
    t >> b"x\r\n.\r\nRCPT TO:<c@example.net>\r\n" << "550 5.7.1" << "503 5.5.1"
    assert t.messages == []


def test_two_hundred_recipients() -> None:
    t = talk()
    t >> b"MAIL FROM:<a@b.example>\r\n" << "250"
    t >> b"".join(b"RCPT TO:<u%d@example.net>\r\n" % i for i in range(200)) + b"DATA\r\n"
    for _ in range(200):
        t << "250 2.1.5"
    t << "354" >> b".\r\n" << "250 2.0.0"
    assert len(t.messages[0].recipients) == 200
    assert t.messages[0].body == b""


def test_second_ehlo_and_rset_drop_the_transaction_and_say_so() -> None:
    t = in_transaction()
    t >> b"EHLO again.example\r\nRCPT TO:<c@example.net>\r\n" << "250-" << "503 5.5.1"
    assert t.events == [Reset(), Hello("again.example", True)]
    t = in_transaction()
    t >> b"RSET\r\nRCPT TO:<c@example.net>\r\n" << "250 2.0.0" << "503 5.5.1"
    assert t.events == [Reset()]


def test_smtputf8_of_one_transaction_does_not_outlive_it() -> None:
    t = talk()
    t >> "MAIL FROM:<ü@b.example> SMTPUTF8\r\nRCPT TO:<é@example.net>\r\nRSET\r\n".encode()
    t << "250" << "250" << "250"
    t >> "MAIL FROM:<a@b.example>\r\nRCPT TO:<é@example.net>\r\n".encode() << "250" << "553 5.6.7"


def test_refused_greeting_hears_only_quit() -> None:
    engine = ServerEngine(SETTINGS)
    engine.greet(Reply(554, "5.7.1", ("Access denied",)))
    t = Talk(engine).pump() << "554 5.7.1"
    t >> b"EHLO a\r\nNOOP\r\nBDAT 4\r\nQUITQUIT\r\n" << "503 5.5.1" << "503 5.5.1" << "503 5.5.1" << "221"
    assert t.kinds() == ["Quit"]


def test_nothing_is_read_before_the_greeting() -> None:
    engine = ServerEngine(SETTINGS)
    engine.receive(b"EHLO early\r\n")
    assert engine.next_event() is None
    engine.greet(Reply(220, "", ("mx",)))
    assert engine.next_event() == Hello("early", True)


def test_required_tls_answers_530_and_says_so_once() -> None:
    t = talk(settings=ServerSettings("mx.example.net", 1000, require_tls=True), hello=False, starttls=True)
    t >> b"NOOP\r\nEHLO a\r\nHELO a\r\nMAIL FROM:<a@b.example>\r\nBDAT 6\r\nQUIT\r\nRSET\r\nSTARTTLS\r\n"
    t << "250 2.0.0" << "250-" << "530 5.7.0 Must issue a STARTTLS command first" << "530" << "530" << "530"
    t << "220 2.0.0" << None
    assert t.kinds() == ["Hello", "TlsRequiredMissing", "StartTls"]
    t.engine.tls_started()
    t >> b"EHLO a\r\nMAIL FROM:<a@b.example>\r\n" << "250-" << "250 2.1.0"


def test_twenty_faults_end_the_connection() -> None:
    t = talk()
    t >> b"FOO\r\n" * 25
    for _ in range(20):
        t << "500 5.5.1"
    t << "421 4.7.0" << None
    assert [(a.reason, a.close) for a in t.abuses()] == [("Too many errors", True)]


def test_an_accepted_message_forgives_faults() -> None:
    t = talk()
    for _ in range(3):
        t >> b"FOO\r\n" * 15 + b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n" >> b".\r\n"
    assert not t.engine.closed
    assert len(t.messages) == 3


def test_answer_421_ends_the_dialogue() -> None:
    t = talk(answers={Mail: Reply(421, "4.3.2", ("Closing",))})
    t >> b"MAIL FROM:<>\r\nNOOP\r\n" << "421 4.3.2" << None
    assert t.engine.closed


def test_misuse_by_the_session_is_an_error() -> None:
    t = talk()
    with pytest.raises(RuntimeError):
        t.engine.answer(NO)
    with pytest.raises(RuntimeError):
        t.engine.tls_started()
    with pytest.raises(RuntimeError):
        t.engine.greet(NO)


def test_outside_text_in_an_answer_cannot_make_a_second_reply() -> None:
    t = talk(answers={Mail: Reply(550, "5.7.1", ("No\r\n250 yes\rno",))})
    t >> b"MAIL FROM:<>\r\n" << "550 5.7.1 No  250 yes no" << None


def test_eof_inside_data_aborts_the_message() -> None:
    t = in_data()
    (t >> b"half\r\n.").eof()
    assert t.kinds() == ["Body", "Aborted"]
    assert t.engine.closed
    assert t.messages == []


def test_eof_behind_a_whole_message_loses_nothing() -> None:
    t = in_data()
    t.engine.receive(b"x\r\n.\r\nMAIL FROM:<>\r\n")
    t.engine.peer_closed()
    t.pump() << "250 2.0.0" << "250 2.1.0"
    assert t.messages[0].body == b"x\r\n"
    assert t.engine.closed
    assert "Aborted" not in t.kinds()


def test_eof_between_commands_says_nothing() -> None:
    t = in_transaction()
    t.eof()
    assert t.events == []
    assert t.engine.closed


@pytest.mark.parametrize("bytewise", [False, True])
def test_bdat_message_in_one_pipeline(bytewise: bool) -> None:
    stream = b"BDAT 6\r\n.Line\rBDAT 3\r\n\n..BDAT 0\r\nBDAT 2 LAST\r\n\r\nNOOP\r\n"
    t = in_transaction()
    _ = t.one_by_one(stream) if bytewise else t >> stream
    (
        t
        << "250 2.0.0 Chunk ok"
        << "250 2.0.0 Chunk ok"
        << "250 2.0.0 Chunk ok"
        << "250 2.0.0 Queued"
        << "250 2.0.0 Ok"
    )
    assert t.messages[0].body == b".Line\r\n..\r\n"
    assert t.messages[0].dotted
    assert [e.size for e in t.events if isinstance(e, ChunkDone)] == [6, 3, 0]


def test_bdat_message_keeps_its_missing_line_end() -> None:
    t = in_transaction()
    t >> b"BDAT 3 LAST\r\nabc" << "250 2.0.0 Queued"
    assert t.messages[0].body == b"abc"


def test_lower_case_last_and_transaction_is_over_behind_it() -> None:
    t = in_transaction()
    t >> b"bdat 0 last\r\nRCPT TO:<c@example.net>\r\n" << "250 2.0.0 Queued" << "503 5.5.1"


def test_refused_chunk_ends_the_transaction_and_eats_the_rest() -> None:
    t = in_transaction(answers={ChunkDone: Reply(452, "4.3.1", ("Full",))})
    (
        t
        >> b"BDAT 6\r\nNOOP\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"
        << "452 4.3.1"
        << "503 5.5.1"
        << "250 2.0.0 Ok"
        << None
    )
    assert t.messages == []


def test_many_chunks_behind_a_refused_one_are_not_many_faults() -> None:
    t = in_transaction(answers={ChunkDone: NO})
    t >> b"BDAT 6\r\nNOOP\r\n" * 50 << "550 5.7.1"
    for _ in range(49):
        t << "503 5.5.1"
    t << None
    assert not t.engine.closed


def test_starttls_declined_goes_on_in_clear() -> None:
    t = talk(starttls=True, answers={StartTls: Reply(454, "4.7.0", ("Not now",))})
    t >> b"STARTTLS\r\n" << "454 4.7.0"
    t >> b"MAIL FROM:<>\r\n" << "250 2.1.0"
