"""The tables of commands and transitions."""

from __future__ import annotations

import pytest

from gatepost.wire.server_commands import COMMANDS, TRANSITIONS, Effect, Gate, Move, State, in_sequence


def test_only_four_commands_are_heard_without_required_tls() -> None:
    """RFC 3207 §4: NOOP, EHLO, STARTTLS, QUIT; HTTP ends the connection anyway."""
    heard = {row.verb for row in COMMANDS.values() if row.gate is Gate.OPEN and row.effect is not Effect.HTTP}
    assert heard == {b"NOOP", b"EHLO", b"STARTTLS", b"QUIT"}


def test_no_move_leaves_a_closed_refused_or_silent_dialogue() -> None:
    assert not {state for state, _ in TRANSITIONS} & {State.CLOSED, State.REFUSED, State.SILENT}


def test_a_body_can_only_be_ended() -> None:
    assert [move for state, move in TRANSITIONS if state is State.BODY] == [Move.DONE]


@pytest.mark.parametrize("state", [State.SENDER, State.RECIPIENTS, State.CHUNKS])
def test_tls_cannot_start_inside_a_transaction(state: State) -> None:
    assert not in_sequence(state, COMMANDS[b"STARTTLS"])


def test_every_state_is_reached() -> None:
    reached = {State.SILENT, State.REFUSED, State.GREETED, State.CLOSED, *TRANSITIONS.values()}
    assert reached == set(State)
