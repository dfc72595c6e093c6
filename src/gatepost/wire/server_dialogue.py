"""Where the dialogue of one SMTP connection stands on the server's side, and what is said in it.

`ServerDialogue` holds the state, the events that wait for the session and the replies that wait to be sent. `answer` takes the session's answers
and moves the state as `TRANSITIONS` says. What comes from the peer is read by `smtp_server.ServerEngine`, which is built on it.

Limits. `MAX_FAULTS` refusals since the last message, those of AUTH among them, end the connection with 421.

Sources: RFC 5321 §3.1 and §4.1.4; RFC 3207 §4.2; RFC 4954 §4.
"""

from __future__ import annotations

from collections import deque

from gatepost.core.reply import Reply
from gatepost.wire import server_replies as replies
from gatepost.wire.server_auth import MAX_RESPONSE
from gatepost.wire.server_body import Intake
from gatepost.wire.server_commands import (
    MAX_FAULTS,
    TRANSITIONS,
    Chunk,
    Context,
    Move,
    ServerSettings,
    State,
)
from gatepost.wire.server_events import (
    Abuse,
    Auth,
    BodyEnd,
    BodyStarted,
    ChunkDone,
    Data,
    Hello,
    Mail,
    Rcpt,
    ServerEvent,
    StartTls,
)
from gatepost.wire.server_input import ServerInput


class ServerDialogue:
    """The half of an engine that answers. Raises RuntimeError only on misuse by the session."""

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

    def greet(self, reply: Reply) -> None:
        """The greeting: 220, or a refusal (then only QUIT is heard, RFC 5321 §3.1)."""
        if self.state is not State.SILENT:
            raise RuntimeError("greeted already")
        self._say(reply)
        self.state = State.GREETED if reply.positive else State.REFUSED

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

    def _auth_answered(self, reply: Reply) -> None:
        goes_on = reply.code == 334
        self._input.allow(MAX_RESPONSE if goes_on else self._settings.max_line)
        if self.state is State.AUTHENTICATING and not goes_on:
            self._move(Move.DONE)
        elif self.state is State.READY and goes_on:
            self._move(Move.AUTH)
        if not reply.positive:
            self._count_fault()

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
