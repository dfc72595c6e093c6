"""The SMTP server's commands: one row each, and all state transitions in one table.

A row says how the argument is read (`parse`), what must hold before it is looked at (`gate`), and what the
engine does with it (`effect`). `TRANSITIONS` says in which states a command is in sequence and where success
leads; what is not in it is answered 503. Parsers are pure: they take the argument and what the transaction
allows, and give an event or raise `SyntaxFault`.

Sources: RFC 5321 §4.1; RFC 3207 §4; RFC 3030 §2; RFC 1870 §6; RFC 4954 §4. Cases C20, C23, C30, C44.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from gatepost.core.envelope import Recipient
from gatepost.wire.server_events import (
    Auth,
    Data,
    Hello,
    Mail,
    Quit,
    Rcpt,
    Reset,
    ServerEvent,
    StartTls,
)
from gatepost.wire.smtp_syntax import (
    SyntaxFault,
    parse_mail_parameters,
    parse_number,
    parse_path,
    parse_rcpt_parameters,
    split_path,
    split_plain,
)

MAX_HELLO = 255  # octets of a name in EHLO and HELO
MAX_CHUNK = 1 << 31  # a BDAT this large is nonsense: its octets are not even waited for
MAX_FAULTS = 20  # refusals of the engine since the last message
FREE_CHUNKS = 256  # BDATs of a message that may have any size
MIN_CHUNK = 128  # octets a BDAT must have on average after that
_MECHANISM = re.compile(rb"[A-Za-z0-9_-]{1,20}")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the engine must know of its listener and of the sender's policy.

    Sizes are octets. `max_line` counts the CRLF; `max_header` counts up to the end of the empty line. `auth` are the
    mechanisms that are offered inside TLS, and so is REQUIRETLS (RFC 8689) with `requiretls`.
    """

    hostname: str
    max_message_size: int
    max_line: int = 2048
    max_header: int = 262_144
    require_tls: bool = False
    auth: tuple[str, ...] = ()
    requiretls: bool = False


class State(IntEnum):
    """Where the dialogue is. The states before READY have no transaction, nor has READY."""

    SILENT = 0  # the greeting is not decided
    REFUSED = 1  # greeted with a refusal: QUIT only, all else is 503 (RFC 5321 §3.1)
    GREETED = 2  # no EHLO yet, or none since TLS
    AUTHENTICATING = 3  # a challenge was sent: the next line is its answer, not a command
    READY = 4
    SENDER = 5  # MAIL accepted
    RECIPIENTS = 6  # at least one RCPT accepted
    BODY = 7  # between 354 and the end of data
    CHUNKS = 8  # at least one BDAT begun
    CLOSED = 9


class Move(IntEnum):
    """What moves the state when it succeeds; the verbs, and the end of a message."""

    HELLO = 0
    STARTTLS = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    BDAT = 5
    RSET = 6
    DONE = 7  # the message was answered, accepted or not; or the dialogue of AUTH is over
    ANY = 8  # verbs that move nothing: NOOP, HELP, VRFY, QUIT
    AUTH = 9  # answered with a challenge


TRANSITIONS: dict[tuple[State, Move], State] = {
    (State.GREETED, Move.HELLO): State.READY,
    (State.READY, Move.HELLO): State.READY,
    (State.SENDER, Move.HELLO): State.READY,
    (State.RECIPIENTS, Move.HELLO): State.READY,
    (State.CHUNKS, Move.HELLO): State.READY,
    (State.READY, Move.STARTTLS): State.GREETED,
    (State.READY, Move.AUTH): State.AUTHENTICATING,
    (State.AUTHENTICATING, Move.DONE): State.READY,
    (State.READY, Move.MAIL): State.SENDER,
    (State.SENDER, Move.RCPT): State.RECIPIENTS,
    (State.RECIPIENTS, Move.RCPT): State.RECIPIENTS,
    (State.RECIPIENTS, Move.DATA): State.BODY,
    (State.RECIPIENTS, Move.BDAT): State.CHUNKS,
    (State.CHUNKS, Move.BDAT): State.CHUNKS,
    (State.BODY, Move.DONE): State.READY,
    (State.CHUNKS, Move.DONE): State.READY,
    (State.GREETED, Move.RSET): State.GREETED,
    (State.READY, Move.RSET): State.READY,
    (State.SENDER, Move.RSET): State.READY,
    (State.RECIPIENTS, Move.RSET): State.READY,
    (State.CHUNKS, Move.RSET): State.READY,
}


class Gate(IntEnum):
    """What must hold before a command is looked at."""

    OPEN = 0  # may come without TLS where TLS is required (RFC 3207 §4)
    TLS = 1  # answered 530 where TLS is required and not there


class Effect(IntEnum):
    """What the engine does with a command that parsed and is in sequence."""

    ASK = 0  # give the event to the session and wait for its answer
    TLS = 1  # the same, if TLS is offered and nothing stands behind the line
    DATA = 2  # the same, if nothing stands behind the line
    CHUNK = 3  # BDAT: its octets follow whatever is answered
    RESET = 4  # answer 250, tell the session
    QUIT = 5  # answer 221, tell the session, end
    NOOP = 6
    HELP = 7
    VERIFY = 8
    NOT_OFFERED = 9  # a known command that we do not have: 502
    AUTH = 10  # ask, if it is offered and TLS is there
    HTTP = 11  # a browser, or somebody who uses one against us: close (C44)


@dataclass(slots=True)
class Context:
    """What a parser may need to know of the session and its transaction."""

    max_size: int
    smtputf8: bool = False  # of the open transaction


@dataclass(slots=True)
class Chunk:
    """BDAT: how many octets follow, whether it is the last, and how many are still to come."""

    size: int
    last: bool
    left: int


Parsed = ServerEvent | Chunk | None
Parser = Callable[[bytes, Context], Parsed]


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table below."""

    verb: bytes
    parse: Parser
    move: Move
    gate: Gate
    effect: Effect


def _no_argument(event: Callable[[], Parsed]) -> Parser:
    def parse(argument: bytes, _context: Context) -> Parsed:
        if argument:
            raise SyntaxFault(501, "5.5.4", "No argument allowed")
        return event()

    return parse


def _parse_nothing(argument: bytes, _context: Context) -> Parsed:
    """Any text is tolerated (NOOP, HELP), but only ASCII (RFC 5321 §2.3.1)."""
    if not argument.isascii():
        raise SyntaxFault(500, "5.5.2", "Non-ASCII octet in command")
    return None


def _parse_hello(extended: bool) -> Parser:
    def parse(argument: bytes, _context: Context) -> Parsed:
        if not argument:
            raise SyntaxFault(501, "5.5.4", "Name of the client expected")
        name = argument.decode("ascii", "replace")
        if len(argument) > MAX_HELLO or not argument.isascii() or not name.isprintable():
            raise SyntaxFault(501, "5.5.4", "Not a usable name")
        return Hello(name, extended)

    return parse


def _parse_auth(argument: bytes, _context: Context) -> Parsed:
    mechanism, space, initial = argument.partition(b" ")
    if _MECHANISM.fullmatch(mechanism) is None or b" " in initial:
        raise SyntaxFault(501, "5.5.4", "AUTH mechanism [initial response] expected")
    return Auth(mechanism.decode("ascii").upper(), initial if space else None)


def _argument_of(argument: bytes, prefix: bytes) -> bytes:
    """What stands behind `FROM:` or `TO:`; blanks behind the colon are tolerated (C24)."""
    if argument[: len(prefix)].upper() != prefix:
        raise SyntaxFault(501, "5.5.4", f"{prefix.decode()}<address> expected")
    return argument[len(prefix) :].lstrip(b" ")


def _parse_mail(argument: bytes, context: Context) -> Parsed:
    text = _argument_of(argument, b"FROM:")
    plain = split_plain(text)
    if plain is not None:
        sender, rest = plain
        parameters = parse_mail_parameters(rest)
    else:
        path, rest = split_path(text)
        parameters = parse_mail_parameters(rest)
        sender = parse_path(path, allow_utf8=parameters.smtputf8, allow_null=True)
    if parameters.size is not None and parameters.size > context.max_size:
        raise SyntaxFault(552, "5.3.4", "Message size exceeds limit")  # RFC 1870 §6.1
    return Mail(
        sender,
        parameters.size,
        parameters.body_8bit,
        parameters.smtputf8,
        parameters.ret,
        parameters.envelope_id,
        parameters.requiretls,
    )


def _parse_rcpt(argument: bytes, context: Context) -> Parsed:
    text = _argument_of(argument, b"TO:")
    plain = split_plain(text)
    if plain is not None:
        address, rest = plain
        if not rest:
            return Rcpt(Recipient(address))
    else:
        path, rest = split_path(text)
        address = parse_path(path, allow_utf8=context.smtputf8, allow_null=False, allow_postmaster=True)
    parameters = parse_rcpt_parameters(rest, allow_utf8=context.smtputf8)
    return Rcpt(Recipient(address, parameters.notify, parameters.original))


def _parse_bdat(argument: bytes, _context: Context) -> Parsed:
    words = argument.split(b" ")
    if len(words) > 2 or (len(words) == 2 and words[1].upper() != b"LAST"):
        raise SyntaxFault(501, "5.5.4", "BDAT size [LAST] expected")
    size = parse_number(words[0], "Size of BDAT")
    return Chunk(size, len(words) == 2, size)


def _parse_verify(argument: bytes, _context: Context) -> Parsed:
    if not argument:
        raise SyntaxFault(501, "5.5.4", "Name or address expected")
    # RFC 6531 §3.7.4.2: UTF-8 only with the parameter; the answer does not depend on the text.
    if not argument.isascii() and not argument.upper().endswith(b" SMTPUTF8"):
        raise SyntaxFault(553, "5.6.7", "Address needs SMTPUTF8")
    return None


_ROWS = (
    Command(b"EHLO", _parse_hello(True), Move.HELLO, Gate.OPEN, Effect.ASK),
    Command(b"HELO", _parse_hello(False), Move.HELLO, Gate.TLS, Effect.ASK),
    Command(b"STARTTLS", _no_argument(StartTls), Move.STARTTLS, Gate.OPEN, Effect.TLS),
    Command(b"AUTH", _parse_auth, Move.AUTH, Gate.TLS, Effect.AUTH),
    Command(b"MAIL", _parse_mail, Move.MAIL, Gate.TLS, Effect.ASK),
    Command(b"RCPT", _parse_rcpt, Move.RCPT, Gate.TLS, Effect.ASK),
    Command(b"DATA", _no_argument(Data), Move.DATA, Gate.TLS, Effect.DATA),
    Command(b"BDAT", _parse_bdat, Move.BDAT, Gate.TLS, Effect.CHUNK),
    Command(b"RSET", _no_argument(Reset), Move.RSET, Gate.TLS, Effect.RESET),
    Command(b"NOOP", _parse_nothing, Move.ANY, Gate.OPEN, Effect.NOOP),
    Command(b"QUIT", _no_argument(Quit), Move.ANY, Gate.OPEN, Effect.QUIT),
    Command(b"HELP", _parse_nothing, Move.ANY, Gate.TLS, Effect.HELP),
    Command(b"VRFY", _parse_verify, Move.ANY, Gate.TLS, Effect.VERIFY),
    *(
        Command(verb, _parse_nothing, Move.ANY, Gate.TLS, Effect.NOT_OFFERED)
        for verb in (b"EXPN", b"TURN", b"ETRN")
    ),
    *(
        Command(verb, _parse_nothing, Move.ANY, Gate.OPEN, Effect.HTTP)
        for verb in (b"GET", b"POST", b"CONNECT", b"HEAD", b"OPTIONS", b"PUT")
    ),
)

COMMANDS: dict[bytes, Command] = {row.verb: row for row in _ROWS}


def in_sequence(state: State, row: Command) -> bool:
    """Whether the command may come in this state at all."""
    if state is State.REFUSED:
        return row.effect is Effect.QUIT
    return row.move is Move.ANY or (state, row.move) in TRANSITIONS


def too_small(chunks: int, octets: int) -> bool:
    """Whether a message comes in more and smaller BDATs than it may (C21)."""
    return chunks > FREE_CHUNKS and octets < chunks * MIN_CHUNK
