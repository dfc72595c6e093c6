"""The client engine, played against transcripts: what it sends, what it makes of the answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatepost.core.address import Address
from gatepost.core.envelope import Recipient
from gatepost.core.reply import Reply
from gatepost.wire.client_commands import UnsendableText
from gatepost.wire.client_events import (
    BodyAnswered,
    Capabilities,
    ClientEvent,
    ClosedByPeer421,
    EnvelopeAnswered,
    Greeting,
    HelloDone,
    HelloRefused,
    ProtocolFault,
    QuitAnswered,
    ResetDone,
    StartTlsAnswered,
    Transaction,
)
from gatepost.wire.smtp_client import GROUP_RECIPIENTS, ClientEngine, OutOfTurn, State

PIPELINING = b"250-mx.example\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n"
PLAIN = b"250-mx.example\r\n250 8BITMIME\r\n"
STARTTLS = b"250-mx.example\r\n250-STARTTLS\r\n250 PIPELINING\r\n"


def address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(text, local, domain)


def transaction(*recipients: str, size: int = 0) -> Transaction:
    return Transaction(
        address("alice@example.org"), tuple(Recipient(address(text)) for text in recipients), size
    )


class Talk:
    """Plays the peer: `says(…)` feeds bytes and returns the events, `heard()` is what the engine sent."""

    def __init__(self) -> None:
        self.engine = ClientEngine("gw.example.org")

    def says(self, data: bytes) -> list[ClientEvent]:
        self.engine.receive(data)
        return self.events()

    def events(self) -> list[ClientEvent]:
        found = []
        while (event := self.engine.next_event()) is not None:
            found.append(event)
        return found

    def heard(self) -> bytes:
        return self.engine.take_output()


def ready(ehlo: bytes = PIPELINING) -> Talk:
    talk = Talk()
    talk.says(b"220 mx.example ESMTP\r\n")
    talk.engine.hello()
    assert talk.heard() == b"EHLO gw.example.org\r\n"
    (event,) = talk.says(ehlo)
    assert isinstance(event, HelloDone)
    return talk


def in_body() -> Talk:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    (event,) = talk.says(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert event.go_ahead
    talk.heard()
    return talk


# --- greeting and hello -----------------------------------------------------------------------------


def test_a_greeting_then_ehlo() -> None:
    talk = Talk()
    assert talk.says(b"220 mx.exam") == []
    assert talk.says(b"ple ESMTP\r\n") == [Greeting(Reply(220, "", ("mx.example ESMTP",)))]
    talk.engine.hello()
    talk.heard()
    (event,) = talk.says(PIPELINING)
    assert isinstance(event, HelloDone)
    assert event.capabilities == Capabilities(
        esmtp=True, pipelining=True, size=1_000_000, greeting_name="mx.example"
    )


def test_a_refusing_greeting_leaves_only_quit() -> None:
    talk = Talk()
    assert talk.says(b"554 5.7.1 no\r\n") == [Greeting(Reply(554, "5.7.1", ("no",)))]
    with pytest.raises(OutOfTurn):
        talk.engine.hello()
    talk.engine.quit()
    assert talk.heard() == b"QUIT\r\n"
    assert talk.says(b"221 bye\r\n") == [QuitAnswered(Reply(221, "", ("bye",)))]


def test_ehlo_refused_for_good_becomes_helo() -> None:
    talk = Talk()
    talk.says(b"220 mx\r\n")
    talk.engine.hello()
    talk.heard()
    assert talk.says(b"502 5.5.1 what?\r\n") == []
    assert talk.heard() == b"HELO gw.example.org\r\n"
    (event,) = talk.says(b"250 mx.example\r\n")
    assert isinstance(event, HelloDone)
    assert event.capabilities == Capabilities(greeting_name="mx.example")
    with pytest.raises(OutOfTurn):
        talk.engine.starttls()


def test_helo_refused_too() -> None:
    talk = Talk()
    talk.says(b"220 mx\r\n")
    talk.engine.hello()
    talk.says(b"500 what?\r\n")
    assert talk.says(b"500 what now?\r\n") == [HelloRefused(Reply(500, "", ("what now?",)))]


def test_ehlo_refused_for_now_is_no_reason_for_helo() -> None:
    talk = Talk()
    talk.says(b"220 mx\r\n")
    talk.engine.hello()
    talk.heard()
    assert talk.says(b"450 later\r\n") == [HelloRefused(Reply(450, "", ("later",)))]
    assert talk.heard() == b""


@pytest.mark.parametrize("name", ["gw\r\nMAIL FROM:<>", "gw x", "", "gw\0", "gü.example"])
def test_the_hello_name_is_one_word(name: str) -> None:
    with pytest.raises(UnsendableText):
        ClientEngine(name)


# --- STARTTLS ---------------------------------------------------------------------------------------


def test_starttls_forgets_what_was_said_in_clear() -> None:
    talk = ready(STARTTLS)
    talk.engine.starttls()
    assert talk.heard() == b"STARTTLS\r\n"
    (event,) = talk.says(b"220 2.0.0 go\r\n")
    assert isinstance(event, StartTlsAnswered)
    assert event.accepted
    talk.engine.tls_started()
    assert talk.engine.capabilities is None
    with pytest.raises(OutOfTurn):
        talk.engine.begin(transaction("bob@example.com"))
    talk.engine.hello()
    (hello,) = talk.says(PLAIN)
    assert isinstance(hello, HelloDone)
    assert not hello.capabilities.pipelining
    assert talk.engine.tls_active
    with pytest.raises(OutOfTurn):
        talk.engine.starttls()


def test_starttls_is_not_sent_unless_offered() -> None:
    talk = ready(PLAIN)
    with pytest.raises(OutOfTurn):
        talk.engine.starttls()
    assert talk.heard() == b""


@pytest.mark.parametrize("offer", [b"STARTTLS", b"starttls", b"StartTLS foo", b"STARTTLS "])
def test_an_offer_counts_in_any_form(offer: bytes) -> None:
    talk = ready(b"250-mx\r\n250 " + offer + b"\r\n")
    talk.engine.starttls()
    assert talk.heard() == b"STARTTLS\r\n"


@pytest.mark.parametrize(
    "injected",
    [
        b"220 ok\r\n250-AUTH PLAIN\r\n",
        b"220 ok\r\n250-AUTH PLAIN",  # without its line end
        b"220 ok\r\n2",
        b"220 ok\r\n250 PIPELINING\r\n",
        b"220 ok\r\n421 bye\r\n",
        b"220-go\r\n220 on\r\n220 mx.example\r\n",
    ],
)
def test_bytes_behind_starttls_end_the_connection(injected: bytes) -> None:
    for cut in range(1, len(injected)):
        talk = ready(STARTTLS)
        talk.engine.starttls()
        events = talk.says(injected[:cut]) + talk.says(injected[cut:])
        assert events[-1] == ProtocolFault("bytes behind STARTTLS", injected=True)
        assert len(events) <= 2  # the 220 itself may have come alone
        talk.engine.tls_started()
        assert not talk.engine.tls_active
        talk.heard()
        talk.engine.hello()
        assert talk.heard() == b""


def test_a_handshake_that_goes_on_in_spite_of_injected_bytes_uses_nothing() -> None:
    talk = ready(STARTTLS)
    talk.engine.starttls()
    talk.says(b"220 go\r\n")
    talk.engine.receive(b"250-PIPELINING\r\n")  # read before the handshake began
    talk.engine.tls_started()
    assert talk.events() == [ProtocolFault("bytes behind STARTTLS", injected=True)]
    talk.engine.hello()
    assert talk.heard() == b""


@pytest.mark.parametrize("reply", [b"454 4.7.0 not now\r\n", b"501 no\r\n", b"502 no\r\n", b"250 ok?\r\n"])
def test_any_other_answer_is_a_refusal_and_the_session_goes_on(reply: bytes) -> None:
    talk = ready(STARTTLS)
    talk.engine.starttls()
    (event,) = talk.says(reply)
    assert isinstance(event, StartTlsAnswered)
    assert not event.accepted
    talk.heard()
    talk.engine.begin(transaction("bob@example.com"))
    assert talk.heard().startswith(b"MAIL FROM:")


@pytest.mark.parametrize(
    "reply",
    [b"22\r\n", b"123456789 x\r\n", b"220 " + b"x" * 600 + b"\r\n", b"220 a\0b\r\n", b"220-a\r\n250 b\r\n"],
)
def test_a_malformed_answer_ends_the_connection(reply: bytes) -> None:
    talk = ready(STARTTLS)
    talk.engine.starttls()
    (event,) = talk.says(reply)
    assert isinstance(event, ProtocolFault)
    assert talk.says(b"220 ok\r\n") == []
    assert talk.heard() == b""


# --- the envelope -----------------------------------------------------------------------------------


def test_a_pipelined_transaction_is_one_group() -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com", "eve@example.com", size=100))
    assert talk.heard() == (
        b"MAIL FROM:<alice@example.org> SIZE=100\r\n"
        b"RCPT TO:<bob@example.com>\r\nRCPT TO:<eve@example.com>\r\nDATA\r\n"
    )
    assert talk.says(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 no\r\n") == []
    (event,) = talk.says(b"354 go\r\n")
    assert event == EnvelopeAnswered(
        Reply(250, "2.1.0", ("ok",)),
        (Reply(250, "2.1.5", ("ok",)), Reply(550, "5.1.1", ("no",))),
        Reply(354, "", ("go",)),
    )
    assert isinstance(event, EnvelopeAnswered)
    assert event.accepted == (0,)
    assert talk.engine.body(b"hi\r\n", stuff=True, last=True) == b"hi\r\n.\r\n"
    assert talk.says(b"250 2.0.0 queued\r\n") == [BodyAnswered(Reply(250, "2.0.0", ("queued",)))]
    assert talk.engine.may_begin


def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    talk = ready(PLAIN)
    talk.engine.begin(transaction("bob@example.com", "eve@example.com"))
    steps = [
        (b"MAIL FROM:<alice@example.org>\r\n", b"250 ok\r\n"),
        (b"RCPT TO:<bob@example.com>\r\n", b"450 later\r\n"),
        (b"RCPT TO:<eve@example.com>\r\n", b"250 ok\r\n"),
    ]
    for sent, answer in steps:
        assert talk.heard() == sent
        assert talk.says(answer) == []
    assert talk.heard() == b"DATA\r\n"
    (event,) = talk.says(b"354 go\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert event.accepted == (1,)
    assert event.go_ahead


def test_without_pipelining_nothing_follows_a_refused_sender() -> None:
    talk = ready(PLAIN)
    talk.engine.begin(transaction("bob@example.com", "eve@example.com"))
    talk.heard()
    no = Reply(550, "", ("no",))
    assert talk.says(b"550 no\r\n") == [EnvelopeAnswered(no, (no, no), None)]
    assert talk.heard() == b""
    assert talk.engine.may_begin


def test_without_pipelining_data_is_not_sent_when_nobody_was_accepted() -> None:
    talk = ready(PLAIN)
    talk.engine.begin(transaction("bob@example.com"))
    talk.says(b"250 ok\r\n")
    talk.heard()
    (event,) = talk.says(b"550 no\r\n")
    assert event == EnvelopeAnswered(Reply(250, "", ("ok",)), (Reply(550, "", ("no",)),), None)
    assert talk.heard() == b""
    assert talk.engine.transaction_open
    with pytest.raises(OutOfTurn):
        talk.engine.begin(transaction("bob@example.com"))
    talk.engine.reset()
    assert talk.heard() == b"RSET\r\n"
    assert talk.says(b"250 ok\r\n") == [ResetDone()]
    assert talk.engine.may_begin


@pytest.mark.parametrize(
    "answers", [b"250 ok\r\n550 no\r\n", b"550 no\r\n503 what?\r\n", b"550 no\r\n250 ?\r\n"]
)
def test_a_go_ahead_for_nobody_is_ended_with_a_lone_dot(answers: bytes) -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    talk.heard()
    (event,) = talk.says(answers + b"354 go\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert not event.go_ahead
    assert event.data is None
    assert event.accepted == ()
    assert talk.heard() == b".\r\n"
    # The answer to the dot matters to nobody, and the next transaction need not wait for it.
    talk.engine.begin(transaction("carol@example.com"))
    assert talk.says(b"554 5.5.1 no valid recipients\r\n") == []
    (event,) = talk.says(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert event.go_ahead


def test_a_refused_data_is_reported_when_somebody_was_accepted() -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    (event,) = talk.says(b"250 ok\r\n250 ok\r\n451 4.3.0 no room\r\n")
    assert isinstance(event, EnvelopeAnswered)
    assert event.data == Reply(451, "4.3.0", ("no room",))
    assert not event.go_ahead
    assert talk.engine.transaction_open
    with pytest.raises(OutOfTurn):
        talk.engine.body(b"x", stuff=True, last=True)


def test_many_recipients_go_in_bounded_groups_and_data_with_the_last() -> None:
    talk = ready()
    names = [f"r{i}@example.com" for i in range(250)]
    talk.engine.begin(transaction(*names))
    seen, first = [], True
    while True:
        lines = talk.heard().split(b"\r\n")[:-1]
        if first:
            assert lines.pop(0).startswith(b"MAIL")
            first = False
        asked = [line for line in lines if line.startswith(b"RCPT")]
        assert len(asked) <= GROUP_RECIPIENTS
        seen += asked
        answers = b"250 ok\r\n" * len(asked)
        if len(seen) < 250:
            assert asked == lines
            assert talk.says((b"250 ok\r\n" if len(seen) == GROUP_RECIPIENTS else b"") + answers) == []
        else:
            assert lines[-1] == b"DATA"
            (event,) = talk.says(answers + b"354 go\r\n")
            break
    assert seen == [f"RCPT TO:<{name}>".encode() for name in names]
    assert isinstance(event, EnvelopeAnswered)
    assert len(event.accepted) == 250


def test_groups_are_bounded_in_octets_too() -> None:
    talk = ready()
    long = [f"{'x' * 60}{i}@{'y' * 60}.{'z' * 60}.{'w' * 60}.example" for i in range(100)]
    talk.engine.begin(transaction(*long))
    assert len(talk.heard()) < 17_000


def test_a_refused_sender_stops_further_groups() -> None:
    talk = ready()
    talk.engine.begin(transaction(*(f"r{i}@example.com" for i in range(150))))
    talk.heard()
    (event,) = talk.says(b"550 no\r\n" + b"503 no\r\n" * 100)
    assert isinstance(event, EnvelopeAnswered)
    assert event.recipients == (Reply(550, "", ("no",)),) * 150
    assert talk.heard() == b""


@pytest.mark.parametrize("ehlo", [PIPELINING, PLAIN])
def test_an_address_that_cannot_be_sent_stops_the_transaction_before_it_begins(ehlo: bytes) -> None:
    talk = ready(ehlo)
    with pytest.raises(UnsendableText):
        talk.engine.begin(transaction("bob@example.com", "x\r\nDATA@example.com"))
    assert talk.heard() == b""
    assert talk.engine.may_begin


@pytest.mark.parametrize(
    "answers",
    [
        b"354 go\r\n",
        b"250 ok\r\n354 go\r\n",
        b"250 ok\r\n250 ok\r\n250 ok\r\n",
        b"250 ok\r\n250 ok\r\n300 ?\r\n",
    ],
)
def test_answers_out_of_step_are_a_fault(answers: bytes) -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    assert isinstance(talk.says(answers)[-1], ProtocolFault)


# --- the body ---------------------------------------------------------------------------------------

BODY = b".first\r\nsecond\r\n.\r\n..\r\na.b\r\n\r\n.last\r\n"
STUFFED = b"..first\r\nsecond\r\n..\r\n...\r\na.b\r\n\r\n..last\r\n.\r\n"


def test_dots_are_doubled_across_every_pair_of_cuts() -> None:
    for first in range(len(BODY) + 1):
        for second in range(first, len(BODY) + 1):
            engine = in_body().engine
            sent = engine.body(BODY[:first], stuff=True, last=False)
            sent += engine.body(BODY[first:second], stuff=True, last=False)
            sent += engine.body(BODY[second:], stuff=True, last=True)
            assert sent == STUFFED


@given(st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n.", b"\r"]), max_size=12), st.data())
def test_stuffing_does_not_depend_on_cuts_and_can_be_undone(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(pieces)
    cut = data.draw(st.integers(0, len(body)))
    whole = in_body().engine.body(body, stuff=True, last=True)
    engine = in_body().engine
    assert (
        engine.body(body[:cut], stuff=True, last=False) + engine.body(body[cut:], stuff=True, last=True)
        == whole
    )
    assert whole.endswith(b".\r\n")
    assert (b"\r\n" + whole).find(b"\r\n.\r\n") == len(whole) - 3
    undone = (b"\r\n" + whole[:-3]).replace(b"\r\n.", b"\r\n")[2:]
    assert undone in (body, body + b"\r\n", body + b"\n")


@pytest.mark.parametrize(
    ("body", "end"),
    [(b"", b".\r\n"), (b"x", b"x\r\n.\r\n"), (b"x\r", b"x\r\n.\r\n"), (b"x\r\n", b"x\r\n.\r\n")],
)
def test_the_last_piece_gets_the_line_end_it_lacks(body: bytes, end: bytes) -> None:
    assert in_body().engine.body(body, stuff=False, last=True) == end
    engine = in_body().engine
    parts = [engine.body(body[i : i + 1], stuff=False, last=False) for i in range(len(body))]
    assert b"".join(parts) + engine.body(b"", stuff=False, last=True) == end


def test_a_body_without_dots_passes_untouched() -> None:
    piece = b"x" * 1000 + b"\r\n"
    assert in_body().engine.body(piece, stuff=False, last=False) is piece


def test_a_refusal_before_the_final_dot_counts_but_ends_the_connection() -> None:
    talk = in_body()
    talk.engine.body(b"x\r\n", stuff=True, last=False)
    assert talk.says(b"552 5.3.4 too big\r\n") == [BodyAnswered(Reply(552, "5.3.4", ("too big",)))]
    assert talk.engine.state is State.DEAD
    assert talk.engine.body(b"y", stuff=True, last=True) == b""


def test_an_acceptance_before_the_final_dot_is_a_fault() -> None:
    talk = in_body()
    assert isinstance(talk.says(b"250 queued\r\n")[0], ProtocolFault)
    talk = in_body()
    talk.engine.receive(b"250 queued\r\n")
    assert talk.engine.body(b"x\r\n", stuff=True, last=True) == b""
    assert talk.events() == [ProtocolFault("reply before its command")]


# --- 421, unasked replies, the end ------------------------------------------------------------------


def test_421_ends_the_connection_at_any_time() -> None:
    closed = [ClosedByPeer421(Reply(421, "4.3.2", ("closing",)))]
    line = b"421 4.3.2 closing\r\n"
    assert Talk().says(line) == closed
    assert ready().says(line) == closed
    assert in_body().says(line) == closed
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    assert talk.says(b"250 ok\r\n" + line) == closed
    assert talk.says(b"250 ok\r\n") == []
    talk = ready()
    talk.engine.receive(line)  # it came before we ask for more
    talk.engine.begin(transaction("bob@example.com"))
    assert talk.events() == closed


def test_a_reply_before_its_command_is_a_fault() -> None:
    talk = Talk()
    talk.engine.receive(b"220 mx\r\n250-mx\r\n250 STARTTLS\r\n")
    assert isinstance(talk.engine.next_event(), Greeting)
    talk.engine.hello()
    assert talk.heard() == b""
    assert talk.events() == [ProtocolFault("reply before its command")]


def test_an_unasked_reply_is_a_fault() -> None:
    assert ready().says(b"250 ok\r\n") == [ProtocolFault("reply that no command asked for")]


def test_a_fault_is_reported_once_and_orders_say_nothing_more() -> None:
    talk = ready()
    assert len(talk.says(b"xyz\r\n250 ok\r\n")) == 1
    assert talk.events() == []
    talk.engine.begin(transaction("bob@example.com"))
    talk.engine.reset()
    talk.engine.quit()
    assert talk.heard() == b""


def test_quit_between_commands_only() -> None:
    talk = in_body()
    talk.engine.quit()
    assert talk.heard() == b""
    talk = ready()
    talk.engine.quit()
    assert talk.heard() == b"QUIT\r\n"
    assert talk.says(b"221 2.0.0 bye\r\n") == [QuitAnswered(Reply(221, "2.0.0", ("bye",)))]
    assert talk.engine.state is State.DEAD


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_rubbish_never_raises(pieces: list[bytes]) -> None:
    talk = ready()
    talk.engine.begin(transaction("bob@example.com"))
    for piece in pieces:
        talk.says(piece)


@pytest.mark.parametrize("offer", [PIPELINING, PLAIN])
def test_a_probe_ends_before_data(offer: bytes) -> None:
    talk = Talk()
    talk.says(b"220 mx.example\r\n")
    talk.engine.hello()
    talk.says(offer)
    talk.heard()
    for answer, code in ((b"250 Ok\r\n", 250), (b"550 5.1.1 No such user\r\n", 550)):
        talk.engine.begin(Transaction(address(""), (Recipient(address("bob@example.net")),), probe=True))
        if offer is PIPELINING:
            assert talk.heard() == b"MAIL FROM:<>\r\nRCPT TO:<bob@example.net>\r\n"
            [event] = talk.says(b"250 Ok\r\n" + answer)
        else:
            assert talk.heard() == b"MAIL FROM:<>\r\n"
            assert talk.says(b"250 Ok\r\n") == []
            assert talk.heard() == b"RCPT TO:<bob@example.net>\r\n"
            [event] = talk.says(answer)
        assert isinstance(event, EnvelopeAnswered)
        assert (event.recipients[0].code, event.data, event.go_ahead) == (code, None, False)
        assert talk.engine.transaction_open
        talk.engine.reset()
        assert talk.heard() == b"RSET\r\n"
        assert talk.says(b"250 Ok\r\n") == [ResetDone()]
