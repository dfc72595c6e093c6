"""The cases of attack that the server engine must stand, each under its number."""

from __future__ import annotations

import pytest
from tests.fakes.transcript import Talk, in_data, in_transaction, talk

from gatepost.core.reply import Reply
from gatepost.wire.server_commands import FREE_CHUNKS, ServerSettings
from gatepost.wire.server_events import Abuse, Hello, Mail, Rcpt, StartTls, TlsRequiredMissing

INJECTED = b"NOOP\r\n"
SMUGGLED = b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: smuggled\r\n\r\n"


def assert_injection_refused(t: Talk) -> None:
    assert t.engine.closed
    assert [(a.reason, a.close) for a in t.abuses()] == [("STARTTLS injection", True)]
    with pytest.raises(RuntimeError):
        t.engine.tls_started()
    t >> b"NOOP\r\nEHLO x\r\n"
    assert t.output == b""


def test_c1_command_behind_starttls_ends_the_connection() -> None:
    t = talk(starttls=True)
    t >> b"STARTTLS\r\nNOOP\r\n" << "554 5.5.1"
    assert "StartTls" not in t.kinds()
    assert_injection_refused(t)


def test_c2_transaction_behind_starttls_is_never_seen() -> None:
    t = talk(starttls=True)
    t >> b"STARTTLS\r\nEHLO x\r\nMAIL FROM:<a>\r\n" << "554 5.5.1"
    assert not any(isinstance(e, Hello | Mail | StartTls) for e in t.events)
    assert_injection_refused(t)


@pytest.mark.parametrize("cut", range(len(INJECTED)))
@pytest.mark.parametrize("answered_first", [False, True])
def test_c3_split_anywhere_and_before_or_behind_the_220(cut: int, answered_first: bool) -> None:
    t = talk(starttls=True)
    t.engine.receive(b"STARTTLS\r\n" + INJECTED[:cut])
    event = t.engine.next_event()
    if cut == 0:
        assert event == StartTls()
        if answered_first:
            t.engine.answer(Reply(220, "2.0.0", ("Go ahead",)))
            assert t.engine.take_output() == b"220 2.0.0 Go ahead\r\n"
            assert t.engine.next_event() is None
    else:
        assert isinstance(event, Abuse)
        t.events.append(event)
    t.engine.receive(INJECTED[cut:])
    t.pump() << "554 5.5.1"
    if cut == 0 and not answered_first:
        t.engine.answer(Reply(220, "2.0.0", ("Go ahead",)))  # too late: it must not be sent
        assert t.engine.take_output() == b""
    assert_injection_refused(t)


def test_c3_bytes_that_came_while_ehlo_waited_for_its_answer() -> None:
    t = talk(starttls=True, hello=False)
    t.engine.receive(b"EHLO a\r\nSTARTTLS\r\n")
    assert t.engine.next_event() == Hello("a", True)
    t.engine.receive(b"\x16")
    t.engine.answer(Reply(250, "", ("mx",)))
    t.pump() << "250-mx" << "554 5.5.1"
    assert_injection_refused(t)


def test_c4_client_hello_in_the_same_segment() -> None:
    t = talk(starttls=True)
    t >> b"STARTTLS\r\n\x16\x03\x01\x02\x00\x01" << "554 5.5.1"
    assert_injection_refused(t)


def test_c5_all_that_was_said_in_clear_is_forgotten() -> None:
    t = talk(starttls=True)
    t >> b"MAIL FROM:<a@b.example> SMTPUTF8\r\nRSET\r\nSTARTTLS\r\n" << "250" << "250" << "220"
    t.engine.tls_started()
    assert (t.engine.hello_name, t.engine.extended, t.engine.tls_active) == ("", False, True)
    t >> b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@example.net>\r\n" << "503 5.5.1" << "503 5.5.1"
    t >> b"EHLO inside\r\n"
    assert "STARTTLS" not in t.reply()
    t >> "MAIL FROM:<a@b.example>\r\nRCPT TO:<é@example.net>\r\n".encode() << "250 2.1.0" << "553 5.6.7"


def test_c6_starttls_in_the_wrong_place() -> None:
    t = talk(starttls=True)
    t >> b"STARTTLS now\r\n" << "501 5.5.4"
    t >> b"MAIL FROM:<a@b.example>\r\nSTARTTLS\r\n" << "250 2.1.0" << "503 5.5.1"
    t >> b"RCPT TO:<c@example.net>\r\n" << "250 2.1.5"  # the transaction is as it was
    t >> b"BDAT 2\r\n\r\nSTARTTLS\r\nRSET\r\n" << "250 2.0.0 Chunk" << "503 5.5.1" << "250 2.0.0"
    t >> b"STARTTLS\r\n" << "220"
    t.engine.tls_started()
    t >> b"STARTTLS\r\n" << "503 5.5.1"
    t >> b"EHLO a\r\nSTARTTLS\r\nNOOP\r\n" << "250-" << "503 5.5.1" << "250 2.0.0 Ok"
    assert t.abuses() == []


LOOK_ALIKES = [
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
]
HARMLESS = [
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    "\r\n.\u2028".encode(),
    "\u2028.\u2028".encode(),
    b"\x85.\x85",
    b"\x0b.\x0b",
    b"\x0c.\x0c",
    b"\r\n.\x0b\r\n",
    b"\r\n. \r\n",
]


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("fake", LOOK_ALIKES)
def test_c13_look_alike_ends_of_data_refuse_the_message(fake: bytes, bytewise: bool) -> None:
    t = in_data()
    stream = b"Subject: x\r\n\r\ntext" + fake + SMUGGLED + b"text\r\n.\r\nNOOP\r\n"
    _ = t.one_by_one(stream) if bytewise else t >> stream
    t << "554 5.6.0 Bare CR or LF in message" << "250 2.0.0 Ok" << None
    assert t.messages == []
    assert [(a.reason, a.close) for a in t.abuses()] == [("SMTP smuggling: bare CR or LF in message", False)]


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("fake", HARMLESS)
def test_c13_other_separators_end_nothing(fake: bytes, bytewise: bool) -> None:
    t = in_data()
    stream = b"Subject: x\r\n\r\ntext" + fake + SMUGGLED + b"text\r\n.\r\nNOOP\r\n"
    _ = t.one_by_one(stream) if bytewise else t >> stream
    t << "250 2.0.0 Queued" << "250 2.0.0 Ok" << None
    (message,) = t.messages
    unstuffed = fake.replace(b"\r\n.", b"\r\n")
    assert message.body == b"Subject: x\r\n\r\ntext" + unstuffed + SMUGGLED + b"text\r\n"


@pytest.mark.parametrize("fake", LOOK_ALIKES + HARMLESS)
@pytest.mark.parametrize("inner", [SMUGGLED, SMUGGLED.replace(b"DATA\r\n", b"BDAT 5 LAST\r\n")])
def test_c14_smuggled_transaction_never_becomes_a_message(fake: bytes, inner: bytes) -> None:
    t = in_data()
    t >> b"text" + fake + inner + b"\r\n.\r\n"
    assert len(t.messages) <= 1
    assert not any(isinstance(e, Mail | Rcpt) for e in t.events)
    t >> b"RCPT TO:<victim@example.net>\r\n"
    assert "503 5.5.1" in t.output.decode()


@pytest.mark.parametrize("cut", range(5))
def test_c15_dot_at_the_border_of_two_receives(cut: int) -> None:
    end, stuffed = b"\r\n.\r\n", b"\r\n..a\r"
    t = in_data()
    _ = t >> b"x" + stuffed[:cut] >> stuffed[cut:] + b"\ny"
    t >> end[:cut]
    assert t.messages == []
    t >> end[cut:] << "250 2.0.0"
    assert t.messages[0].body == b"x\r\n.a\r\ny\r\n"


@pytest.mark.parametrize("body", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\n", b"\n", b"\r", b"ab\r"])
def test_c15_bare_line_ends_by_bdat_are_refused(body: bytes) -> None:
    t = in_transaction()
    t >> b"BDAT %d LAST\r\n%bNOOP\r\n" % (len(body), body) << "554 5.6.0" << "250 2.0.0 Ok"
    assert t.messages == []


def test_c16_refusal_is_the_only_mode_and_the_connection_goes_on() -> None:
    t = in_data()
    t >> b"bare\nline\r\n.\r\n" << "554 5.6.0"
    t >> b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n" << "250" << "250" << "354"
    t >> b"fine\r\n.\r\n" << "250 2.0.0 Queued"
    assert [m.body for m in t.messages] == [b"fine\r\n"]


def test_c18_text_behind_data_before_the_354() -> None:
    t = in_transaction()
    t >> b"DATA\r\nSubject: x\r\n.\r\n" << "554 5.5.0" << None
    assert t.engine.closed
    assert t.kinds() == ["Abuse"]


def test_c18_text_that_comes_while_data_waits_for_its_answer() -> None:
    t = in_transaction()
    t.engine.receive(b"DATA\r\n")
    event = t.engine.next_event()
    assert event is not None
    t.engine.receive(b"Sub")
    t.pump() << "554 5.5.0"
    t.engine.answer(Reply(354, "", ("Go ahead",)))
    assert t.engine.take_output() == b""
    assert t.engine.next_event() is None


def test_c18_text_behind_a_data_that_is_refused_is_not_run_as_commands() -> None:
    t = talk()
    t >> b"DATA\r\nMAIL FROM:<a@b.example>\r\n" << "554 5.5.0" << None
    assert not any(isinstance(e, Mail) for e in t.events)


def test_c18_legal_pipeline_behind_the_last_chunk_loses_nothing() -> None:
    t = in_transaction()
    group = b"MAIL FROM:<>\r\nRCPT TO:<d@example.net>\r\nBDAT 3 LAST\r\nd\r\n"
    t >> b"BDAT 3 LAST\r\nc\r\n" + group + b"QUIT\r\n"
    assert [m.body for m in t.messages] == [b"c\r\n", b"d\r\n"]
    t << "250 2.0.0 Queued" << "250 2.1.0" << "250 2.1.5" << "250 2.0.0 Queued" << "221" << None


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"-1",
        b"+5",
        b"0x10",
        b"10 LASTX",
        b"10 LAST LAST",
        b"LAST",
        b"1e3",
        b"9" * 21,
        b"5  LAST",
        "٣".encode(),
    ],
)
def test_c20_bdat_without_a_readable_size_ends_the_connection(argument: bytes) -> None:
    t = in_transaction()
    t >> b"BDAT " + argument + b"\r\nMAIL FROM:<>\r\n" << "501 5.5.4" << None
    assert t.engine.closed
    assert t.kinds() == ["Abuse"]


@pytest.mark.parametrize("line", [b"BDAT 12\t", b"bdat 12\0", b"BDAT\t12", b"BDAT 12\rx"])
def test_c20_bdat_with_a_control_octet_ends_the_connection(line: bytes) -> None:
    t = in_transaction()
    t >> line + b"\r\nMAIL FROM:<>\r\n" << "50" << None
    assert t.engine.closed


@pytest.mark.parametrize("size", [2**31, 2**63, 10**20 - 1])
def test_c20_bdat_of_absurd_size_ends_the_connection(size: int) -> None:
    t = in_transaction()
    t >> b"BDAT %d\r\nNOOP\r\n" % size << "552 5.3.4" << None
    assert t.engine.closed


def test_c20_leading_zeros_and_zero_sizes() -> None:
    t = in_transaction()
    t >> b"BDAT 0\r\nBDAT 00000000000000000003\r\nab\r" << "250 2.0.0 Chunk" << "250 2.0.0 Chunk"
    t >> b"BDAT 1\r\n\nBDAT 0 LAST\r\n" << "250 2.0.0 Chunk" << "250 2.0.0 Queued"
    assert t.messages[0].body == b"ab\r\n"


@pytest.mark.parametrize("bytewise", [False, True])
def test_c20_octets_of_a_refused_bdat_are_not_commands(bytewise: bool) -> None:
    stream = b"BDAT 14\r\nMAIL FROM:<>\r\nNOOP\r\n"
    for t in (talk(), talk(hello=False)):
        _ = t.one_by_one(stream) if bytewise else t >> stream
        t << "503 5.5.1" << "250 2.0.0 Ok" << None
        assert not any(isinstance(e, Mail) for e in t.events)


def test_c20_bdat_where_tls_is_required_eats_its_octets() -> None:
    t = talk(settings=ServerSettings("mx", 1000, require_tls=True), hello=False, starttls=True)
    t >> b"EHLO a\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n" << "250-" << "530 5.7.0" << "250 2.0.0 Ok"
    assert t.events[1] == TlsRequiredMissing()


def test_c20_data_and_bdat_do_not_mix() -> None:
    t = in_transaction()
    t >> b"BDAT 3\r\na\r\nDATA\r\n" << "250 2.0.0 Chunk" << "503 5.5.1"
    t >> b"RCPT TO:<c@example.net>\r\nMAIL FROM:<>\r\n" << "503 5.5.1" << "503 5.5.1"
    t >> b"BDAT 3 LAST\r\nb\r\n" << "250 2.0.0 Queued"
    assert t.messages[0].body == b"a\r\nb\r\n"


def test_c20_rset_between_chunks() -> None:
    t = in_transaction()
    (
        t
        >> b"BDAT 3\r\na\r\nRSET\r\nBDAT 6 LAST\r\nNOOP\r\n"
        << "250 2.0.0 Chunk"
        << "250 2.0.0 Ok"
        << "503 5.5.1"
        << None
    )
    assert t.messages == []
    assert t.kinds() == ["BodyStarted", "Body", "ChunkDone", "Reset"]


@pytest.mark.parametrize("tail", [b"", b"BDAT 5", b"BDAT 5\r\nab"])
def test_c20_connection_dropped_inside_a_chunked_message(tail: bytes) -> None:
    t = in_transaction()
    (t >> b"BDAT 3\r\na\r\n" + tail).eof()
    assert t.kinds()[-1] == "Aborted"
    assert t.messages == []


def test_c21_a_million_tiny_chunks_end_early() -> None:
    t = in_transaction()
    t >> b"BDAT 1\r\nx" * 2000
    assert [a.reason for a in t.abuses()] == ["Too many small chunks"]
    assert t.kinds().count("ChunkDone") == FREE_CHUNKS
    assert t.engine.closed


def test_c21_tiny_chunks_outside_a_transaction_end_as_well() -> None:
    t = talk()
    t >> b"BDAT 0\r\n" * 2000
    assert t.engine.closed
    assert t.output.count(b"\r\n") < FREE_CHUNKS + 3


def test_c21_many_chunks_of_fair_size_are_fine() -> None:
    t = in_transaction()
    chunk = b"BDAT 200\r\n" + b"x" * 200
    t >> chunk * 1000 + b"BDAT 0 LAST\r\n"
    assert len(t.messages) == 1
    assert len(t.messages[0].body) == 200_000


def test_c22_command_line_limits() -> None:
    t = talk()
    t >> b"NOOP " + b"x" * 2041 + b"\r\n" << "250 2.0.0"  # 2048 octets with CRLF
    t >> b"NOOP " + b"x" * 2042 + b"\r\nNOOP\r\n" << "500 5.5.2 Line too long" << "250 2.0.0"
    t >> b"x" * 60_000
    assert t.engine.buffered == 0
    t << None
    t >> b"QUIT\r\nNOOP\r\n" << "500 5.5.2 Line too long" << "250 2.0.0" << None


@pytest.mark.parametrize("piece", [65_537, 1000, 1_000_000])
def test_c22_line_without_end_ends_the_connection(piece: int) -> None:
    t = talk()
    for _ in range(1_000_000 // piece + 1):
        t >> b"x" * piece
        assert t.engine.buffered <= 2048
    t << "500 5.5.2" << None
    assert [(a.reason, a.close) for a in t.abuses()] == [("Line without end", True)]


@pytest.mark.parametrize("length", [998, 1000, 65_536, 900_000])
def test_c22_long_text_lines_pass(length: int) -> None:
    t = in_data()
    t >> b"\r\n" + b"x" * length + b"\r\n.\r\n" << "250 2.0.0"
    assert len(t.messages[0].body) == length + 4


def test_c22_size_limit_while_streaming() -> None:
    t = in_data(settings=ServerSettings("mx.example.net", 10_000))
    for _ in range(30):
        t >> b"x" * 998 + b"\r\n"
    assert sum(len(getattr(e, "data", b"")) for e in t.events) <= 10_000
    t << None
    t >> b".\r\nNOOP\r\n" << "552 5.3.4 Message size exceeds limit" << "250 2.0.0"
    assert [(a.reason, a.close) for a in t.abuses()] == [("Message size exceeds limit", False)]


def test_c22_message_of_exactly_the_limit_passes() -> None:
    for size, code in ((100, "250 2.0.0"), (101, "552 5.3.4")):
        t = in_data(settings=ServerSettings("mx.example.net", 100))
        t >> b"x" * (size - 2) + b"\r\n.\r\n" << code
        t = in_transaction(settings=ServerSettings("mx.example.net", 100))
        t >> b"BDAT %d LAST\r\n" % size + b"x" * size << code


@pytest.mark.parametrize("bytewise", [False, True])
def test_c22_header_limit(bytewise: bool) -> None:
    for length, code in ((60, "250 2.0.0"), (61, "552 5.6.0")):
        t = in_data(settings=ServerSettings("mx.example.net", 10_000, max_header=60))
        stream = b"A: " + b"x" * (length - 7) + b"\r\n\r\n" + b"body\r\n" * 50 + b".\r\n"
        _ = t.one_by_one(stream) if bytewise else t >> stream
        t << code << None


@pytest.mark.parametrize(
    "head",
    [
        b"\r\nbody",
        b" starts with a blank\r\n\r\n",
        b": empty name\r\n\r\n",
        b"From x\r\nA: b\r\n\r\n",
        b"body only",
    ],
)
def test_c22_odd_headers_pass_unchanged(head: bytes) -> None:
    t = in_data()
    t >> head + b"\r\n.\r\n" << "250 2.0.0"
    assert t.messages[0].body == head + b"\r\n"


VERBS = [
    b"EHLO a",
    b"HELO a",
    b"MAIL FROM:<a@b.example>",
    b"RCPT TO:<a@b.example>",
    b"DATA",
    b"RSET",
    b"NOOP",
]
VERBS += [b"QUIT", b"HELP", b"VRFY a", b"STARTTLS", b"EXPN a"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("octet", [b"\0", b"\r", b"\n", b"\x1b", b"\x7f", b"\t"])
def test_c23_control_octets_in_every_command(verb: bytes, octet: bytes) -> None:
    for line in (verb + octet, verb + b" " + octet + b"x", verb[:2] + octet + verb[2:]):
        t = in_transaction(starttls=True)
        t >> line + b"\r\n"
        assert t.output[:3] in (b"500", b"501")
        assert t.output.count(b"\r\n") == 1
        assert t.events == []


@pytest.mark.parametrize("verb", VERBS)
def test_c23_eight_bit_octets_in_every_command(verb: bytes) -> None:
    for text in ("é".encode(), b"\xff", b"\xc0\xaf"):
        t = in_transaction(starttls=True)
        t >> verb.replace(b"a", text) + b" " + text + b"\r\n"
        assert t.output[:3] in (b"500", b"501", b"503", b"553", b"502")
        assert t.events == []


def test_c23_utf8_addresses_only_with_smtputf8() -> None:
    t = talk()
    t >> "MAIL FROM:<é@b.example>\r\n".encode() << "553 5.6.7"
    t >> "MAIL FROM:<é@bücher.example> SMTPUTF8\r\n".encode() << "250"
    mail = t.events[-1]
    assert isinstance(mail, Mail)
    assert mail.sender.domain == "xn--bcher-kva.example"
    t >> b"RCPT TO:<\xc0\xaf@b.example>\r\n" << "501 5.1.3"
    t >> "RCPT TO:<é@b.example>\r\n".encode() << "250 2.1.5"


def test_c23_vrfy_with_utf8() -> None:
    t = talk()
    t >> "VRFY é\r\n".encode() << "553 5.6.7"
    t >> "VRFY é SMTPUTF8\r\n".encode() << "252 2.1.5"


@pytest.mark.parametrize("split", [False, True])
def test_c23_bare_lf_client_is_told_at_once(split: bool) -> None:
    t = talk()
    _ = t >> b"NOOP\n" if not split else t.one_by_one(b"NOOP\n")
    t << "500 5.5.2 Only CRLF ends a line" << None
    t >> b"QUIT\nMAIL FROM:<>\n\r\nNOOP\r\n" << "250 2.0.0 Ok" << None


def test_c24_log_and_header_text_never_holds_controls() -> None:
    t = talk(hello=False)
    t >> b"EHLO \x1b[31mred\r\n" << "501"
    t >> b"EHLO a\rb\r\n" << "500"
    assert t.events == []


def test_c25_hello_name_is_printable_and_bounded() -> None:
    t = talk(hello=False)
    t >> b'EHLO we(ird) "name"; x\r\n' << "250-"
    assert t.events == [Hello('we(ird) "name"; x', True)]


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1",
        b"POST /x HTTP/1.1",
        b"CONNECT a:25 HTTP/1.1",
        b"HEAD /",
        b"OPTIONS *",
        b"PUT /",
        b"get /",
    ],
)
def test_c44_http_ends_at_the_first_line(line: bytes) -> None:
    t = talk(hello=False)
    t >> line + b"\r\nHost: x\r\n\r\nEHLO a\r\nMAIL FROM:<>\r\n" << "500 5.5.1" << None
    assert [(a.reason, a.close) for a in t.abuses()] == [("HTTP request", True)]
    assert t.kinds() == ["Abuse"]
