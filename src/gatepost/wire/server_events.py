"""What the SMTP server engine tells the session, as plain slots dataclasses.

An event whose `wants_answer` is true stops the engine until the session called `answer(reply)`. The
session's order of calls for one message is `Mail`, `Rcpt`…, `Data`, `BodyStarted`, `Body`…, `BodyEnd`; or with
CHUNKING `Mail`, `Rcpt`…, `BodyStarted`, (`Body`…, `ChunkDone`)…, `Body`…, `BodyEnd`. A body that is begun ends in exactly
one of `BodyEnd`, `Reset`, `Abuse`, `Aborted`, or a refusal that the session itself gave to a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from gatepost.core.address import Address
from gatepost.core.envelope import Recipient, Ret
from gatepost.core.reply import Reply


@dataclass(slots=True)
class ServerEvent:
    """The base of all events of the server engine."""

    wants_answer: ClassVar[bool] = False


@dataclass(slots=True)
class Hello(ServerEvent):
    """EHLO (`extended`) or HELO. Answer `250` with the host name; the engine adds the extensions to EHLO.

    An open transaction was dropped: a `Reset` came just before.
    """

    wants_answer: ClassVar[bool] = True
    name: str
    extended: bool


@dataclass(slots=True)
class StartTls(ServerEvent):
    """Answer 220, send it, do the handshake and call `tls_started`; or answer 454."""

    wants_answer: ClassVar[bool] = True


@dataclass(slots=True)
class Auth(ServerEvent):
    """AUTH with its initial response or None; or, without a `mechanism`, a line that answers a challenge. Both in base64.

    Answer 334 to go on with the dialogue, 235 when the client is known, else refuse: the dialogue is over then.
    """

    wants_answer: ClassVar[bool] = True
    mechanism: str
    response: bytes | None = field(repr=False)


@dataclass(slots=True)
class Mail(ServerEvent):
    """MAIL. `size` is the SIZE parameter, already within the limit, or None; `envelope_id` is still in xtext."""

    wants_answer: ClassVar[bool] = True
    sender: Address
    size: int | None
    body_8bit: bool
    smtputf8: bool
    ret: Ret
    envelope_id: str
    requiretls: bool = False


@dataclass(slots=True)
class Rcpt(ServerEvent):
    """RCPT. An answer of 2yz makes it a recipient of the transaction."""

    wants_answer: ClassVar[bool] = True
    recipient: Recipient


@dataclass(slots=True)
class Data(ServerEvent):
    """DATA with at least one recipient. Answer 354, or refuse: then the transaction stays open."""

    wants_answer: ClassVar[bool] = True


@dataclass(slots=True)
class BodyStarted(ServerEvent):
    """The first octets of a body may follow. With `chunking` it is the first BDAT; nobody was asked before."""

    chunking: bool


@dataclass(slots=True)
class Body(ServerEvent):
    """Octets of the message as they are stored: dots unstuffed, all line ends CRLF.

    A piece may end anywhere. `dotted` says that a line which begins in this piece starts with a dot.
    A BDAT message may end without CRLF; its octets are not changed here.
    """

    data: bytes
    dotted: bool


@dataclass(slots=True)
class BodyEnd(ServerEvent):
    """The message is whole and has `size` octets. The answer ends the transaction."""

    wants_answer: ClassVar[bool] = True
    size: int


@dataclass(slots=True)
class ChunkDone(ServerEvent):
    """A BDAT without LAST is whole (`size` octets of it). A refusal ends the transaction."""

    wants_answer: ClassVar[bool] = True
    size: int


@dataclass(slots=True)
class Reset(ServerEvent):
    """RSET, or a second EHLO: forget the transaction, with a body that was begun."""


@dataclass(slots=True)
class Quit(ServerEvent):
    """QUIT is answered: send the output and close."""


@dataclass(slots=True)
class TlsRequiredMissing(ServerEvent):
    """A command was refused because TLS is required and not there. Said once a connection (R19)."""


@dataclass(slots=True)
class Abuse(ServerEvent):
    """A breach of the protocol or of a limit. `reply` is queued already; log `Receiving Failed: reason`.

    With `close` the engine is dead: send the output and close. Without it a message was refused
    after its real end: drop it and its transaction, and go on.
    """

    reason: str
    reply: Reply
    close: bool


@dataclass(slots=True)
class Aborted(ServerEvent):
    """The peer closed inside a message: drop it."""
