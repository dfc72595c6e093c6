"""Clients that send to a server under test: swaks, `openssl s_client`, and raw bytes on a socket."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.live.peers.processes import need, run

CLIENT_TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Sent:
    """How a client's conversation went: its exit status and all it printed."""

    status: int
    transcript: str

    @property
    def accepted(self) -> bool:
        return self.status == 0

    def replies(self) -> list[str]:
        """The server's lines of a swaks transcript, errors included."""
        return re.findall(r"^<(?:~|\*\*|-) +(.*)$", self.transcript, re.MULTILINE)


def swaks(
    port: int,
    *options: str,
    sender: str = "sender@client.example",
    to: str | Sequence[str] = "user@dest.example",
    host: str = "127.0.0.1",
    body: str = "A test message.",
) -> Sent:
    """Sends one message. `options` go to swaks as they are: `--tls`, `--tls-on-connect`, `--quit-after RCPT` …"""
    recipients = to if isinstance(to, str) else ",".join(to)
    command = [
        need("swaks", "swaks"),
        "--server",
        host,
        "--port",
        str(port),
        "--from",
        sender,
        "--to",
        recipients,
    ]
    command += ["--helo", "client.example", "--timeout", str(CLIENT_TIMEOUT), "--body", body, *options]
    done = run(command)
    return Sent(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))


def s_client(
    port: int,
    commands: str = "QUIT\r\n",
    *options: str,
    host: str = "127.0.0.1",
    starttls: bool = True,
) -> Sent:
    """`openssl s_client`: a handshake, then `commands`; the transcript holds the session's facts."""
    command = [need("openssl", "openssl"), "s_client", "-connect", f"{host}:{port}", "-ign_eof", *options]
    if starttls:
        command += ["-starttls", "smtp", "-name", "client.example"]
    done = run(command, text=commands.encode(), timeout=CLIENT_TIMEOUT)
    return Sent(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))


class RawClient:
    """Bytes on a socket, replies as lines: for what no well-behaved client would send."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, source: str = "") -> None:
        origin = (source, 0) if source else None
        self.socket: socket.socket = socket.create_connection((host, port), CLIENT_TIMEOUT, origin)
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> str:
        """The next line without its end; "" when the server has closed."""
        while b"\n" not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                break
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="backslashreplace").rstrip("\r")

    def reply(self) -> list[str]:
        """The lines of one reply; empty when the server has closed."""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return [line for line in lines if line]

    def command(self, text: str) -> list[str]:
        self.send(text.encode() + b"\r\n")
        return self.reply()

    def start_tls(self, context: ssl.SSLContext | None = None, name: str | None = None) -> None:
        """The handshake after a 220 to STARTTLS; verifies nothing unless the context does."""
        self.socket = (context or trusting_context()).wrap_socket(self.socket, server_hostname=name)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def trusting_context(certificate: Path | None = None) -> ssl.SSLContext:
    """A client's context that accepts every certificate, with one of its own (chain and key in one file) on demand."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    return context
