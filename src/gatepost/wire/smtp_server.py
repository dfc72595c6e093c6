"""The server side of SMTP as an engine without I/O: the peer's bytes in, events out; answers in, bytes out.

How it works. `receive` keeps what came; `next_event` reads on from there until something must be told to
the session. An event that wants an answer stops the reading, so commands pipelined behind it wait unread, and
replies keep the order of the commands (RFC 2920). What the session need not decide (syntax, sequence, sizes,
NOOP, HELP, VRFY, RSET, QUIT) is answered here. State, answers and replies are `server_dialogue`'s; here is what reads.

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

from gatepost.core.reply import Reply
from gatepost.wire import server_replies as replies
from gatepost.wire.server_auth import TOO_LONG
from gatepost.wire.server_body import REASONS, TOO_BIG, Intake
from gatepost.wire.server_commands import (
    COMMANDS,
    MAX_CHUNK,
    Chunk,
    Command,
    Effect,
    Gate,
    Move,
    State,
    too_small,
)
from gatepost.wire.server_dialogue import ServerDialogue
from gatepost.wire.server_events import (
    Aborted,
    Abuse,
    Auth,
    BodyEnd,
    BodyStarted,
    ChunkDone,
    Data,
    Mail,
    Reset,
    ServerEvent,
    StartTls,
    TlsRequiredMissing,
)
from gatepost.wire.server_gate import control_fault, refusal_of, unmet_wish
from gatepost.wire.server_input import LineFault
from gatepost.wire.smtp_syntax import SyntaxFault


class ServerEngine(ServerDialogue):
    """One SMTP connection, server side. Never blocks; raises RuntimeError only on misuse by the session."""

    # --- what the session calls -------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Octets not looked at yet. They grow if the session reads on while an event is unanswered."""
        return len(self._input)

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
