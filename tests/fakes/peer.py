"""A mail server that does what it is told: capabilities, replies, certificates, and TLS that breaks.

It speaks from threads with plain sockets and the standard library's TLS, so nothing of ours is on both
ends. What it says to a command is looked up in `replies` by the longest beginning that fits:

    FakePeer(replies={"RCPT TO:<bad@": "550 5.1.1 No such user", "BODY": ["451 4.3.0 Busy", "250 2.0.0 Fine"]})

`GREETING` and `BODY` (the answer to the final dot) stand for themselves. A list is used up one by one, its last entry
for ever; `CLOSE` ends the connection instead of an answer, `("421 Bye", CLOSE)` after it. With a
`certificate` STARTTLS is offered; `handshake` says how it goes. `hold("BODY")` keeps answers back until `go("BODY")`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from tests.fakes.ca import Issued
from tests.fakes.time_travel import PATIENCE, Watched

CLOSE = "close"
RESET = "reset"
CAPABILITIES = ("PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN")
DEFAULTS = {
    "GREETING": "220 peer.example ESMTP",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 Go ahead",
    "BODY": "250 2.0.0 Ok: queued",
    "RSET": "250 2.0.0 Ok",
    "NOOP": "250 2.0.0 Ok",
    "STARTTLS": "220 2.0.0 Ready to start TLS",
    "QUIT": ("221 2.0.0 Bye", CLOSE),
    "HELO": "250 peer.example",
    "": "500 5.5.1 What?",
}


class Handshake(Enum):
    """How TLS goes after the 220 of STARTTLS."""

    GOOD = auto()
    CLOSES = auto()  # the connection ends at once
    GARBAGE = auto()  # plain text instead of a ServerHello
    INJECTED = auto()  # a line in clear in one piece with the 220
    WANTS_CERTIFICATE = auto()  # asks for our certificate, and breaks off when one is shown


@dataclass
class Mail:
    """One message as it arrived."""

    sender: str
    recipients: list[str]
    body: bytes
    tls: str  # "" in clear, else `TLSv1.3`


@dataclass
class Conversation:
    """One connection: the commands that were said, and what TLS was made."""

    commands: list[str] = field(default_factory=list)
    tls: str = ""
    sni: str | None = None
    client_certificate: bytes | None = None
    mails: list[Mail] = field(default_factory=list)
    over: bool = False

    @property
    def verbs(self) -> list[str]:
        return [command.split(" ")[0].split(":")[0] for command in self.commands]


class FakePeer(Watched):
    """Made inside the test's loop, started by `async with`."""

    def __init__(
        self,
        *,
        certificate: Issued | None = None,
        handshake: Handshake = Handshake.GOOD,
        capabilities: tuple[str, ...] = CAPABILITIES,
        replies: Mapping[str, Any] | None = None,
        ask_certificate: bool = False,
        tls_maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        lenient: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__()
        self.certificate = certificate
        self.handshake = handshake
        self.capabilities = capabilities
        self.replies: dict[str, Any] = {**DEFAULTS, **(replies or {})}
        self.conversations: list[Conversation] = []
        self.lenient = lenient  # asks for a body although every recipient was refused
        self.open_now = 0
        self.most_open = 0
        self._ask_certificate = ask_certificate or handshake is Handshake.WANTS_CERTIFICATE
        self._tls_maximum = tls_maximum
        self._gates: dict[str, threading.Event] = {}
        self._loop = asyncio.get_running_loop()
        self._socket = socket.create_server((host, 0))
        self.host, self.port = self._socket.getsockname()[:2]
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    # --- for tests ---------------------------------------------------------------------------

    @property
    def mails(self) -> list[Mail]:
        return [mail for conversation in self.conversations for mail in conversation.mails]

    @property
    def commands(self) -> list[str]:
        return [command for conversation in self.conversations for command in conversation.commands]

    def describe(self) -> str:
        return "\n".join(str(conversation) for conversation in self.conversations)

    async def mail(self, number: int = 1) -> Mail:
        """Wait for message `number` (from 1)."""
        await self.until(lambda: len(self.mails) >= number)
        return self.mails[number - 1]

    async def heard(self, command: str, count: int = 1) -> None:
        """Wait until commands that begin so were said."""
        await self.until(lambda: sum(said.startswith(command) for said in self.commands) >= count)

    def hold(self, *what: str) -> None:
        """Keep back the answers to these commands."""
        for word in what:
            self._gates[word] = threading.Event()

    def go(self, *what: str) -> None:
        for word in what:
            self._gates.pop(word).set()

    async def __aenter__(self) -> FakePeer:
        self._spawn(self._accept)
        return self

    async def __aexit__(self, *error: object) -> None:
        for gate in self._gates.values():
            gate.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._connections:
                _shut(connection)
        for thread in list(self._threads):
            await asyncio.to_thread(thread.join, PATIENCE)
        self._socket.close()

    # --- threads -----------------------------------------------------------------------------

    def _spawn(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self.changed)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conversation = Conversation()
            with self._lock:
                self._connections.add(connection)
                self.conversations.append(conversation)
                self.open_now += 1
                self.most_open = max(self.most_open, self.open_now)
            self._spawn(self._serve, connection, conversation)

    def _serve(self, connection: socket.socket, conversation: Conversation) -> None:
        line = _Line(connection)
        try:
            self._talk(line, conversation)
        except (OSError, EOFError, ValueError):
            pass  # the other side is gone, or TLS broke as it was meant to
        finally:
            with self._lock:
                self._connections.discard(connection)
                self.open_now -= 1
            line.close()
            connection.close()
            conversation.over = True
            self._tell()

    def _talk(self, line: _Line, conversation: Conversation) -> None:
        self._answer(line, "GREETING")
        mail: Mail | None = None
        while True:
            command = line.read()
            conversation.commands.append(command)
            self._tell()
            verb = command[:4].upper()
            if verb == "EHLO" and "EHLO" not in self.replies:
                offered = (*self.capabilities, *(("STARTTLS",) if self._offers(conversation) else ()))
                line.say("\n".join(("peer.example", *offered)), 250)
                continue
            if verb == "DATA" and not self.lenient and not (mail and mail.recipients):
                line.say("5.5.1 No valid recipients", 554)
                continue
            code = self._answer(line, command)
            if command.upper() == "STARTTLS" and code == 220:
                self._start_tls(line, conversation)
            elif verb == "MAIL":
                mail = Mail(command[10:], [], b"", conversation.tls) if code < 300 else None
            elif verb == "RCPT" and code < 300 and mail is not None:
                mail.recipients.append(command[8:])
            elif verb == "DATA" and code == 354:
                body = line.body()
                conversation.commands.append(f"BODY {len(body)}")
                self._tell()
                if self._answer(line, "BODY") < 300 and mail is not None:
                    mail.body = body
                    conversation.mails.append(mail)
                    self._tell()

    def _offers(self, conversation: Conversation) -> bool:
        return (self.certificate is not None or self.handshake is not Handshake.GOOD) and not conversation.tls

    def _answer(self, line: _Line, command: str) -> int:
        """Say what `replies` has for the command; returns the code."""
        key = max((key for key in self.replies if command.upper().startswith(key.upper())), key=len)
        gate = self._gates.get(key)
        if gate is not None:
            gate.wait(PATIENCE)
        answer = self.replies[key]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        code = 0
        for part in answer if isinstance(answer, tuple) else (answer,):
            if part == CLOSE:
                raise EOFError
            if part == RESET:
                line.reset()
                raise EOFError
            code = int(part[:3])
            if command.upper() == "STARTTLS" and self.handshake is Handshake.INJECTED:
                part += "\r\n250-injected"
            line.raw(part + "\r\n")
        return code

    def _start_tls(self, line: _Line, conversation: Conversation) -> None:
        if self.handshake in (Handshake.CLOSES, Handshake.INJECTED):
            raise EOFError
        if self.handshake is Handshake.GARBAGE:
            line.raw("500 This is not TLS\r\n")
            raise EOFError
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = self._tls_maximum
        assert self.certificate is not None
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.certificate.chain_pem + self.certificate.key_pem)
            file.flush()
            context.load_cert_chain(file.name)
        if self._ask_certificate:
            context.verify_mode = (
                ssl.CERT_OPTIONAL
            )  # and no authority is loaded: whatever is shown is refused
            if self.handshake is not Handshake.WANTS_CERTIFICATE:
                context.load_verify_locations(cadata=self.certificate_authority)

        def named(_: object, name: str | None, __: object) -> None:
            conversation.sni = name

        context.sni_callback = named
        line.start_tls(context)
        wrapped = line.socket
        assert isinstance(wrapped, ssl.SSLSocket)
        conversation.tls = wrapped.version() or ""
        conversation.client_certificate = wrapped.getpeercert(True)
        self._tell()

    certificate_authority = ""  # PEM that client certificates are checked against


class _Line:
    """A socket as lines."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._buffer = b""

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data

    def read(self) -> str:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode("utf-8", "backslashreplace")

    def body(self) -> bytes:
        """Up to the lone dot, dots taken away."""
        data = bytearray()
        while True:
            while b"\r\n" not in self._buffer:
                self._more()
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            if line == b".":
                return bytes(data)
            data += (line[1:] if line.startswith(b".") else line) + b"\r\n"

    def raw(self, text: str) -> None:
        self.socket.sendall(text.encode())

    def say(self, text: str, code: int) -> None:
        rows = text.split("\n")
        self.raw("".join(f"{code}{'-' if row is not rows[-1] else ' '}{row}\r\n" for row in rows))

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        _shut(self.socket)
        self.socket.close()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
