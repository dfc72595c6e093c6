"""The SMTP servers of the zoo: one address each, port 25, every connection on a thread of its own.

They share no code with the gateway's engines and transport: blocking sockets and pyOpenSSL, so that a fault of ours on one side is
not hidden by the same fault on the other. What a host does is one of `behaviours`; when that returns or fails, the connection ends.
Which messages arrived, and whether over TLS, is kept.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from gatepost.app.zoo.certificates import Shown

PORT = 25
_SECONDS = struct.pack("ll", 60, 0)  # for one read; nobody in the zoo needs as long
_MESSAGE_ID = re.compile(rb"^message-id:\s*<([^>]*)>", re.IGNORECASE | re.MULTILINE)
_LONGEST = 1 << 20


class Gone(Exception):
    """The other side has ended the connection, or says too much."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message that a host took."""

    message_id: str
    tls: bool


@dataclass(slots=True)
class Host:
    """One server: its name, what it does and shows, and what arrived."""

    name: str
    address: str
    behaviour: Behaviour
    shown: Shown
    arrived: list[Arrived] = field(default_factory=list)
    connections: int = 0


class Talk:
    """One connection, from the server's side."""

    def __init__(self, sock: socket.socket, host: Host) -> None:
        self.socket = sock
        self.host = host
        self.secured: SSL.Connection | None = None
        self._buffer = b""

    def say(self, data: bytes) -> None:
        (self.secured or self.socket).sendall(data)

    def receive(self) -> bytes:
        """What comes next. Raises Gone at the end."""
        try:
            data = (self.secured or self.socket).recv(65_536)
        except SSL.ZeroReturnError:
            data = b""
        if not data:
            raise Gone
        return data

    def line(self) -> bytes:
        """The next command, without its end. Raises Gone."""
        while b"\r\n" not in self._buffer:
            self._buffer += self.receive()
            if len(self._buffer) > _LONGEST:
                raise Gone
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def message(self) -> None:
        """Read a message to its end, and note that it is here. Raises Gone."""
        data, self._buffer = self._buffer, b""
        while data != b".\r\n" and not data.endswith(b"\r\n.\r\n"):
            data += self.receive()
            if len(data) > _LONGEST:
                raise Gone
        found = _MESSAGE_ID.search(data)
        identifier = found[1].decode("ascii", "backslashreplace") if found else ""
        self.host.arrived.append(Arrived(identifier, self.secured is not None))

    def secure(self, context: SSL.Context) -> None:
        """The handshake. Raises SSL.Error."""
        connection = SSL.Connection(context, self.socket)
        connection.set_accept_state()
        connection.do_handshake()
        self.secured = connection

    def rest(self) -> None:
        """Read until the other side ends it. Raises Gone then."""
        while True:
            self.receive()


Behaviour = Callable[[Talk], None]


def server_context(
    shown: Shown, *, oldest: int = 0, newest: int = 0, ciphers: str = "ALL:@SECLEVEL=0"
) -> SSL.Context:
    """A context that shows this, whatever it is, and takes every cipher that the library has."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(ciphers.encode("ascii"))
    if oldest:
        context.set_min_proto_version(oldest)
    if newest:
        context.set_max_proto_version(newest)
    for one in (shown, shown.also):
        if one is not None:
            _load(context, one)
    return context


def _load(context: SSL.Context, shown: Shown) -> None:
    """From a file in memory, since only that keeps the chains of two certificates apart."""
    chain = b"".join(
        crypto.dump_certificate(crypto.FILETYPE_PEM, crypto.load_certificate(crypto.FILETYPE_ASN1, der))
        for der in shown.chain
    )
    descriptor = os.memfd_create("zoo-chain", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, chain)
        context.use_certificate_chain_file(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    context.use_privatekey(load_pem_private_key(shown.key_pem, None))  # type: ignore[arg-type]


class Hosts:
    """All servers, from construction until `close`."""

    def __init__(self, hosts: list[Host], port: int = PORT) -> None:
        self.hosts = hosts
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        for host in hosts:
            listener = socket.create_server((host.address, port), backlog=64)
            self._selector.register(listener, selectors.EVENT_READ, host)
        self._thread = threading.Thread(target=self._accept, name="zoo hosts", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and cut what is open."""
        self._wake.send(b"\0")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._wake.close()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                listener = key.fileobj
                assert isinstance(listener, socket.socket)
                with suppress(OSError):
                    sock, _ = listener.accept()
                    threading.Thread(target=self._serve, args=(key.data, sock), daemon=True).start()

    def _serve(self, host: Host, sock: socket.socket) -> None:
        with self._lock:
            self._open.add(sock)
            host.connections += 1
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = Talk(sock, host)
        with suppress(OSError, Gone, SSL.Error):
            host.behaviour(talk)
        with suppress(OSError):
            # What the other side still sends must not make a reset of our end, which could overtake our last words.
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65_536):
                pass
        with self._lock:
            self._open.discard(sock)
        sock.close()
