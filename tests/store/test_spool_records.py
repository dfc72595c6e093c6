"""The packed form of messages: exact for every text a peer can send, and never guessing at damage."""

from __future__ import annotations

import contextlib

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatepost.core.address import NULL_ADDRESS, Address
from gatepost.core.envelope import Envelope, Notify, Recipient, Ret
from gatepost.store.spool.records import (
    MessageKind,
    Progress,
    RecipientState,
    RecordDamaged,
    StoredMessage,
    needs_state,
    pack_message,
    pack_state,
    unpack_message,
    unpack_state,
)

# Every code point, lone surrogates too: undecodable bytes of a peer arrive as U+DC80 to U+DCFF (PEP 383).
TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
NUMBER = st.integers(0, 2**62)
TIME = st.floats(0, 2e9, allow_nan=False)
ADDRESS = st.one_of(
    st.just(NULL_ADDRESS),
    st.builds(Address, TEXT, TEXT, TEXT),
    st.builds(lambda local, domain: Address(f"{local}@{domain}", local, domain), TEXT, TEXT),
)
RECIPIENT = st.builds(Recipient, ADDRESS, st.frozensets(st.sampled_from(Notify)), TEXT)
ENVELOPE = st.builds(
    Envelope,
    ADDRESS,
    st.lists(RECIPIENT, max_size=3).map(tuple),
    st.booleans(),
    st.booleans(),
    st.sampled_from(Ret),
    TEXT,
    st.booleans(),
    st.booleans(),
)
PROGRESS = st.builds(
    Progress,
    st.sampled_from(RecipientState),
    NUMBER,
    TIME,
    st.booleans(),
    TEXT,
    TEXT,
    TEXT,
    TEXT,
)


@st.composite
def messages(draw: st.DrawFn) -> StoredMessage:
    envelope = draw(ENVELOPE)
    count = len(envelope.recipients)
    progress = draw(st.lists(st.one_of(st.builds(Progress), PROGRESS), min_size=count, max_size=count))
    return StoredMessage(
        mid=draw(NUMBER),
        received=draw(TIME),
        envelope=envelope,
        dotted=draw(st.booleans()),
        eight_bit=draw(st.booleans()),
        listener=draw(TEXT),
        icid=draw(NUMBER),
        about=draw(NUMBER),
        progress=progress,
        held=draw(TEXT),
        crashes=draw(st.integers(0, 5)),
        kind=draw(st.sampled_from(MessageKind)),
    )


@given(messages())
@settings(max_examples=100, deadline=None)
def test_a_message_comes_back_exactly(message: StoredMessage) -> None:
    again = unpack_message(message.mid, pack_message(message))
    assert again.progress == [Progress() for _ in message.progress]
    unpack_state(again, pack_state(message))
    assert again == message
    if not needs_state(message):
        assert again.progress == [Progress() for _ in message.progress]


def test_a_plain_message_is_compact_and_readable() -> None:
    address = Address("someone@example.org", "someone", "example.org")
    message = StoredMessage(7, 1.5, Envelope(address, (Recipient(address),)), listener="in", icid=3)
    assert orjson.loads(pack_message(message)) == [
        1.5,
        0,
        "in",
        3,
        0,
        "",
        "someone@example.org",
        [["someone@example.org"]],
    ]


@given(st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_damage_is_said_and_nothing_else_is_raised(packed: bytes) -> None:
    for unpack in (lambda: unpack_message(1, packed), lambda: unpack_state(empty(), packed)):
        with contextlib.suppress(RecordDamaged):
            assert isinstance(unpack(), StoredMessage | None)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"[]",
        b"{}",
        b"L[",
        b"X[]",
        b"[1,2]",
        b"null",
        b'[1,"x","in",3,0,"","a@b",[["a@b"]]]',
        b"[1,2,3,4,5,6,7,8]",
    ],
)
def test_a_row_of_another_shape_is_damaged(packed: bytes) -> None:
    with pytest.raises(RecordDamaged):
        unpack_message(1, packed)


@pytest.mark.parametrize(
    "packed", [b"", b"[]", b'["",0,[[9,0,0,0,"","","",""]]]', b'["",0,[0,0]]', b'["",0,[[1]]]']
)
def test_a_state_that_does_not_fit_is_damaged(packed: bytes) -> None:
    with pytest.raises(RecordDamaged):
        unpack_state(empty(), packed)


def empty() -> StoredMessage:
    return StoredMessage(1, 0.0, Envelope(NULL_ADDRESS, (Recipient(NULL_ADDRESS),)), progress=[Progress()])
