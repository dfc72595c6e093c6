"""Dialogues with the SMTP server engine, written as they would be seen on the wire.

    talk(engine) >> b"EHLO a\r\n" << "250-mx" >> b"NOOP\r\n" << "250 2.0.0" << None

`>>` hands bytes to the engine and works off all events, answering them as a willing session would (or as
`answers` says); `<<` reads one whole reply and compares its beginning; `<< None` says that no reply is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gatepost.core.reply import Reply
from gatepost.wire.server_commands import ServerSettings
from gatepost.wire.server_events import (
    Aborted,
    Abuse,
    Auth,
    Body,
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
)
from gatepost.wire.smtp_server import ServerEngine

Answer = Reply | Callable[[ServerEvent], Reply]

WILLING: dict[type[ServerEvent], Answer] = {
    Hello: Reply(250, "", ("mx.example.net",)),
    StartTls: Reply(220, "2.0.0", ("Go ahead",)),
    Auth: Reply(235, "2.7.0", ("Known",)),
    Mail: Reply(250, "2.1.0", ("Sender ok",)),
    Rcpt: Reply(250, "2.1.5", ("Recipient ok",)),
    Data: Reply(354, "", ("Go ahead",)),
    BodyEnd: Reply(250, "2.0.0", ("Queued",)),
    ChunkDone: Reply(250, "2.0.0", ("Chunk ok",)),
}


@dataclass
class Received:
    """A message that the session accepted."""

    sender: str
    recipients: list[str]
    body: bytes
    dotted: bool


@dataclass
class Talk:
    """A peer and a willing session around one engine."""

    engine: ServerEngine
    answers: Mapping[type[ServerEvent], Answer] = field(default_factory=dict)
    events: list[ServerEvent] = field(default_factory=list)
    messages: list[Received] = field(default_factory=list)
    output: bytes = b""
    _sender: str = ""
    _recipients: list[str] = field(default_factory=list)
    _body: bytes = b""
    _dotted: bool = False

    def __rshift__(self, data: bytes) -> Talk:
        self.engine.receive(data)
        return self.pump()

    def __lshift__(self, expected: str | None) -> Talk:
        if expected is None:
            assert self.output == b""
            return self
        reply = self.reply()
        assert reply.startswith(expected), f"{reply!r} does not begin with {expected!r}"
        return self

    def one_by_one(self, data: bytes) -> Talk:
        """The same bytes, each in a receive of its own."""
        for i in range(len(data)):
            self >> data[i : i + 1]
        return self

    def pump(self) -> Talk:
        """Take events until there is none, and collect the output."""
        while (event := self.engine.next_event()) is not None:
            self.events.append(event)
            self._note(event)
            if event.wants_answer:
                answer = self.answers.get(type(event), WILLING[type(event)])
                reply = answer if isinstance(answer, Reply) else answer(event)
                self.engine.answer(reply)
                self._answered(event, reply)
        self.output += self.engine.take_output()
        return self

    def eof(self) -> Talk:
        """The peer closes its side."""
        self.engine.peer_closed()
        return self.pump()

    def reply(self) -> str:
        """The next whole reply, its lines joined by newlines."""
        lines = []
        while True:
            line, end, self.output = self.output.partition(b"\r\n")
            assert end, f"no (further) reply; read {lines}"
            lines.append(line.decode("ascii"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    def kinds(self) -> list[str]:
        """The names of the events so far."""
        return [type(event).__name__ for event in self.events]

    def abuses(self) -> list[Abuse]:
        """The breaches so far."""
        return [event for event in self.events if isinstance(event, Abuse)]

    def _note(self, event: ServerEvent) -> None:
        match event:
            case BodyStarted():
                self._body, self._dotted = b"", False
            case Body():
                self._body += event.data
                self._dotted |= event.dotted
            case Reset() | Aborted() | Abuse():
                self._sender, self._recipients, self._body = "", [], b""
            case _:
                pass

    def _answered(self, event: ServerEvent, reply: Reply) -> None:
        if not reply.positive:
            return
        match event:
            case Mail():
                self._sender, self._recipients = event.sender.text, []
            case Rcpt():
                self._recipients.append(event.recipient.address.text)
            case BodyEnd():
                assert event.size == len(self._body)
                self.messages.append(Received(self._sender, self._recipients, self._body, self._dotted))
            case _:
                pass


SETTINGS = ServerSettings("mx.example.net", 1_000_000)


def talk(
    engine: ServerEngine | None = None,
    *,
    settings: ServerSettings = SETTINGS,
    starttls: bool = False,
    hello: bool = True,
    answers: Mapping[type[ServerEvent], Answer] | None = None,
) -> Talk:
    """A greeted dialogue, with EHLO said unless `hello` is false."""
    if engine is None:
        engine = ServerEngine(settings)
    engine.starttls_offered = starttls
    engine.greet(Reply(220, "", ("mx.example.net ESMTP",)))
    dialogue = Talk(engine, answers or {})
    dialogue.pump() << "220 mx.example.net"
    if hello:
        dialogue >> b"EHLO client.example\r\n" << "250-mx.example.net"
        dialogue.events.clear()
    return dialogue


def in_transaction(**options: object) -> Talk:
    """A dialogue with MAIL and one RCPT accepted."""
    dialogue = talk(**options)  # type: ignore[arg-type]
    dialogue >> b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.net>\r\n" << "250 2.1.0" << "250 2.1.5"
    dialogue.events.clear()
    return dialogue


def in_data(**options: object) -> Talk:
    """A dialogue behind the 354."""
    dialogue = in_transaction(**options)
    dialogue >> b"DATA\r\n" << "354 " << None
    dialogue.events.clear()
    return dialogue
