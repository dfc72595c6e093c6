"""The receiving server of the crash tests, as a process of its own: it checks every message and counts it.

A message carries its id and the SHA-256 of its body in an `X-Load` line; the sink recomputes the digest over what
came behind the header. Each accepted message is one JSON line in the record file, written before the 250, so what
the sink said it took is on record whatever happens to either side afterwards.

Commands come as JSON lines on standard input, answers go as JSON lines to standard output:

    {"listen": true}              begin or stop to accept (a sink that is down refuses connections)
    {"slow": 0.2, "spread": 0.1}  seconds before the answer to the final dot, and a random part on top
    {"tempfail": 0.05}            share of final dots that get 451
    {"hold": ["a1"]}              ids whose final dot is told ({"held": id, "port": n}) and never answered
    {"watch": true}               tells the greatest number of connections at a time since it was asked last
    {"drop": true}                cuts every connection

Threads and blocking sockets with the standard library's TLS, so that nothing of the product is on both ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import socket
import ssl
import sys
import threading
import time
from typing import Any

DOT = b"\r\n.\r\n"
PIECE = 262_144
MARK = b"X-Load: "
CAPABILITIES = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 20971520\r\n"


class Sink:
    """The state that all connections share."""

    def __init__(self, port: int, record: str, context: ssl.SSLContext) -> None:
        self.port = port
        self.context = context
        self.slow = 0.0
        self.spread = 0.0
        self.tempfail = 0.0
        self.hold: set[str] = set()
        self.random = random.Random(1)
        self.ended = threading.Event()
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._listening: socket.socket | None = None
        self._mutex = threading.Lock()
        self._open: set[Conversation] = set()
        self._peak = 0

    def say(self, answer: dict[str, Any]) -> None:
        with self._mutex:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def note(self, line: dict[str, Any]) -> None:
        os.write(self._record, json.dumps(line).encode() + b"\n")

    def command(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command; returns the answer."""
        for name in ("slow", "spread", "tempfail"):
            if name in order:
                setattr(self, name, float(order[name]))
        if "hold" in order:
            self.hold = set(order["hold"])
        if "listen" in order:
            self._listen(bool(order["listen"]))
        if order.get("drop"):
            with self._mutex:
                for conversation in self._open:
                    with contextlib.suppress(OSError):
                        conversation.connection.shutdown(socket.SHUT_RDWR)
        with self._mutex:
            answer = {"done": True, "peak": self._peak, "open": len(self._open)}
            if order.get("watch"):
                self._peak = len(self._open)
        return answer

    def _listen(self, wanted: bool) -> None:
        if not wanted and self._listening is not None:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        elif wanted and self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self.port), backlog=512)
            threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, peer = listening.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conversation = Conversation(self, connection, peer[1])
            with self._mutex:
                self._open.add(conversation)
                self._peak = max(self._peak, len(self._open))
            threading.Thread(target=self._serve, args=(conversation,), daemon=True).start()

    def _serve(self, conversation: Conversation) -> None:
        try:
            conversation.run()
        except OSError:
            pass  # the peer died: that is what these tests are about
        finally:
            self.gone(conversation)

    def gone(self, conversation: Conversation) -> None:
        with self._mutex:
            self._open.discard(conversation)


class Conversation:
    """One SMTP session."""

    def __init__(self, sink: Sink, connection: socket.socket, port: int) -> None:
        self.sink = sink
        self.connection = connection
        self.port = port
        self.tls = False
        self.buffer = b""
        self.recipients: list[str] = []

    def run(self) -> None:
        self._say(b"220 sink.example ESMTP\r\n")
        try:
            while (line := self._line()) is not None and self._command(line):
                continue
        finally:
            self.connection.close()

    def _say(self, data: bytes) -> None:
        self.connection.sendall(data)

    def _more(self) -> bool:
        data = self.connection.recv(PIECE)
        self.buffer += data
        return bool(data)

    def _line(self) -> bytes | None:
        while b"\r\n" not in self.buffer:
            if not self._more():
                return None
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def _command(self, line: bytes) -> bool:
        match line[:4].upper():
            case b"EHLO":
                self._say(CAPABILITIES + (b"250 DSN\r\n" if self.tls else b"250-DSN\r\n250 STARTTLS\r\n"))
            case b"STAR":
                self._say(b"220 2.0.0 Ready\r\n")
                self.connection = self.sink.context.wrap_socket(self.connection, server_side=True)
                self.tls, self.buffer = True, b""
            case b"MAIL":
                self.recipients = []
                self._say(b"250 2.1.0 Ok\r\n")
            case b"RCPT":
                self.recipients.append(line[line.index(b"<") + 1 : line.index(b">")].decode())
                self._say(b"250 2.1.5 Ok\r\n")
            case b"DATA":
                self._say(b"354 Go ahead\r\n")
                return self._message()
            case b"QUIT":
                self.sink.gone(self)  # before the 221: once it is read, another connection may come
                self._say(b"221 2.0.0 Bye\r\n")
                return False
            case _:
                self._say(b"250 2.0.0 Ok\r\n")
        return True

    def _message(self) -> bool:
        began = time.time()
        pieces = [self.buffer]
        tail = self.buffer
        while DOT not in tail:
            data = self.connection.recv(PIECE)
            if not data:
                return False  # cut before the dot: nothing happened
            pieces.append(data)
            tail = tail[-len(DOT) :] + data
        content, _, self.buffer = b"".join(pieces).partition(DOT)
        dot = time.time()
        content = (b"\r\n" + content + b"\r\n").replace(b"\r\n..", b"\r\n.")[2:]
        return self._judge(content, began, dot)

    def _judge(self, content: bytes, began: float, dot: float) -> bool:
        header, _, body = content.partition(b"\r\n\r\n")
        at = header.find(MARK)
        name, wanted = header[at + len(MARK) :].split(b"\r\n", 1)[0].decode().split() if at >= 0 else ("", "")
        if name in self.sink.hold:
            self.sink.say({"held": name, "port": self.port, "recipients": self.recipients})
            return self._more() and False
        if self.sink.slow or self.sink.spread:
            self.sink.ended.wait(self.sink.slow + self.sink.random.random() * self.sink.spread)
        if self.sink.tempfail and self.sink.random.random() < self.sink.tempfail:
            self._say(b"451 4.3.0 Not now\r\n")
            return True
        self.sink.note(
            {
                "id": name,
                "whole": hashlib.sha256(body).hexdigest() == wanted,
                "report": b"\nContent-Type: multipart/report" in header,
                "size": len(body),
                "recipients": self.recipients,
                "began": began,
                "dot": dot,
                "answer": time.time(),
                "tls": self.tls,
                "port": self.port,
            }
        )
        self._say(b"250 2.0.0 Ok: taken\r\n")
        return True


def main() -> None:
    port, record, certificate, key = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    sink = Sink(int(port), record, context)
    for line in sys.stdin:
        sink.say(sink.command(json.loads(line)))


if __name__ == "__main__":
    main()
