"""The SMTP client as an engine without I/O: bytes in, events out; orders in, bytes out.

The caller gives what it read to `receive`, takes events from `next_event` until None, gives orders,
and writes what `take_output` returns. One order is under way at a time; each ends in one event.

    Greeting → hello() → HelloDone → starttls() → StartTlsAnswered → (handshake) tls_started() → hello() …
    begin(transaction) → EnvelopeAnswered → body(…, last=True) → BodyAnswered → begin(…) | quit()

What it trusts: nothing. Replies are read by `client_replies` (strict, bounded), commands are made by
`client_commands` (no text can bring a second command, C26). A reply that came before its command, or
that no command asked for, is a fault, so the two sides can never get out of step unnoticed.

STARTTLS (RFC 3207; C7, C8, C10): sent only when offered. Bytes behind the 220 are a fault and are
never looked at; what was said in clear is forgotten when TLS starts, so that only an EHLO inside TLS counts.

Pipelining (RFC 2920): MAIL, RCPTs and DATA go in one group. Groups are bounded in commands and octets
so that neither side's TCP buffers can fill while both write (§3.1); DATA goes with the last. A DATA
that is answered 354 although nobody was accepted is ended with a lone dot. A probe has no DATA.
An order at the wrong time is our bug and raises `OutOfTurn`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import assert_never

from gatepost.core.reply import Reply
from gatepost.wire.client_commands import checked_word, mail_line, rcpt_line
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
from gatepost.wire.client_replies import ReplyFault, ReplyReader, greeting_name, read_capabilities

GROUP_RECIPIENTS = 100
GROUP_OCTETS = 16_384

BEHIND_STARTTLS = "bytes behind STARTTLS"


class OutOfTurn(RuntimeError):
    """An order that the state of the session does not allow: a bug of the caller."""


class State(Enum):
    """Which reply is awaited, or what may be ordered next."""

    GREETING = auto()  # awaits the first reply
    REFUSED = auto()  # the greeting was not 220: only QUIT is left
    READY = auto()  # between commands
    EHLO = auto()
    HELO = auto()
    STARTTLS = auto()
    HANDSHAKE = auto()  # 220 came; nothing may come until TLS is up
    ENVELOPE = auto()
    BODY = auto()  # 354 came; the body is being sent
    BODY_SENT = auto()
    RESET = auto()
    QUIT = auto()
    DEAD = auto()


class ClientEngine:
    """One connection, from the greeting on. `hello_name` is what EHLO says. Raises UnsendableText for a bad name."""

    def __init__(self, hello_name: str, *, tls_active: bool = False) -> None:
        self._hello_name = checked_word(hello_name, "the name for EHLO")
        self._tls_active = tls_active
        self._state = State.GREETING
        self._reader = ReplyReader()
        self._output = b""
        self._fault: ProtocolFault | None = None
        self._owed = 0  # replies still to come that matter to nobody (the lone dot's)
        self._capabilities: Capabilities | None = None
        self._transaction_open = False
        self._transaction: Transaction | None = None
        self._replies: list[Reply] = []
        self._sent = 0  # commands of the transaction sent so far: MAIL, RCPT…, DATA
        self._tail = b"\r\n"  # the last two octets of the body sent so far

    # --- what the caller may ask ---------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def capabilities(self) -> Capabilities | None:
        """What the last EHLO (or HELO) brought; None before it and after `tls_started`."""
        return self._capabilities

    @property
    def tls_active(self) -> bool:
        return self._tls_active

    @property
    def transaction_open(self) -> bool:
        """True when MAIL was accepted and the message did not go: call `reset` before the next `begin`."""
        return self._transaction_open

    @property
    def may_begin(self) -> bool:
        """True when the connection can take another transaction now."""
        return self._state is State.READY and self._capabilities is not None and not self._transaction_open

    # --- bytes -----------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes from the peer, in any split. After a fault they are dropped."""
        if self._state is State.DEAD or not data:
            return
        if self._state is State.HANDSHAKE:
            self._fail(BEHIND_STARTTLS, injected=True)
            return
        try:
            self._reader.feed(data)
        except ReplyFault as fault:
            self._fail(str(fault))

    def next_event(self) -> ClientEvent | None:
        """The next event, or None when more bytes are needed. A fault is reported once, then nothing more."""
        while self._fault is None and self._state is not State.DEAD:
            try:
                reply = self._reader.next_reply()
            except ReplyFault as fault:
                self._fail(str(fault))
                break
            if reply is None:
                return None
            event = self._on_reply(reply)
            if event is not None:
                return event
        fault_event, self._fault = self._fault, None
        return fault_event

    def take_output(self) -> bytes:
        """Everything to send now."""
        output, self._output = self._output, b""
        return output

    # --- orders ----------------------------------------------------------------------------------

    def hello(self) -> None:
        """EHLO; on 5yz the engine says HELO by itself (RFC 5321 §3.2). Ends in HelloDone or HelloRefused."""
        self._order(State.READY, State.EHLO, f"EHLO {self._hello_name}\r\n")
        self._capabilities = None

    def starttls(self) -> None:
        """STARTTLS, only where it was offered in clear. Ends in StartTlsAnswered."""
        if self._tls_active or self._capabilities is None or not self._capabilities.starttls:
            raise OutOfTurn("STARTTLS was not offered")
        self._order(State.READY, State.STARTTLS, "STARTTLS\r\n")

    def tls_started(self) -> None:
        """The handshake is done. All that the peer said in clear is forgotten (RFC 3207 §4.2)."""
        if self._state is State.DEAD:
            return
        if self._state is not State.HANDSHAKE:
            raise OutOfTurn("no handshake was under way")
        self._reader.clear()
        self._capabilities = None
        self._transaction_open = False
        self._tls_active = True
        self._state = State.READY

    def begin(self, transaction: Transaction) -> None:
        """MAIL, RCPTs and DATA, in groups where the peer pipelines. Ends in EnvelopeAnswered.

        Raises UnsendableText, with nothing sent, when an address or parameter cannot be put into a command.
        """
        if self._transaction_open or self._capabilities is None:
            raise OutOfTurn("a transaction begins after EHLO, and after RSET where one is open")
        if not transaction.recipients:
            raise OutOfTurn("a transaction has recipients")
        lines = mail_line(transaction, self._capabilities)
        count = 0
        if self._capabilities.pipelining:
            group, count = self._group(transaction, 0)
            lines += group
        else:
            for recipient in transaction.recipients:  # all of them are checked before anything is sent
                rcpt_line(recipient, transaction, self._capabilities)
        self._order(State.READY, State.ENVELOPE, lines)
        self._transaction = transaction
        self._replies = []
        self._sent = 1 + count

    def body(self, data: bytes, *, stuff: bool, last: bool) -> bytes:
        """The next piece of the body as it goes on the wire. Ends in BodyAnswered after the `last`.

        `stuff` False promises that no line of the whole body starts with a dot: the piece passes untouched.
        The last piece gets its CRLF if it lacks one, and the final dot (RFC 5321 §4.5.2).
        """
        if self._state is State.DEAD:
            return b""
        if self._state is not State.BODY:
            raise OutOfTurn("no body is asked for")
        tail = self._tail
        if data:
            # Pieces of a body may be cut anywhere, so the two octets before a piece decide whether its
            # first dot starts a line. They stand in front while dots are doubled and are cut off again.
            self._tail = data[-2:] if len(data) > 1 else tail[-1:] + data
            if stuff:
                data = (tail + data).replace(b"\r\n.", b"\r\n..")[len(tail) :]
        if not last:
            return data
        if self._reader.unread[:1] == b"2":
            self._fail("reply before its command")
            return b""
        tail = self._tail
        self._state = State.BODY_SENT
        if tail == b"\r\n":
            return data + b".\r\n"
        return data + (b"\n.\r\n" if tail.endswith(b"\r") else b"\r\n.\r\n")

    def reset(self) -> None:
        """RSET. Ends in ResetDone."""
        self._order(State.READY, State.RESET, "RSET\r\n")

    def quit(self) -> None:
        """QUIT where the protocol allows it; inside a body or after a fault it says nothing: just close."""
        if self._state in (State.READY, State.REFUSED):
            self._order(self._state, State.QUIT, "QUIT\r\n")

    # --- replies ---------------------------------------------------------------------------------

    def _on_reply(self, reply: Reply) -> ClientEvent | None:
        if reply.code == 421:
            self._state = State.DEAD
            return ClosedByPeer421(reply)
        if self._owed:
            self._owed -= 1
            return None
        match self._state:
            case State.ENVELOPE:
                return self._on_envelope(reply)
            case State.BODY_SENT | State.BODY:
                return self._on_body(reply)
            case State.EHLO | State.HELO:
                return self._on_hello(reply)
            case State.STARTTLS:
                return self._on_starttls(reply)
            case State.GREETING:
                self._state = State.READY if reply.code == 220 else State.REFUSED
                return Greeting(reply)
            case State.RESET:
                if reply.code >= 300:
                    self._fail(f"unexpected reply {reply.code} to RSET")
                    return None
                self._state = State.READY
                self._transaction_open = False
                return ResetDone()
            case State.QUIT:
                self._state = State.DEAD
                return QuitAnswered(reply)
            case State.READY | State.REFUSED | State.HANDSHAKE | State.DEAD:
                self._fail("reply that no command asked for")
                return None
            case _:
                assert_never(self._state)

    def _on_hello(self, reply: Reply) -> ClientEvent | None:
        if reply.code < 300:
            if self._state is State.EHLO:
                self._capabilities = read_capabilities(reply)
            else:
                self._capabilities = Capabilities(greeting_name=greeting_name(reply))
            self._state = State.READY
            self._transaction_open = False  # RFC 5321 §4.1.4: EHLO resets
            return HelloDone(self._capabilities, reply)
        if reply.code >= 500 and self._state is State.EHLO:
            self._state = State.READY
            self._order(State.READY, State.HELO, f"HELO {self._hello_name}\r\n")
            return None
        self._state = State.READY
        return HelloRefused(reply)

    def _on_starttls(self, reply: Reply) -> ClientEvent | None:
        if reply.code != 220:
            self._state = State.READY
        elif self._reader.unread:
            self._fail(BEHIND_STARTTLS, injected=True)
            return None
        else:
            self._state = State.HANDSHAKE
        return StartTlsAnswered(reply)

    def _on_body(self, reply: Reply) -> ClientEvent | None:
        if 200 <= reply.code < 400 and (self._state is State.BODY or reply.code >= 300):
            self._fail(f"unexpected reply {reply.code} to the message")
            return None
        # A refusal before the final dot counts, but the rest of the body can no longer be told from commands.
        self._state = State.READY if self._state is State.BODY_SENT else State.DEAD
        return BodyAnswered(reply)

    def _on_envelope(self, reply: Reply) -> ClientEvent | None:
        transaction, replies = self._transaction, self._replies
        assert transaction is not None
        count = len(transaction.recipients)
        replies.append(reply)
        is_data = len(replies) > count + 1
        if (reply.code < 400 and reply.code != 354) if is_data else (300 <= reply.code < 400):
            verb = "DATA" if is_data else "MAIL" if len(replies) == 1 else "RCPT"
            self._fail(f"unexpected reply {reply.code} to {verb}")
            return None
        if len(replies) < self._sent:
            return None
        if is_data or replies[0].code >= 300:
            return self._envelope_done(transaction)
        return self._next_group(transaction)

    def _next_group(self, transaction: Transaction) -> ClientEvent | None:
        """All that was sent is answered and MAIL was accepted: more RCPTs, DATA, or the end."""
        offer = self._capabilities
        assert offer is not None
        asked = self._sent - 1
        if asked == len(transaction.recipients):
            if transaction.probe or all(reply.code >= 300 for reply in self._replies[1:]):
                return self._envelope_done(transaction)
            text, count = "DATA\r\n", 1
        elif offer.pipelining:
            text, count = self._group(transaction, asked)
        else:
            text, count = rcpt_line(transaction.recipients[asked], transaction, offer), 1
        self._state = State.READY
        self._order(State.READY, State.ENVELOPE, text)
        self._sent += count
        return None

    def _group(self, transaction: Transaction, first: int) -> tuple[str, int]:
        """The commands of one pipelined group from recipient `first` on, and how many they are."""
        offer = self._capabilities
        assert offer is not None
        lines: list[str] = []
        octets = 0
        recipients = transaction.recipients
        for recipient in recipients[first : first + GROUP_RECIPIENTS]:
            line = rcpt_line(recipient, transaction, offer)
            octets += len(line)
            if octets > GROUP_OCTETS and lines:
                break
            lines.append(line)
        if first + len(lines) == len(recipients) and not transaction.probe:
            lines.append("DATA\r\n")
        return "".join(lines), len(lines)

    def _envelope_done(self, transaction: Transaction) -> EnvelopeAnswered:
        replies, count = self._replies, len(transaction.recipients)
        mail = replies[0]
        data = replies[-1] if len(replies) > count + 1 else None
        recipients = (mail,) * count if mail.code >= 300 else tuple(replies[1 : count + 1])
        self._transaction = None
        self._replies = []
        self._state = State.READY
        self._transaction_open = mail.code < 300
        if all(reply.code >= 300 for reply in recipients):
            if data is not None and data.code == 354:
                # RFC 2920 §3.1: nobody was accepted, yet the peer wants a body. It gets an empty one,
                # and what it says to that is of no interest.
                self._output += b".\r\n"
                self._owed += 1
                self._transaction_open = False
            data = None
        elif data is not None and data.code == 354:
            self._state = State.BODY
            self._transaction_open = False
            self._tail = b"\r\n"
        return EnvelopeAnswered(mail, recipients, data)

    # --- inside ----------------------------------------------------------------------------------

    def _order(self, needed: State, then: State, text: str) -> None:
        if self._state is State.DEAD:
            return  # a fault waits in next_event, or was reported: the connection is over
        if self._state is not needed:
            raise OutOfTurn(f"not in state {self._state.name}")
        # Only a 421 may come unasked; anything else would be taken for the answer to this command.
        if (unread := self._reader.unread) and not self._owed and not b"421".startswith(unread[:3]):
            self._fail("reply before its command")
            return
        self._output += text.encode("utf-8")
        self._state = then

    def _fail(self, reason: str, *, injected: bool = False) -> None:
        """The connection is over; `next_event` reports why."""
        self._state = State.DEAD
        self._fault = ProtocolFault(reason, injected)
        self._output = b""
        self._reader.clear()
