"""The body of the client engine: dots, cuts, line ends, answers before the final dot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.client_talk import in_body

from gatepost.core.reply import Reply
from gatepost.wire.client_events import (
    BodyAnswered,
    ProtocolFault,
)
from gatepost.wire.smtp_client import State

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
