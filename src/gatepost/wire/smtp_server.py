"""The server side of SMTP as an engine without I/O: the peer's bytes in, events out; answers in, bytes out.

How it works. `receive` keeps what came; `next_event` reads on from there until something must be told to
the session. An event that wants an answer stops the reading, so commands pipelined behind it wait unread, and
replies keep the order of the commands (RFC 2920). What the session need not decide (syntax, sequence, sizes,
NOOP, HELP, VRFY, RSET, QUIT) is answered here. `answer` moves the state as `TRANSITIONS` says.

What it refuses outright, and why. Any octet behind STARTTLS, in the same piece or before `tls_started`, ends the
connection: nothing said in clear may be taken as said inside TLS (C1 to C6; so does a ClientHello that comes with the
STARTTLS line, C4). Octets behind DATA before the 354 end it too (C18): the sender did not wait to learn
whether a message is wanted, and its text must not be read as commands. A BDAT whose size cannot be read ends
it, for nobody can say where commands go on (C20). HTTP ends it at the first line (C44). Octets behind the end of
data, or behind the octets of a BDAT, are a legal pipeline and wait their turn.

Limits. A command line has `max_line` octets; a longer one is skipped to its CRLF and refused, at 64 KiB the connection
ends. Only CRLF ends a line; a bare LF refuses the line at once. `MAX_FAULTS` refusals of the engine since the
last message end the connection with 421. More than `FREE_CHUNKS` chunks of less than `MIN_CHUNK` octets on
average end it as well (C21).

In the dialogue behind AUTH a line is no command: it goes to the session as it is (`server_auth` reads it). AUTH is offered inside TLS only.

Sources: RFC 5321 §3 and §4, RFC 1870, RFC 2034, RFC 2920, RFC 3030, RFC 3207, RFC 3461, RFC 4954, RFC 6152, RFC 6531, RFC 8689.
"""

from __future__ import annotations

from collections import deque

from gatepost.core.reply import Reply
from gatepost.wire import server_replies as replies
from gatepost.wire.server_auth import MAX_RESPONSE, TOO_LONG
from gatepost.wire.server_body import REASONS, TOO_BIG, Intake
from gatepost.wire.server_commands import (
    COMMANDS,
    MAX_CHUNK,
    MAX_FAULTS,
    TRANSITIONS,
    Chunk,
    Command,
    Context,
    Effect,
    Gate,
    Move,
    ServerSettings,
    State,
    too_small,
)
from gatepost.wire.server_events import (
    Aborted,
    Abuse,
    Auth,
    BodyEnd,
    BodyStarted,
    ChunkDone,
    Data,
    Hello,
    Mail,
    Rcpt,
    Reset,
    ServerEvent,
    StartTls,
    TlsRequiredMissing,
)
from gatepost.wire.server_gate import control_fault, refusal_of, unmet_wish
from gatepost.wire.server_input import LineFault, ServerInput
from gatepost.wire.smtp_syntax import SyntaxFault


class ServerEngine:
    """One SMTP connection, server side. Never blocks; raises RuntimeError only on misuse by the session."""

    def __init__(self, settings: ServerSettings, *, tls_active: bool = False) -> None:
        self.tls_active = tls_active
        self.starttls_offered = False  # set by the session before EHLO
        self.require_tls = settings.require_tls  # the same
        self.state = State.SILENT
        self.hello_name = ""
        self.extended = False
        self._settings = settings
        self._context = Context(settings.max_message_size)
        self._input = ServerInput(settings.max_line)
        self._events: deque[ServerEvent] = deque()
        self._waiting: ServerEvent | None = None
        self._output: list[bytes] = []
        self._eof = False
        self._tls_pending = False  # STARTTLS was accepted, the handshake is not done
        self._tls_missing_said = False
        self._faults = 0
        self._refused_recipient = False
        self._intake: Intake | None = None  # the message in hand
        self._chunk: Chunk | None = None  # the BDAT whose octets are awaited
        self._chunk_refusal: Reply | None = None  # what it will be answered, for its place or its transaction
        self._chunks = 0  # BDATs since MAIL, and their octets
        self._chunk_octets = 0

    # --- what the session calls -------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Nothing more will be read: send the output and close."""
        return self.state is State.CLOSED

    @property
    def in_message(self) -> bool:
        """A body is begun and not ended."""
        return self.state is State.BODY or self.state is State.CHUNKS

    @property
    def buffered(self) -> int:
        """Octets not looked at yet. They grow if the session reads on while an event is unanswered."""
        return len(self._input)

    def greet(self, reply: Reply) -> None:
        """The greeting: 220, or a refusal (then only QUIT is heard, RFC 5321 §3.1)."""
        if self.state is not State.SILENT:
            raise RuntimeError("greeted already")
        self._say(reply)
        self.state = State.GREETED if reply.positive else State.REFUSED

    def receive(self, data: bytes) -> None:
        """Octets of the peer, in any split."""
        if not data or self.state is State.CLOSED:
            return
        if self._tls_pending or type(self._waiting) is StartTls:
            self._abuse("STARTTLS injection", replies.INJECTION)
        elif type(self._waiting) is Data:
            self._abuse("Data sent before it was asked for", replies.EARLY)
        else:
            self._input.add(data)

    def peer_closed(self) -> None:
        """The peer will send no more. What it sent is still worked off: take events once more."""
        self._eof = True

    def next_event(self) -> ServerEvent | None:
        """The next thing to know. None: more octets are needed, an answer is due, or the connection is over."""
        events = self._events
        while not events:
            if self._waiting is not None or self._tls_pending:
                return None
            if self.state is State.SILENT or self.state is State.CLOSED:
                return None
            if (self._chunk is None and not self._input) or not self._step():
                return self._ended() if self._eof else None
        event = events.popleft()
        if event.wants_answer:
            self._waiting = event
        return event

    def answer(self, reply: Reply) -> None:
        """The session's answer to the event that waits. 2yz (354 to Data) moves the state on, 421 ends it."""
        event = self._waiting
        if event is None:
            raise RuntimeError("no event waits for an answer")
        self._waiting = None
        if self.state is State.CLOSED:
            return  # the peer went too far in the meantime, and was told
        if type(event) is Hello and event.extended and reply.positive:
            tls, starttls = self.tls_active, self.starttls_offered
            reply = replies.hello(reply, self._settings, tls=tls, starttls=starttls)
        self._say(reply)
        if reply.code == 421:
            self._close()
        elif type(event) is Auth:
            self._auth_answered(reply)
        else:
            self._answered(event, reply.positive)

    def use(self, settings: ServerSettings) -> None:
        """Other limits for the messages to come: a commit changed the policy between two of them."""
        self._settings = settings
        self._context = Context(settings.max_message_size)

    def take_output(self) -> bytes:
        """Everything to send now, replies in the order of the commands."""
        output = self._output
        if not output:
            return b""
        joined = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return joined

    def tls_started(self) -> None:
        """TLS is up: nothing said before counts, the peer must say EHLO again (RFC 3207 §4.2, C5).

        Raises RuntimeError when no STARTTLS was accepted, or octets in clear came behind it.
        """
        if not self._tls_pending or self.state is State.CLOSED:
            raise RuntimeError("TLS must not start here")
        self._tls_pending = False
        self.tls_active = True
        self.hello_name = ""
        self.extended = False
        self._drop_transaction(Move.STARTTLS)

    # --- reading ----------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Work off one command or one piece of a body. False when more octets must come first."""
        if self._chunk is not None:
            return self._read_chunk(self._chunk)
        if self.state is State.BODY and self._intake is not None:
            return self._read_data(self._intake)
        line = self._input.line()
        if line is None:
            return False
        if self.state is State.AUTHENTICATING and line is not LineFault.ENDLESS:
            self._auth_line(line)
        elif type(line) is bytes:
            self._command(line)
        elif line is LineFault.ENDLESS:
            self._abuse("Line without end", replies.LINE_TOO_LONG)
        else:
            self._fault(replies.LINE_TOO_LONG if line is LineFault.TOO_LONG else replies.BAD_LINE)
        return True

    def _command(self, line: bytes) -> None:
        refusal = control_fault(line)
        if refusal is not None:
            if line[:4].upper() == b"BDAT":
                self._abuse("BDAT without a readable size", refusal)
            else:
                self._fault(refusal)
            return
        verb, _, argument = line.partition(b" ")
        row = COMMANDS.get(verb) or COMMANDS.get(verb.upper())
        if row is None:
            self._fault(replies.UNKNOWN)
        elif row.effect is Effect.CHUNK:
            self._begin_chunk(row, argument.strip(b" "))
        elif row.effect is Effect.HTTP:
            self._abuse("HTTP request", replies.HTTP)
        elif row.effect is Effect.DATA and len(self._input):
            self._abuse("Data sent before it was asked for", replies.EARLY)
        else:
            self._perform(row, argument.strip(b" "))

    def _perform(self, row: Command, argument: bytes) -> None:
        refusal = self._refusal(row)
        if refusal is not None:
            self._fault(refusal)
            return
        try:
            event = row.parse(argument, self._context)
        except SyntaxFault as fault:
            self._fault(fault.reply)
            return
        if isinstance(event, Mail) and (unmet := unmet_wish(event, self._settings, tls=self.tls_active)):
            self._fault(unmet)
        elif row.effect is Effect.TLS and len(self._input):
            self._abuse("STARTTLS injection", replies.INJECTION)
        elif isinstance(event, ServerEvent):
            if row.move is Move.RSET:
                self._drop_transaction(Move.RSET)
                self._say(replies.OK)
            elif row.move is Move.HELLO and self.state > State.READY:
                self._drop_transaction(Move.HELLO)
                self._events.append(Reset())
            elif row.effect is Effect.QUIT:
                self._say(replies.closing(self._settings.hostname))
                self._close()
            self._events.append(event)
        elif row.effect is Effect.NOT_OFFERED:
            self._fault(replies.NOT_OFFERED)
        else:
            self._say(replies.FIXED[row.effect])

    def _refusal(self, row: Command) -> Reply | None:
        """Why the command may not come here, or None."""
        open_ = self.tls_active or row.gate is not Gate.TLS or self.state is State.REFUSED
        if self.require_tls and not open_:
            if not self._tls_missing_said:
                self._tls_missing_said = True
                self._events.append(TlsRequiredMissing())
            return replies.TLS_FIRST
        return refusal_of(
            row,
            self.state,
            tls=self.tls_active,
            starttls=self.starttls_offered,
            auth=bool(self._settings.auth),
            refused_recipient=self._refused_recipient,
        )

    def _ended(self) -> ServerEvent | None:
        """Everything was read and the peer is gone."""
        cut = self.in_message
        self._close()
        return Aborted() if cut else None

    # --- AUTH -------------------------------------------------------------------------------------

    def _auth_line(self, line: bytes | LineFault) -> None:
        """A line of the dialogue: the session reads it."""
        if isinstance(line, bytes):
            self._events.append(Auth("", line))
        else:
            self._move(Move.DONE)
            self._input.allow(self._settings.max_line)
            self._fault(TOO_LONG if line is LineFault.TOO_LONG else replies.BAD_LINE)

    def _auth_answered(self, reply: Reply) -> None:
        goes_on = reply.code == 334
        self._input.allow(MAX_RESPONSE if goes_on else self._settings.max_line)
        if self.state is State.AUTHENTICATING and not goes_on:
            self._move(Move.DONE)
        elif self.state is State.READY and goes_on:
            self._move(Move.AUTH)
        if not reply.positive:
            self._count_fault()

    # --- bodies -----------------------------------------------------------------------------------

    def _read_data(self, intake: Intake) -> bool:
        if not self._input:
            return False
        if intake.read_data(self._input, self._events):
            self._end_message(intake)
        return True

    def _begin_chunk(self, row: Command, argument: bytes) -> None:
        """BDAT: its octets follow, whatever it is answered (RFC 3030 §2)."""
        try:
            chunk = row.parse(argument, self._context)
        except SyntaxFault as fault:
            self._abuse("BDAT without a readable size", fault.reply)
            return
        if not isinstance(chunk, Chunk) or chunk.left >= MAX_CHUNK:
            self._abuse("Message size exceeds limit", TOO_BIG)
            return
        self._chunks += 1
        self._chunk_octets += chunk.left
        if too_small(self._chunks, self._chunk_octets):
            self._abuse("Too many small chunks", replies.TINY_CHUNKS)
            return
        self._chunk = chunk
        self._chunk_refusal = self._refusal(row)
        if self._chunk_refusal is not None:
            return
        if self._intake is None:
            self._move(Move.BDAT)
            self._intake = Intake(self._settings.max_message_size, self._settings.max_header)
            self._events.append(BodyStarted(True))
        self._intake.announce(chunk.left)

    def _read_chunk(self, chunk: Chunk) -> bool:
        intake = self._intake if self._chunk_refusal is None else None
        if chunk.left:
            piece = self._input.take(chunk.left)
            if not piece:
                return False
            chunk.left -= len(piece)
            if intake is not None:
                intake.take_chunk(piece, self._events)
            return True
        self._chunk = None
        if self._chunk_refusal is not None:
            # Chunks that were pipelined behind a refused one are one fault together.
            self._fault(self._chunk_refusal, counts=self._chunks == 1)
        elif intake is not None and (chunk.last or intake.refusal is not None):
            self._end_message(intake)
        else:
            self._events.append(ChunkDone(chunk.size))
        return True

    def _end_message(self, intake: Intake) -> None:
        refusal = intake.finish()
        if refusal is None:
            self._events.append(BodyEnd(intake.size))
            return
        self._say(refusal)
        self._events.append(Abuse(REASONS[refusal], refusal, False))
        self._drop_transaction(Move.DONE)

    # --- state ------------------------------------------------------------------------------------

    def _answered(self, event: ServerEvent, success: bool) -> None:
        kind = type(event)
        if kind is Rcpt:
            if success:
                self._move(Move.RCPT)
            else:
                self._refused_recipient = True
        elif isinstance(event, Mail):
            if success:
                self._move(Move.MAIL)
                self._context.smtputf8 = event.smtputf8
                self._chunks = self._chunk_octets = 0
        elif kind is Data:
            if success:
                self._move(Move.DATA)
                self._intake = Intake(self._settings.max_message_size, self._settings.max_header)
                self._events.append(BodyStarted(False))
        elif kind is BodyEnd or (kind is ChunkDone and not success):
            if success:
                self._faults = 0
            self._drop_transaction(Move.DONE)
        elif isinstance(event, Hello):
            if success:
                self._move(Move.HELLO)
                self.hello_name = event.name
                self.extended = event.extended
        elif kind is StartTls:
            self._tls_pending = success

    def _move(self, move: Move) -> None:
        self.state = TRANSITIONS[self.state, move]

    def _drop_transaction(self, move: Move) -> None:
        self._move(move)
        self._intake = None
        self._context.smtputf8 = False
        self._refused_recipient = False

    def _say(self, reply: Reply) -> None:
        self._output.append(reply.encode())

    def _fault(self, reply: Reply, *, counts: bool = True) -> None:
        """Refuse a command; too many of them end the connection."""
        self._say(reply)
        if counts:
            self._count_fault()

    def _count_fault(self) -> None:
        self._faults += 1
        if self._faults >= MAX_FAULTS:
            self._abuse("Too many errors", replies.TOO_MANY_FAULTS)

    def _abuse(self, reason: str, reply: Reply) -> None:
        """End the connection: nothing that came or comes is looked at any more."""
        self._say(reply)
        self._close()
        self._events.append(Abuse(reason, reply, True))

    def _close(self) -> None:
        self._input.clear()
        self._chunk = None
        self._tls_pending = False
        self.state = State.CLOSED
