"""Why a command may not come where it comes: not offered, out of sequence, before its time.

What a MAIL wishes is looked at here too, when it was read.

Sources: RFC 5321 §4.1.4 (order); RFC 3207 §4 (STARTTLS once); RFC 4954 §4 (AUTH not twice, not in a transaction); RFC 2920 §3.1 (DATA without
recipients); RFC 8689 §2 (REQUIRETLS).
"""

from __future__ import annotations

from gatepost.core.reply import Reply
from gatepost.wire import server_replies as replies
from gatepost.wire.server_commands import Command, Effect, Move, ServerSettings, State, in_sequence
from gatepost.wire.server_events import Mail

_CONTROLS = bytes((*range(32), 127))


def control_fault(line: bytes) -> Reply | None:
    """The refusal of a line that holds a control character, a bare CR among them (C23)."""
    if len(line.translate(None, _CONTROLS)) == len(line):
        return None
    return replies.BAD_LINE if b"\r" in line else replies.CONTROL


def refusal_of(
    row: Command, state: State, *, tls: bool, starttls: bool, auth: bool, refused_recipient: bool
) -> Reply | None:
    """The refusal of a command, or None. `tls` is there, `starttls` and `auth` are offered (AUTH inside TLS only).

    `refused_recipient`: every recipient of the transaction was.
    """
    if row.effect is Effect.TLS and not tls and not starttls:
        return replies.NOT_OFFERED
    if row.effect is Effect.AUTH and not (auth and tls):
        return replies.TLS_FIRST if auth else replies.NOT_OFFERED
    if in_sequence(state, row) and not (row.effect is Effect.TLS and tls):
        return None
    if refused_recipient and state is State.SENDER and row.move in (Move.DATA, Move.BDAT):
        return replies.NO_RECIPIENT
    return replies.SEQUENCE


def unmet_wish(mail: Mail, settings: ServerSettings, *, tls: bool) -> Reply | None:
    """The refusal of a message that requires TLS on its whole way, where that is not promised or has not begun."""
    if not mail.requiretls:
        return None
    if not settings.requiretls:
        return replies.NO_PROMISE
    return None if tls else replies.NOT_IN_CLEAR
