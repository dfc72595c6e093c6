"""A scripted SMTP receiver: takes mail, and goes wrong exactly where it is told to.

It runs on threads and the standard library's `ssl`, so nothing of it is the product's own code. A `Script`
says how it behaves; what it saw is kept: mails, commands, TLS facts, how many connections were open at once.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

import pytest
from tests.fakes.ca import Issued
from tests.live.peers.mail import Mail, TlsSeen
from tests.live.peers.processes import PATIENCE

IDLE_SECONDS = 60


class StartTls(Enum):
    """What the receiver does about STARTTLS."""

    WORKS = auto()
    NOT_OFFERED = auto()
    TEMPORARY = auto()  # offered, then answered 454
    REFUSED = auto()  # offered, then answered 554
    GARBAGE = auto()  # 220, then bytes that are not TLS
    CLOSES = auto()  # 220, then the connection is closed
    STALLS = auto()  # 220, then nothing until the peer gives up


@dataclass(frozen=True, slots=True)
class Script:
    """How a receiver behaves.

    `replies` replaces an answer by the command's first words: "EHLO", "MAIL", "RCPT <a@b.example>", "RCPT",
    "DATA", "." (the end of data), "greeting"; the longest key that fits wins. `before_reply` is called with the
    command before each answer and may wait. `behind_starttls` is sent in one piece with the 220 (C33).
    `takes_ehlo=False` answers 502 to EHLO, `capabilities` are offered besides STARTTLS.
    """

    starttls: StartTls = StartTls.WORKS
    certificate: Issued | None = None
    takes_ehlo: bool = True
    capabilities: tuple[str, ...] = ("PIPELINING", "SIZE 50000000", "8BITMIME", "SMTPUTF8", "DSN")
    replies: Mapping[str, str] = field(default_factory=dict)
    behind_starttls: bytes = b""
    ask_client_certificate: bool = False
    client_authority: bytes = b""  # PEM; with it a client certificate must verify
    only_protocol: ssl.TLSVersion | None = None
    before_reply: Callable[[str], None] | None = None


class ScriptedReceiver:
    """Listens from construction on; `close` ends it. `script` may be replaced between connections."""

    def __init__(
        self, folder: Path, port: int, script: Script | None = None, *, address: str = "127.0.0.1"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.address = folder, port, address
        self.script = script or Script(starttls=StartTls.NOT_OFFERED)
        self.mails: list[Mail] = []
        self.commands: list[tuple[int, str]] = []
        self.failures: list[str] = []
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self._changed = threading.Condition()
        self._sockets: set[socket.socket] = set()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=512)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._changed:
                self.connections += 1
                number = self.connections
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                self._sockets.add(connection)
                self._changed.notify_all()
            threading.Thread(target=self._serve, args=(connection, number, self.script), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int, script: Script) -> None:
        connection.settimeout(IDLE_SECONDS)
        conversation = _Conversation(self, connection, number, script)
        try:
            conversation.run()
        except OSError as error:  # ssl.SSLError is one
            text = str(error)
            self.note(lambda: self.failures.append(text))
        finally:
            conversation.close()
            with self._changed:
                self.open -= 1
                self._sockets.discard(connection)
                self._changed.notify_all()

    def note(self, change: Callable[[], object]) -> None:
        """Changes what was seen, and wakes those who wait for it."""
        with self._changed:
            change()
            self._changed.notify_all()

    def wait_until(
        self, condition: Callable[[ScriptedReceiver], bool], what: str, timeout: float = PATIENCE
    ) -> None:
        """Waits until the condition on this receiver holds; fails the test after `timeout`."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout):
                pytest.fail(
                    f"receiver on port {self.port}: {what} not seen within {timeout:.0f} s; "
                    f"{self.connections} connections, commands {self.commands[-30:]}, failures {self.failures[-5:]}"
                )

    def wait_for_mail(self, count: int = 1, timeout: float = PATIENCE) -> list[Mail]:
        """All messages taken so far, once there are `count`."""
        self.wait_until(lambda seen: len(seen.mails) >= count, f"{count} messages", timeout)
        with self._changed:
            return list(self.mails)

    def wait_for_command(self, start: str, count: int = 1, timeout: float = PATIENCE) -> None:
        """Waits for a command that begins like this, in any connection."""
        self.wait_until(
            lambda seen: sum(text.upper().startswith(start.upper()) for _, text in seen.commands) >= count,
            f"{count} × {start}",
            timeout,
        )

    def context(self, script: Script) -> ssl.SSLContext:
        """A server context for the script's certificate."""
        if script.certificate is None:
            pytest.fail("this script starts TLS and so needs a certificate")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        file = self.folder / f"server-{time.monotonic_ns()}.pem"
        file.write_bytes(script.certificate.key_pem + script.certificate.chain_pem)
        context.load_cert_chain(file)
        file.unlink()
        if script.only_protocol:
            context.minimum_version = context.maximum_version = script.only_protocol
        if script.client_authority:
            context.load_verify_locations(cadata=script.client_authority.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        elif script.ask_client_certificate:
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def close(self) -> None:
        """Ends the listener and every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(5)
        with self._changed:
            left = list(self._sockets)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.wait_until(lambda seen: seen.open == 0, "the end of all connections")


class _Conversation:
    """One connection, from greeting to end."""

    def __init__(
        self, receiver: ScriptedReceiver, connection: socket.socket, number: int, script: Script
    ) -> None:
        self._receiver, self._socket, self._number, self._script = receiver, connection, number, script
        self._buffer = b""
        self._tls: TlsSeen | None = None
        self._sni = ""
        self._hello = ""
        self._sender = ""
        self._recipients: list[str] = []
        self._parameters: list[str] = []
        self._going = True

    def run(self) -> None:
        self._answer("greeting", "220 receiver.example ESMTP")
        while self._going:
            line = self._line()
            if line is None:
                return
            self._saw(line)
            self._command(line)

    def _saw(self, line: str) -> None:
        self._receiver.note(lambda: self._receiver.commands.append((self._number, line)))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def _command(self, line: str) -> None:
        match line.split(" ", 1)[0].upper():
            case "EHLO":
                self._ehlo(line)
            case "HELO":
                self._hello = line[5:]
                self._answer(line, "250 receiver.example")
            case "STARTTLS":
                self._starttls()
            case "MAIL":
                self._recipients, (self._sender, *self._parameters) = [], _path(line)
                self._answer(line, "250 2.1.0 sender fine")
            case "RCPT":
                if self._answer(line, "250 2.1.5 recipient fine"):
                    self._recipients.append(_path(line)[0])
            case "DATA":
                if not self._recipients:
                    self._answer(line, "503 5.5.1 no valid recipients")
                elif self._answer(line, "354 go ahead"):
                    self._take()
            case "QUIT":
                self._answer(line, "221 2.0.0 bye")
                self._going = False
            case _:
                self._answer(line, "250 2.0.0 fine")

    def _ehlo(self, line: str) -> None:
        script = self._script
        self._hello = line[5:]
        if not script.takes_ehlo:
            self._answer(line, "502 5.5.1 what?")
            return
        offers = list(script.capabilities)
        if script.starttls is not StartTls.NOT_OFFERED and self._tls is None:
            offers.append("STARTTLS")
        lines = ["receiver.example", *offers]
        marked = [f"250-{text}" for text in lines[:-1]] + [f"250 {lines[-1]}"]
        self._answer(line, "\r\n".join(marked))

    def _starttls(self) -> None:
        script = self._script
        match script.starttls:
            case StartTls.NOT_OFFERED:
                self._answer("STARTTLS", "502 5.5.1 what?")
            case StartTls.TEMPORARY:
                self._answer("STARTTLS", "454 4.7.0 TLS not available due to temporary reason")
            case StartTls.REFUSED:
                self._answer("STARTTLS", "554 5.7.3 no TLS for you")
            case StartTls.GARBAGE:
                self._send(b"220 2.0.0 ready\r\n")
                self._socket.recv(1)  # the ClientHello has begun
                self._send(b"this is not TLS at all\r\n")
                self._going = False
            case StartTls.CLOSES:
                self._send(b"220 2.0.0 ready\r\n")
                self._going = False
            case StartTls.STALLS:
                self._send(b"220 2.0.0 ready\r\n")
                while self._socket.recv(65536):
                    pass
                self._going = False
            case StartTls.WORKS:
                self._handshake()

    def _handshake(self) -> None:
        context = self._receiver.context(self._script)
        context.sni_callback = self._see_name
        self._send(b"220 2.0.0 ready\r\n" + self._script.behind_starttls)
        # Ours to close from this moment, whatever becomes of the handshake.
        self._socket = secured = context.wrap_socket(
            self._socket, server_side=True, do_handshake_on_connect=False
        )
        secured.do_handshake()
        cipher = secured.cipher() or ("", "", 0)
        certificate = secured.getpeercert(binary_form=True) or b""
        self._buffer = b""
        self._tls = TlsSeen(secured.version() or "", cipher[0], certificate, self._sni)

    def _see_name(self, _: ssl.SSLObject | ssl.SSLSocket, name: str | None, __: ssl.SSLContext) -> None:
        self._sni = name or ""

    def _take(self) -> None:
        lines: list[bytes] = []
        while (raw := self._raw_line()) is not None and raw != b".\r\n":
            lines.append(raw[1:] if raw.startswith(b".") else raw)
        if raw is None:
            self._going = False
            return
        mail = Mail(
            b"".join(lines),
            self._sender,
            tuple(self._recipients),
            self._tls,
            self._hello,
            self._number,
            tuple(self._parameters),
        )
        if self._answer(".", "250 2.0.0 taken"):
            self._receiver.note(lambda: self._receiver.mails.append(mail))

    def _answer(self, command: str, usual: str) -> bool:
        """Sends the scripted or usual answer; True when it is a good one."""
        if self._script.before_reply:
            self._script.before_reply(command)
        folded = command.upper().replace("RCPT TO:", "RCPT ").replace("MAIL FROM:", "MAIL ")
        fitting = [key for key in self._script.replies if folded.startswith(key.upper())]
        text = self._script.replies[max(fitting, key=len)] if fitting else usual
        self._send(text.encode() + b"\r\n")
        if text.startswith("421"):
            self._going = False
        return text[0] in "23"

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _raw_line(self) -> bytes | None:
        while b"\n" not in self._buffer:
            data = self._socket.recv(65536)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    def _line(self) -> str | None:
        raw = self._raw_line()
        return None if raw is None else raw.decode(errors="backslashreplace").rstrip("\r\n")


def _path(line: str) -> list[str]:
    """The address of a MAIL or RCPT command, and its parameters."""
    address, _, rest = line.partition(":")[2].strip().partition(">")
    return [address.lstrip("<"), *rest.split()]


def behaving(script: Script, **changes: object) -> Script:
    """The same script with some things changed."""
    return replace(script, **changes)  # type: ignore[arg-type]
