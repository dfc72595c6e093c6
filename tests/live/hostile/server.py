"""A server that a test writes as a function: raw octets on a socket, and TLS of the worst kind.

It speaks the standard library's and pyOpenSSL's TLS, apart from the product. A behaviour gets a `Talk`; when it returns or fails, the
connection ends. What was heard is kept, in clear and under TLS apart.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from OpenSSL import SSL

CAPABILITIES = b"250-hostile.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 STARTTLS\r\n"
PLAIN = CAPABILITIES.replace(b"250 STARTTLS", b"250 HELP")
Secured = ssl.SSLSocket | SSL.Connection


@dataclass
class Heard:
    """What one server was told, over all its connections."""

    clear: list[bytes] = field(default_factory=list)
    secured: list[bytes] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0

    def verbs(self) -> list[str]:
        return [line.split(b" ")[0].decode("latin-1").strip() for line in self.clear + self.secured]


class Talk:
    """One connection, from the server's side."""

    def __init__(self, connection: socket.socket, heard: Heard) -> None:
        self.socket = connection
        self.heard = heard
        self.secured: Secured | None = None
        self._buffer = b""

    def say(self, data: bytes) -> None:
        (self.secured or self.socket).sendall(data)

    def recv(self, most: int = 65_536) -> bytes:
        try:
            return (self.secured or self.socket).recv(most)
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return b""

    def line(self) -> bytes:
        """The next command, without its CRLF. EOFError at the end."""
        while b"\r\n" not in self._buffer:
            data = self.recv()
            if not data:
                raise EOFError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        (self.heard.secured if self.secured else self.heard.clear).append(line)
        return line

    def greet(self, capabilities: bytes = CAPABILITIES) -> None:
        """Greeting, and the answer to EHLO."""
        self.say(b"220 hostile.example ESMTP\r\n")
        self.line()
        self.say(capabilities)

    def starttls(self) -> None:
        """Up to the 220, which the caller says."""
        self.greet()
        assert self.line() == b"STARTTLS"

    def secure(self, context: ssl.SSLContext | SSL.Context) -> None:
        """220 and the handshake."""
        self.say(b"220 go\r\n")
        if isinstance(context, ssl.SSLContext):
            self.secured = context.wrap_socket(self.socket, server_side=True)
        else:
            self.socket.settimeout(None)
            connection = SSL.Connection(context, self.socket)
            connection.set_accept_state()
            connection.do_handshake()
            self.secured = connection

    def serve(self, capabilities: bytes = PLAIN, **replies: bytes) -> None:
        """An honest session from EHLO on, but for `replies` by verb (`dot` for the end of data)."""
        while True:
            verb = self.line().split(b" ")[0].upper().decode()
            if verb == "EHLO":
                self.say(replies.get("EHLO", capabilities))
            elif verb == "DATA":
                self.say(replies.get("DATA", b"354 go\r\n"))
                if replies.get("DATA", b"354").startswith(b"354"):
                    self.message()
                    self.say(replies.get("dot", b"250 2.0.0 taken\r\n"))
            elif verb == "QUIT":
                self.say(b"221 bye\r\n")
                return
            else:
                self.say(replies.get(verb, b"250 ok\r\n"))

    def message(self) -> None:
        """Read a message to its end."""
        data, self._buffer = self._buffer, b""
        while data != b".\r\n" and not data.endswith(b"\r\n.\r\n"):
            more = self.recv()
            if not more:
                raise EOFError
            data += more
        self.heard.messages.append(data)

    def rest(self) -> None:
        """Read until the other side ends it."""
        while self.recv():
            pass


Behaviour = Callable[[Talk], None]


class HostileServer:
    """Listens on a port of loopback and behaves as told, connection by connection."""

    def __init__(self, port: int, behaviour: Behaviour) -> None:
        self.port = port
        self.heard = Heard()
        self._behaviour = behaviour
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=200)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.heard.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        talk = Talk(connection, self.heard)
        with contextlib.suppress(OSError, EOFError, SSL.Error, AssertionError):
            self._behaviour(talk)
        with contextlib.suppress(OSError):
            if isinstance(talk.secured, ssl.SSLSocket):
                talk.secured.close()
        connection.close()
        self._open.discard(connection)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
